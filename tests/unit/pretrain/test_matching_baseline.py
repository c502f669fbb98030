"""The linear baseline of `matching`."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert.corpus.read import Corpus
from genebert.pretrain.matching_baseline import kmer_counts, linear_top1
from genebert.sequence.codes import encode_all

COMPLEMENT = str.maketrans("ACGT", "TGCA")
GROUP = 16


def number(kmer: str) -> int:
    value = 0
    for base in kmer:
        value = value * 4 + "ACGT".index(base)
    return value


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.text("ACGTACGTN", min_size=6, max_size=30), min_size=1, max_size=4),
    k=st.sampled_from([1, 3, 6]),
)
def test_counts_equal_plain_counting_of_both_strands(texts: list[str], k: int) -> None:
    counts = kmer_counts(encode_all(texts), k)
    assert counts.shape == (len(texts), 4**k)
    for row, text in zip(counts, texts, strict=True):
        kmers = [text[i : i + k] for i in range(len(text) - k + 1)]
        kmers = [kmer for kmer in kmers if "N" not in kmer]
        kmers += [kmer[::-1].translate(COMPLEMENT) for kmer in kmers]
        expected = Counter(map(number, kmers))
        assert {i: row[i] for i in np.flatnonzero(row)} == expected


@pytest.fixture(scope="module")
def corpus(make_corpus: Callable) -> Corpus:
    return make_corpus([("chr1", "train", 400), ("chr1", "validation", 160)], seed=5)


def focal_rows(corpus: Corpus) -> np.ndarray:
    rows = corpus.best.astype(np.float32)
    return (rows - rows.mean(0)) / rows.std(0)


def top1(corpus: Corpus, rows: np.ndarray, focal: np.ndarray | None = None) -> float:
    train = np.flatnonzero(corpus.in_split("train"))
    held_out = np.flatnonzero(corpus.in_split("validation")) if focal is None else focal
    return linear_top1(
        corpus.sequence[train],
        rows[train],
        corpus.sequence[held_out],
        rows[held_out],
        held_out,
        GROUP,
    )


def test_the_planted_signal_is_found(corpus: Corpus) -> None:
    assert top1(corpus, focal_rows(corpus)) > 0.8


@pytest.mark.parametrize("seed", range(3))
def test_permuted_rows_give_chance(corpus: Corpus, seed: int) -> None:
    rows = focal_rows(corpus)
    permuted = rows[np.random.default_rng(seed).permutation(len(rows))]
    assert top1(corpus, permuted) == pytest.approx(1 / GROUP, abs=0.07)


def test_samples_of_the_same_region_are_no_rivals(corpus: Corpus) -> None:
    twice = np.repeat(np.flatnonzero(corpus.in_split("validation")), 2)
    once = np.flatnonzero(corpus.in_split("validation"))
    rows = focal_rows(corpus)
    # With rivals among equals at best one of two could be right.
    assert top1(corpus, rows, twice) >= top1(corpus, rows, once) > 0.8
