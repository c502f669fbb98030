"""Fully hidden bases against a walk over tokens and their letters."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert import counter_random
from genebert.sequence.codes import encode_all
from genebert.sequence.hidden_bases import (
    central_token,
    hidden_base_accuracy,
    hidden_bases,
    predicted_base,
)
from genebert.sequence.masking import random_span
from genebert.sequence.tokens import MASK, KmerTokenizer

SIZES = (1, 3, 4, 5, 6)


def shown_of(texts: list[str], k: int, masked: list[list[int]]) -> torch.Tensor:
    """Return ids in which the k-mers that start at these bases are masked."""
    ids = KmerTokenizer(k)(torch.from_numpy(encode_all(texts)))
    for row, starts in zip(ids, masked, strict=True):
        for start in starts:
            row[start + 1] = MASK
    return ids


def walk(text: str, k: int, masked: list[int]) -> list[int]:
    """Return the bases of which every k-mer that covers them is masked."""
    starts = range(len(text) - k + 1)
    return [
        base
        for base in range(len(text))
        if all(start in masked for start in starts if start <= base < start + k)
    ]


@settings(max_examples=60, deadline=None)
@given(data=st.data(), k=st.sampled_from(SIZES))
def test_hidden_bases_are_those_of_a_walk_over_all_tokens(data: st.DataObject, k: int) -> None:
    texts = data.draw(st.lists(st.text("ACGTN", min_size=k, max_size=25), min_size=1, max_size=3))
    masked = []
    for text in texts:
        # What covers an N is no k-mer, and never masked.
        kmers = [i for i in range(len(text) - k + 1) if "N" not in text[i : i + k]]
        share = data.draw(st.floats(0.3, 1))
        masked.append([i for i in kmers if data.draw(st.floats(0, 1)) < share])
    found = hidden_bases(shown_of(texts, k, masked), k)
    assert found.shape == (len(texts), max(map(len, texts)))
    for row, text, starts in zip(found, texts, masked, strict=True):
        assert row.nonzero()[:, 0].tolist() == walk(text, k, starts)


@pytest.mark.parametrize("k", SIZES)
@pytest.mark.parametrize("more", range(4))
def test_a_span_hides_its_central_bases_and_at_an_end_all_up_to_it(k: int, more: int) -> None:
    span, text = k + more, "ACGT" * 10
    inside = hidden_bases(shown_of([text], k, [list(range(8, 8 + span))]), k)
    assert inside.nonzero()[:, 1].tolist() == list(range(8 + k - 1, 8 + span))
    last = len(text) - k
    starts = [list(range(span)), list(range(last + 1 - span, last + 1))]
    left, right = hidden_bases(shown_of([text, text], k, starts), k)
    assert left.nonzero()[:, 0].tolist() == list(range(span))
    assert right.nonzero()[:, 0].tolist() == list(range(len(text) - span, len(text)))


@pytest.mark.parametrize("k", SIZES)
def test_the_central_token_holds_its_base_in_the_middle_or_is_the_nearest_that_can(k: int) -> None:
    for length in range(k, 3 * k + 2):
        tokens = length - k + 1
        place, offset = central_token(torch.arange(length), tokens, k)
        assert ((place >= 1) & (place <= tokens)).all()
        assert (place - 1 + offset == torch.arange(length)).all()
        for base in range(length):
            best = min(
                (abs(base - start - (k - 1) // 2), start)
                for start in range(max(0, base - k + 1), min(base, tokens - 1) + 1)
            )
            assert place[base] - 1 == best[1]


@pytest.mark.parametrize("k", SIZES)
def test_the_predicted_base_is_the_likeliest_over_all_kmers(k: int) -> None:
    tokenizer = KmerTokenizer(k)
    logits = torch.randn(12, tokenizer.size, generator=torch.Generator().manual_seed(k)) * 3
    offset = torch.arange(12) % k
    found = predicted_base(logits, offset, k)
    for row, place, base in zip(logits, offset.tolist(), found.tolist(), strict=True):
        total = dict.fromkeys("ACGT", 0.0)
        for kmer, logit in zip(tokenizer.vocabulary[5:], row[5:].tolist(), strict=True):
            total[kmer[place]] += np.exp(logit)
        assert "ACGT"[base] == max(total, key=total.__getitem__)


def test_no_tokens_give_no_bases() -> None:
    assert predicted_base(torch.zeros(0, 69), torch.zeros(0, dtype=torch.int64), 3).shape == (0,)
    ids = shown_of(["ACGTACGT"], 3, [[]])
    nothing = torch.zeros(ids.shape, dtype=torch.bool)
    codes = torch.from_numpy(encode_all(["ACGTACGT"]))
    assert [int(n) for n in hidden_base_accuracy(torch.zeros(0, 69), nothing, ids, codes, 3)] == [0, 0]


@pytest.mark.parametrize("k", SIZES)
def test_accuracy_counts_the_right_bases_of_a_walk(k: int) -> None:
    rng = np.random.default_rng(k)
    texts = ["".join(rng.choice(list("ACGT"), n)) for n in (60, 60, 47, 30)]
    codes = torch.from_numpy(encode_all(texts))
    tokenizer = KmerTokenizer(k)
    ids = tokenizer(codes)
    keys = counter_random.sample_keys(3, 0, torch.arange(4))
    masked = [random_span(ids, keys + i, k) for i in range(12)]
    shown = torch.cat([m.ids for m in masked])
    chosen = torch.cat([m.chosen for m in masked])
    # The ends, where the central token is not in the middle.
    shown[0, 1 : 2 * k] = shown[1, -2 * k - 1 : -1] = MASK
    chosen |= shown == MASK
    truth = ids.repeat(12, 1)[chosen]
    vocabulary = torch.arange(tokenizer.size)
    noise = torch.randn(len(truth), tokenizer.size, generator=torch.Generator().manual_seed(0))
    logits = (vocabulary == truth[:, None]) * 4.0 + noise
    right, number = hidden_base_accuracy(logits, chosen, shown, codes.repeat(12, 1), k)

    of_token = dict(zip(map(tuple, chosen.nonzero().tolist()), logits, strict=True))
    expected = []
    for sample, text in enumerate(itertools.chain.from_iterable([texts] * 12)):
        starts = [i for i in range(len(text) - k + 1) if shown[sample, i + 1] == MASK]
        for base in walk(text, k, starts):
            start = min(max(base - (k - 1) // 2, 0), len(text) - k)
            total = dict.fromkeys("ACGT", 0.0)
            for kmer, logit in zip(
                tokenizer.vocabulary[5:], of_token[sample, start + 1][5:].tolist(), strict=True
            ):
                total[kmer[base - start]] += np.exp(logit)
            expected.append(max(total, key=total.__getitem__) == text[base])
    assert (int(right), int(number)) == (sum(expected), len(expected))
    assert 0 < sum(expected) < len(expected)
    certain = hidden_base_accuracy(
        logits + 99 * (vocabulary == truth[:, None]), chosen, shown, codes.repeat(12, 1), k
    )
    assert int(certain[0]) == int(certain[1]) == int(number)
