"""Corpus parts -> columns in memory, in one pass."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from genebert.corpus.schema import Metadata, metadata_of
from genebert.errors import GenebertError
from genebert.sequence.codes import encode_all

_SPLIT_CODE = {"train": 0, "validation": 1, "test": 2}


@dataclass(frozen=True)
class Corpus:
    """A corpus as numpy columns; lists are flat values with offsets.

    Attributes
    ----------
    metadata
        What the columns mean.
    chrom, start
        Object and int64 [regions]: contig and start in bp; the end is ``start + metadata.width``.
    split
        int8 [regions]: 0 train, 1 validation, 2 test.
    sequence
        uint8 [regions, width]: 0 A, 1 C, 2 G, 3 T, 4 N; forward strand.
    hit_offsets, hit_motif, hit_score
        Best hit of each (region, motif) over positions and strands: int64 [regions + 1], int64
        [hits], float32 [hits].
    open_offsets, open_cell_type, open_signal
        Cell types in which each region is open: int64 [regions + 1], int64 and float32 [views].
    """

    metadata: Metadata
    chrom: np.ndarray
    start: np.ndarray
    split: np.ndarray
    sequence: np.ndarray
    hit_offsets: np.ndarray
    hit_motif: np.ndarray
    hit_score: np.ndarray
    open_offsets: np.ndarray
    open_cell_type: np.ndarray
    open_signal: np.ndarray

    @property
    def regions(self) -> int:
        """Number of regions."""
        return len(self.start)

    def in_split(self, split: str) -> np.ndarray:
        """Return bool [regions]: which ones belong to ``train``, ``validation`` or ``test``."""
        return self.split == _SPLIT_CODE[split]


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """Return the manifest of a corpus folder."""
    path = Path(folder) / "manifest.json"
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        raise GenebertError(f"{path} does not exist", "name the folder of a finished corpus") from None
    except ValueError as error:
        raise GenebertError(f"{path} is damaged: {error}", "rebuild the corpus") from None
    return content


def read_corpus(folder: str | Path) -> Corpus:
    """Read all parts that the manifest names.

    Raises
    ------
    GenebertError
        If a part is missing, has other rows than the manifest says, or is of another corpus.
    """
    manifest = read_manifest(folder)
    metadata = Metadata(**manifest["metadata"])
    tables = []
    for part in manifest["parts"]:
        path = Path(folder) / part["part"]
        try:
            table = pq.read_table(path)
        except (OSError, pa.ArrowException) as error:
            raise GenebertError(
                f"{path} is missing or damaged ({str(error).splitlines()[0]})", "rebuild the corpus"
            ) from None
        if len(table) != part["regions"]:
            raise GenebertError(
                f"{path} has {len(table)} regions, the manifest says {part['regions']}",
                "rebuild the corpus",
            )
        if len(table):
            if metadata_of(table.schema, str(path)) != metadata:
                raise GenebertError(f"{path} is of another corpus", "rebuild the corpus")
            tables.append(table)
    whole = pa.concat_tables(tables).combine_chunks()
    hit_offsets, motif, score = _best_hits(
        *_flat(whole, "motif"), _flat(whole, "score")[1].astype(np.float32)
    )
    open_offsets, cell_type = _flat(whole, "cell_type")
    return Corpus(
        metadata=metadata,
        chrom=whole["chrom"].to_numpy(),
        start=whole["start"].to_numpy(),
        split=np.array([_SPLIT_CODE[split] for split in whole["split"].to_pylist()], np.int8),
        sequence=encode_all(whole["sequence"].to_pylist()),
        hit_offsets=hit_offsets,
        hit_motif=motif,
        hit_score=score,
        open_offsets=open_offsets,
        open_cell_type=cell_type.astype(np.int64),
        open_signal=_flat(whole, "signal")[1],
    )


def _flat(table: pa.Table, name: str) -> tuple[np.ndarray, np.ndarray]:
    lists = table[name].combine_chunks()
    if isinstance(lists, pa.ChunkedArray):
        lists = lists.chunk(0)
    return lists.offsets.to_numpy().astype(np.int64), lists.values.to_numpy(zero_copy_only=False)


def _best_hits(
    offsets: np.ndarray, motif: np.ndarray, score: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keep the best score of each (region, motif); hits come sorted by region and motif."""
    region = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    if not len(motif):
        return offsets, motif.astype(np.int64), score
    new = np.empty(len(motif), dtype=bool)
    new[0] = True
    new[1:] = (region[1:] != region[:-1]) | (motif[1:] != motif[:-1])
    first = np.flatnonzero(new)
    best = np.maximum.reduceat(score, first)
    kept = np.searchsorted(region[first], np.arange(len(offsets)))
    return kept.astype(np.int64), motif[first].astype(np.int64), best
