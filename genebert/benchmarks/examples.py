"""Examples as tensors on a device, from which networks are given batches."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from genebert.benchmarks.answer import Question
from genebert.benchmarks.dataset import Dataset
from genebert.config import Inputs
from genebert.corpus.place import open_corpus
from genebert.corpus.read import Corpus
from genebert.corpus.sample import Rows, matrices

EVALUATION_BATCH = 128


class Examples(Protocol):
    """What networks of one kind see of a dataset."""

    def batch(self, rows: torch.Tensor) -> tuple[Any, ...]:
        """Return the arguments of the network for rows int64 [B]."""


class Sequences:
    """Base codes only.

    Parameters
    ----------
    codes
        uint8 [n, length].
    device
        Where batches are wanted.
    """

    def __init__(self, codes: np.ndarray, device: str) -> None:
        self._codes = Rows(codes, device)

    def batch(self, rows: torch.Tensor) -> tuple[torch.Tensor]:
        """Return codes uint8 [B, length]."""
        return (self._codes.take(rows),)


class Matrices:
    """Base codes, and the matrices around them.

    The focal column is made from the example's own hits, the others are regions of the corpus.

    Parameters
    ----------
    dataset
        Examples.
    motifs
        T.
    corpus
        That the columns are of; None where no example has any.
    device
        Where batches are wanted.
    """

    def __init__(self, dataset: Dataset, motifs: int, corpus: Corpus | None, device: str) -> None:
        assert corpus is not None or (dataset.columns < 0).all()
        self._codes = Rows(dataset.codes, device)
        self._own = Rows(dataset.hits.best(motifs), device)
        self._neighbours = None if corpus is None else Rows(corpus.best, device)
        self._columns = torch.from_numpy(dataset.columns).to(device)

    def batch(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return codes uint8 [B, length], matrices float32 [B, T, R], present columns bool [B, R]."""
        columns = self._columns[rows]
        focal = columns.shape[1] // 2
        own = matrices(self._own, rows[:, None])
        if self._neighbours is None:
            matrix = own.new_zeros((*own.shape[:2], columns.shape[1]))
        else:
            matrix = matrices(self._neighbours, columns)
        matrix[:, :, focal] = own[:, :, 0]
        present = columns >= 0
        present[:, focal] = True
        return self._codes.take(rows), matrix, present


def examples_of(question: Question, inputs: Inputs, dataset: Dataset | None = None) -> Examples:
    """Return what a GeneBERT with some inputs sees; the corpus is read only where columns are seen.

    Parameters
    ----------
    question
        The run.
    inputs
        Of the model.
    dataset
        Other examples than those of the question, such as their alternatives.
    """
    dataset = question.dataset if dataset is None else dataset
    if inputs == "sequence":
        return Sequences(dataset.codes, question.device)
    has_columns = bool((dataset.columns >= 0).any())
    corpus = open_corpus(question.corpus_folder, question.device) if has_columns else None
    return Matrices(dataset, len(question.corpus.motifs), corpus, question.device)


@torch.no_grad()
def in_batches(
    function: Callable[..., torch.Tensor], examples: Examples, rows: np.ndarray, device: str
) -> np.ndarray:
    """Return float32 [len(rows), width], what a function of a batch's arguments gives for rows."""
    assert len(rows), "no rows"
    parts = torch.from_numpy(rows).to(device).split(EVALUATION_BATCH)
    return torch.cat([function(*examples.batch(part)).float() for part in parts]).cpu().numpy()


def probabilities(network: nn.Module, examples: Examples, rows: np.ndarray, device: str) -> np.ndarray:
    """Return float64 [len(rows), classes] of a network that gives logits."""
    logits = in_batches(network.eval(), examples, rows, device)
    return torch.from_numpy(logits).double().softmax(-1).numpy()
