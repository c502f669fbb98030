"""k-mer tokens against a plain implementation on strings."""

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert.sequence.codes import encode_all
from genebert.sequence.tokens import KmerTokenizer

SIZES = (1, 3, 4, 5, 6)
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
COMPLEMENT = str.maketrans("ACGTN", "TGCAN")


def naive_tokens(text: str, k: int) -> list[str]:
    kmers = [text[i : i + k] for i in range(len(text) - k + 1)]
    return ["[CLS]", *("[UNK]" if "N" in kmer else kmer for kmer in kmers), "[SEP]"]


def naive_composition(text: str, k: int) -> dict[str, float]:
    kmers = [text[i : i + k] for i in range(len(text) - k + 1)]
    kmers = [kmer for kmer in kmers if "N" not in kmer]
    both = Counter(kmers) + Counter(kmer[::-1].translate(COMPLEMENT) for kmer in kmers)
    return {kmer: count / (2 * len(kmers)) ** 0.5 for kmer, count in both.items()}


def tokens_of(texts: list[str], k: int) -> torch.Tensor:
    return KmerTokenizer(k)(torch.from_numpy(encode_all(texts)))


def dna(k: int) -> st.SearchStrategy[str]:
    return st.text("ACGTACGTN", min_size=k, max_size=k + 20)


@pytest.mark.parametrize("k", SIZES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_tokens_equal_a_plain_walk_over_the_text(k: int, data: st.DataObject) -> None:
    texts = data.draw(st.lists(dna(k), min_size=1, max_size=4))
    vocabulary = KmerTokenizer(k).vocabulary
    ids = tokens_of(texts, k)
    longest = max(map(len, texts)) - k + 3
    assert ids.shape == (len(texts), longest)
    for row, text in zip(ids.tolist(), texts, strict=True):
        expected = naive_tokens(text, k)
        expected += ["[PAD]"] * (longest - len(expected))
        assert [vocabulary[i] for i in row] == expected


@pytest.mark.parametrize("k", SIZES)
def test_vocabulary_is_dnaberts(k: int) -> None:
    kmers = ["".join(kmer) for kmer in itertools.product("ATCG", repeat=k)]
    tokenizer = KmerTokenizer(k)
    assert tokenizer.vocabulary == SPECIAL + kmers
    assert tokenizer.size == 5 + 4**k


def test_first_ids_are_those_of_dnaberts_six_mer_file() -> None:
    names = KmerTokenizer(6).vocabulary
    assert names[5:10] == ["AAAAAA", "AAAAAT", "AAAAAC", "AAAAAG", "AAAATA"]
    assert tokens_of(["AAAAAT"], 6).tolist() == [[2, 6, 3]]


@pytest.mark.parametrize("k", SIZES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_composition_equals_plain_counting_of_both_strands(k: int, data: st.DataObject) -> None:
    texts = data.draw(st.lists(dna(k), min_size=1, max_size=3))
    tokenizer = KmerTokenizer(k)
    found = tokenizer.composition(tokens_of(texts, k)).numpy()
    for row, text in zip(found, texts, strict=True):
        expected = naive_composition(text, k)
        plain = [expected.get(kmer, 0.0) for kmer in tokenizer.vocabulary[len(SPECIAL) :]]
        np.testing.assert_allclose(row, plain, rtol=1e-6)


@pytest.mark.parametrize("k", SIZES)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_composition_is_the_same_for_both_strands(k: int, data: st.DataObject) -> None:
    text = data.draw(dna(k))
    other = text[::-1].translate(COMPLEMENT)
    tokenizer = KmerTokenizer(k)
    left, right = (tokenizer.composition(tokens_of([t], k)) for t in (text, other))
    torch.testing.assert_close(left, right)


def test_composition_of_a_sequence_without_a_kmer_is_zero() -> None:
    tokenizer = KmerTokenizer(3)
    assert not tokenizer.composition(tokens_of(["NNNNN"], 3)).any()
