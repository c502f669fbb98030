"""The counter-based generator against SplitMix64 in plain Python integers, and as randomness."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from genebert.counter_random import integers, mix, sample_keys, uniform

WORD = 2**64
ANY_INT64 = st.integers(-(2**63), 2**63 - 1)


def signed(value: int) -> int:
    value %= WORD
    return value - WORD if value >= WORD // 2 else value


def plain_mix(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) % WORD
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB % WORD
    return value ^ (value >> 31)


def plain_key(seed: int, step: int, index: int) -> int:
    return plain_mix(plain_mix(plain_mix(seed % WORD) ^ (step % WORD)) ^ (index % WORD))


def plain_uniform(key: int, stream: int, place: int) -> float:
    return (plain_mix(plain_mix(key % WORD) ^ (place + (stream << 32))) >> 11) / 2**53


@pytest.mark.parametrize(
    ("state", "published"),
    [(0, 0xE220A8397B1DCDAF), (0x9E3779B97F4A7C15, 0x6E789E6AA1B965F4), (1234567, 6457827717110365317)],
)
def test_mix_gives_the_published_outputs_of_splitmix64(state: int, published: int) -> None:
    assert mix(torch.tensor([signed(state)])).item() == signed(published)


@given(st.lists(ANY_INT64, min_size=1, max_size=20))
def test_mix_equals_plain_integers(values: list[int]) -> None:
    found = mix(torch.tensor(values, dtype=torch.int64)).tolist()
    assert found == [signed(plain_mix(v % WORD)) for v in values]


@given(ANY_INT64, st.integers(0, 2**31), st.integers(0, 2**31))
def test_keys_equal_plain_integers(seed: int, step: int, index: int) -> None:
    key = sample_keys(seed, step, torch.tensor([index]))
    assert key.tolist() == [signed(plain_key(seed, step, index))]


@given(ANY_INT64, st.integers(0, 100), st.integers(1, 9))
def test_uniform_equals_plain_integers(key: int, stream: int, count: int) -> None:
    found = uniform(torch.tensor([key], dtype=torch.int64), stream, count)[0].tolist()
    assert found == [plain_uniform(key, stream, place) for place in range(count)]


def test_a_sample_does_not_depend_on_its_batch() -> None:
    whole = uniform(sample_keys(3, 5, torch.arange(64)), 1, 10)
    parts = [uniform(sample_keys(3, 5, part), 1, 10) for part in torch.arange(64).split(7)]
    assert torch.equal(torch.cat(parts), whole)
    assert torch.equal(uniform(sample_keys(3, 5, torch.tensor([40, 2])), 1, 10), whole[[40, 2]])


def test_fewer_numbers_are_the_first_of_more() -> None:
    keys = sample_keys(1, 1, torch.arange(8))
    assert torch.equal(uniform(keys, 2, 5), uniform(keys, 2, 50)[:, :5])


@pytest.mark.parametrize("shape", [(65536, 1), (1, 65536), (256, 256)])
def test_numbers_are_uniform(shape: tuple[int, int]) -> None:
    samples, count = shape
    drawn = uniform(sample_keys(0, 0, torch.arange(samples)), 16, count).numpy().ravel()
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert chisquare(np.bincount((drawn * 64).astype(int), minlength=64)).pvalue > 1e-4


@pytest.mark.parametrize("change", ["seed", "step", "index", "stream", "place"])
def test_neighbouring_counters_give_independent_numbers(change: str) -> None:
    indices = torch.arange(65536)
    keys = sample_keys(7, 3, indices)
    left = uniform(keys, 1, 2)[:, 0]
    right = {
        "seed": lambda: uniform(sample_keys(8, 3, indices), 1, 1)[:, 0],
        "step": lambda: uniform(sample_keys(7, 4, indices), 1, 1)[:, 0],
        "index": lambda: uniform(sample_keys(7, 3, indices + 1), 1, 1)[:, 0],
        "stream": lambda: uniform(keys, 2, 1)[:, 0],
        "place": lambda: uniform(keys, 1, 2)[:, 1],
    }[change]()
    pair = (left * 8).long() * 8 + (right * 8).long()
    assert chisquare(np.bincount(pair.numpy(), minlength=64)).pvalue > 1e-4


@pytest.mark.parametrize("high", [1, 3, 7, 1000])
def test_integers_cover_their_range_evenly(high: int) -> None:
    drawn = integers(sample_keys(2, 9, torch.arange(100_000)), 1, high).numpy()
    counts = np.bincount(drawn, minlength=high)
    assert len(counts) == high
    if high > 1:
        assert chisquare(counts).pvalue > 1e-4
