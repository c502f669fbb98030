"""The windows around the bases of a gene, on its strand."""

from typing import NamedTuple

import numpy as np

from genebert.benchmarks.genes import site_offset
from genebert.genome import Genome, Interval, Segment, reverse_complement
from genebert.sequence.codes import encode


class Stretch(NamedTuple):
    """A place with a strand, in bp, 0-based half-open. Its first base is at its 5' end."""

    chrom: str
    start: int
    end: int
    strand: str

    def from_five_prime(self, positions: np.ndarray) -> np.ndarray:
        """Return how far positions on the contig are from the first base."""
        return positions - self.start if self.strand == "+" else self.end - 1 - positions

    def among(self, positions: np.ndarray) -> slice:
        """Return which of positions on the contig, ascending, are its own."""
        first, last = np.searchsorted(positions, [self.start, self.end])
        return slice(int(first), int(last))

    def on_contig(self, distances: np.ndarray) -> np.ndarray:
        """Return the positions on the contig that are so far from the first base."""
        return distances + self.start if self.strand == "+" else self.end - 1 - distances


def read_stretch(genome: Genome, stretch: Stretch, beside: int) -> str:
    """Return the sequence of a stretch on its strand with so many bp on both sides.

    Beyond the ends of the contig it is N.
    """
    left, right = stretch.start - beside, stretch.end + beside
    inside = Interval(stretch.chrom, max(0, left), min(genome.lengths[stretch.chrom], right))
    sequence = "N" * (inside.start - left) + genome.fetch(inside) + "N" * (right - inside.end)
    return sequence if stretch.strand == "+" else reverse_complement(sequence)


def window_starts(positions: np.ndarray, forward: np.ndarray | bool, width: int) -> np.ndarray:
    """Return where on the contig the windows about positions start, by strand."""
    offset = site_offset(width)
    return positions - np.where(forward, offset, width - 1 - offset)


class GeneWindows:
    """What is known of the window about each base of a stretch, from its 5' end on.

    Parameters
    ----------
    genome
        Sequence.
    stretch
        The gene.
    width
        bp of a window.
    """

    def __init__(self, genome: Genome, stretch: Stretch, width: int) -> None:
        self._stretch, self._width, self._beside = stretch, width, width // 2
        self._length = stretch.end - stretch.start
        self._codes = encode(read_stretch(genome, stretch, self._beside))

    def within(self, segment: Segment) -> np.ndarray:
        """Return bool [length]: the whole window lies in the segment and has no N."""
        positions = self._stretch.on_contig(np.arange(self._length))
        starts = window_starts(positions, self._stretch.strand == "+", self._width)
        inside = (starts >= segment.start) & (starts + self._width <= segment.end)
        return inside & (self._count(self._codes > 3) == 0)  # 4: N

    def gc(self) -> np.ndarray:
        """Return float64 [length], the fraction of G and C of each window."""
        return self._count((self._codes == 1) | (self._codes == 2)) / self._width

    def before_intron(self) -> np.ndarray:
        """Return bool [length]: GT comes right after the base."""
        return self._at(1, 2) & self._at(2, 3)

    def after_intron(self) -> np.ndarray:
        """Return bool [length]: AG comes right before the base."""
        return self._at(-2, 0) & self._at(-1, 2)

    def _at(self, distance: int, code: int) -> np.ndarray:
        begin = self._beside + distance
        return self._codes[begin : begin + self._length] == code

    def _count(self, is_one: np.ndarray) -> np.ndarray:
        """Return int64 [length], how many bases of each window are one."""
        before = np.concatenate([[0], np.cumsum(is_one)])
        first = np.arange(self._length) + self._beside - site_offset(self._width)
        return before[first + self._width] - before[first]
