"""Metrics of predictions; every figure in a table comes from here."""

from collections.abc import Mapping

import numpy as np
from sklearn import metrics as sk

# In the order of the table; the first is the one that rows are sorted by.
BINARY = ("auroc", "auprc", "accuracy", "precision", "recall", "f1", "mcc")


def binary_metrics(label: np.ndarray, score: np.ndarray) -> dict[str, float]:
    """Return ``BINARY`` of labels 0/1 and probabilities of class 1; classes are cut at 0.5.

    AUROC and AUPRC are NaN where only one class is present.
    """
    called = (score >= 0.5).astype(int)
    both = len(np.unique(label)) == 2
    return {
        "auroc": float(sk.roc_auc_score(label, score)) if both else float("nan"),
        "auprc": float(sk.average_precision_score(label, score)) if both else float("nan"),
        "accuracy": float(sk.accuracy_score(label, called)),
        "precision": float(sk.precision_score(label, called, zero_division=0)),
        "recall": float(sk.recall_score(label, called, zero_division=0)),
        "f1": float(sk.f1_score(label, called, zero_division=0)),
        "mcc": float(sk.matthews_corrcoef(label, called)),
    }


def mean_over(rows: list[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each metric."""
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
