"""Pairs of a positive and a negative that have nearly the same GC content."""

import numpy as np


def gc_counts(codes: np.ndarray) -> np.ndarray:
    """Return int64 [n], the C and G in base codes uint8 [n, length]."""
    return ((codes == 1) | (codes == 2)).sum(axis=1)


def pair_by_gc(
    positives: np.ndarray, negatives: np.ndarray, tolerance: int, rng: np.random.Generator
) -> np.ndarray:
    """Give each positive a negative of its own whose GC count is nearly the same.

    Pairs of equal counts are made first, then such as differ by one, and so on: chance decides which of
    those that have the same count are taken.

    Parameters
    ----------
    positives, negatives
        int64, GC counts of sequences of one length.
    tolerance
        What the two counts of a pair differ by at most.
    rng
        Decides the draw.

    Returns
    -------
    ndarray
        int64 [positives], row of the negative; −1 where none is left.
    """
    found = np.full(len(positives), -1, dtype=np.int64)
    highest = int(max(positives.max(initial=0), negatives.max(initial=0)))
    wanting, free = (_by_count(counts, highest, rng) for counts in (positives, negatives))
    for distance in range(tolerance + 1):
        for count, waiting in enumerate(wanting):
            # The nearer side first would shift all counts one way.
            sides = (count - distance, count + distance)[:: 1 if (count + distance) % 2 else -1]
            for other in sides if distance else sides[:1]:
                if not (waiting and 0 <= other <= highest and free[other]):
                    continue
                number = min(len(waiting), len(free[other]))
                found[waiting[:number]] = free[other][:number]
                del waiting[:number], free[other][:number]
    return found


def _by_count(counts: np.ndarray, highest: int, rng: np.random.Generator) -> list[list[int]]:
    """Return the rows of each count from 0 to ``highest``, in random order."""
    shuffled = rng.permutation(len(counts))
    order = shuffled[np.argsort(counts[shuffled], kind="stable")]
    bounds = np.searchsorted(counts[order], np.arange(1, highest + 1))
    return [rows.tolist() for rows in np.split(order, bounds)]
