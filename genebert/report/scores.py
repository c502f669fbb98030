"""Curves of test predictions: receiver operating characteristic, precision and recall, calibration."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_curve, roc_curve

from genebert.benchmarks.metrics import scores_of

# Where curves are read: few enough for a page, and the same for every model and seed.
GRID = np.linspace(0, 1, 201)
# A reliability curve has at most so many points, of at least so many examples each.
MOST_BINS, LEAST_EXAMPLES = 10, 20


def mean_roc(tables: Sequence[pd.DataFrame], sites: Sequence[int]) -> np.ndarray:
    """Return float64 [201], the true positive rate at each false positive rate of ``GRID``.

    It is a mean over seeds and, of more than two classes, over classes, each against the rest: the area
    below is the mean of the areas.

    Parameters
    ----------
    tables
        Predictions of one model, a table a seed.
    sites
        Labels that are looked for (:func:`genebert.benchmarks.metrics.site_labels`).
    """
    curves = [roc_curve(is_class, score)[:2] for is_class, score in _each(tables, sites)]
    return np.mean([np.interp(GRID, *curve) for curve in curves], axis=0)


def mean_precision(tables: Sequence[pd.DataFrame], sites: Sequence[int]) -> np.ndarray:
    """Return float64 [201], the precision where each recall of ``GRID`` is first reached.

    Averaged as :func:`mean_roc`; the area below the steps is the mean average precision.
    """
    return np.mean([_precision(*one) for one in _each(tables, sites)], axis=0)


def _precision(is_class: np.ndarray, score: np.ndarray) -> np.ndarray:
    precision, recall, _ = precision_recall_curve(is_class, score)
    # From the highest threshold down, without the point that is put before the first; of a recall of
    # nothing there is no precision.
    precision, recall = precision[-2::-1], recall[-2::-1]
    found = recall > 0
    return precision[found][np.searchsorted(recall[found], GRID - 1e-12)]


def reliability(
    tables: Sequence[pd.DataFrame], sites: Sequence[int]
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return mean predicted probability and observed frequency, each float64 [bins].

    Bins are quantiles of the predictions of all seeds, and of each class against the rest, together.
    Classes weigh alike, as in training: predicted probabilities are those of classes of equal size.
    None where scores are no probabilities.

    Parameters
    ----------
    tables, sites
        As for :func:`mean_roc`.
    """
    if not tables[0]["is_probability"].all():
        return None
    pairs = list(_each(tables, sites))
    truth = np.concatenate([is_class for is_class, _ in pairs])
    probability = np.concatenate([score for _, score in pairs])
    weight = np.concatenate([_class_weights(table, len(sites)) for table in tables])
    bins = int(np.clip(len(tables[0]) // LEAST_EXAMPLES, 1, MOST_BINS))
    edges = np.unique(np.quantile(probability, np.linspace(0, 1, bins + 1)))
    own = np.searchsorted(edges[1:-1], probability, side="right")
    number = np.bincount(own, weight)
    filled = number > 0
    means = [
        np.bincount(own, weight * values)[filled] / number[filled] for values in (probability, truth)
    ]
    return means[0], means[1]


def _class_weights(table: pd.DataFrame, times: int) -> np.ndarray:
    """Return float64 [n × times], inverse to the size of each example's class."""
    labels = table["label"].to_numpy()
    return np.tile(len(labels) / np.bincount(labels)[labels], times)


def _each(tables: Sequence[pd.DataFrame], sites: Sequence[int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return bool [n] and float64 [n], who is of a class and its score, for each seed and class."""
    found = []
    for table in tables:
        labels, scores = table["label"].to_numpy(), scores_of(table)
        for site in sites:
            found.append((labels == site, scores if scores.ndim == 1 else scores[:, site]))
    return found
