"""Negative examples."""

import itertools
from collections.abc import Sequence

import numpy as np

from genebert.genome import Genome, Interval, Segment

GC_TOLERANCE = 0.02
PARTS, RANDOMISED = 20, 12
_BASES = range(4)
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


def randomise_parts(codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return uint8 [n, length]: of 20 parts of each sequence, 12 random ones are of random bases.

    The other eight stay in place. Parts differ in length by one base at most. As Oubounyt et al. (2019,
    doi:10.3389/fgene.2019.00286) make negatives of DeePromoter.

    Parameters
    ----------
    codes
        uint8 [n, length], base codes; at least 20 bp.
    rng
        Decides parts and bases.
    """
    number, length = codes.shape
    assert length >= PARTS, "a part has a base at least"
    part = np.arange(length) * PARTS // length
    chosen = rng.random((number, PARTS)).argsort(axis=1).argsort(axis=1) < RANDOMISED
    bases = rng.integers(0, 4, codes.shape, dtype=np.uint8)
    return np.where(chosen[:, part], bases, codes)


def shuffle_dinucleotides(codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return uint8 [n, length]: each sequence shuffled, every dinucleotide as often as before.

    Drawn uniformly from all such sequences; each begins and ends with the bases it had. A shuffle is
    fixed by the order in which the dinucleotides of each base are used up. Any order will do if the last
    ones form a tree towards the last base (Altschul and Erickson 1985,
    doi:10.1093/oxfordjournals.molbev.a040370), a tree as likely as it has dinucleotides to choose from.

    Parameters
    ----------
    codes
        uint8 [n, length], base codes of A, C, G, T; at least 2 bp.
    rng
        Decides the draw.
    """
    assert (codes < len(_BASES)).all(), "a sequence has N"
    number, length = codes.shape
    assert length > 1, "a sequence has a dinucleotide at least"
    rows = np.arange(number)
    before, after = codes[:, :-1], codes[:, 1:]
    pair = before * np.uint8(4) + after
    counts = np.bincount((rows[:, None] * 16 + pair).ravel(), minlength=16 * number).reshape(-1, 4, 4)
    last_exits = _last_exits(counts, codes[:, -1], rng)
    key = rng.random(pair.shape)
    for base in _BASES:
        own = pair == (base * 4 + last_exits[:, base])[:, None]
        leaves = own.any(axis=1) & (codes[:, -1] != base)
        key[rows[leaves], own.argmax(axis=1)[leaves]] = 1
    exits = np.take_along_axis(after, np.argsort(before * 2 + key, axis=1), axis=1)
    left = counts.sum(axis=2)
    next_exit = left.cumsum(axis=1) - left
    shuffled = codes.copy()
    for position in range(1, length):
        left_from = shuffled[:, position - 1]
        shuffled[:, position] = exits[rows, next_exit[rows, left_from]]
        next_exit[rows, left_from] += 1
    return shuffled


def _trees(root: int) -> np.ndarray:
    """Return int64 [16, 4]: each way to go from every base to another that leads all to the root."""
    found = []
    for exits in itertools.product(_BASES, repeat=4):
        reached = np.arange(4)
        for _ in _BASES:
            reached = np.where(reached == root, root, np.array(exits)[reached])
        if exits[root] == root and (reached == root).all():
            found.append(exits)
    return np.array(found)


_TREES = [_trees(root) for root in _BASES]


def _last_exits(counts: np.ndarray, last: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a tree of each sequence, int64 [n, 4]: where each base goes last."""
    draws = rng.random(len(last))
    exits = np.empty((len(last), 4), dtype=np.int64)
    for root in _BASES:
        rows, trees = np.flatnonzero(last == root), _TREES[root]
        others = [base for base in _BASES if base != root]
        ways = counts[rows].astype(np.float64)
        # A base that the sequence lacks is in no one's way.
        ways[:, :, root] += ways.sum(axis=2) == 0
        weight = ways[:, others, trees[:, others]].prod(axis=2).cumsum(axis=1)
        chosen = (weight <= draws[rows, None] * weight[:, -1:]).sum(axis=1)
        exits[rows] = trees[chosen]
    return exits
