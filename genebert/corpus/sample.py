"""What a training step sees: views of a corpus, drawn on the device that trains.

A view is a cell type, a focal region open in it, and the regions open in it around the focal one. A
sample is a function of (seed, step, index in the global batch): resuming needs no state.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from genebert import counter_random
from genebert.corpus.read import Corpus
from genebert.corpus.scores import STEPS
from genebert.errors import GenebertError

# Streams of the counter-based generator; masking has its own (sequence/masking.py, objectives).
_STREAM_VIEW, _STREAM_STRAND, _STREAM_STRANGER = 1, 2, 3


class Batch(NamedTuple):
    """A batch of views.

    Attributes
    ----------
    keys
        int64 [B], random keys of the samples.
    focal
        int64 [B], region rows.
    codes
        uint8 [B, width], base codes of the focal regions, as read.
    flipped
        bool [B], which of them are read on the other strand.
    matrix
        float32 [B, T, R], TF × region matrices: best hit's score, 0 where there is none.
    present
        bool [B, R], which columns hold a region; the focal one is column R // 2.
    """

    keys: torch.Tensor
    focal: torch.Tensor
    codes: torch.Tensor
    flipped: torch.Tensor
    matrix: torch.Tensor
    present: torch.Tensor


class Rows:
    """A table from which batches take rows.

    Parameters
    ----------
    table
        uint8 [n, width]. It is moved to the device once; one that is mapped from a file stays on the
        host, and only the rows of a batch are moved.
    device
        Where rows are wanted.
    """

    def __init__(self, table: np.ndarray, device: str) -> None:
        home = "cpu" if isinstance(table, np.memmap) else device
        self._table = torch.from_numpy(table).to(home)
        self.device = device

    def take(self, rows: torch.Tensor) -> torch.Tensor:
        """Return uint8 [*rows.shape, width] of row numbers int64."""
        taken = self._table.index_select(0, rows.reshape(-1).to(self._table.device))
        return taken.to(self.device).view(*rows.shape, -1)


def matrices(best: Rows, columns: torch.Tensor) -> torch.Tensor:
    """Return float32 [B, T, R], scores of region rows int64 [B, R]; −1 gives a column of zeros.

    Parameters
    ----------
    best
        As :attr:`genebert.corpus.read.Corpus.best`.
    columns
        Rows of it.
    """
    scale = (columns >= 0).float() / STEPS
    # Row by row, as the table lies: turning 130 kB a sample over would cost more than all the rest.
    scores = best.take(columns.clamp(min=0)).float().mul_(scale[..., None])
    return scores.transpose(1, 2)


@dataclass(frozen=True)
class PlacedCorpus:
    """A corpus, and what batches take from it, on or within reach of a device.

    Attributes
    ----------
    corpus
        Columns on the host.
    sequence, best
        Rows of the columns of these names.
    device
        Where batches are made.
    """

    corpus: Corpus
    sequence: Rows
    best: Rows
    device: str


def place_corpus(corpus: Corpus, device: str = "cpu") -> PlacedCorpus:
    """Move the columns that batches are made of to a device, unless they are mapped from files."""
    return PlacedCorpus(corpus, Rows(corpus.sequence, device), Rows(corpus.best, device), device)


def segment_of_regions(corpus: Corpus) -> np.ndarray:
    """Return int64 [regions]: runs of regions on one contig and of one split share a number."""
    new = np.ones(corpus.regions, dtype=bool)
    new[1:] = (corpus.contig[1:] != corpus.contig[:-1]) | (corpus.split[1:] != corpus.split[:-1])
    return np.cumsum(new) - 1


class Views:
    """All views of one split of a corpus, in order of cell type and region.

    Parameters
    ----------
    placed
        The corpus.
    split
        ``train``, ``validation`` or ``test``: focal regions and columns are of this split only.
    columns
        R, the width of a matrix in regions.

    Attributes
    ----------
    corpus
        Whose views these are.
    region, cell_type
        int32 and int16 [views].

    Raises
    ------
    GenebertError
        If the split has no view.
    """

    def __init__(self, placed: PlacedCorpus, split: str, columns: int) -> None:
        corpus = placed.corpus
        region = np.repeat(np.arange(corpus.regions, dtype=np.int32), np.diff(corpus.open_offsets))
        kept = corpus.in_split(split)[region]
        region, cell_type = region[kept], corpus.open_cell_type[kept]
        if not len(region):
            raise GenebertError(
                f"no region of the {split} split is open in any cell type",
                "hold out other chromosomes or intervals (genome.split)",
            )
        order = np.argsort(cell_type, kind="stable")  # a radix sort, of 16 bits
        region, cell_type = region[order], cell_type[order]
        segment = segment_of_regions(corpus)[region]
        new = (cell_type[1:] != cell_type[:-1]) | (segment[1:] != segment[:-1])
        bounds = np.concatenate([[0], np.flatnonzero(new) + 1, [len(region)]])
        self.corpus, self.columns = corpus, columns
        self.region = torch.from_numpy(region).to(placed.device)
        self.cell_type = torch.from_numpy(cell_type).to(placed.device)
        # Views first to last-plus-one of each stretch of one cell type, contig and split.
        self._bounds = torch.from_numpy(bounds).to(placed.device)
        self._placed = placed

    def __len__(self) -> int:
        return len(self.region)

    def columns_of(self, view: torch.Tensor) -> torch.Tensor:
        """Return the region rows int64 [B, R] of views int64 [B]; −1 where there is no region."""
        stretch = torch.searchsorted(self._bounds, view, right=True)
        first, last = self._bounds[stretch - 1], self._bounds[stretch]
        place = view[:, None] + torch.arange(self.columns, device=view.device) - self.columns // 2
        inside = (place >= first[:, None]) & (place < last[:, None])
        return torch.where(inside, self.region[place.clamp(0, len(self) - 1)].long(), -1)

    def batch(
        self, seed: int, step: int, indices: torch.Tensor, *, augment: bool, shuffled: bool = False
    ) -> Batch:
        """Draw the samples ``indices`` (int64 [B]) of the global batch of a step.

        Parameters
        ----------
        seed, step, indices
            Decide everything that is drawn.
        augment
            Reverse-complement half of the sequences. Matrices hold the best of both strands and stay.
        shuffled
            Give each sample the matrix of another view, drawn anew: the control.
        """
        keys = counter_random.sample_keys(seed, step, indices)
        view = counter_random.integers(keys, _STREAM_VIEW, len(self))
        focal = self.region[view].long()
        codes = self._placed.sequence.take(focal)
        flipped = counter_random.uniform(keys, _STREAM_STRAND, 1)[:, 0] < (0.5 if augment else 0.0)
        if augment:
            codes = torch.where(flipped[:, None], reverse_complement(codes), codes)
        if shuffled:
            other = counter_random.mix(keys)
            view = counter_random.integers(other, _STREAM_VIEW, len(self))
        columns = self.columns_of(view)
        matrix = matrices(self._placed.best, columns)
        return Batch(keys, focal, codes, flipped, matrix, columns >= 0)

    def strangers(self, keys: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw another view for each sample: region rows int64 [B], base codes uint8 [B, width]."""
        focal = self.region[counter_random.integers(keys, _STREAM_STRANGER, len(self))].long()
        return focal, self._placed.sequence.take(focal)


def reverse_complement(codes: torch.Tensor) -> torch.Tensor:
    """Return the other strand of base codes uint8 [B, length] without padding."""
    flipped = codes.flip(1)
    return torch.where(flipped < 4, 3 - flipped, flipped)
