"""Metrics of predictions; every figure in a table comes from here."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from sklearn import metrics as sk

Metric = Callable[[np.ndarray, np.ndarray], float]


def _ranked(metric: Metric) -> Metric:
    """Return the metric of labels and scores; NaN where only one class is present."""
    return lambda label, score: (
        float(metric(label, score)) if len(np.unique(label)) == 2 else float("nan")
    )


def _called(metric: Callable[..., float], **options: Any) -> Metric:
    """Return the metric of labels and classes called at a score of 0.5."""
    return lambda label, score: float(metric(label, (score >= 0.5).astype(int), **options))


# By name, in the order of the table; the first is the one that rows are ranked by. Each takes labels
# 0/1 and probabilities of class 1.
METRICS: dict[str, Metric] = {
    "auroc": _ranked(sk.roc_auc_score),
    "auprc": _ranked(sk.average_precision_score),
    "accuracy": _called(sk.accuracy_score),
    "precision": _called(sk.precision_score, zero_division=0),
    "recall": _called(sk.recall_score, zero_division=0),
    "f1": _called(sk.f1_score, zero_division=0),
    "mcc": _called(sk.matthews_corrcoef),
}
BINARY = tuple(METRICS)


def binary_metrics(label: np.ndarray, score: np.ndarray) -> dict[str, float]:
    """Return every metric of labels 0/1 and probabilities of class 1.

    AUROC and AUPRC are NaN where only one class is present.
    """
    return {name: metric(label, score) for name, metric in METRICS.items()}


def mean_over(rows: list[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each metric."""
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
