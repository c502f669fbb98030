"""The contract of ``dataset.parquet``: the examples of a task, with all that a model may look at."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from genebert.corpus.scores import add_best, from_steps, to_steps
from genebert.errors import GenebertError
from genebert.files import complete_or_absent
from genebert.sequence.codes import encode_column

SCHEMA = pa.schema(
    [
        pa.field("example_id", pa.uint32(), nullable=False),
        # Empty, 0 and 0 where an example has no known place.
        pa.field("chrom", pa.string(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),  # bp, 0-based
        pa.field("end", pa.int64(), nullable=False),  # bp, half-open
        pa.field("strand", pa.string(), nullable=False),  # + or -; the sequence is of this strand
        pa.field("sequence", pa.string(), nullable=False),
        # Variants only: the same place with the alternate allele.
        pa.field("alternative", pa.string(), nullable=True),
        pa.field("label", pa.int32(), nullable=False),
        pa.field("cell_type", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        # A part of the test split whose figures are given apart; empty for none.
        pa.field("subset", pa.string(), nullable=False),
        # Of a cross-validation, where the task has one instead of a training split; else −1.
        pa.field("fold", pa.int32(), nullable=False),
        # Fraction of the example's bp that lie in catalogue regions; null without a place.
        pa.field("occupancy", pa.float32(), nullable=True),
        # Accessibility only: fraction of the training cell types in which the region is open.
        pa.field("open_in_training", pa.float32(), nullable=True),
        # Hits in the example's own sequence: its focal column, made alike for every class. Scores are
        # rounded as those of a corpus.
        pa.field("motif", pa.list_(pa.uint16()), nullable=False),
        pa.field("score", pa.list_(pa.float16()), nullable=False),
        # The same of the alternative; empty without one.
        pa.field("alternative_motif", pa.list_(pa.uint16()), nullable=False),
        pa.field("alternative_score", pa.list_(pa.float16()), nullable=False),
        # Region ids by column, null where there is none; the focal column R // 2 is always null.
        pa.field("columns", pa.list_(pa.uint32()), nullable=False),
    ]
)
_LISTS = ("motif", "score", "alternative_motif", "alternative_score", "columns")
FLAT = tuple(name for name in SCHEMA.names if name not in _LISTS)
NEEDED = {"type", "task", "classes", "motif_digest", "catalogue"}


@dataclass(frozen=True)
class Hits:
    """The best hit of each motif in each of some sequences.

    Attributes
    ----------
    offsets
        int64 [n + 1]: the hits of sequence i are ``offsets[i]`` to ``offsets[i + 1]``.
    motif, score
        int64 and float32 [hits], sorted by motif within a sequence.
    """

    offsets: np.ndarray
    motif: np.ndarray
    score: np.ndarray

    def best(self, motifs: int) -> np.ndarray:
        """Return uint8 [n, motifs], as in :attr:`genebert.corpus.read.Corpus.best`."""
        best = np.zeros((len(self.offsets) - 1, motifs), np.uint8)
        add_best(best, np.diff(self.offsets), self.motif, to_steps(self.score))
        return best

    def dense(self, motifs: int) -> np.ndarray:
        """Return float32 [n, motifs], scores in [0, 1], 0 where there is no hit."""
        return from_steps(self.best(motifs)).astype(np.float32)


@dataclass(frozen=True)
class Dataset:
    """A task's examples as columns.

    Attributes
    ----------
    table
        DataFrame of the flat columns of ``SCHEMA``.
    metadata
        ``type`` of the task, its name (``task``), names of the labels (``classes``), ``motif_digest``
        (of the motifs that the hits are of), ``catalogue`` (whose regions are columns), and what else
        the task keeps, such as its settings.
    codes
        uint8 [n, longest], base codes.
    hits
        In the examples' own sequences.
    columns
        int64 [n, R], region rows, −1 where there is none.
    alternative_codes, alternative_hits
        Of the alternatives; None for tasks without.
    """

    table: pd.DataFrame
    metadata: dict[str, Any]
    codes: np.ndarray
    hits: Hits
    columns: np.ndarray
    alternative_codes: np.ndarray | None = field(default=None)
    alternative_hits: Hits | None = field(default=None)

    @property
    def classes(self) -> list[str]:
        """Names of the labels."""
        return self.metadata["classes"]

    @property
    def labels(self) -> np.ndarray:
        """int64 [n]."""
        return self.table["label"].to_numpy().astype(np.int64)

    def in_split(self, split: str) -> np.ndarray:
        """Return int64 rows of a split."""
        return np.flatnonzero(self.table["split"].to_numpy() == split)


def write_dataset(
    table: pd.DataFrame,
    hits: tuple[Sequence[np.ndarray], Sequence[np.ndarray]],
    columns: np.ndarray,
    metadata: dict[str, Any],
    out: str | Path,
    alternative_hits: tuple[Sequence[np.ndarray], Sequence[np.ndarray]] | None = None,
) -> None:
    """Write a dataset.

    Parameters
    ----------
    table
        The flat columns of ``SCHEMA`` but ``example_id``, in the order to keep; the nullable ones,
        ``subset`` and ``fold`` may be left out.
    hits
        Motifs and scores of each example's hits; scores in [0, 1], which are rounded down to 128ths.
    columns
        int64 [n, R], −1 for null.
    metadata
        Kept with the file; holds at least ``NEEDED``.
    out
        Parquet file.
    alternative_hits
        Of the alternatives, where there are any.
    """
    assert metadata.keys() >= NEEDED
    number = len(table)
    table = table.assign(example_id=np.arange(number, dtype=np.uint32))
    for name, default in (
        ("subset", ""),
        ("fold", -1),
        ("alternative", None),
        ("occupancy", None),
        ("open_in_training", None),
    ):
        if name not in table:
            table[name] = default
    none: list[np.ndarray] = [np.empty(0)] * number
    other = (none, none) if alternative_hits is None else alternative_hits
    arrays: dict[str, Any] = {
        name: pa.array(table[name], SCHEMA.field(name).type, from_pandas=True) for name in FLAT
    }
    for prefix, (motif, score) in (("", hits), ("alternative_", other)):
        arrays[f"{prefix}motif"] = _lists(motif, np.uint16)
        stored = [from_steps(to_steps(np.asarray(own, np.float32))) for own in score]
        arrays[f"{prefix}score"] = _lists(stored, np.float16)
    arrays["columns"] = pa.ListArray.from_arrays(
        np.arange(number + 1, dtype=np.int32) * columns.shape[1],
        pa.array(columns.ravel(), pa.uint32(), mask=columns.ravel() < 0),
    )
    schema = SCHEMA.with_metadata({"genebert": json.dumps(metadata, sort_keys=True)})
    arrow = pa.table([arrays[name] for name in SCHEMA.names], schema=schema)
    arrow.validate(full=True)
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
    if not metadata.keys() >= NEEDED or not arrow.schema.remove_metadata().equals(SCHEMA):
        raise GenebertError(f"{path} is no dataset of this version", "rebuild the task")
    arrow = arrow.combine_chunks()
    columns = _one(arrow, "columns").flatten()
    has_alternatives = arrow["alternative"].null_count < len(arrow)
    return Dataset(
        table=arrow.select(FLAT).to_pandas(),
        metadata=metadata,
        codes=encode_column(_one(arrow, "sequence")),
        hits=_best_hits(arrow, ""),
        columns=columns.cast(pa.int64()).fill_null(-1).to_numpy().reshape(len(arrow), -1),
        alternative_codes=encode_column(_one(arrow, "alternative")) if has_alternatives else None,
        alternative_hits=_best_hits(arrow, "alternative_") if has_alternatives else None,
    )


def _lists(values: Sequence[np.ndarray], dtype: type) -> pa.ListArray:
    offsets = np.cumsum([0, *map(len, values)]).astype(np.int32)
    flat = np.concatenate([np.empty(0, dtype), *values]).astype(dtype)
    return pa.ListArray.from_arrays(offsets, pa.array(flat))


def _one(arrow: pa.Table, name: str) -> pa.Array:
    chunks = arrow[name].chunks
    return chunks[0] if chunks else pa.array([], SCHEMA.field(name).type)


def _best_hits(arrow: pa.Table, prefix: str) -> Hits:
    """Return the best hit of each example and motif, of lists that may name a motif twice."""
    motifs, scores = _one(arrow, f"{prefix}motif"), _one(arrow, f"{prefix}score")
    assert motifs.offsets.equals(scores.offsets), "as many scores as motifs"
    example = np.repeat(np.arange(len(arrow)), np.diff(motifs.offsets.to_numpy()))
    motif = motifs.flatten().to_numpy().astype(np.int64)
    score = scores.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    order = np.lexsort((-score, motif, example))
    example, motif, score = example[order], motif[order], score[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = (example[1:] != example[:-1]) | (motif[1:] != motif[:-1])
    example = example[first]
    return Hits(np.searchsorted(example, np.arange(len(arrow) + 1)), motif[first], score[first])
