"""Negative examples."""

from collections.abc import Sequence

import numpy as np

from genebert.genome import Genome, Interval, Segment

GC_TOLERANCE = 0.02
_DRAWS_A_ROUND = 200
_ROUNDS = 60


class Occupied:
    """Places that are taken, for windows of one width, found by bins of that width."""

    def __init__(self, width: int) -> None:
        self.width = width
        self._bins: dict[tuple[str, int], list[Interval]] = {}

    def add(self, interval: Interval) -> None:
        """Take a place of any length."""
        for bin_ in range(interval.start // self.width, (interval.end - 1) // self.width + 1):
            self._bins.setdefault((interval.chrom, bin_), []).append(interval)

    def touches(self, interval: Interval) -> bool:
        """Return whether a base of the interval is taken."""
        bins = range(interval.start // self.width, (interval.end - 1) // self.width + 1)
        return any(
            interval.overlaps(taken)
            for bin_ in bins
            for taken in self._bins.get((interval.chrom, bin_), [])
        )


def gc_content(sequence: str) -> float:
    """Return the fraction of G and C."""
    return (sequence.count("G") + sequence.count("C")) / len(sequence)


def gc_matched(
    genome: Genome,
    gc: Sequence[float],
    segments: Sequence[Segment],
    width: int,
    occupied: Occupied,
    rng: np.random.Generator,
) -> list[Interval | None]:
    """Draw for each GC content a random place whose own differs by at most 0.02.

    Places have no N, do not touch ``occupied`` (which they join) nor one another.

    Parameters
    ----------
    genome
        Sequence.
    gc
        GC content of each positive.
    segments
        Where to draw, uniformly by bp.
    width
        Length of a place in bp.
    occupied
        Places to keep off.
    rng
        Decides the draw.

    Returns
    -------
    list
        One place a positive, None where none was found in 60 rounds of 200 draws each.
    """
    found: list[Interval | None] = [None] * len(gc)
    # Of each GC count, the positives that still need a place; random order, so that none is favoured.
    wanting: dict[int, list[int]] = {}
    for index in rng.permutation(len(gc)):
        wanting.setdefault(round(gc[index] * width), []).append(int(index))
    spans = np.array([max(0, s.end - s.start - width + 1) for s in segments], dtype=np.float64)
    tolerance = int(GC_TOLERANCE * width)
    for _ in range(_ROUNDS):
        left = sum(map(len, wanting.values()))
        if not left or not spans.sum():
            break
        which = rng.choice(len(segments), size=left * _DRAWS_A_ROUND, p=spans / spans.sum())
        offsets = (rng.random(len(which)) * spans[which]).astype(np.int64)
        for segment, offset in zip(which, offsets, strict=True):
            start = segments[segment].start + int(offset)
            place = Interval(segments[segment].chrom, start, start + width)
            if occupied.touches(place):
                continue
            sequence = genome.fetch(place)
            if "N" in sequence:
                continue
            index = _take(wanting, round(gc_content(sequence) * width), tolerance)
            if index is not None:
                found[index] = place
                occupied.add(place)
                left -= 1
            if not left:
                return found
    return found


def _take(wanting: dict[int, list[int]], count: int, tolerance: int) -> int | None:
    for distance in range(tolerance + 1):
        for near in (count - distance, count + distance):
            if waiting := wanting.get(near):
                return waiting.pop()
    return None
