"""Answers by a logistic regression: the simple baselines, and probes. No torch: they start at once."""

from collections.abc import Callable
from typing import Any

import numpy as np

from genebert.benchmarks.answer import Answer, Question
from genebert.benchmarks.baselines.features import OF_SEQUENCE, SCORES, features_of, score_of
from genebert.benchmarks.baselines.logistic import Logistic, fit_logistic
from genebert.benchmarks.dataset import Dataset


def answer(question: Question) -> Answer:
    """Answer by one of the baselines of :mod:`genebert.benchmarks.baselines.features`."""
    name, dataset = question.model.name, question.dataset
    if name in SCORES:
        return by_score(question, score_of(name, dataset))
    return by_features(
        question,
        features_of(name, dataset, len(question.corpus.motifs)),
        OF_SEQUENCE.get(name),
    )


def by_features(
    question: Question,
    features: np.ndarray,
    of_codes: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Answer:
    """Answer by a regression on features.

    Parameters
    ----------
    question
        The run.
    features
        float [n, width], a row an example.
    of_codes
        What makes them, where they are of base codes alone.
    """
    model, facts = _fit(question, features)
    rows = held_out(question.dataset)
    return Answer(
        model.predict(features[rows]),
        facts,
        question.dataset.table.iloc[rows],
        None if of_codes is None else lambda codes: model.predict(of_codes(codes)),
    )


def by_score(question: Question, score: np.ndarray) -> Answer:
    """Answer by one number an example, float [n], in its own order.

    It is turned into a probability where that rises with it; where, in training, class 1 has the lower
    scores, it is given as it is.
    """
    model, facts = _fit(question, score[:, None])
    rows = held_out(question.dataset)
    rises = bool(model.weights[1, 0] > model.weights[0, 0])
    own = score[rows]
    return Answer(
        model.predict(own[:, None]) if rises else own.astype(np.float64),
        {**facts, "calibrated": rises},
        question.dataset.table.iloc[rows],
    )


def held_out(dataset: Dataset) -> np.ndarray:
    """Return int64 rows of the examples that are not trained on."""
    return np.flatnonzero(dataset.table["split"].to_numpy() != "train")


def _fit(question: Question, features: np.ndarray) -> tuple[Logistic, dict[str, Any]]:
    dataset = question.dataset
    return fit_logistic(
        features,
        dataset.labels,
        dataset.in_split("train"),
        dataset.in_split("validation"),
        len(dataset.classes),
        question.settings.threads,
    )
