"""A corpus as numpy columns in memory."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genebert.corpus.columns import column_shapes, fill
from genebert.corpus.manifest import read_manifest
from genebert.corpus.schema import Metadata
from genebert.genome import SPLITS


@dataclass(frozen=True)
class Corpus:
    """A corpus as numpy columns, in memory or mapped from files.

    Attributes
    ----------
    metadata
        What the columns mean.
    contigs
        Names of the contigs that have regions, in genome order.
    contig, start
        int32 and int64 [regions]: index of the contig and start in bp; the end is
        ``start + metadata.width``.
    split
        int8 [regions]: 0 train, 1 validation, 2 test.
    sequence
        uint8 [regions, width]: 0 A, 1 C, 2 G, 3 T, 4 N; forward strand.
    best
        uint8 [regions, T]: best hit over positions and strands in 128ths
        (:mod:`genebert.corpus.scores`), 0 where there is none.
    open_offsets, open_cell_type
        Cell types in which each region is open, sorted: int64 [regions + 1] and int16 [views].
    held_out
        Names of cell types that were left out (:func:`genebert.corpus.held_out.without_cell_types`).
    """

    metadata: Metadata
    contigs: list[str]
    contig: np.ndarray
    start: np.ndarray
    split: np.ndarray
    sequence: np.ndarray
    best: np.ndarray
    open_offsets: np.ndarray
    open_cell_type: np.ndarray
    held_out: tuple[str, ...] = ()

    @property
    def regions(self) -> int:
        """Number of regions."""
        return len(self.start)

    def in_split(self, split: str) -> np.ndarray:
        """Return bool [regions]: which ones belong to ``train``, ``validation`` or ``test``."""
        return self.split == SPLITS.index(split)

    def viewed(self, split: str) -> np.ndarray:
        """Return bool [regions]: which ones of a split are open in a cell type, one not held out."""
        return self.in_split(split) & (np.diff(self.open_offsets) > 0)


def read_corpus(folder: str | Path) -> Corpus:
    """Read all parts that the manifest names into memory.

    Raises
    ------
    GenebertError
        If the manifest is missing or damaged, or a part is missing, holds other than the manifest says,
        or is of another corpus.
    """
    manifest = read_manifest(folder)
    columns: dict[str, Any] = {
        name: np.zeros(shape, dtype) for name, (dtype, shape) in column_shapes(manifest).items()
    }
    fill(Path(folder), manifest, columns)
    return Corpus(Metadata(**manifest["metadata"]), manifest["contigs"], **columns)
