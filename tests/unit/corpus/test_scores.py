import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert.corpus.scores import add_best, from_steps, steps_of_stored, to_steps

ALL = np.arange(0x3C01, dtype=np.uint16).view(np.float16)  # every float16 from 0 to 1


def test_a_kept_score_is_never_above_the_scanned_one_and_less_than_a_step_below() -> None:
    kept = from_steps(to_steps(ALL)).astype(float)
    true = ALL.astype(float)
    above = true >= 1 / 128  # a lower one is kept as the lowest that is still a hit
    assert (kept[above] <= true[above]).all()
    assert (true - kept < 1 / 128).all()
    assert (kept[~above] == 1 / 128).all()
    assert true[kept == 1].tolist() == [1]
    assert (np.diff(kept) >= 0).all(), "order is kept"


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 128), st.sampled_from([np.float64, np.float32, np.float16]))
def test_the_very_next_number_below_a_step_is_kept_as_the_step_below(step: int, kind: type) -> None:
    at = np.array([step / 128], kind)
    assert to_steps(at) == step
    assert to_steps(np.nextafter(at, kind(0))) == max(step - 1, 1)


def test_kept_scores_are_exact_in_half_precision() -> None:
    steps = np.arange(1, 129, dtype=np.uint8)
    stored = from_steps(steps).astype(np.float16)
    assert (stored.astype(float) * 128 == steps).all()
    assert (to_steps(stored) == steps).all()
    assert (steps_of_stored(stored) == steps).all()


def test_looking_bits_up_equals_counting() -> None:
    assert (steps_of_stored(ALL) == to_steps(ALL)).all()


@pytest.mark.parametrize("score", [1.001, 2.0, -0.5, -0.0, np.inf, np.nan])
def test_what_is_no_score_is_not_looked_up(score: float) -> None:
    with pytest.raises(IndexError):
        steps_of_stored(np.array([0.5, score], np.float16))


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_sparse_to_dense_and_back(data: st.DataObject) -> None:
    """The best of each cell and nothing else, in whatever order hits come, past a block of rows."""
    rows, motifs = data.draw(st.sampled_from([1, 3, 700])), data.draw(st.integers(1, 9))
    hit = st.tuples(st.integers(0, rows - 1), st.integers(0, motifs - 1), st.integers(1, 128))
    hits = sorted(data.draw(st.lists(hit, max_size=40)), key=lambda found: found[0])
    best = np.zeros((rows, motifs), np.uint8)
    row, motif, steps = (np.array([found[i] for found in hits], int) for i in range(3))
    add_best(best, np.bincount(row, minlength=rows), motif.astype(np.uint16), steps.astype(np.uint8))
    expected: dict[tuple[int, int], int] = {}
    for where_row, where_motif, score in hits:
        key = (where_row, where_motif)
        expected[key] = max(score, expected.get(key, 0))
    back = {(int(r), int(m)): int(best[r, m]) for r, m in zip(*best.nonzero(), strict=True)}
    assert back == expected
