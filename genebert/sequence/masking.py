"""Masking of k-mer tokens for masked-sequence pre-training: the strategies, by name.

A strategy chooses spans of tokens, each around an anchor. A span is replaced by ``[MASK]`` with
probability 0.8, by random k-mers 0.1, kept 0.1: drawn once a span, at its anchor, as a token that
overlaps shows the bases of its neighbours. Where spans overlap, the one with the rightmost anchor
decides. Special tokens are never chosen: spans are cut by them.

Strategies draw about 15 % of tokens as if spans never overlapped. What overlaps, or is cut, is not made
up for, so that the realised fraction differs: only that of ``motif`` is calibrated.
"""

import functools
from typing import NamedTuple

import torch
import torch.nn.functional as F

from genebert import counter_random
from genebert.errors import GenebertError
from genebert.sequence.tokens import MASK, SPECIAL

_STREAM_CENTRE, _STREAM_FATE, _STREAM_RANDOM, _STREAM_TIE, _STREAM_HIT = 16, 17, 18, 19, 20
FRACTION = 0.15
# Spans that start or end inside a sequence: this centre probability hides about 15 % of tokens, k = 6.
CENTRE_PROBABILITY = 0.025
# GeneMask widens all spans of a sequence that has fewer than this, else the better half.
_FEW_SPANS = 5


class Masked(NamedTuple):
    """Input with spans hidden, and what is to be predicted.

    Attributes
    ----------
    ids
        int64 [B, L], the input.
    chosen
        bool [B, L], the positions to predict.
    """

    ids: torch.Tensor
    chosen: torch.Tensor


class Aids(NamedTuple):
    """What some strategies know beside the tokens, on the device of these.

    Attributes
    ----------
    npmi
        float32 [vocabulary], NPMI by token id (``genemask``, ``global_pmi``); −inf for special tokens
        and for k-mers that are not ranked.
    hits
        Start and end of motif hits, int64 [B, H] each (``motif``): bp from the first base of the
        sequence as it is read, half-open; an empty stretch (end ≤ start) is none.
    rate
        Probability that a hit is hidden (``motif``), from :func:`calibrated_rate`.
    """

    npmi: torch.Tensor | None = None
    hits: tuple[torch.Tensor, torch.Tensor] | None = None
    rate: float = 0.0


def mask_tokens(strategy: str, ids: torch.Tensor, keys: torch.Tensor, k: int, aids: Aids) -> Masked:
    """Hide spans of tokens by the strategy of a name.

    Parameters
    ----------
    strategy
        ``random_span``, ``genemask``, ``global_pmi`` or ``motif``.
    ids
        int64 [B, L] from :class:`~genebert.sequence.tokens.KmerTokenizer`.
    keys
        int64 [B], random keys of the samples.
    k
        k-mer length in bp.
    aids
        What the strategy needs of them must be there.
    """
    match strategy:
        case "random_span":
            return random_span(ids, keys, k)
        case "genemask":
            assert aids.npmi is not None
            return genemask(ids, keys, k, aids.npmi)
        case "global_pmi":
            assert aids.npmi is not None
            return global_pmi(ids, keys, k, aids.npmi)
        case "motif":
            assert aids.hits is not None and aids.rate > 0
            return motif(ids, keys, k, *aids.hits, aids.rate)
    raise ValueError(f"no masking strategy '{strategy}'")


def span_offsets(k: int) -> range:
    """Return the offsets from its centre that a span covers: k tokens (−2 … +3 for k = 6)."""
    return range(-((k - 1) // 2), k // 2 + 1)


def random_span(ids: torch.Tensor, keys: torch.Tensor, k: int) -> Masked:
    """Hide random spans of k tokens (DNABERT: Ji et al. 2021).

    Every k-mer token is a span's centre, and its anchor, with probability 0.15/k. Parameters are those
    of :func:`mask_tokens`.
    """
    centre = _draw_centres(ids, keys, CENTRE_PROBABILITY * 6 / k)
    return _hide(ids, keys, k, _anchor_of_tokens(centre, span_offsets(k)))


def genemask(ids: torch.Tensor, keys: torch.Tensor, k: int, npmi: torch.Tensor) -> Masked:
    """Hide random spans, the better half of them widened around their best k-mer (GeneMask).

    Every k-mer token is a centre with probability 0.15 / ((3k − 1)/2), 0.15/8.5 for k = 6: the mean of
    the two sizes of spans. Its span is k tokens, as in :func:`random_span`. Of a sequence's m spans, the
    ⌈m/2⌉ whose best token has the highest NPMI, all if m < 5, are widened to the k − 1 tokens on either
    side of that token, which then is the anchor (two spans around one token are one).

    Method: Roy et al. 2023, whose released code ranks positions by their index; here it is by the
    NPMI of their token, and equal ones (the same k-mer twice, or k-mers that are not ranked, which come
    last) in an order drawn at random. A sequence without any ranked k-mer has spans of random places
    widened. Parameters are those of :func:`mask_tokens`, and NPMI by token id.
    """
    order, rank = _ranked(ids, keys, npmi)
    centre = _draw_centres(ids, keys, FRACTION * 2 / (3 * k - 1))
    offsets, length = span_offsets(k), ids.shape[1]
    padded = F.pad(rank, (-offsets[0], offsets[-1]), value=length)
    # The least rank in the span around each token.
    best = functools.reduce(torch.minimum, (padded[:, place : place + length] for place in range(k)))
    number = centre.sum(1, keepdim=True)
    widened_number = torch.where(number < _FEW_SPANS, number, (number + 1) // 2)
    among_centres = _inverse(best.masked_fill(~centre, length).argsort(dim=1, stable=True))
    widened = centre & (among_centres < widened_number)
    wide_anchor = _marked(order.gather(1, best).masked_fill(~widened, length), length)
    anchor = torch.maximum(
        _anchor_of_tokens(centre & ~widened, offsets),
        _anchor_of_tokens(wide_anchor, _wide_offsets(k)),
    )
    return _hide(ids, keys, k, anchor)


def global_pmi(ids: torch.Tensor, keys: torch.Tensor, k: int, npmi: torch.Tensor) -> Masked:
    """Hide what stands around the k-mers of the highest NPMI in a sequence (curriculum-GeneMask).

    As many of the best tokens are centres as were drawn with probability 0.15/(2k − 1) a token; each
    hides k − 1 tokens on either side. Equal and unranked k-mers are ordered as in :func:`genemask`:
    where fewer are ranked than were drawn, the other centres are random. k-mers that overlap score
    alike, so that spans overlap more than by chance: 11 to 12 % of real sequence is hidden, k = 6.
    Parameters are those of :func:`mask_tokens`, and NPMI by token id.
    """
    _, rank = _ranked(ids, keys, npmi)
    number = _draw_centres(ids, keys, FRACTION / (2 * k - 1)).sum(1, keepdim=True)
    return _hide(ids, keys, k, _anchor_of_tokens(rank < number, _wide_offsets(k)))


def motif(
    ids: torch.Tensor, keys: torch.Tensor, k: int, start: torch.Tensor, end: torch.Tensor, rate: float
) -> Masked:
    """Hide every token that overlaps a drawn motif hit: exactly its bases are in no visible token.

    The anchor of a hit is the first token that overlaps it; from there on, its draw decides over what
    drawn hits before it hide too. Hits that share this token (both strands of a palindrome, motifs of
    one family) share the fate. A sequence without hits stays as it is. Parameters are those of
    :func:`mask_tokens`, start, end and rate those of :class:`Aids`.
    """
    length = ids.shape[1]
    drawn = counter_random.uniform(keys, _STREAM_HIT, start.shape[1]) < rate
    first, stop = _tokens_over(start, end.masked_fill(~drawn, -1), k, length)
    hidden = _depth(first, stop, length) > 0
    return _hide(ids, keys, k, _last(_marked(first, length)).masked_fill(~hidden, -1))


def calibrated_rate(
    start: torch.Tensor, end: torch.Tensor, lengths: torch.Tensor, k: int, target: float = FRACTION
) -> float:
    """Return the rate at which ``motif`` is expected to choose a fraction of a sample's tokens.

    A token under n hits is chosen with probability 1 − (1 − rate)^n.

    Parameters
    ----------
    start, end
        int64 [N, H], hits of N sequences as in :attr:`Aids.hits`.
    lengths
        int64 [N], bp of the sequences.
    k
        k-mer length in bp.
    target
        Fraction of the k-mer tokens, above 0.

    Raises
    ------
    GenebertError
        If hits overlap too few tokens for that.
    """
    tokens = lengths - k + 1
    size = int(tokens.max()) + 2
    depth = _depth(*_tokens_over(start, end, k, size), size)
    place = torch.arange(size, device=start.device)
    depth = depth[(place > 0) & (place <= tokens[:, None])]
    share = (torch.bincount(depth).double() / len(depth)).cpu()
    hits = torch.arange(len(share), dtype=torch.float64)
    covered = 1 - float(share[0])
    if covered < target:
        raise GenebertError(
            f"motif hits overlap {covered:.1%} of the tokens: masking: motif cannot hide {target:.0%}",
            "choose another masking, or raise motifs.p_value or give more motifs",
        )
    low, high = 0.0, 1.0
    for _ in range(60):
        rate = (low + high) / 2
        too_low = 1 - float((share * (1 - rate) ** hits).sum()) < target
        low, high = (rate, high) if too_low else (low, rate)
    return high


def _draw_centres(ids: torch.Tensor, keys: torch.Tensor, probability: float) -> torch.Tensor:
    """Return bool [B, L], k-mer tokens drawn with a probability."""
    drawn = counter_random.uniform(keys, _STREAM_CENTRE, ids.shape[1]) < probability
    return drawn & (ids >= len(SPECIAL))


def _wide_offsets(k: int) -> range:
    """Return the offsets from its centre of a wide span: all tokens that share a base with it."""
    return range(1 - k, k)


def _ranked(
    ids: torch.Tensor, keys: torch.Tensor, npmi: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rank the tokens of each sequence by descending NPMI, equal ones at random, special ones last.

    Returns
    -------
    order, rank
        int64 [B, L]: positions by rank, and ranks by position.
    """
    level = torch.searchsorted(npmi.sort().values, npmi)  # whole numbers, equal for equal NPMI
    score = level.take(ids) + counter_random.uniform(keys, _STREAM_TIE, ids.shape[1])
    score = score.masked_fill(ids < len(SPECIAL), -1.0)
    order = score.argsort(dim=1, descending=True, stable=True)
    return order, _inverse(order)


def _inverse(order: torch.Tensor) -> torch.Tensor:
    """Return the inverse of each row's permutation, int64 [B, L]."""
    places = torch.arange(order.shape[1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places)


def _marked(places: torch.Tensor, length: int) -> torch.Tensor:
    """Return bool [B, length], true at the places of each row; the place ``length`` marks nothing."""
    marks = torch.zeros(len(places), length + 1, dtype=torch.bool, device=places.device)
    return marks.scatter_(1, places, True)[:, :length]


def _last(marks: torch.Tensor) -> torch.Tensor:
    """Return int64 [B, L], the last mark at or before each position; −1 where there is none."""
    places = torch.arange(marks.shape[1], device=marks.device)
    return torch.where(marks, places, -1).cummax(1).values


def _anchor_of_tokens(anchors: torch.Tensor, offsets: range) -> torch.Tensor:
    """Return int64 [B, L], the rightmost anchor whose span covers each token; −1 where none does.

    Parameters
    ----------
    anchors
        bool [B, L].
    offsets
        From its anchor that a span covers, ascending.
    """
    places = torch.arange(anchors.shape[1], device=anchors.device)
    anchor = _last(anchors).index_select(1, (places - offsets[0]).clamp(max=len(places) - 1))
    return anchor.masked_fill(anchor < places - offsets[-1], -1)


def _tokens_over(
    start: torch.Tensor, end: torch.Tensor, k: int, length: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return int64 [B, H], first token over each hit and one past the last; ``length`` for no hit.

    Token t reads bases t − 1 to t + k − 2: token 0 is ``[CLS]``.
    """
    none = end <= start
    first = (start.long() - k + 2).clamp(min=1).masked_fill(none, length)
    return first, (end.long() + 1).clamp(max=length).masked_fill(none, length)


def _depth(first: torch.Tensor, stop: torch.Tensor, length: int) -> torch.Tensor:
    """Return int64 [B, length], how many of the stretches first to stop − 1 cover each token."""
    steps = torch.zeros(len(first), length + 1, dtype=torch.int64, device=first.device)
    one = torch.ones_like(first)
    return steps.scatter_add_(1, first, one).scatter_add_(1, stop, -one).cumsum(1)[:, :length]


def _hide(ids: torch.Tensor, keys: torch.Tensor, k: int, anchor: torch.Tensor) -> Masked:
    """Hide tokens by the fates drawn at their anchors, int64 [B, L]; −1 leaves a token as it is."""
    length = ids.shape[1]
    chosen = (anchor >= 0) & (ids >= len(SPECIAL))
    fate = counter_random.uniform(keys, _STREAM_FATE, length).gather(1, anchor.clamp(min=0))
    kmers = 4**k
    random_ids = (counter_random.uniform(keys, _STREAM_RANDOM, length) * kmers).long()
    random_ids = random_ids.clamp_(max=kmers - 1) + len(SPECIAL)
    hidden = torch.where(chosen & (fate < 0.8), MASK, ids)
    hidden = torch.where(chosen & (fate >= 0.8) & (fate < 0.9), random_ids, hidden)
    return Masked(hidden, chosen)
