"""Regularised logistic regression on given features: what a linear model makes of them."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import log_softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from genebert.errors import GenebertError

# Of half the squared weights, beside the mean loss of an example; strongest first, the validation split
# chooses.
PENALTIES = (10.0, 1.0, 1e-1, 1e-2, 1e-3, 1e-4)
MAX_ITERATIONS = 1000
_BLOCK = 4096


@dataclass(frozen=True)
class Logistic:
    """A fitted regression.

    Attributes
    ----------
    mean, scale
        float64 [width], by which features are standardised.
    weights, intercept
        float64 [classes, width] and [classes].
    """

    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    intercept: np.ndarray

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Return float64 [n, classes] of features [n, width]."""
        logits = np.empty((len(features), len(self.intercept)))
        with threadpool_limits(1):  # the same bits, however many cores there are
            for start in range(0, len(features), _BLOCK):  # no copy of all of them
                block = (features[start : start + _BLOCK] - self.mean) / self.scale
                logits[start : start + _BLOCK] = block @ self.weights.T + self.intercept
        return logits

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return probabilities float64 [n, classes] of features [n, width]."""
        return np.exp(log_softmax(self.logits(features), axis=1))


def fit_logistic(
    features: np.ndarray,
    labels: np.ndarray,
    train: np.ndarray,
    validation: np.ndarray,
    classes: int,
    threads: int = 1,
) -> tuple[Logistic, dict[str, Any]]:
    """Fit on some rows, classes balanced; choose the penalty on others.

    Parameters
    ----------
    features
        float [n, width].
    labels
        int64 [n].
    train, validation
        int64 rows.
    classes
        Number of classes; one without a training example is given a probability of nearly 0.
    threads
        That algebra may use: the same number gives the same bits.

    Returns
    -------
    model
        With the lowest validation loss, in which classes weigh alike.
    facts
        ``penalty`` chosen, ``validation_loss``.

    Raises
    ------
    GenebertError
        If the training rows have one class only.
    """
    known = np.unique(labels[train])
    if len(known) < 2:
        raise GenebertError(
            "all training examples are of one class", "give the task examples of every class"
        )
    own = labels[validation]
    # By validation's own counts: class shares may differ between splits.
    balance = 1 / np.maximum(np.bincount(own, minlength=classes), 1)
    best: tuple[float, float, Logistic] | None = None
    with threadpool_limits(threads), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        standardised, mean, scale = _standardised(features[train])
        solver = LogisticRegression(class_weight="balanced", warm_start=True, max_iter=MAX_ITERATIONS)
        for penalty in PENALTIES:
            solver.set_params(C=1 / (penalty * len(train)))
            solver.fit(standardised, labels[train])
            model = Logistic(mean, scale, *_of_all_classes(solver, known, classes))
            log_probability = log_softmax(model.logits(features[validation]), axis=1)
            each = -log_probability[np.arange(len(own)), own]
            loss = float(np.average(each, weights=balance[own]))
            if best is None or loss < best[0]:
                best = loss, penalty, model
    assert best is not None
    return best[2], {"penalty": best[1], "validation_loss": best[0]}


def _standardised(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Standardise rows in place; return them, their mean and their standard deviation.

    The last is 1 for a feature that does not vary.
    """
    mean = rows.mean(0, dtype=np.float64)
    rows -= mean.astype(rows.dtype)
    deviation = np.sqrt(np.einsum("ij,ij->j", rows, rows, dtype=np.float64) / len(rows))
    scale = np.where(deviation > 1e-6 * np.abs(mean), deviation, 1)  # less is rounding of the mean
    rows /= scale.astype(rows.dtype)
    return rows, mean, scale


def _of_all_classes(
    solver: LogisticRegression, known: np.ndarray, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return weights [classes, width] and intercepts [classes] for a softmax."""
    weights, intercept = solver.coef_.astype(np.float64), solver.intercept_.astype(np.float64)
    if len(known) == 2:  # one row, for the second against the first
        weights = np.concatenate([np.zeros_like(weights), weights])
        intercept = np.concatenate([[0.0], intercept])
    every = np.zeros((classes, weights.shape[1])), np.full(classes, -30.0)
    every[0][known], every[1][known] = weights, intercept
    return every
