"""Probabilities out of fold: a regularised logistic regression whose penalty other folds choose."""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from genebert.benchmarks.baselines.logistic import MAX_ITERATIONS, PENALTIES
from genebert.errors import GenebertError


def out_of_fold(
    features: np.ndarray, labels: np.ndarray, folds: np.ndarray, where: str, threads: int = 1
) -> tuple[np.ndarray, dict[str, Any]]:
    """Predict each fold by a regression on the others.

    Features are standardised by training rows, classes balanced. Of the folds that a fit may see, each
    is held out in turn to choose the penalty; where nothing to learn from is left, it is the strongest.
    A lighter one is tried as long as the loss falls.

    Parameters
    ----------
    features
        float [n, width].
    labels
        int64 [n], 0 or 1.
    folds
        int [n].
    where
        The task's key, for messages.
    threads
        That algebra may use: the same number gives the same bits.

    Returns
    -------
    probability
        float64 [n, 2].
    facts
        ``penalties`` chosen, in order of folds.

    Raises
    ------
    GenebertError
        If what a fold is to be predicted by lacks a class.
    """
    positive = np.full(len(labels), np.nan)
    penalties = []
    with threadpool_limits(threads), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for fold in np.unique(folds):
            train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            if not _has_both(labels[train]):
                missing = 1 - labels[train].max(initial=0)
                raise GenebertError(
                    f"without fold {fold} there is nothing of class {missing} to learn from",
                    "use fewer `folds`, or give variants of each class in more places",
                    where,
                )
            best = _choose(features, labels, folds, train)
            penalties.append(PENALTIES[best])
            # The numbers come first: where they end, no lighter penalty is tried for nothing.
            path = _path(features[train], labels[train], features[test])
            for _, logits in zip(range(best + 1), path, strict=False):
                positive[test] = expit(logits)
    assert np.isfinite(positive).all(), "each example is held out once"
    return np.column_stack([1 - positive, positive]), {"penalties": penalties}


def _choose(features: np.ndarray, labels: np.ndarray, folds: np.ndarray, rows: np.ndarray) -> int:
    """Return which of PENALTIES, strongest first until a loss rises, does best on the folds of ``rows``.

    The loss is that of all of them, each predicted by the others, classes balanced.
    """
    weight = len(rows) / (2 * np.bincount(labels[rows], minlength=2))
    paths, held_out = [], []
    for fold in np.unique(folds[rows]):
        learn, held = rows[folds[rows] != fold], rows[folds[rows] == fold]
        if _has_both(labels[learn]):
            paths.append(_path(features[learn], labels[learn], features[held]))
            held_out.append(held)
    if not paths:
        return 0
    own = labels[np.concatenate(held_out)]
    best = np.inf
    for number, logits in enumerate(zip(*paths, strict=True)):
        each = np.logaddexp(0, (1 - 2 * own) * np.concatenate(logits))
        loss = float((weight[own] * each).sum())
        if loss >= best:
            return number - 1
        best = loss
    return len(PENALTIES) - 1


def _path(features: np.ndarray, labels: np.ndarray, others: np.ndarray) -> Iterator[np.ndarray]:
    """Yield log-odds float64 of other rows by fits of rising freedom, a fit a penalty."""
    scaler = StandardScaler().fit(features)
    own, other = (scaler.transform(rows).astype(np.float32) for rows in (features, others))
    solver = LogisticRegression(class_weight="balanced", warm_start=True, max_iter=MAX_ITERATIONS)
    for penalty in PENALTIES:
        solver.set_params(C=1 / (penalty * len(labels)))
        yield solver.fit(own, labels).decision_function(other).astype(np.float64)


def _has_both(labels: np.ndarray) -> bool:
    return bool((labels == 0).any() and (labels == 1).any())
