"""The Markov chain against counting, and its predictions against all fillings written down."""

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert.sequence.codes import PADDING, encode, encode_all
from genebert.sequence.markov import (
    ORDER,
    MarkovChain,
    fit_markov,
    hidden_probabilities,
    predict_hidden,
)

COMPLEMENT = str.maketrans("ACGT", "TGCA")
WORDS = ["".join(word) for word in itertools.product("ACGT", repeat=ORDER)]


def made_chain(seed: int, weight: float) -> MarkovChain:
    """Return a chain of random preferences, the stronger the smaller the weight."""
    rng = np.random.default_rng(seed)
    start = rng.dirichlet(np.full(len(WORDS), weight)) + 1e-6
    step = rng.dirichlet(np.full(4, weight), len(WORDS)) + 1e-6
    return MarkovChain(start / start.sum(), step / step.sum(1, keepdims=True))


def all_fillings(chain: MarkovChain, codes: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Return [length, 4]: each base's probability, from every filling of what is not known."""
    options = [
        range(4) if covered or code > 3 else [int(code)]
        for code, covered in zip(codes, hidden, strict=True)
    ]
    found = np.zeros((len(codes), 4))
    for filling in itertools.product(*options):
        states = [
            int("".join(map(str, filling[i - ORDER : i])), 4) for i in range(ORDER, len(filling) + 1)
        ]
        weight = chain.start[states[0]]
        for state, base in zip(states, filling[ORDER:], strict=False):
            weight = weight * chain.step[state, base]
        found[np.arange(len(codes)), filling] += weight
    return found / found.sum(1, keepdims=True)


def test_the_chain_is_that_of_counting_both_strands() -> None:
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("ACGT"), 300, p=[0.4, 0.3, 0.2, 0.1])) for _ in range(20)]
    texts[3] = texts[3][:100] + "N" * 7 + texts[3][107:]
    chain = fit_markov(encode_all(part) for part in (texts[:9], texts[9:]))
    counts: Counter[str] = Counter()
    for text in texts:
        for strand in (text, text[::-1].translate(COMPLEMENT)):
            counts.update(strand[i : i + ORDER + 1] for i in range(len(strand) - ORDER))
    total = sum(counts[word + base] + 1 for word in WORDS for base in "ACGT")
    for word, start, step in zip(WORDS, chain.start, chain.step, strict=True):
        after = [counts[word + base] + 1 for base in "ACGT"]
        assert start == pytest.approx(sum(after) / total)
        np.testing.assert_allclose(step, np.array(after) / sum(after))


@settings(max_examples=25, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**32), weight=st.sampled_from([0.1, 1.0]))
def test_probabilities_are_those_of_all_fillings(data: st.DataObject, seed: int, weight: float) -> None:
    chain = made_chain(seed % 5, weight)
    rng = np.random.default_rng(seed)
    lengths = data.draw(st.lists(st.integers(ORDER, 24), min_size=1, max_size=3))
    codes = np.full((len(lengths), max(lengths)), PADDING, np.uint8)
    hidden = np.zeros(codes.shape, bool)
    for row, length in enumerate(lengths):
        codes[row, :length] = rng.integers(0, 4, length)
        covered = rng.choice(length, rng.integers(0, 5), replace=False)
        if data.draw(st.booleans()):  # neighbours rather than here and there
            covered = np.arange(length)[covered.min(initial=0) :][: len(covered)]
        hidden[row, covered] = True
        unknown = rng.choice(length, rng.integers(0, 2), replace=False)
        codes[row, unknown] = 4
        hidden[row, unknown] = False
    found = np.zeros((*codes.shape, 4))
    found[hidden] = hidden_probabilities(chain, codes, hidden)
    for row, length in enumerate(lengths):
        expected = all_fillings(chain, codes[row, :length], hidden[row, :length])
        own = hidden[row, :length]
        np.testing.assert_allclose(found[row, :length][own], expected[own], rtol=1e-7, atol=1e-9)
    likeliest = predict_hidden(chain, codes, hidden)
    assert (likeliest[~hidden] == -1).all()
    assert np.array_equal(likeliest[hidden], found[hidden].argmax(1))


def test_a_sequence_without_any_visible_base_has_the_chains_own_frequencies() -> None:
    chain = made_chain(0, 1.0)
    codes = np.zeros((1, ORDER), np.uint8)
    found = hidden_probabilities(chain, codes, np.ones(codes.shape, bool))
    np.testing.assert_allclose(found[0], chain.start.reshape(4, -1).sum(1))
    np.testing.assert_allclose(found[-1], chain.start.reshape(-1, 4).sum(0))


def test_what_is_hidden_is_not_looked_at() -> None:
    chain, rng = made_chain(1, 0.5), np.random.default_rng(4)
    codes = rng.integers(0, 4, (5, 80)).astype(np.uint8)
    hidden = rng.random(codes.shape) < 0.2
    other = np.where(hidden, rng.integers(0, 4, codes.shape), codes).astype(np.uint8)
    assert not np.array_equal(codes, other)
    found = predict_hidden(chain, codes, hidden)
    assert np.array_equal(found, predict_hidden(chain, other, hidden))
    alone = np.vstack([predict_hidden(chain, codes[i : i + 1], hidden[i : i + 1]) for i in range(5)])
    assert np.array_equal(found, alone)


def test_nothing_hidden_gives_nothing() -> None:
    codes = encode("ACGTNACGTA")[None]
    assert (predict_hidden(made_chain(0, 1.0), codes, np.zeros(codes.shape, bool)) == -1).all()


def test_a_rule_of_the_sequences_is_found_from_both_sides() -> None:
    unit = "ACGGTCA"
    text = unit * 30
    chain = fit_markov([encode_all([text] * 20)])
    codes = encode(text)[None]
    hidden = np.zeros(codes.shape, bool)
    hidden[:, [0, 1, 50, 90, 91, 92, 93, codes.shape[1] - 1]] = True
    assert np.array_equal(predict_hidden(chain, codes, hidden)[hidden], codes[hidden])
