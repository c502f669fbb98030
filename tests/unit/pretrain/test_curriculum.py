"""Which strategy a step uses, and what strategies need."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert.pretrain.curriculum import strategy_at

PERPLEXITY = st.floats(1, 5000)


@pytest.mark.parametrize("masking", ["random_span", "genemask", "global_pmi", "motif"])
def test_what_is_no_curriculum_stays(masking: str) -> None:
    assert {strategy_at(masking, 1, step, 50, [3.0, 3.0]) for step in range(50)} == {masking}


@settings(max_examples=100, deadline=None)
@given(st.lists(PERPLEXITY, max_size=12))
def test_cm_gems_turns_where_perplexity_once_moved_by_less_than_one(perplexities: list[float]) -> None:
    moves = [abs(after - before) for before, after in itertools.pairwise(perplexities)]
    smallest = min(moves, default=10_000.0)
    expected = "global_pmi" if smallest < 1.0 else "genemask"
    assert strategy_at("cm_gems", 0, 7, 100, perplexities) == expected


def test_cm_gems_never_turns_back() -> None:
    perplexities = [900.0, 700.0, 699.5, 400.0, 200.0]
    found = [strategy_at("cm_gems", 0, 0, 10, perplexities[:n]) for n in range(6)]
    assert found == ["genemask"] * 3 + ["global_pmi"] * 3
    assert strategy_at("cm_gems", 0, 0, 10, [10.0, 9.0]) == "genemask"  # a move of 1 is no standstill


def test_cm_step_rises_by_a_hundredth_each_hundredth_of_the_steps() -> None:
    steps = 2000
    hard = [
        [strategy_at("cm_step", seed, step, steps, []) == "global_pmi" for step in range(steps)]
        for seed in range(4)
    ]
    assert not any(any(run[: steps // 100]) for run in hard)  # g is 0 in the first hundredth
    for tenth in range(10):
        rows = slice(tenth * steps // 10, (tenth + 1) * steps // 10)
        share = sum(sum(run[rows]) for run in hard) / (4 * steps / 10)
        assert share == pytest.approx(tenth / 10 + 0.045, abs=0.04)
    assert hard[0] != hard[1]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**40), step=st.integers(0, 399), steps=st.sampled_from([7, 99, 400]))
def test_cm_step_is_a_function_of_seed_and_step(seed: int, step: int, steps: int) -> None:
    step %= steps
    first = strategy_at("cm_step", seed, step, steps, [])
    assert first in {"random_span", "global_pmi"}
    assert strategy_at("cm_step", seed, step, steps, [5.0, 5.0]) == first
