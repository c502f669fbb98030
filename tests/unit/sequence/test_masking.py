"""Span masking: its spans, its fates and what it depends on."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert import counter_random
from genebert.sequence import masking
from genebert.sequence.codes import encode_all
from genebert.sequence.masking import random_span
from genebert.sequence.tokens import MASK, KmerTokenizer

SIZES = (1, 3, 4, 5, 6)
FIRST_KMER = 5


def random_ids(k: int, batch: int, length: int, seed: int = 0) -> torch.Tensor:
    codes = np.random.default_rng(seed).integers(0, 4, (batch, length + k - 1)).astype(np.uint8)
    return KmerTokenizer(k)(torch.from_numpy(codes))


def keys_of(batch: int, seed: int = 1) -> torch.Tensor:
    return counter_random.sample_keys(seed, 0, torch.arange(batch))


def runs(chosen: np.ndarray) -> list[tuple[int, int]]:
    """Return (start, end) of the runs of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], chosen.astype(int), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def isolated(chosen: np.ndarray, k: int) -> list[slice]:
    """Return spans that neither overlap others nor are cut by [CLS] or [SEP]."""
    last = len(chosen) - 1
    return [slice(a, b) for a, b in runs(chosen) if b - a == k and a > k and b < last - k]


def naive_span(ids: list[int], centres: list[bool], fates: list[float], k: int) -> list[str]:
    """Name each token's fate, by a walk over the centres from left to right."""
    fate = ["seen"] * len(ids)
    for centre, drawn in enumerate(centres):
        if not drawn or ids[centre] < FIRST_KMER:
            continue
        start = centre - (k - 1) // 2
        for token in range(max(start, 0), min(start + k, len(ids))):
            if ids[token] >= FIRST_KMER:
                roll = fates[centre]
                fate[token] = "mask" if roll < 0.8 else "random" if roll < 0.9 else "kept"
    return fate


@pytest.mark.parametrize("k", SIZES)
def test_masking_equals_a_plain_walk_over_its_centres(k: int) -> None:
    ids = random_ids(k, 30, 90)
    keys = keys_of(30)
    masked = random_span(ids, keys, k)
    centres = counter_random.uniform(keys, masking._STREAM_CENTRE, ids.shape[1]) < 0.15 / k
    fates = counter_random.uniform(keys, masking._STREAM_FATE, ids.shape[1])
    for row in range(30):
        expected = naive_span(ids[row].tolist(), centres[row].tolist(), fates[row].tolist(), k)
        assert masked.chosen[row].tolist() == [fate != "seen" for fate in expected]
        for fate, before, after in zip(
            expected, ids[row].tolist(), masked.ids[row].tolist(), strict=True
        ):
            if fate == "random":
                assert FIRST_KMER <= after < FIRST_KMER + 4**k
            else:
                assert after == (MASK if fate == "mask" else before)


@pytest.mark.parametrize("k", SIZES)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(-(2**63), 2**63 - 1), length=st.integers(10, 120))
def test_no_run_of_hidden_tokens_is_shorter_than_a_span(k: int, seed: int, length: int) -> None:
    ids = random_ids(k, 4, length)
    for row in random_span(ids, keys_of(4, seed), k).chosen.numpy():
        for start, end in runs(row):
            cut = start == 1 or end == len(row) - 1
            assert cut or end - start >= k


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**40), k=st.sampled_from(SIZES), cut=st.integers(0, 30))
def test_special_tokens_are_never_chosen_nor_changed(seed: int, k: int, cut: int) -> None:
    rng = np.random.default_rng(seed)
    texts = ["".join(rng.choice(list("ACGTN"), size=40)), "ACGT" * 10, "ACGTAC" + "A" * cut]
    ids = KmerTokenizer(k)(torch.from_numpy(encode_all(texts)))
    masked = random_span(ids, keys_of(3, seed), k)
    special = ids < FIRST_KMER
    assert not (masked.chosen & special).any()
    assert torch.equal(masked.ids[special], ids[special])


@pytest.mark.parametrize("k", SIZES)
def test_tokens_that_are_not_chosen_stay(k: int) -> None:
    ids = random_ids(k, 50, 100)
    masked = random_span(ids, keys_of(50), k)
    assert torch.equal(masked.ids[~masked.chosen], ids[~masked.chosen])


@pytest.mark.parametrize("k", SIZES)
def test_realised_fraction_is_that_of_spans_which_may_overlap(k: int) -> None:
    chosen = random_span(random_ids(k, 400, 500), keys_of(400), k).chosen
    inner = chosen[:, 10:-10].float().mean().item()
    assert inner == pytest.approx(1 - (1 - 0.15 / k) ** k, rel=0.03)


@pytest.mark.parametrize("k", SIZES[1:])
def test_an_isolated_span_shares_one_fate_at_80_10_10(k: int) -> None:
    ids = random_ids(k, 400, 300)
    masked = random_span(ids, keys_of(400), k)
    counts = {"mask": 0, "kept": 0, "random": 0}
    for before, after, chosen in zip(ids.numpy(), masked.ids.numpy(), masked.chosen, strict=True):
        for span in isolated(chosen.numpy(), k):
            hidden = after[span] == MASK
            assert hidden.all() or not hidden.any()
            same = (after[span] == before[span]).all()
            counts["mask" if hidden.all() else "kept" if same else "random"] += 1
    total = sum(counts.values())
    assert total > 1000
    shares = [counts[name] / total for name in ("mask", "random", "kept")]
    np.testing.assert_allclose(shares, [0.8, 0.1, 0.1], atol=0.03)


def test_single_bases_are_masked_kept_or_replaced_at_80_10_10() -> None:
    ids = random_ids(1, 400, 300)
    masked = random_span(ids, keys_of(400), 1)
    before, after = ids[masked.chosen], masked.ids[masked.chosen]
    same = (before == after).float().mean().item()
    assert (after == MASK).float().mean().item() == pytest.approx(0.8, abs=0.02)
    assert same == pytest.approx(0.1 + 0.1 / 4, abs=0.02)  # a random base is the same one in four


@pytest.mark.parametrize("k", SIZES[1:])
def test_an_isolated_span_hides_exactly_its_central_base(k: int) -> None:
    chosen = random_span(random_ids(k, 20, 300), keys_of(20), k).chosen.numpy()
    seen = 0
    for row in chosen:
        visible = np.zeros(len(row) + k, dtype=bool)
        for token in np.flatnonzero(~row):
            visible[token : token + k] = True  # token t spans bases t to t + k − 1
        for span in isolated(row, k):
            bases = np.arange(span.start, span.stop + k - 1)
            assert bases[~visible[bases]].tolist() == [bases[len(bases) // 2]]
            seen += 1
    assert seen > 30


def test_masking_of_a_sample_ignores_the_rest_of_its_batch() -> None:
    ids, keys = random_ids(6, 16, 80), keys_of(16)
    whole = random_span(ids, keys, 6)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    mixed = random_span(ids[order], keys[order], 6)
    assert torch.equal(mixed.ids, whole.ids[order])
    assert torch.equal(mixed.chosen, whole.chosen[order])
    alone = random_span(ids[5:6], keys[5:6], 6)
    assert torch.equal(alone.ids[0], whole.ids[5])
    assert not torch.equal(random_span(ids, keys_of(16, seed=2), 6).chosen, whole.chosen)
