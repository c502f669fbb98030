"""Metrics of predictions; every figure in a table comes from here."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from sklearn import metrics as sk

from genebert.benchmarks.top_k import top_k
from genebert.config import TaskType

Value = float | int | None

# By task type, the metric that rows are ranked by. Area under precision and recall where what is looked
# for is rare, or is compared with figures published so; MCC where GUE publishes it.
HEADLINE: dict[TaskType, str] = {
    "promoter": "auroc",
    "tfbs": "auroc",
    "splicing": "auprc",
    "accessibility": "auprc",
    "labelled": "mcc",
    "variants": "auprc",
    "cohort": "auroc",
}
# Need no more than an order; those after them a probability, for they cut at 0.5 or take the likeliest.
RANKED = ("auroc", "auprc")
BINARY = (*RANKED, "accuracy", "precision", "recall", "f1", "mcc")
# In the order of the table; ``brier`` of two classes, the last four of splicing.
SITES = ("donor", "acceptor")
METRICS = (
    *BINARY,
    "brier",
    *(f"auprc_{site}" for site in SITES),
    *(f"top_k_{site}" for site in SITES),
)


def parts_of(predictions: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of each part whose figures are given: named as the keys of ``metrics.json``.

    ``validation``, ``test``, ``test/<subset>``, ``across/<cell type>`` and ``positions``, in this order,
    as far as they have rows.
    """
    split = predictions["split"]
    parts = {"validation": predictions[split == "validation"]}
    test = parts["test"] = predictions[split == "test"]
    for subset in sorted(set(test["subset"]) - {""}):
        parts[f"test/{subset}"] = test[test["subset"] == subset]
    across = predictions[split == "across"]
    for cell_type in sorted(set(across["cell_type"])):
        parts[f"across/{cell_type}"] = across[across["cell_type"] == cell_type]
    parts["positions"] = predictions[split == "positions"]
    return {name: rows for name, rows in parts.items() if len(rows)}


def metrics_by_subset(
    predictions: pd.DataFrame, task_type: TaskType, classes: Sequence[str]
) -> dict[str, dict[str, Value]]:
    """Return every metric of every part of the predictions (:func:`parts_of`).

    Parameters
    ----------
    predictions
        ``label``, ``score`` or ``score_0``, ``score_1``, …, ``is_probability``, ``split``, ``subset``
        and ``cell_type``.
    task_type
        Of the task.
    classes
        Names of the labels.

    Returns
    -------
    dict
        By part: ``examples``; ``positives`` (two classes) or ``examples_<class>``; the metrics. None
        stands for what is undefined: areas where a class has no examples, and what needs probabilities
        where scores are none.
    """
    return {name: _metrics(rows, task_type, classes) for name, rows in parts_of(predictions).items()}


def _metrics(rows: pd.DataFrame, task_type: TaskType, classes: Sequence[str]) -> dict[str, Value]:
    labels, scores = rows["label"].to_numpy(), scores_of(rows)
    is_probability = bool(rows["is_probability"].iloc[0])
    assert (rows["is_probability"] == is_probability).all()
    found: dict[str, Value] = {"examples": len(rows)}
    if len(classes) == 2:
        own = binary_metrics(labels, scores, is_probability)
        found["positives"] = int((labels == 1).sum())
    else:
        assert scores.shape[1] == len(classes), "a score for each class"
        sites = site_labels(task_type, classes)
        own = multi_class_metrics(labels, scores, sites)
        found |= {f"examples_{name}": int((labels == i).sum()) for i, name in enumerate(classes)}
        if task_type == "splicing":
            for label in sites:
                own |= _of_site(labels, scores[:, label], label, classes[label])
    return found | own


def scores_of(rows: pd.DataFrame) -> np.ndarray:
    """Return float64 [n] of two classes (of class 1), or float64 [n, classes] of more."""
    if "score" in rows:
        return rows["score"].to_numpy(np.float64)
    number = sum(name.startswith("score_") for name in rows)
    return rows[[f"score_{label}" for label in range(number)]].to_numpy(np.float64)


def site_labels(task_type: TaskType, classes: Sequence[str]) -> list[int]:
    """Return the labels over which areas are averaged: the second of two, or all of more.

    Of splicing they are donor and acceptor: that a position is *neither* is nothing to look for, and
    its area is near 1 whatever the model.
    """
    if task_type == "splicing":
        return [list(classes).index(site) for site in SITES]
    return [1] if len(classes) == 2 else list(range(len(classes)))


def chance(metric: str, labels: np.ndarray, sites: Sequence[int] = (1,)) -> float:
    """Return what scores drawn at random get: of ``auprc``, the fraction that is to be found.

    Parameters
    ----------
    metric
        One of :data:`HEADLINE`.
    labels
        int [n].
    sites
        The labels over which areas are averaged.
    """
    if metric == "auprc":
        return float(np.mean([(labels == label).mean() for label in sites]))
    return {"auroc": 0.5, "mcc": 0.0}[metric]


def binary_metrics(
    labels: np.ndarray, scores: np.ndarray, is_probability: bool = True
) -> dict[str, Value]:
    """Return every metric of labels 0/1 and the scores of class 1, as scikit-learn defines them.

    Precision, recall, F1 and MCC are 0 where their denominator is.

    Parameters
    ----------
    labels
        int [n].
    scores
        float [n]: probabilities, or any numbers that are larger where class 1 is likelier.
    is_probability
        Which of them; a probability of 0.5 calls class 1.
    """
    found: dict[str, Value] = {
        "auroc": _area(sk.roc_auc_score, labels == 1, scores),
        "auprc": _area(sk.average_precision_score, labels == 1, scores),
    }
    if not is_probability:
        return found | dict.fromkeys((*BINARY[2:], "brier"))
    called = (scores >= 0.5).astype(np.int64)
    return found | {
        "accuracy": float(sk.accuracy_score(labels, called)),
        "precision": float(sk.precision_score(labels, called, zero_division=0)),
        "recall": float(sk.recall_score(labels, called, zero_division=0)),
        "f1": float(sk.f1_score(labels, called, zero_division=0)),
        "mcc": _mcc(labels, called),
        # Probabilities are those of classes of equal size, as all models are trained: so is their score.
        "brier": float(np.average((scores - labels) ** 2, weights=1 / np.bincount(labels)[labels])),
    }


def multi_class_metrics(
    labels: np.ndarray, scores: np.ndarray, sites: Sequence[int]
) -> dict[str, Value]:
    """Return the metrics of more than two classes; those of a class are averaged over classes.

    Parameters
    ----------
    labels
        int [n].
    scores
        float [n, classes], probabilities; the likeliest class is called.
    sites
        Labels over which the areas, one against the rest, are averaged.
    """
    called = scores.argmax(1)
    macro = {"labels": list(range(scores.shape[1])), "average": "macro", "zero_division": 0}
    return {
        "auroc": _mean_area(sk.roc_auc_score, labels, scores, sites),
        "auprc": _mean_area(sk.average_precision_score, labels, scores, sites),
        "accuracy": float(sk.accuracy_score(labels, called)),
        "precision": float(sk.precision_score(labels, called, **macro)),
        "recall": float(sk.recall_score(labels, called, **macro)),
        "f1": float(sk.f1_score(labels, called, **macro)),
        "mcc": _mcc(labels, called),
    }


def _of_site(labels: np.ndarray, scores: np.ndarray, label: int, name: str) -> dict[str, Value]:
    present = bool((labels == label).any())
    return {
        f"auprc_{name}": _area(sk.average_precision_score, labels == label, scores),
        f"top_k_{name}": float(top_k(labels, scores, label)) if present else None,
    }


def _area(metric: Callable[..., float], is_class: np.ndarray, scores: np.ndarray) -> float | None:
    """Return an area; None where all or none are of the class."""
    return None if is_class.all() or not is_class.any() else float(metric(is_class, scores))


def _mcc(labels: np.ndarray, called: np.ndarray) -> float:
    # Of a single class scikit-learn says 0 as well, after a warning.
    single = (labels == labels[0]).all() and (called == labels[0]).all()
    return 0.0 if single else float(sk.matthews_corrcoef(labels, called))


def _mean_area(
    metric: Callable[..., float], labels: np.ndarray, scores: np.ndarray, sites: Sequence[int]
) -> float | None:
    areas = [_area(metric, labels == label, scores[:, label]) for label in sites]
    return None if None in areas else float(np.mean([area for area in areas if area is not None]))
