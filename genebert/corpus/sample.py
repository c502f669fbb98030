"""What a training step sees: views of a corpus, drawn on the device that holds its columns.

A view is a cell type, a focal region open in it, and the regions open in it around the focal one. A
sample is a function of (seed, step, index in the global batch): resuming needs no state.
"""

from typing import NamedTuple

import numpy as np
import torch

from genebert import counter_random
from genebert.corpus.read import Corpus
from genebert.errors import GenebertError

# Streams of the counter-based generator; masking has its own (sequence/masking.py, objectives).
_STREAM_VIEW, _STREAM_STRAND = 1, 2


class Batch(NamedTuple):
    """A batch of views.

    Attributes
    ----------
    keys
        int64 [B], random keys of the samples.
    focal
        int64 [B], region rows.
    codes
        uint8 [B, width], base codes of the focal regions.
    matrix
        float32 [B, T, R], TF × region matrices: best hit's score, 0 where there is none.
    present
        bool [B, R], which columns hold a region; the focal one is column R // 2.
    """

    keys: torch.Tensor
    focal: torch.Tensor
    codes: torch.Tensor
    matrix: torch.Tensor
    present: torch.Tensor


class HitColumns:
    """Best hits of regions as tensors, from which dense matrices are scattered.

    Parameters
    ----------
    offsets, motif, score
        As in :class:`genebert.corpus.read.Corpus`.
    motifs
        T, rows of a matrix.
    """

    def __init__(
        self, offsets: np.ndarray, motif: np.ndarray, score: np.ndarray, motifs: int, device: str
    ) -> None:
        self.offsets = torch.from_numpy(offsets).to(device)
        self.motif = torch.from_numpy(motif.astype(np.int64)).to(device)
        self.score = torch.from_numpy(score.astype(np.float32)).to(device)
        self.motifs = motifs

    def dense(self, columns: torch.Tensor) -> torch.Tensor:
        """Return the matrices float32 [B, T, R] of region rows int64 [B, R]; −1 gives a zero column."""
        batch, width = columns.shape
        flat = columns.reshape(-1).clamp(min=0)
        start = self.offsets[flat]
        count = torch.where(columns.reshape(-1) >= 0, self.offsets[flat + 1] - start, 0)
        column = torch.repeat_interleave(torch.arange(len(flat), device=flat.device), count)
        before = torch.cumsum(count, 0) - count
        hit = start[column] + torch.arange(len(column), device=flat.device) - before[column]
        matrix = torch.zeros(batch * width * self.motifs, device=flat.device)
        matrix[column * self.motifs + self.motif[hit]] = self.score[hit]
        return matrix.view(batch, width, self.motifs).transpose(1, 2)


def hit_columns(corpus: Corpus, device: str) -> HitColumns:
    """Move the hits of a corpus to a device."""
    return HitColumns(
        corpus.hit_offsets, corpus.hit_motif, corpus.hit_score, len(corpus.metadata.motifs), device
    )


def segment_of_regions(corpus: Corpus) -> np.ndarray:
    """Return int64 [regions]: runs of regions on one contig and of one split share a number."""
    new = np.ones(corpus.regions, dtype=bool)
    new[1:] = (corpus.chrom[1:] != corpus.chrom[:-1]) | (corpus.split[1:] != corpus.split[:-1])
    return np.cumsum(new) - 1


class Views:
    """All views of one split of a corpus, as tensors on a device.

    Parameters
    ----------
    corpus
        Columns.
    split
        ``train``, ``validation`` or ``test``: focal regions and columns are of this split only.
    columns
        R, the width of a matrix in regions.
    device
        Where the columns live and batches are made.

    Raises
    ------
    GenebertError
        If the split has no view.
    """

    def __init__(self, corpus: Corpus, split: str, columns: int, device: str = "cpu") -> None:
        region = np.repeat(np.arange(corpus.regions), np.diff(corpus.open_offsets))
        cell_type = corpus.open_cell_type
        group = cell_type * (corpus.regions + 1) + segment_of_regions(corpus)[region]
        order = np.lexsort((region, group))
        order = order[corpus.in_split(split)[region[order]]]
        if not len(order):
            raise GenebertError(
                f"no region of the {split} split is open in any cell type",
                "hold out other chromosomes or intervals (genome.split)",
            )
        group = group[order]
        self.columns = columns
        self.region = torch.from_numpy(region[order]).to(device)
        self.cell_type = torch.from_numpy(cell_type[order]).to(device)
        first = np.searchsorted(group, group, side="left")
        self._first = torch.from_numpy(first).to(device)
        self._last = torch.from_numpy(np.searchsorted(group, group, side="right")).to(device)
        self._sequence = torch.from_numpy(corpus.sequence).to(device)
        self._hits = hit_columns(corpus, device)

    def __len__(self) -> int:
        return len(self.region)

    def columns_of(self, view: torch.Tensor) -> torch.Tensor:
        """Return the region rows int64 [B, R] of views int64 [B]; −1 where there is no region."""
        offset = torch.arange(self.columns, device=view.device) - self.columns // 2
        place = view[:, None] + offset
        inside = (place >= self._first[view][:, None]) & (place < self._last[view][:, None])
        return torch.where(inside, self.region[place.clamp(0, len(self) - 1)], -1)

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
        codes = self._sequence[self.region[view]]
        if augment:
            flip = counter_random.uniform(keys, _STREAM_STRAND, 1) < 0.5
            codes = torch.where(flip, reverse_complement(codes), codes)
        focal = self.region[view]
        if shuffled:
            other = counter_random.mix(keys)
            view = counter_random.integers(other, _STREAM_VIEW, len(self))
        columns = self.columns_of(view)
        return Batch(keys, focal, codes, self._hits.dense(columns), columns >= 0)


def reverse_complement(codes: torch.Tensor) -> torch.Tensor:
    """Return the other strand of base codes uint8 [B, length] without padding."""
    flipped = codes.flip(1)
    return torch.where(flipped < 4, 3 - flipped, flipped)
