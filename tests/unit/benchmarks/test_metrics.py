import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from genebert.benchmarks.metrics import (
    BINARY,
    HEADLINE,
    METRICS,
    RANKED,
    binary_metrics,
    chance,
    metrics_by_subset,
    multi_class_metrics,
    parts_of,
    site_labels,
)
from genebert.config import TASKS

SPLICING = ["neither", "donor", "acceptor"]


def test_metrics_agree_with_a_confusion_table_worked_by_hand() -> None:
    # 4 true positives, 1 false negative, 2 false positives, 3 true negatives; 0.5 counts as called.
    label = np.array([1, 1, 1, 1, 1, 0, 0, 0, 0, 0])
    score = np.array([0.9, 0.8, 0.7, 0.5, 0.2, 0.6, 0.55, 0.4, 0.3, 0.1])
    found = binary_metrics(label, score)
    assert tuple(found) == (*BINARY, "brier")
    assert found["accuracy"] == pytest.approx(7 / 10)
    assert found["precision"] == pytest.approx(4 / 6)
    assert found["recall"] == pytest.approx(4 / 5)
    assert found["f1"] == pytest.approx(2 * 4 / (2 * 4 + 2 + 1))
    assert found["mcc"] == pytest.approx((4 * 3 - 2 * 1) / math.sqrt(6 * 5 * 5 * 4))
    # Pairs that a positive wins: 5 + 5 + 5 + 3 + 1 of 25.
    assert found["auroc"] == pytest.approx(19 / 25)
    # Precision at each positive: 1/1, 2/2, 3/3, 4/6, 5/9; each adds a fifth of recall.
    assert found["auprc"] == pytest.approx((1 + 1 + 1 + 4 / 6 + 5 / 9) / 5)
    missed = [0.1, 0.2, 0.3, 0.5, 0.8, 0.6, 0.55, 0.4, 0.3, 0.1]
    assert found["brier"] == pytest.approx(sum(m**2 for m in missed) / 10)
    # Without two of the positives, those left weigh more: classes weigh alike.
    fewer = binary_metrics(label[2:], score[2:])["brier"]
    halves = [sum(m**2 for m in missed[2:5]) / 3, sum(m**2 for m in missed[5:]) / 5]
    assert fewer == pytest.approx(sum(halves) / 2)


scored = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.1, 0.4, 0.5, 0.6, 1.0])),
    min_size=2,
    max_size=30,
)


@given(scored)
def test_metrics_equal_their_definitions(pairs: list[tuple[int, float]]) -> None:
    label, score = (np.array(column) for column in zip(*pairs, strict=True))
    found = binary_metrics(label, score)
    positives, negatives = score[label == 1], score[label == 0]
    if len(positives) and len(negatives):
        wins = (positives[:, None] > negatives).sum() + (positives[:, None] == negatives).sum() / 2
        assert found["auroc"] == pytest.approx(wins / len(positives) / len(negatives))
        precision_gained = sum(
            (score[label == 1] == cut).sum() * label[score >= cut].sum() / (score >= cut).sum()
            for cut in np.unique(score)
        )
        assert found["auprc"] == pytest.approx(precision_gained / len(positives))
    else:
        assert found["auroc"] is None
        assert found["auprc"] is None
    called = score >= 0.5
    tp, fp = (called & (label == 1)).sum(), (called & (label == 0)).sum()
    fn, tn = (~called & (label == 1)).sum(), (~called & (label == 0)).sum()
    assert found["accuracy"] == pytest.approx((tp + tn) / len(label))
    assert found["precision"] == pytest.approx(tp / (tp + fp) if tp + fp else 0)
    assert found["recall"] == pytest.approx(tp / (tp + fn) if tp + fn else 0)
    assert found["f1"] == pytest.approx(2 * tp / (2 * tp + fp + fn) if 2 * tp + fp + fn else 0)
    scale = math.sqrt(float((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)))
    assert found["mcc"] == pytest.approx(float(tp * tn - fp * fn) / scale if scale else 0)


def test_numbers_that_are_no_probabilities_are_ranked_and_nothing_else() -> None:
    label, score = np.array([0, 1, 1, 0]), np.array([-7.0, 3.0, 0.2, 0.1])
    found = binary_metrics(label, score, is_probability=False)
    assert {name: found[name] for name in RANKED} == {"auroc": 1.0, "auprc": 1.0}
    assert all(found[name] is None for name in found if name not in RANKED)
    assert found.keys() == binary_metrics(label, score / 10).keys()


@settings(max_examples=25)
@given(st.integers(0, 1000), st.integers(3, 5))
def test_metrics_of_many_classes_equal_scikit_learns(seed: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(classes, size=30)])
    scores = rng.dirichlet(np.ones(classes), len(labels)).round(1)
    scores /= scores.sum(1, keepdims=True)
    called = scores.argmax(1)
    found = multi_class_metrics(labels, scores, range(classes))
    expected = {
        "auroc": sk.roc_auc_score(labels, scores, multi_class="ovr", average="macro"),
        "auprc": sk.average_precision_score(np.eye(classes)[labels], scores, average="macro"),
        "accuracy": sk.accuracy_score(labels, called),
        "precision": sk.precision_score(labels, called, average="macro", zero_division=0),
        "recall": sk.recall_score(labels, called, average="macro", zero_division=0),
        "f1": sk.f1_score(labels, called, average="macro", zero_division=0),
        "mcc": sk.matthews_corrcoef(labels, called),
    }
    assert found == pytest.approx(expected)


def test_metrics_of_three_classes_worked_by_hand() -> None:
    labels = np.array([0, 0, 1, 1, 2, 2])
    called = np.array([0, 1, 1, 1, 2, 0])
    found = multi_class_metrics(labels, np.eye(3)[called], [0, 1, 2])
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert found["precision"] == pytest.approx((1 / 2 + 2 / 3 + 1) / 3)
    assert found["recall"] == pytest.approx((1 / 2 + 1 + 1 / 2) / 3)
    assert found["f1"] == pytest.approx((1 / 2 + 4 / 5 + 2 / 3) / 3)
    # Right 4, of 6; true 2, 2, 2 and called 2, 3, 1 times.
    assert found["mcc"] == pytest.approx((4 * 6 - 12) / math.sqrt((36 - 12) * (36 - 14)))


def _predictions(labels: list[int], scores: np.ndarray, **columns: object) -> pd.DataFrame:
    table = pd.DataFrame({"label": labels, "split": "test", "subset": "", "cell_type": "any"})
    if scores.ndim == 1:
        table["score"] = scores.astype(np.float32)
    else:
        for label in range(scores.shape[1]):
            table[f"score_{label}"] = scores[:, label].astype(np.float32)
    return table.assign(is_probability=True, **columns)


def test_parts_are_named_and_hold_their_rows() -> None:
    table = _predictions(
        [0, 1] * 5,
        np.linspace(0, 1, 10),
        split=["validation"] * 2 + ["test"] * 4 + ["across"] * 2 + ["train"] * 2,
        subset=["", "", "a", "b", "", "a", "", "", "", ""],
        cell_type=["x"] * 6 + ["z", "y"] + ["x"] * 2,
    )
    rows = {name: part.index.tolist() for name, part in parts_of(table).items()}
    assert rows == {
        "validation": [0, 1],
        "test": [2, 3, 4, 5],
        "test/a": [2, 5],
        "test/b": [3],
        "across/y": [7],
        "across/z": [6],
    }
    assert list(rows) == ["validation", "test", "test/a", "test/b", "across/y", "across/z"]
    found = metrics_by_subset(table, "tfbs", ["unbound", "bound"])
    assert list(found) == list(rows)
    assert (found["test"]["examples"], found["test"]["positives"]) == (4, 2)
    assert found["test/b"]["auroc"] is None
    assert found["test/b"]["accuracy"] == 0.0


def test_splicing_averages_over_sites_and_adds_each() -> None:
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(3, size=60), rng.dirichlet([2, 1, 1], 60)
    found = metrics_by_subset(_predictions(labels.tolist(), scores), "splicing", SPLICING)["test"]
    single = scores.astype(np.float32)
    areas = [sk.average_precision_score(labels == i, single[:, i]) for i in (1, 2)]
    assert [found["auprc_donor"], found["auprc_acceptor"]] == pytest.approx(areas)
    assert found["auprc"] == pytest.approx(np.mean(areas))
    for name, label in (("donor", 1), ("acceptor", 2)):
        k = (labels == label).sum()
        top = np.argsort(-single[:, label])[:k]
        assert found[f"top_k_{name}"] == pytest.approx((labels[top] == label).mean())
        assert found[f"examples_{name}"] == k
    assert set(METRICS) - {"brier"} <= found.keys()


def test_a_part_without_donors_has_no_figure_of_them() -> None:
    scores = np.full((4, 3), 1 / 3)
    found = metrics_by_subset(_predictions([0, 2, 2, 0], scores), "splicing", SPLICING)["test"]
    assert (found["auprc_donor"], found["top_k_donor"], found["auprc"]) == (None, None, None)
    assert found["auprc_acceptor"] == 0.5


def test_chance_is_what_random_scores_get() -> None:
    rng = np.random.default_rng(1)
    labels = (rng.random(20_000) < 0.1).astype(int)
    scores = rng.random(20_000)
    found = binary_metrics(labels, scores)
    for metric in ("auroc", "auprc", "mcc"):
        assert chance(metric, labels) == pytest.approx(found[metric], abs=0.02)
    three = rng.choice(3, 20_000, p=[0.8, 0.15, 0.05])
    sites = site_labels("splicing", SPLICING)
    random = multi_class_metrics(three, rng.dirichlet([1, 1, 1], 20_000), sites)
    assert chance("auprc", three, sites) == pytest.approx(random["auprc"], abs=0.02)


def test_every_type_of_task_has_a_headline_among_the_metrics() -> None:
    assert HEADLINE.keys() == TASKS.keys()
    assert set(HEADLINE.values()) <= set(METRICS)
