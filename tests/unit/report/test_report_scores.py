"""Curves of predictions, against scikit-learn and counting."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, roc_auc_score

from genebert.report.scores import GRID, mean_precision, mean_roc, reliability


def table(labels: np.ndarray, scores: np.ndarray, probability: bool = True) -> pd.DataFrame:
    rows = pd.DataFrame({"label": labels, "is_probability": probability})
    if scores.ndim == 1:
        return rows.assign(score=scores)
    return rows.assign(**{f"score_{i}": column for i, column in enumerate(scores.T)})


def drawn(seed: int, number: int = 400, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(number) % classes
    powers = np.exp(np.eye(classes)[labels] + rng.normal(size=(number, classes)))
    scores = powers / powers.sum(1, keepdims=True)
    return labels, scores[:, 1] if classes == 2 else scores


def step_area(values: np.ndarray) -> float:
    """Each value holds from the grid's point before it."""
    return float(values[1:].mean())


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), steps=st.sampled_from([5, 50, 10_000]))
def test_areas_are_those_of_scikit_learn(seed: int, steps: int) -> None:
    labels, scores = drawn(seed)
    scores = np.round(scores * steps) / steps  # ties
    one = [table(labels, scores)]
    area = float(np.trapezoid(mean_roc(one, [1]), GRID))
    assert area == pytest.approx(roc_auc_score(labels, scores), abs=0.01)
    precision = step_area(mean_precision(one, [1]))
    assert precision == pytest.approx(average_precision_score(labels, scores), abs=0.01)


def test_a_curve_is_read_where_it_is_reached() -> None:
    # From the top: right, wrong, right, wrong. Recall 0.5 at precision 1, recall 1 at 2/3.
    one = [table(np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.1]))]
    precision = mean_precision(one, [1])
    assert (precision[GRID <= 0.5] == 1).all()
    assert precision[GRID > 0.5] == pytest.approx(2 / 3)
    roc = mean_roc(one, [1])
    assert roc[0] == 0.5 and roc[-1] == 1 and roc[GRID == 0.5] == 1


def test_seeds_and_classes_are_averaged() -> None:
    tables = [table(*drawn(seed, 300, classes=3)) for seed in (1, 2)]
    found = mean_roc(tables, [0, 2])
    singles = [mean_roc([one], [site]) for one in tables for site in (0, 2)]
    assert found == pytest.approx(np.mean(singles, axis=0))
    areas = [
        roc_auc_score(one["label"] == site, one[f"score_{site}"]) for one in tables for site in (0, 2)
    ]
    assert np.trapezoid(found, GRID) == pytest.approx(np.mean(areas), abs=0.01)


def test_reliability_of_classes_of_equal_size_equals_scikit_learn() -> None:
    labels, scores = drawn(3, 1000)
    kept = np.concatenate([np.flatnonzero(labels == label)[:300] for label in (0, 1)])
    labels, scores = labels[kept], scores[kept]
    found = reliability([table(labels, scores)], [1])
    assert found is not None
    observed, predicted = calibration_curve(labels, scores, n_bins=10, strategy="quantile")
    assert found[0] == pytest.approx(predicted) and found[1] == pytest.approx(observed)


def test_equal_probabilities_are_one_point() -> None:
    found = reliability([table(np.array([0, 1] * 50), np.full(100, 0.3))], [1])
    assert found is not None
    assert found[0] == pytest.approx([0.3]) and found[1] == pytest.approx([0.5])


def test_classes_weigh_alike_in_reliability() -> None:
    # In either half of the scores half of the 10 cases and half of the 40 others: by weight as many.
    labels = np.repeat([0, 1], [40, 10])
    scores = np.concatenate([np.tile([0.2, 0.7], 20), np.tile([0.2, 0.7], 5)])
    found = reliability([table(labels, scores)], [1])
    assert found is not None
    assert found[0] == pytest.approx([0.2, 0.7]) and found[1] == pytest.approx([0.5, 0.5])


def test_scores_that_are_no_probabilities_have_no_reliability() -> None:
    labels, scores = drawn(0)
    assert reliability([table(labels, scores - 3, probability=False)], [1]) is None
