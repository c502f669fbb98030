"""A Markov chain over bases: what the bases nearby tell of a hidden one, without a network."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from genebert.sequence.codes import PADDING, count_kmers

# With five bases on each side the chain sees what 6-mers around a base see, and its 1,024 contexts are
# still met hundreds of times in a corpus of a few thousand regions.
ORDER = 5
_STATES = 4**ORDER
# Windows × positions that are worked on at a time: 8 kB each.
_BLOCK = 4096


@dataclass(frozen=True)
class MarkovChain:
    """A chain of order 5 over A, C, G, T.

    Attributes
    ----------
    start
        float64 [1024], probability of a sequence's first five bases; the last base counts fastest.
    step
        float64 [1024, 4], probability of a base after five others.
    """

    start: np.ndarray
    step: np.ndarray


def fit_markov(blocks: Iterable[np.ndarray]) -> MarkovChain:
    """Fit a chain to both strands of sequences: 6-mer counts, each plus one.

    Parameters
    ----------
    blocks
        Base codes uint8 [n, length], one block after another: a thousand sequences or so each.
    """
    forward = np.zeros(4 * _STATES)
    for codes in blocks:
        forward += count_kmers(codes, ORDER + 1).sum(0, dtype=np.float64)
    by_base = forward.reshape((4,) * (ORDER + 1))
    other_strand = np.flip(by_base).transpose()  # bases complemented, and their order reversed
    counts = (by_base + other_strand + 1).reshape(_STATES, 4)
    contexts = counts.sum(1)
    return MarkovChain(contexts / contexts.sum(), counts / contexts[:, None])


def predict_hidden(chain: MarkovChain, codes: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Return the most probable base at each hidden position given all that are visible.

    Parameters
    ----------
    chain
        As fitted.
    codes
        uint8 [B, length], base codes; N and padding may be any base. What is hidden is not looked at.
    hidden
        bool [B, length], positions to predict.

    Returns
    -------
    ndarray
        int64 [B, length], 0 to 3 where hidden, −1 elsewhere.
    """
    predicted = np.full(codes.shape, -1)
    predicted[hidden] = hidden_probabilities(chain, codes, hidden).argmax(1)
    return predicted


def hidden_probabilities(chain: MarkovChain, codes: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Return float64 [hidden positions, 4]: each base's exact probability given all visible bases.

    Positions are in order of sample and place. Parameters are those of :func:`predict_hidden`.
    """
    known = np.where(hidden, PADDING, codes)
    probabilities = np.zeros((*codes.shape, 4))
    for row, start, width in _windows(known, hidden):
        place = start[:, None] + np.arange(width)
        # What lies beyond the end of a sequence may be any base, and so tells nothing.
        inside = place < codes.shape[1]
        window = np.where(inside, known[row[:, None], np.where(inside, place, 0)], PADDING)
        own = inside & hidden[row[:, None], np.where(inside, place, 0)]
        at = np.broadcast_to(row[:, None], own.shape)[own], place[own]
        probabilities[at] = _forward_backward(chain, window)[own]
    return probabilities[hidden]


def _windows(known: np.ndarray, hidden: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Cut out what decides the hidden positions; yield sample, start of some windows, and their width.

    Five visible bases in a row part a sequence into two that know nothing of one another. A window spans
    what lies between two such stretches, and both of them.
    """
    row, place = np.nonzero(known >= 4)
    new = np.ones(len(row), bool)
    new[1:] = (np.diff(row) != 0) | (np.diff(place) > ORDER)
    number = np.cumsum(new) - 1
    wanted = np.bincount(number, hidden[row, place], new.sum()) > 0
    last = np.ones(len(row), bool)
    last[:-1] = new[1:]
    row, start = row[new][wanted], np.maximum(place[new][wanted] - ORDER, 0)
    width = place[last][wanted] + 1 + ORDER - start
    for one_width in np.unique(width).tolist():
        same = np.flatnonzero(width == one_width)
        size = max(1, _BLOCK // one_width)
        for first in range(0, len(same), size):
            block = same[first : first + size]
            yield row[block], start[block], one_width


def _forward_backward(chain: MarkovChain, codes: np.ndarray) -> np.ndarray:
    """Return float64 [n, length, 4], each base's probability given uint8 [n, length]; above 3 is any."""
    number, length = codes.shape
    possible = np.vstack([np.eye(4), np.ones((2, 4))])[codes]
    # A state is five bases: that which the next base drives out, the four that stay, and so on.
    step = chain.step.reshape(4, -1, 4)
    first = np.ones((number, 1))
    for place in range(ORDER):
        first = (first[:, :, None] * possible[:, place, None]).reshape(number, -1)
    forward = [_normalised(first * chain.start)]
    for place in range(ORDER, length):
        moved = np.einsum("nij,ijk->njk", forward[-1].reshape(number, 4, -1), step)
        forward.append(_normalised((moved * possible[:, place, None]).reshape(number, -1)))
    found = np.empty((number, length, 4))
    backward = np.ones((number, _STATES))
    for place in range(length - 1, ORDER - 1, -1):
        found[:, place] = (forward.pop() * backward).reshape(number, -1, 4).sum(1)
        ahead = backward.reshape(number, -1, 4) * possible[:, place, None]
        backward = _normalised(np.einsum("njk,ijk->nij", ahead, step).reshape(number, -1))
    both = forward.pop() * backward
    for place in range(ORDER):
        found[:, place] = both.reshape(number, 4**place, 4, -1).sum((1, 3))
    return found / found.sum(2, keepdims=True)


def _normalised(weights: np.ndarray) -> np.ndarray:
    return weights / weights.sum(1, keepdims=True)
