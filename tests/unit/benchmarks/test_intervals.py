import math

import numpy as np
import pandas as pd
import pytest

from genebert.benchmarks import intervals
from genebert.benchmarks.intervals import block_of, interval

BLOCK = 1_000_000


def _predictions(right: np.ndarray, blocks: np.ndarray) -> pd.DataFrame:
    """Predictions of which `right` are correct, with an example of each label in turn."""
    label = np.arange(len(right)) % 2
    score = np.where(right == 1, label, 1 - label).astype(float)
    start = blocks * BLOCK + np.arange(len(right))
    return pd.DataFrame({"chrom": "chr1", "start": start, "label": label, "score": score})


def test_below_twenty_blocks_there_is_no_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "RESAMPLES", 20)
    right = np.random.default_rng(0).integers(2, size=80)
    assert interval([_predictions(right, np.arange(80) % 19)], "accuracy", BLOCK) is None
    assert interval([_predictions(right, np.arange(80) % 20)], "accuracy", BLOCK) is not None


def test_a_block_is_a_stretch_of_one_contig() -> None:
    table = pd.DataFrame(
        {"chrom": ["a", "a", "a", "b", "a"], "start": [0, 999_999, BLOCK, 5, 2 * BLOCK - 1]}
    )
    assert block_of(table, BLOCK).tolist() == [0, 0, 1, 2, 1]


def test_the_width_is_that_of_theory_for_independent_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "RESAMPLES", 300)
    right = (np.random.default_rng(1).random(400) < 0.8).astype(int)
    low, high = interval([_predictions(right, np.arange(400))], "accuracy", BLOCK) or (0, 0)
    share = right.mean()
    width = 2 * 1.96 * math.sqrt(share * (1 - share) / 400)
    assert low < share < high
    assert high - low == pytest.approx(width, rel=0.15)


def test_examples_of_one_block_do_not_count_as_independent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "RESAMPLES", 200)
    by_block = (np.random.default_rng(2).random(40) < 0.7).astype(int)
    right, blocks = np.repeat(by_block, 10), np.repeat(np.arange(40), 10)
    low, high = interval([_predictions(right, blocks)], "accuracy", BLOCK) or (0, 0)
    width = 2 * 1.96 * math.sqrt(by_block.mean() * (1 - by_block.mean()) / 40)
    assert high - low == pytest.approx(width, rel=0.25)  # not a third of it, as 400 would give


def test_seeds_that_differ_widen_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "RESAMPLES", 80)
    rng = np.random.default_rng(3)
    runs = [_predictions((rng.random(400) < share).astype(int), np.arange(400)) for share in (0.6, 0.9)]
    low, high = interval(runs, "accuracy", BLOCK) or (0, 0)
    alone_low, alone_high = interval(runs[:1], "accuracy", BLOCK) or (0, 0)
    assert low < 0.65
    assert high > 0.85
    assert high - low > 2 * (alone_high - alone_low)


def test_about_nineteen_of_twenty_intervals_hold_the_truth(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intervals, "RESAMPLES", 40)
    rng = np.random.default_rng(4)
    held, runs = 0, 20
    for _ in range(runs):
        share_of_block = np.clip(rng.normal(0.8, 0.05, 30), 0, 1)
        right = (rng.random(180) < np.repeat(share_of_block, 6)).astype(int)
        low, high = interval([_predictions(right, np.repeat(np.arange(30), 6))], "accuracy", BLOCK)
        held += low <= 0.8 <= high
    assert 17 <= held <= 20


def test_an_interval_is_the_same_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "RESAMPLES", 50)
    right = np.random.default_rng(5).integers(2, size=60)
    table = _predictions(right, np.arange(60) % 30)
    assert interval([table], "auroc", BLOCK) == interval([table], "auroc", BLOCK)
    assert interval([table], "auroc", BLOCK) != interval([table], "auroc", BLOCK, seed=1)
