"""What holds for every masking strategy, and each against a plain walk over its own draws."""

import hashlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert import counter_random
from genebert.errors import GenebertError
from genebert.sequence import masking
from genebert.sequence.codes import PADDING
from genebert.sequence.masking import Aids, Masked, calibrated_rate, mask_tokens, random_span
from genebert.sequence.tokens import MASK, KmerTokenizer

SIZES = (1, 3, 4, 5, 6)
STRATEGIES = ("random_span", "genemask", "global_pmi", "motif")
FIRST_KMER = 5
RATE = 0.3


def keys_of(batch: int, seed: int = 1) -> torch.Tensor:
    return counter_random.sample_keys(seed, 0, torch.arange(batch))


def random_codes(rng: np.random.Generator, batch: int, length: int, unknown: float = 0.0) -> np.ndarray:
    codes = rng.integers(0, 4, (batch, length)).astype(np.uint8)
    codes[rng.random(codes.shape) < unknown] = 4
    return codes


def ids_of(codes: np.ndarray, k: int) -> torch.Tensor:
    return KmerTokenizer(k)(torch.from_numpy(codes))


def random_aids(rng: np.random.Generator, batch: int, length: int, k: int, hits: int = 6) -> Aids:
    """Few values of NPMI, so that many are equal; a fifth of the k-mers is not ranked."""
    npmi = torch.from_numpy(rng.integers(-5, 5, 5 + 4**k).astype(np.float32))
    npmi[torch.from_numpy(rng.random(len(npmi)) < 0.2)] = -math.inf
    npmi[:FIRST_KMER] = -math.inf
    width = rng.integers(1, 13, (batch, hits))
    start = rng.integers(0, np.maximum(length - width, 1))
    end = np.minimum(start + width, length)
    start[rng.random(start.shape) < 0.2] = -1
    end[start < 0] = -1
    return Aids(npmi, (torch.from_numpy(start), torch.from_numpy(end)), RATE)


def rows_of(aids: Aids, rows: torch.Tensor) -> Aids:
    assert aids.hits is not None
    return aids._replace(hits=(aids.hits[0][rows], aids.hits[1][rows]))


def runs(chosen: np.ndarray) -> list[tuple[int, int]]:
    """Return (start, end) of the runs of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], chosen.astype(int), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def hidden_bases(chosen: list[bool], k: int) -> set[int]:
    """Return the bases of a sequence that no visible k-mer token holds; token 0 is [CLS]."""
    bases = len(chosen) - 2 + k - 1
    seen = {base for t in range(1, len(chosen) - 1) if not chosen[t] for base in range(t - 1, t - 1 + k)}
    return set(range(bases)) - seen


# Each strategy as a walk in plain Python, on the same draws: spans as (anchor, first, one past last).
Span = tuple[int, int, int]


def ranked(ids: list[int], npmi: list[float], ties: list[float]) -> list[int]:
    """Return the positions of k-mers, best first."""
    kmers = [t for t, token in enumerate(ids) if token >= FIRST_KMER]
    return sorted(kmers, key=lambda t: (-npmi[ids[t]], -ties[t]))


def naive_genemask(
    ids: list[int], draws: list[float], npmi: list[float], ties: list[float], k: int
) -> list[Span]:
    rank = {t: r for r, t in enumerate(ranked(ids, npmi, ties))}
    spans = []
    for centre, draw in enumerate(draws):
        if ids[centre] >= FIRST_KMER and draw < 0.15 / ((3 * k - 1) / 2):
            tokens = range(centre - (k - 1) // 2, centre + k // 2 + 1)
            best = min((t for t in tokens if t in rank), key=lambda t: rank[t])
            spans.append((rank[best], centre, best, tokens))
    spans.sort(key=lambda span: span[:2])
    wide = len(spans) if len(spans) < 5 else math.ceil(len(spans) / 2)
    return [
        (best, best - k + 1, best + k) if place < wide else (centre, tokens.start, tokens.stop)
        for place, (_, centre, best, tokens) in enumerate(spans)
    ]


def naive_global_pmi(
    ids: list[int], draws: list[float], npmi: list[float], ties: list[float], k: int
) -> list[Span]:
    number = sum(
        draw < 0.15 / (2 * k - 1) for token, draw in zip(ids, draws, strict=True) if token >= FIRST_KMER
    )
    return [(t, t - k + 1, t + k) for t in ranked(ids, npmi, ties)[:number]]


def check_fates(ids: list[int], masked: Masked, row: int, fates: list[float], spans: list[Span]) -> None:
    """Compare one row of what a strategy made with the spans that it should have hidden."""
    for t, (token, shown) in enumerate(zip(ids, masked.ids[row].tolist(), strict=True)):
        anchors = [anchor for anchor, first, stop in spans if first <= t < stop]
        chosen = bool(anchors) and token >= FIRST_KMER
        assert bool(masked.chosen[row, t]) == chosen
        fate = fates[max(anchors)] if chosen else 1.0
        if fate < 0.8:
            assert shown == MASK
        elif fate < 0.9:
            assert shown >= FIRST_KMER
        else:
            assert shown == token


@pytest.mark.parametrize("k", SIZES)
@pytest.mark.parametrize(
    ("strategy", "naive"), [("genemask", naive_genemask), ("global_pmi", naive_global_pmi)]
)
def test_strategies_by_npmi_equal_a_plain_walk(strategy: str, naive, k: int) -> None:
    rng = np.random.default_rng(k)
    lengths = (40, 160)  # few spans of a sequence, and many
    for length in lengths:
        ids = ids_of(random_codes(rng, 40, length, unknown=0.01), k)
        aids, keys = random_aids(rng, 40, length, k), keys_of(40)
        masked = mask_tokens(strategy, ids, keys, k, aids)
        draws, ties, fates = (
            counter_random.uniform(keys, stream, ids.shape[1]).tolist()
            for stream in (masking._STREAM_CENTRE, masking._STREAM_TIE, masking._STREAM_FATE)
        )
        npmi = aids.npmi.tolist()
        for row, tokens in enumerate(ids.tolist()):
            spans = naive(tokens, draws[row], npmi, ties[row], k)
            check_fates(tokens, masked, row, fates[row], spans)


@pytest.mark.parametrize("k", SIZES)
def test_motif_equals_a_plain_walk_over_the_hits(k: int) -> None:
    rng = np.random.default_rng(k)
    ids = ids_of(random_codes(rng, 60, 50, unknown=0.01), k)
    aids, keys = random_aids(rng, 60, 50, k), keys_of(60)
    masked = mask_tokens("motif", ids, keys, k, aids)
    drawn = counter_random.uniform(keys, masking._STREAM_HIT, 6) < RATE
    fates = counter_random.uniform(keys, masking._STREAM_FATE, ids.shape[1]).tolist()
    start, end = (places.tolist() for places in aids.hits)
    for row, tokens in enumerate(ids.tolist()):
        over = [
            [t for t in range(1, len(tokens) - 1) if t - 1 < e and t - 1 + k > s]
            for s, e, d in zip(start[row], end[row], drawn[row], strict=True)
            if s >= 0 and d
        ]
        spans = [(hit[0], hit[0], hit[-1] + 1) for hit in over]
        covered = {t for _, first, stop in spans for t in range(first, stop)}
        # From its first token on a hit decides over all that is hidden, until the next begins.
        deciding = [(max(a for a, _, _ in spans if a <= t), t, t + 1) for t in covered]
        check_fates(tokens, masked, row, fates[row], deciding)


def test_random_span_hides_what_it_always_hid() -> None:
    """Golden: draws must not change, or no run could be repeated."""
    codes = (counter_random.uniform(keys_of(20), 99, 120) * 4.04).to(torch.uint8).numpy()
    digest = hashlib.sha256()
    for k in SIZES:
        masked = random_span(ids_of(codes, k), keys_of(20), k)
        digest.update(masked.ids.numpy().tobytes() + masked.chosen.numpy().tobytes())
    assert digest.hexdigest()[:16] == "132dee5b61f3ddf2"


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**40), k=st.sampled_from(SIZES), length=st.integers(6, 70))
def test_special_tokens_are_never_chosen_and_what_is_not_chosen_stays(
    strategy: str, seed: int, k: int, length: int
) -> None:
    rng = np.random.default_rng(seed)
    codes = random_codes(rng, 4, length, unknown=0.05)
    codes[0, max(length // 2, k) :] = PADDING
    ids = ids_of(codes, k)
    masked = mask_tokens(strategy, ids, keys_of(4, seed), k, random_aids(rng, 4, length, k))
    assert not (masked.chosen & (ids < FIRST_KMER)).any()
    assert torch.equal(masked.ids[~masked.chosen], ids[~masked.chosen])
    assert masked.ids.dtype == torch.int64


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("k", SIZES)
def test_masking_of_a_sample_ignores_its_batch_and_its_padding(strategy: str, k: int) -> None:
    rng = np.random.default_rng(3)
    codes = random_codes(rng, 16, 80, unknown=0.01)
    aids, keys = random_aids(rng, 16, 80, k), keys_of(16)
    whole = mask_tokens(strategy, ids_of(codes, k), keys, k, aids)
    assert whole.chosen.any()
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    padded = np.pad(codes, ((0, 0), (0, 30)), constant_values=PADDING)
    for rows in (order, torch.tensor([5])):
        ids = ids_of(padded[rows.numpy()], k)
        part = mask_tokens(strategy, ids, keys[rows], k, rows_of(aids, rows))
        assert torch.equal(part.ids[:, : whole.ids.shape[1]], whole.ids[rows])
        assert torch.equal(part.chosen[:, : whole.ids.shape[1]], whole.chosen[rows])
        assert not part.chosen[:, whole.ids.shape[1] :].any()
    other = mask_tokens(strategy, ids_of(codes, k), keys_of(16, seed=2), k, aids)
    assert not torch.equal(other.chosen, whole.chosen)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("k", SIZES)
def test_a_run_of_m_hidden_tokens_hides_its_central_bases(strategy: str, k: int) -> None:
    rng = np.random.default_rng(4)
    ids = ids_of(random_codes(rng, 80, 120), k)
    masked = mask_tokens(strategy, ids, keys_of(80), k, random_aids(rng, 80, 120, k, hits=3))
    last, inner = ids.shape[1] - 2, 0
    for row in masked.chosen.numpy():
        expected = set()
        for first, stop in runs(row):
            # Token t reads bases t − 1 to t + k − 2; at an end of the sequence no token reads on.
            start = 0 if first == 1 else first + k - 2
            end = last + k - 1 if stop == last + 1 else stop - 1
            if first > 1 and stop <= last:
                assert stop - first >= k
                assert end - start == stop - first - k + 1
                inner += 1
            expected |= set(range(start, end))
        assert hidden_bases(row.tolist(), k) == expected
    assert inner > 30


@pytest.mark.parametrize("k", SIZES)
def test_motif_hides_exactly_the_bases_of_its_hits(k: int) -> None:
    rng = np.random.default_rng(5)
    ids = ids_of(random_codes(rng, 40, 60), k)
    aids = random_aids(rng, 40, 60, k, hits=2)._replace(rate=1.0)
    masked = mask_tokens("motif", ids, keys_of(40), k, aids)
    for row, start, end in zip(masked.chosen.tolist(), *aids.hits, strict=True):
        bases = {base for s, e in zip(start, end, strict=True) for base in range(s, e) if s >= 0}
        # Hits that stand fewer than k bases apart, or from an end, leave no token between them.
        gap = len(row) - 2 + k - 1
        for first, stop in runs(np.array([base not in bases for base in range(gap)])):
            if stop - first < k:
                bases |= set(range(first, stop))
        assert hidden_bases(row, k) == bases


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_span_that_stands_alone_shares_one_fate_at_80_10_10(strategy: str) -> None:
    k, batch, length = 6, 1000, 300
    rng = np.random.default_rng(6)
    ids = ids_of(random_codes(rng, batch, length), k)
    npmi = torch.from_numpy(rng.random(5 + 4**k).astype(np.float32))
    npmi[:FIRST_KMER] = -math.inf
    start = torch.arange(15, length - 20, 40).repeat(batch, 1)
    aids = Aids(npmi, (start, start + 8), 0.5)
    masked = mask_tokens(strategy, ids, keys_of(batch), k, aids)
    size = {"random_span": 6, "genemask": 6, "global_pmi": 11, "motif": 13}[strategy]  # no two make one
    counts = {"mask": 0, "random": 0, "kept": 0}
    for before, after, chosen in zip(ids, masked.ids, masked.chosen.numpy(), strict=True):
        for first, stop in runs(chosen):
            if stop - first == size and first > 1 and stop < len(chosen) - 1:
                span = slice(first, stop)
                hidden, same = after[span] == MASK, (after[span] == before[span]).all()
                assert hidden.all() or not hidden.any()
                counts["mask" if hidden.all() else "kept" if same else "random"] += 1
    total = sum(counts.values())
    assert total > 1000
    shares = [count / total for count in counts.values()]
    np.testing.assert_allclose(shares, [0.8, 0.1, 0.1], atol=0.035)


@pytest.mark.parametrize("k", SIZES[1:])
def test_realised_fractions_on_long_random_sequences(k: int) -> None:
    rng = np.random.default_rng(7)
    ids = ids_of(random_codes(rng, 400, 515), k)
    npmi = torch.from_numpy(rng.random(5 + 4**k).astype(np.float32))
    aids = Aids(npmi=npmi)
    for strategy in ("random_span", "genemask", "global_pmi"):
        # With an NPMI that says nothing of the bases, spans overlap by chance only.
        fraction = mask_tokens(strategy, ids, keys_of(400), k, aids).chosen[:, 1:-1].float().mean()
        assert fraction.item() == pytest.approx(0.14, abs=0.008), strategy


def test_best_tokens_that_neighbour_one_another_hide_less() -> None:
    """NPMI of k-mers that overlap is alike: what ``global_pmi`` hides then overlaps more."""
    rng = np.random.default_rng(8)
    ids = ids_of(random_codes(rng, 400, 515), 6)
    names = KmerTokenizer(6).vocabulary
    repetitive = torch.tensor([max(name.count(base) for base in "ACGT") / 6.0 for name in names])
    aids = Aids(npmi=repetitive + torch.from_numpy(rng.random(len(names)) * 0.1).float())
    chosen = mask_tokens("global_pmi", ids, keys_of(400), 6, aids).chosen[:, 1:-1]
    assert 0.09 < chosen.float().mean().item() < 0.125


@pytest.mark.parametrize("strategy", ["genemask", "global_pmi"])
def test_a_sequence_without_a_ranked_kmer_is_masked_at_random(strategy: str) -> None:
    ids = ids_of(random_codes(np.random.default_rng(9), 400, 515), 6)
    npmi = torch.full((5 + 4**6,), -math.inf)
    chosen = mask_tokens(strategy, ids, keys_of(400), 6, Aids(npmi=npmi)).chosen
    assert chosen[:, 1:-1].float().mean().item() == pytest.approx(0.14, abs=0.008)
    by_place = chosen[:, 20:-20].float().mean(0)
    assert by_place.min() > 0.05  # anywhere
    assert by_place.max() < 0.25


def test_global_pmi_hides_the_best_kmer_and_not_its_place() -> None:
    rng = np.random.default_rng(10)
    codes = random_codes(rng, 200, 300)
    planted = rng.integers(0, 280, 200)
    for row, place in zip(codes, planted, strict=True):
        row[place : place + 6] = [2, 0, 3, 3, 0, 1]
    ids = ids_of(codes, 6)
    best = KmerTokenizer(6).vocabulary.index("GATTAC")
    npmi = torch.full((5 + 4**6,), -math.inf)
    npmi[FIRST_KMER:] = 0.0
    npmi[best] = 1.0
    keys = keys_of(200)
    masked = mask_tokens("global_pmi", ids, keys, 6, Aids(npmi=npmi))
    any_centre = masked.chosen.any(1)
    assert any_centre.float().mean() > 0.9
    at_best = masked.chosen.gather(1, torch.from_numpy(planted)[:, None] + 1)[:, 0]
    several = (ids == best).sum(1) > 1
    assert at_best[any_centre & ~several].all()


def naive_expected(start: list, end: list, lengths: list[int], k: int, rate: float) -> float:
    shares = []
    for s_of, e_of, length in zip(start, end, lengths, strict=True):
        for t in range(length - k + 1):
            over = sum(t < e and t + k > s for s, e in zip(s_of, e_of, strict=True) if e > s)
            shares.append(1 - (1 - rate) ** over)
    return sum(shares) / len(shares)


@pytest.mark.parametrize("k", SIZES)
@pytest.mark.parametrize("target", [0.1, 0.15])
def test_the_calibrated_rate_is_expected_to_hit_the_target(k: int, target: float) -> None:
    rng = np.random.default_rng(11)
    lengths = torch.from_numpy(rng.integers(40, 90, 50))
    hits = random_aids(rng, 50, 40, k).hits
    rate = calibrated_rate(*hits, lengths, k, target)
    start, end = (places.tolist() for places in hits)
    assert naive_expected(start, end, lengths.tolist(), k, rate) == pytest.approx(target, abs=1e-9)


def test_motif_realises_the_calibrated_fraction() -> None:
    rng = np.random.default_rng(12)
    ids = ids_of(random_codes(rng, 600, 300), 6)
    hits = random_aids(rng, 600, 300, 6, hits=40).hits
    rate = calibrated_rate(*hits, torch.full((600,), 300), 6)
    masked = mask_tokens("motif", ids, keys_of(600), 6, Aids(hits=hits, rate=rate))
    assert masked.chosen[:, 1:-1].float().mean().item() == pytest.approx(0.15, rel=0.02)


def test_too_few_hits_to_hide_the_target_are_refused() -> None:
    start, end = torch.tensor([[10, -1], [-1, -1]]), torch.tensor([[16, -1], [-1, -1]])
    with pytest.raises(GenebertError, match=r"motif hits overlap 5\.8% of the tokens"):
        calibrated_rate(start, end, torch.tensor([100, 100]), 6)


def test_a_batch_without_hits_stays_as_it_is() -> None:
    ids = ids_of(random_codes(np.random.default_rng(13), 3, 50), 6)
    none = torch.zeros(3, 0, dtype=torch.int64)
    masked = mask_tokens("motif", ids, keys_of(3), 6, Aids(hits=(none, none), rate=0.5))
    assert not masked.chosen.any()
    assert torch.equal(masked.ids, ids)


def test_an_unknown_strategy_is_refused() -> None:
    with pytest.raises(ValueError, match="no masking strategy 'cm_step'"):
        mask_tokens("cm_step", torch.zeros(1, 9, dtype=torch.int64), keys_of(1), 6, Aids())
