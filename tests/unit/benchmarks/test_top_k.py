import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_score, recall_score

from genebert.benchmarks.top_k import top_k


@pytest.mark.parametrize(
    ("labels", "scores", "expected"),
    [
        ([1, 1, 0, 0], [0.9, 0.8, 0.2, 0.1], 1.0),
        ([1, 1, 0, 0], [0.9, 0.1, 0.8, 0.2], 0.5),
        ([0, 0, 1], [0.9, 0.8, 0.1], 0.0),
        # k = 3: of the best three (0.9, 0.7, 0.6) two are sites.
        ([1, 2, 0, 1, 1, 0], [0.9, 0.7, 0.1, 0.6, 0.5, 0.2], 2 / 3),
        # Two tie for the one place: the one that is no site gets it.
        ([1, 0], [0.5, 0.5], 0.0),
        # k = 2: one site above; one of the tied three fills the last place, no site.
        ([1, 1, 0, 0], [0.9, 0.5, 0.5, 0.5], 0.5),
        # k = 3 and four tie: the one that is no site first, two sites after it.
        ([1, 1, 1, 0], [0.5, 0.5, 0.5, 0.5], 2 / 3),
        ([1, 1], [0.0, 0.0], 1.0),
    ],
)
def test_hand_worked_cases(labels: list[int], scores: list[float], expected: float) -> None:
    for order in itertools.permutations(range(len(labels))):
        found = top_k(np.array(labels)[list(order)], np.array(scores)[list(order)], 1)
        assert found == pytest.approx(expected)


def test_without_sites_it_is_undefined() -> None:
    assert math.isnan(top_k(np.array([0, 2, 0]), np.array([0.1, 0.2, 0.3]), 1))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 6)), min_size=1, max_size=40))
def test_it_is_the_worst_of_all_orders_of_ties(rows: list[tuple[int, int]]) -> None:
    labels, scores = (np.array(column) for column in zip(*rows, strict=True))
    k = (labels == 2).sum()
    ranked = sorted(rows, key=lambda row: (-row[1], row[0] == 2))
    found = top_k(labels, scores.astype(np.float32), 2)
    if k:
        assert found == pytest.approx(sum(label == 2 for label, _ in ranked[:k]) / k)
    else:
        assert math.isnan(found)


def test_without_ties_it_is_precision_and_recall_where_they_meet() -> None:
    rng = np.random.default_rng(1)
    labels = (rng.random(2000) < 0.03).astype(int)
    scores = rng.permutation(2000) / 2000 + 0.4 * labels
    called = scores >= np.sort(scores)[::-1][labels.sum() - 1]
    found = top_k(labels, scores, 1)
    assert 0.1 < found < 0.9
    assert found == pytest.approx(precision_score(labels, called))
    assert found == pytest.approx(recall_score(labels, called))
