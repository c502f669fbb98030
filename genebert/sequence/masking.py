"""Masking of k-mer tokens for masked-sequence pre-training."""

from typing import NamedTuple

import torch

from genebert import counter_random
from genebert.sequence.tokens import MASK, SPECIAL

_STREAM_CENTRE, _STREAM_FATE, _STREAM_RANDOM = 16, 17, 18
# Spans that start or end inside a sequence: this centre probability hides about 15 % of tokens, k = 6.
CENTRE_PROBABILITY = 0.025


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


def span_offsets(k: int) -> range:
    """Return the offsets from its centre that a span covers: k tokens (−2 … +3 for k = 6)."""
    return range(-((k - 1) // 2), k // 2 + 1)


def random_span(ids: torch.Tensor, keys: torch.Tensor, k: int) -> Masked:
    """Hide random spans of k tokens (DNABERT: Ji et al. 2021).

    Every k-mer token is a span's centre with probability 0.025. A span is replaced by ``[MASK]`` with
    probability 0.8, by random k-mers 0.1, kept 0.1, drawn once a span: a token that overlaps shows the
    bases of its neighbours. Where spans overlap, the one with the rightmost centre decides. For k = 1
    the probability is 0.15. Special tokens are never chosen.

    Parameters
    ----------
    ids
        int64 [B, L] from :class:`~genebert.sequence.tokens.KmerTokenizer`.
    keys
        int64 [B], random keys of the samples.
    k
        k-mer length.
    """
    special = ids < len(SPECIAL)
    length = ids.shape[1]
    probability = CENTRE_PROBABILITY * 6 / k
    centre = (counter_random.uniform(keys, _STREAM_CENTRE, length) < probability) & ~special
    fate_of_centre = counter_random.uniform(keys, _STREAM_FATE, length)
    chosen = torch.zeros_like(centre)
    fate = torch.zeros_like(fate_of_centre)
    for offset in sorted(span_offsets(k), reverse=True):  # centre = token − offset, rightmost last
        covered = _shift(centre, offset)
        fate = torch.where(covered, _shift(fate_of_centre, offset), fate)
        chosen |= covered
    chosen &= ~special
    kmers = 4**k
    random_ids = (counter_random.uniform(keys, _STREAM_RANDOM, length) * kmers).long()
    random_ids = random_ids.clamp_(max=kmers - 1) + len(SPECIAL)
    hidden = torch.where(chosen & (fate < 0.8), MASK, ids)
    hidden = torch.where(chosen & (fate >= 0.8) & (fate < 0.9), random_ids, hidden)
    return Masked(hidden, chosen)


def _shift(values: torch.Tensor, offset: int) -> torch.Tensor:
    """Return ``shifted[:, i] = values[:, i − offset]``, zero from outside."""
    shifted = torch.zeros_like(values)
    if offset > 0:
        shifted[:, offset:] = values[:, :-offset]
    elif offset < 0:
        shifted[:, :offset] = values[:, -offset:]
    else:
        shifted.copy_(values)
    return shifted
