"""NPMI against a plain count over texts and all ways to cut a word."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert.sequence.codes import encode_all
from genebert.sequence.npmi import count_ngrams, npmi, pmi
from genebert.sequence.tokens import SPECIAL, KmerTokenizer

SIZES = (3, 4, 5, 6)
COMPLEMENT = str.maketrans("ACGTN", "TGCAN")


def kmers_of(k: int) -> list[str]:
    return KmerTokenizer(k).vocabulary[len(SPECIAL) :]


def naive_counts(texts: list[str], k: int) -> Counter[str]:
    """Count the n-grams of both strands, n = 1 … k."""
    counts: Counter[str] = Counter()
    for text in texts:
        for strand in (text, text[::-1].translate(COMPLEMENT)):
            for n in range(1, k + 1):
                grams = [strand[i : i + n] for i in range(len(strand) - n + 1)]
                counts.update(gram for gram in grams if "N" not in gram)
    return counts


def naive_npmi(texts: list[str], k: int, c: int) -> dict[str, float]:
    counts = naive_counts(texts, k)
    totals: Counter[int] = Counter()
    for gram, count in counts.items():
        totals[len(gram)] += count
    scores = {}
    for word, f in counts.items():
        if len(word) != k or f < c:
            continue
        values = []
        for number in range(1, k):
            for cuts in itertools.combinations(range(1, k), number):
                places = [0, *cuts, k]
                parts = [word[a:b] for a, b in itertools.pairwise(places)]
                apart = math.prod(counts[part] / totals[len(part)] for part in parts)
                values.append(math.log(f / totals[k] / apart))
        scores[word] = min(values) * math.log(f) / (math.log(f) + math.log(c))
    return scores


def repetitive_texts(rng: np.random.Generator, number: int, length: int) -> list[str]:
    """Draw texts of few words, so that some k-mers are much likelier than their parts foretell."""
    words = ["GATTACA", "CACACA", "TTT", "C", "G", "A", "N"]
    shares = [0.2, 0.2, 0.2, 0.13, 0.13, 0.13, 0.01]
    return ["".join(rng.choice(words, size=length, p=shares))[:length] for _ in range(number)]


@pytest.mark.parametrize("k", SIZES)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_counts_are_those_of_a_plain_walk_over_both_strands(k: int, data: st.DataObject) -> None:
    text = st.text("ACGTACGTN", min_size=k, max_size=k + 25)
    texts = data.draw(st.lists(text, min_size=1, max_size=4))
    expected = naive_counts(texts, k)
    for n, counts in enumerate(count_ngrams(encode_all(texts), k), start=1):
        assert counts.tolist() == [expected[kmer] for kmer in kmers_of(n)]


@pytest.mark.parametrize("k", SIZES)
@pytest.mark.parametrize("least", [2, 20])
def test_npmi_and_ranking_are_those_of_a_plain_count(k: int, least: int) -> None:
    texts = repetitive_texts(np.random.default_rng(k), 20, 150)
    expected = naive_npmi(texts, k, least)
    assert 10 < len(expected) < 4**k or k == 3
    found = dict(zip(kmers_of(k), npmi(count_ngrams(encode_all(texts), k), least), strict=True))
    ranked = {kmer: score for kmer, score in found.items() if score > -math.inf}
    assert ranked.keys() == expected.keys()
    for kmer, score in ranked.items():
        assert score == pytest.approx(expected[kmer], abs=1e-9)

    def order(scores: dict[str, float]) -> list[str]:
        return sorted(scores, key=lambda kmer: (-round(scores[kmer], 9), kmer))

    assert order(ranked) == order(expected)


def test_both_strands_score_alike() -> None:
    texts = repetitive_texts(np.random.default_rng(1), 20, 150)
    names = kmers_of(6)
    found = dict(zip(names, npmi(count_ngrams(encode_all(texts), 6), 3), strict=True))
    assert len({score for score in found.values() if score > -math.inf}) > 20
    for name in names:
        assert found[name] == pytest.approx(found[name[::-1].translate(COMPLEMENT)], abs=1e-9)


def test_pmi_of_independent_bases_is_nearly_zero_and_a_planted_word_stands_out() -> None:
    codes = np.random.default_rng(2).integers(0, 4, (2000, 500)).astype(np.uint8)
    codes[:, 100:106] = [2, 0, 3, 3, 0, 1]
    score = pmi(count_ngrams(codes, 6))
    names = kmers_of(6)
    first_two = {names[i] for i in np.argsort(-score)[:2]}
    assert first_two == {"GATTAC", "GTAATC"}
    assert np.quantile(np.abs(score), 0.9) < 0.3


def test_nothing_is_ranked_where_nothing_is_counted_often_enough() -> None:
    scores = npmi(count_ngrams(encode_all(["ACGTACGTNNACG"]), 6))
    assert np.isneginf(scores).all()
