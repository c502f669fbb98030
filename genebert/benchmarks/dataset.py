"""The contract of ``dataset.parquet``, and the columns that a place may look at."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from genebert.corpus.scores import add_best, from_steps, to_steps
from genebert.errors import GenebertError
from genebert.files import complete_or_absent
from genebert.genome import Interval, Segment
from genebert.sequence.codes import encode_all

SCHEMA = pa.schema(
    [
        pa.field("example_id", pa.uint32(), nullable=False),
        pa.field("chrom", pa.string(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),  # bp, 0-based
        pa.field("end", pa.int64(), nullable=False),  # bp, half-open
        pa.field("strand", pa.string(), nullable=False),  # + or -; the sequence is of this strand
        pa.field("sequence", pa.string(), nullable=False),
        pa.field("label", pa.int32(), nullable=False),
        pa.field("cell_type", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        # Hits in the example's own sequence: its focal column, made alike for every class. Scores are
        # rounded as those of a corpus.
        pa.field("motif", pa.list_(pa.uint16()), nullable=False),
        pa.field("score", pa.list_(pa.float16()), nullable=False),
        # Region ids by column, null where there is none; the focal column R // 2 is always null.
        pa.field("columns", pa.list_(pa.uint32()), nullable=False),
    ]
)


@dataclass(frozen=True)
class Dataset:
    """A task's examples as columns.

    Attributes
    ----------
    table
        DataFrame of the flat columns of ``SCHEMA``.
    classes
        Names of the labels.
    motif_digest, catalogue
        Of the motifs that the hits are of, and of the catalogue whose regions are columns.
    codes
        uint8 [n, length], base codes.
    hit_offsets, hit_motif, hit_score
        int64 [n + 1]; int64 and float32 [hits], the best of each (example, motif).
    columns
        int64 [n, R], region rows, −1 where there is none.
    """

    table: pd.DataFrame
    classes: list[str]
    motif_digest: str
    catalogue: str
    codes: np.ndarray
    hit_offsets: np.ndarray
    hit_motif: np.ndarray
    hit_score: np.ndarray
    columns: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """int64 [n]."""
        return self.table["label"].to_numpy().astype(np.int64)

    def best(self, motifs: int) -> np.ndarray:
        """Return uint8 [n, motifs], the hits as in :attr:`genebert.corpus.read.Corpus.best`."""
        best = np.zeros((len(self.codes), motifs), np.uint8)
        add_best(best, np.diff(self.hit_offsets), self.hit_motif, to_steps(self.hit_score))
        return best

    def in_split(self, split: str) -> np.ndarray:
        """Return int64 rows of a split."""
        return np.flatnonzero(self.table["split"].to_numpy() == split)


def write_dataset(
    table: pd.DataFrame,
    motif: list[np.ndarray],
    score: list[np.ndarray],
    columns: np.ndarray,
    metadata: dict[str, Any],
    out: str | Path,
) -> None:
    """Write a dataset.

    Parameters
    ----------
    table
        chrom, start, end, strand, sequence, label, cell_type, split, in the order to keep.
    motif, score
        Hits of each example; scores in [0, 1], which are rounded down to 128ths.
    columns
        int64 [n, R], −1 for null.
    metadata
        Kept with the file; holds ``classes``, ``motif_digest`` and ``catalogue``.
    out
        Parquet file.
    """
    flat = {name: table[name] for name in ("chrom", "start", "end", "strand", "sequence")}
    arrow = pa.table(
        {
            "example_id": np.arange(len(table), dtype=np.uint32),
            **flat,
            "label": table["label"].astype(np.int32),
            "cell_type": table["cell_type"],
            "split": table["split"],
            "motif": pa.array(motif, pa.list_(pa.uint16())),
            "score": pa.array(
                [from_steps(to_steps(own)).astype(np.float16) for own in score], pa.list_(pa.float16())
            ),
            "columns": pa.array(
                [[None if c < 0 else int(c) for c in row] for row in columns], pa.list_(pa.uint32())
            ),
        },
        schema=SCHEMA.with_metadata({"genebert": json.dumps(metadata, sort_keys=True)}),
    )
    with complete_or_absent(out) as temporary:
        pq.write_table(arrow, temporary, compression="zstd")


def read_dataset(path: str | Path) -> Dataset:
    """Read a dataset.

    Raises
    ------
    GenebertError
        If the file is missing, damaged or of another contract.
    """
    try:
        arrow = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise GenebertError(
            f"{path} is missing or damaged ({str(error).splitlines()[0]})", "rebuild the task"
        ) from None
    metadata = json.loads((arrow.schema.metadata or {}).get(b"genebert", b"{}"))
    known = {"classes", "motif_digest", "catalogue"} <= metadata.keys()
    if not known or not arrow.schema.remove_metadata().equals(SCHEMA):
        raise GenebertError(f"{path} is no dataset of this version", "rebuild the task")
    table = arrow.drop_columns(["motif", "score", "columns"]).to_pandas()
    hits = pd.DataFrame(
        {
            "example": np.repeat(np.arange(len(arrow)), _lengths(arrow, "motif")),
            "motif": _values(arrow, "motif").astype(np.int64),
            "score": _values(arrow, "score").astype(np.float32),
        }
    )
    best = hits.groupby(["example", "motif"], as_index=False)["score"].max()
    columns = np.array(
        [[-1 if c is None else c for c in row] for row in arrow["columns"].to_pylist()], np.int64
    )
    return Dataset(
        table=table,
        classes=metadata["classes"],
        motif_digest=metadata["motif_digest"],
        catalogue=metadata["catalogue"],
        codes=encode_all(table["sequence"].tolist()),
        hit_offsets=np.searchsorted(best["example"].to_numpy(), np.arange(len(arrow) + 1)),
        hit_motif=best["motif"].to_numpy(),
        hit_score=best["score"].to_numpy(),
        columns=columns,
    )


def _lengths(arrow: pa.Table, name: str) -> np.ndarray:
    return np.concatenate([np.diff(c.offsets.to_numpy()) for c in arrow[name].chunks])


def _values(arrow: pa.Table, name: str) -> np.ndarray:
    chunks = [c.flatten().to_numpy(zero_copy_only=False) for c in arrow[name].chunks]
    return np.concatenate(chunks)


class ColumnFinder:
    """Finds the regions beside a place: of its own split, and never overlapping it.

    Parameters
    ----------
    regions
        DataFrame of region_id, chrom, start, end of the regions that may be columns, in genome order.
    columns
        R; the focal place is column R // 2.
    """

    def __init__(self, regions: pd.DataFrame, columns: int) -> None:
        self.columns = columns
        self._of = {
            chrom: (rows["start"].to_numpy(), rows["end"].to_numpy(), rows["region_id"].to_numpy())
            for chrom, rows in regions.groupby("chrom", sort=False)
        }

    def beside(self, place: Interval, segment: Segment) -> np.ndarray:
        """Return int64 [R], region ids; −1 where there is none and in the focal column."""
        found = np.full(self.columns, -1, dtype=np.int64)
        if place.chrom not in self._of:
            return found
        starts, ends, ids = self._of[place.chrom]
        focal = self.columns // 2
        # Regions do not overlap: both edges are sorted.
        first = int(np.searchsorted(starts, segment.start, side="left"))
        last = int(np.searchsorted(ends, segment.end, side="right"))
        left_end = int(np.searchsorted(ends, place.start, side="right"))
        right_start = int(np.searchsorted(starts, place.end, side="left"))
        left = ids[max(first, left_end - focal) : left_end]
        right = ids[right_start : min(last, right_start + self.columns - focal - 1)]
        found[focal - len(left) : focal] = left
        found[focal + 1 : focal + 1 + len(right)] = right
        return found


def hits_by_example(sequence: np.ndarray, values: np.ndarray, count: int) -> list[np.ndarray]:
    """Cut a column of sorted hits into one array an example."""
    bounds = np.searchsorted(sequence, np.arange(count + 1))
    return [values[bounds[i] : bounds[i + 1]] for i in range(count)]


def label_counts(table: pd.DataFrame, classes: Sequence[str]) -> str:
    """Return ``split: class n, …`` for a log."""
    counts = table.groupby(["split", "label"]).size()
    return "; ".join(
        f"{split}: " + ", ".join(f"{name} {counts.get((split, i), 0)}" for i, name in enumerate(classes))
        for split in ("train", "validation", "test")
    )
