"""Corpus statistics that a model carries: of training regions only, open in a cell type in use."""

from collections.abc import Iterator

import numpy as np
import torch

from genebert.corpus.read import Corpus
from genebert.corpus.scores import STEPS
from genebert.model.genebert import GeneBERT

_BLOCK = 1024


def row_statistics(corpus: Corpus) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each motif over training views, float32 [T].

    A region counts once for each cell type that it is open in: so often it is drawn. A motif without
    spread gets the standard deviation 1.
    """
    total = np.zeros(len(corpus.metadata.motifs))
    squares = np.zeros_like(total)
    training = np.flatnonzero(corpus.viewed("train"))
    views = np.diff(corpus.open_offsets)
    for rows in _blocks(training):
        # Whole numbers: exact in float64, whatever their order.
        steps = corpus.best[rows].astype(np.float64)
        total += views[rows] @ steps
        squares += views[rows] @ steps**2
    n = max(int(views[training].sum()), 1)
    mean = total / STEPS / n
    variance = squares / STEPS**2 / n - mean**2
    std = np.sqrt(np.clip(variance, 0, None))
    return mean.astype(np.float32), np.where(std > 1e-6, std, 1).astype(np.float32)


def mean_composition(model: GeneBERT, corpus: Corpus) -> torch.Tensor:
    """Return the mean k-mer composition of the training regions, float32 [4^k]."""
    training = np.flatnonzero(corpus.viewed("train"))
    parts = []
    for rows in _blocks(training):
        ids = model.tokenizer(torch.from_numpy(corpus.sequence[rows]))
        parts.append(model.tokenizer.composition(ids).sum(0))
    return torch.stack(parts).sum(0) / len(training)


def _blocks(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Cut row numbers into blocks: a corpus mapped from files is never whole in memory."""
    return (rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK))
