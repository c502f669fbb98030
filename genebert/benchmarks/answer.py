"""What a model is asked and what it answers: the two types between tasks and models."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from genebert.benchmarks.dataset import Dataset
from genebert.config import Finetune, ModelName
from genebert.corpus.schema import Metadata


@dataclass(frozen=True)
class Question:
    """One run: a task, a model and a seed.

    Attributes
    ----------
    dataset
        The task's examples.
    companion
        What the task keeps beside them: genes of ``splicing``, individuals of ``cohort``; else None.
    corpus_folder, corpus
        The regions that columns come from, and the metadata of their corpus.
    model
        Whose answer is wanted.
    weights
        Folder of the pre-trained model that it starts from, if any.
    settings
        Of fine-tuning.
    seed
        Decides every draw.
    device
        That a network computes on.
    """

    dataset: Dataset
    companion: Path | None
    corpus_folder: Path
    corpus: Metadata
    model: ModelName
    weights: Path | None
    settings: Finetune
    seed: int
    device: str


@dataclass(frozen=True)
class Answer:
    """Scores, a row an example.

    Attributes
    ----------
    scores
        float64 [n, classes], probabilities; or float64 [n], any number that is larger where class 1 is
        likelier.
    facts
        How it came about, kept with the run: chosen settings, epochs, validation loss.
    table
        DataFrame [n] of what the rows are (the flat columns of a dataset), where they are not those of
        the dataset.
    of_sequences
        Where the model looks at nothing but sequence: uint8 [n, length] base codes -> float64
        [n, classes], with what was learned.
    """

    scores: np.ndarray
    facts: dict[str, Any] = field(default_factory=dict)
    table: pd.DataFrame | None = None
    of_sequences: Callable[[np.ndarray], np.ndarray] | None = None
