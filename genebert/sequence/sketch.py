"""Which sequences share stretches: containment of sketches of k-mers.

A sketch keeps a fixed fraction of all k-mers, those whose hash is small (FracMinHash, Irber et al. 2022,
doi:10.1101/2022.01.11.475838): the same ones of every sequence, so that sketches compare as the k-mers
themselves do. A k-mer and its reverse complement are one.
"""

from collections.abc import Iterable

import numpy as np

# So long that chance does not count (a billion random bases hold 0.05 % of all 21-mers, both strands
# taken as one), so short that two copies which differ in 5 bases of 100 share a third of theirs
# (0.95^21).
K = 21
# One k-mer in so many is kept: 70 of a 300 bp example.
ONE_IN = 4
# Rows of sequences that are worked on at a time: k-mers of 500 bp stay in the processor's cache.
_BLOCK = 128

# Of windows of one length: numbers of both strands' words, and whether all bases are known.
_Words = tuple[np.ndarray, np.ndarray, np.ndarray]


def sketch(codes: np.ndarray, k: int = K, one_in: int = ONE_IN) -> tuple[np.ndarray, np.ndarray]:
    """Return the kept k-mers of some sequences, each once a sequence, sorted by sequence.

    K-mers with a base other than A, C, G, T are left out.

    Parameters
    ----------
    codes
        uint8 [n, length], base codes.
    k
        bp, at most 31.
    one_in
        How many k-mers one is kept of.

    Returns
    -------
    tuple
        uint64 hashes, the same for a k-mer in every sequence, and int64 rows.
    """
    hashes, rows = _kept(codes, k, one_in)
    order = np.lexsort((hashes, rows))
    hashes, rows = hashes[order], rows[order]
    first = np.ones(len(rows), dtype=bool)
    first[1:] = (hashes[1:] != hashes[:-1]) | (rows[1:] != rows[:-1])
    return hashes[first], rows[first]


def containment(
    codes: np.ndarray, others: Iterable[np.ndarray], k: int = K, one_in: int = ONE_IN
) -> np.ndarray:
    """Return float64 [n], the fraction of each sequence's kept k-mers that any other sequence holds.

    NaN where none is kept: the sequence is shorter than k, say. Of ``others`` nothing is kept in memory.

    Parameters
    ----------
    codes
        uint8 [n, length].
    others
        Blocks of sequences, uint8 [m, length] each.
    k, one_in
        As for :func:`sketch`.
    """
    hashes, rows = sketch(codes, k, one_in)
    known, place = np.unique(hashes, return_inverse=True)
    seen = np.zeros(len(known), dtype=bool)
    for block in others if len(known) else ():
        # Sorted, they are looked for in the order of memory.
        words = np.sort(_kept(block, k, one_in)[0])
        at = np.minimum(np.searchsorted(known, words), len(known) - 1)
        seen[at[known[at] == words]] = True
    kept = np.bincount(rows, minlength=len(codes))
    shared = np.bincount(rows, weights=seen[place], minlength=len(codes))
    return np.divide(shared, kept, out=np.full(len(codes), np.nan), where=kept > 0)


def _kept(codes: np.ndarray, k: int, one_in: int) -> tuple[np.ndarray, np.ndarray]:
    """Return hash and row of every occurrence of a kept k-mer."""
    largest = np.uint64((2**64 - 1) // one_in)
    hashes, rows = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    for first in range(0, len(codes), _BLOCK):
        words, known = canonical(codes[first : first + _BLOCK], k)
        own = _mix(words)
        kept = known & (own <= largest)
        hashes.append(own[kept])
        rows.append(first + np.repeat(np.arange(len(kept)), kept.sum(1)))
    return np.concatenate(hashes), np.concatenate(rows)


def canonical(codes: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return every k-mer as the smaller number of it and its reverse complement.

    Parameters
    ----------
    codes
        uint8 [n, length], base codes.
    k
        bp, at most 31: two bits a base.

    Returns
    -------
    tuple
        uint64 [n, length − k + 1], and bool of the same shape: whether all its bases are known.
    """
    assert 1 <= k <= 31
    windows = max(0, codes.shape[1] - k + 1)
    if not windows:
        return np.empty((len(codes), 0), np.uint64), np.empty((len(codes), 0), bool)
    # Longer words are put together from shorter ones, doubling their length.
    length = 1
    forward = codes.astype(np.uint64)
    words: dict[int, _Words] = {length: (forward, np.uint64(3) - forward, codes < 4)}
    while 2 * length <= k:
        words[2 * length] = _joined(words[length], words[length], length, length)
        length *= 2
    whole, reached = words[length], length
    for length in sorted(words, reverse=True):
        if reached + length <= k:
            whole = _joined(whole, words[length], reached, length)
            reached += length
    forward, backward, known = whole
    return np.minimum(forward, backward), known


def _joined(left: _Words, right: _Words, length: int, more: int) -> _Words:
    """Return the words of ``length + more`` bp: both strands' numbers, and whether all is known."""
    windows = right[0].shape[1] - length
    first, second = (
        [part[:, i : i + windows] for part in own] for own, i in ((left, 0), (right, length))
    )
    forward = (first[0] << np.uint64(2 * more)) | second[0]
    backward = (second[1] << np.uint64(2 * length)) | first[1]
    return forward, backward, first[2] & second[2]


def _mix(words: np.ndarray) -> np.ndarray:
    """Return a bijective scrambling: SplitMix64's finaliser (Steele, Lea & Flood 2014)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
