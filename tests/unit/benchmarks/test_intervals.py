import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from genebert.benchmarks import intervals
from genebert.benchmarks.intervals import (
    block_of,
    draw_blocks,
    mean_over_seeds,
    percentiles,
    resampled,
)

BLOCK = 1_000_000


def _drawn(blocks: int, seed: int = 0) -> np.ndarray:
    draws = draw_blocks(blocks, seed)
    assert draws is not None
    return draws


def test_a_block_is_a_stretch_of_one_contig() -> None:
    table = pd.DataFrame(
        {"chrom": ["a", "a", "a", "b", "a"], "start": [0, 999_999, BLOCK, 5, 2 * BLOCK - 1]}
    )
    assert block_of(table, BLOCK).tolist() == [0, 0, 1, 2, 1]


def test_an_example_without_a_place_is_its_own_block() -> None:
    table = pd.DataFrame({"chrom": ["", "a", "", "a", "b"], "start": [0, 7, 0, 8, 0]})
    assert block_of(table, BLOCK).tolist() == [0, 1, 2, 1, 3]


@given(st.lists(st.tuples(st.sampled_from(["a", "b", ""]), st.integers(0, 50)), min_size=1, max_size=30))
def test_blocks_are_those_of_plain_python(places: list[tuple[str, int]]) -> None:
    numbers: dict[object, int] = {}
    expected = []
    for row, (chrom, start) in enumerate(places):
        key = (chrom, start // 10) if chrom else row
        expected.append(numbers.setdefault(key, len(numbers)))
    table = pd.DataFrame(places, columns=["chrom", "start"])
    assert block_of(table, 10).tolist() == expected


def test_below_twenty_blocks_nothing_is_drawn() -> None:
    assert draw_blocks(19) is None
    draws = _drawn(20)
    assert draws.shape == (intervals.RESAMPLES, 20)
    assert (draws.sum(1) == 20).all()
    assert np.array_equal(draws, _drawn(20))
    assert not np.array_equal(draws, _drawn(20, seed=1))


def test_each_block_is_drawn_alike_often() -> None:
    draws = _drawn(25)
    assert draws.mean(0) == pytest.approx(1, abs=0.15)
    assert draws.var() == pytest.approx(24 / 25, abs=0.03)  # of a multinomial


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([0, 1, 6]), st.booleans())
def test_areas_of_a_draw_equal_weighted_ones(seed: int, decimals: int, rare: bool) -> None:
    rng = np.random.default_rng(seed)
    labels = (rng.random(120) < (0.05 if rare else 0.5)).astype(int)
    labels[:2] = 0, 1
    scores = (rng.normal(size=120) + labels).round(decimals)
    blocks = rng.integers(30, size=120)
    draws = _drawn(30, seed)[:20]
    oracles: dict[str, Callable[..., float]] = {
        "auroc": sk.roc_auc_score,
        "auprc": sk.average_precision_score,
    }
    for metric, oracle in oracles.items():
        found = resampled(metric, labels, scores, blocks, draws)
        for value, draw in zip(found, draws, strict=True):
            weights = draw[blocks]
            if (weights[labels == 1] > 0).any() and (weights[labels == 0] > 0).any():
                assert value == pytest.approx(oracle(labels, scores, sample_weight=weights))
            else:
                assert math.isnan(value)


def test_areas_do_not_depend_on_how_many_draws_are_worked_on_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    labels, scores, blocks = rng.integers(2, size=80), rng.random(80), np.arange(80) % 20
    whole = {m: resampled(m, labels, scores, blocks, _drawn(20)) for m in ("auroc", "auprc", "mcc")}
    monkeypatch.setattr(intervals, "_AT_ONCE", 300)
    for metric, values in whole.items():
        assert values == pytest.approx(resampled(metric, labels, scores, blocks, _drawn(20)))


@pytest.mark.parametrize("classes", [2, 4])
def test_mcc_of_a_draw_equals_the_weighted_one(classes: int) -> None:
    rng = np.random.default_rng(classes)
    labels, blocks = rng.integers(classes, size=100), rng.integers(20, size=100)
    scores = rng.dirichlet(np.ones(classes), 100)
    called = scores.argmax(1)
    draws = _drawn(20)[:30]
    found = resampled("mcc", labels, scores[:, 1] if classes == 2 else scores, blocks, draws)
    expected = [sk.matthews_corrcoef(labels, called, sample_weight=draw[blocks]) for draw in draws]
    assert found == pytest.approx(np.array(expected))
    assert not resampled("mcc", labels, np.tile(np.eye(classes)[0], (100, 1)), blocks, draws).any()


def test_areas_of_many_classes_are_means_over_sites() -> None:
    rng = np.random.default_rng(5)
    labels, blocks = rng.integers(3, size=90), np.arange(90) % 30
    scores, draws = rng.dirichlet([1, 1, 1], 90), _drawn(30)
    single = [resampled("auprc", labels == i, scores[:, i], blocks, draws) for i in (1, 2)]
    found = resampled("auprc", labels, scores, blocks, draws, sites=(1, 2))
    assert found == pytest.approx(np.mean(single, axis=0))


def test_draws_without_a_class_leave_no_interval() -> None:
    labels, scores = np.zeros(40, int), np.linspace(0, 1, 40)
    labels[0] = 1
    found = resampled("auroc", labels, scores, np.arange(40), _drawn(40))
    assert np.isnan(found).mean() == pytest.approx(math.exp(-1), abs=0.06)
    assert percentiles(found) is None
    mostly = np.concatenate([np.arange(96.0), [np.nan] * 4])
    assert percentiles(mostly) == pytest.approx((95 * 0.025, 95 * 0.975))


def _interval(scores: np.ndarray, labels: np.ndarray, blocks: np.ndarray) -> tuple[float, float]:
    found = percentiles(resampled("auroc", labels, scores, blocks, _drawn(int(blocks.max()) + 1)))
    assert found is not None
    return found


def test_examples_of_one_block_do_not_count_as_independent() -> None:
    rng = np.random.default_rng(2)
    labels = rng.integers(2, size=40)
    scores = rng.normal(size=40) + labels
    low, high = _interval(scores, labels, np.arange(40))
    ten = (np.repeat(scores, 10), np.repeat(labels, 10))
    assert _interval(*ten, np.repeat(np.arange(40), 10)) == pytest.approx((low, high))
    ignored_low, ignored_high = _interval(*ten, np.arange(400))
    assert ignored_high - ignored_low < 0.5 * (high - low)


def test_about_nineteen_of_twenty_intervals_hold_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block shifts its scores, and its positives once more: examples are far from independent."""
    monkeypatch.setattr(intervals, "RESAMPLES", 300)
    rng = np.random.default_rng(4)
    blocks, draws, alone = np.repeat(np.arange(60), 12), _drawn(60), _drawn(720)

    def simulate(number: int) -> tuple[np.ndarray, np.ndarray]:
        own = np.repeat(np.arange(number), 12)
        labels = rng.integers(2, size=len(own))
        shift, gain = rng.normal(0, 0.7, number), rng.normal(1, 1, number)
        return labels, rng.normal(size=len(own)) + shift[own] + gain[own] * labels

    labels, scores = simulate(40_000)
    truth = sk.roc_auc_score(labels, scores)
    held, held_without_blocks = 0, 0
    for _ in range(200):
        labels, scores = simulate(60)
        low, high = percentiles(resampled("auroc", labels, scores, blocks, draws)) or (1, 0)
        held += low <= truth <= high
        low, high = percentiles(resampled("auroc", labels, scores, np.arange(720), alone)) or (1, 0)
        held_without_blocks += low <= truth <= high
    assert 0.90 <= held / 200 <= 0.99
    assert held_without_blocks / 200 < 0.85


def test_seeds_that_differ_widen_the_interval() -> None:
    rng = np.random.default_rng(3)
    good, poor = rng.normal(0.9, 0.01, 1000), rng.normal(0.6, 0.01, 1000)
    assert np.array_equal(mean_over_seeds([good]), good)
    both = mean_over_seeds([good, poor])
    assert both.mean() == pytest.approx(0.75, abs=0.02)
    low, high = percentiles(both) or (0, 0)
    assert (low, high) == pytest.approx((0.6, 0.9), abs=0.03)


def test_the_mean_over_seeds_is_that_of_seeds_drawn_with_replacement() -> None:
    number = np.arange(3.0)
    found = mean_over_seeds([np.full(6000, n) for n in number])
    assert found.mean() == pytest.approx(1, abs=0.03)
    assert found.var() == pytest.approx(number.var() / 3, abs=0.01)
    assert np.array_equal(found, mean_over_seeds([np.full(6000, n) for n in number]))
