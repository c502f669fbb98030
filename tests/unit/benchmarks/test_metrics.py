import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genebert.benchmarks.metrics import BINARY, binary_metrics, mean_over


def test_metrics_agree_with_a_confusion_table_worked_by_hand() -> None:
    # 4 true positives, 1 false negative, 2 false positives, 3 true negatives; 0.5 counts as called.
    label = np.array([1, 1, 1, 1, 1, 0, 0, 0, 0, 0])
    score = np.array([0.9, 0.8, 0.7, 0.5, 0.2, 0.6, 0.55, 0.4, 0.3, 0.1])
    found = binary_metrics(label, score)
    assert tuple(found) == BINARY
    assert found["accuracy"] == pytest.approx(7 / 10)
    assert found["precision"] == pytest.approx(4 / 6)
    assert found["recall"] == pytest.approx(4 / 5)
    assert found["f1"] == pytest.approx(2 * 4 / (2 * 4 + 2 + 1))
    assert found["mcc"] == pytest.approx((4 * 3 - 2 * 1) / math.sqrt(6 * 5 * 5 * 4))
    # Pairs that a positive wins: 5 + 5 + 5 + 3 + 1 of 25.
    assert found["auroc"] == pytest.approx(19 / 25)
    # Precision at each positive: 1/1, 2/2, 3/3, 4/6, 5/9; each adds a fifth of recall.
    assert found["auprc"] == pytest.approx((1 + 1 + 1 + 4 / 6 + 5 / 9) / 5)


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
        assert math.isnan(found["auroc"])
        assert math.isnan(found["auprc"])
    called = score >= 0.5
    tp, fp = (called & (label == 1)).sum(), (called & (label == 0)).sum()
    fn, tn = (~called & (label == 1)).sum(), (~called & (label == 0)).sum()
    assert found["accuracy"] == pytest.approx((tp + tn) / len(label))
    assert found["precision"] == pytest.approx(tp / (tp + fp) if tp + fp else 0)
    assert found["recall"] == pytest.approx(tp / (tp + fn) if tp + fn else 0)
    assert found["f1"] == pytest.approx(2 * tp / (2 * tp + fp + fn) if 2 * tp + fp + fn else 0)
    scale = math.sqrt(float((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)))
    assert found["mcc"] == pytest.approx(float(tp * tn - fp * fn) / scale if scale else 0)


def test_the_mean_is_taken_metric_by_metric() -> None:
    assert mean_over([{"a": 1.0, "b": 4.0}, {"a": 2.0, "b": 8.0}]) == {"a": 1.5, "b": 6.0}
