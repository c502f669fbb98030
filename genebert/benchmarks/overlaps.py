"""Equal sequences and overlapping places among many, without a loop over them."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from genebert.sequence.codes import PADDING

_COMPLEMENT = np.array([3, 2, 1, 0, 4], np.uint8)


class Places(NamedTuple):
    """Stretches of contigs: int64 numbers of the contigs (−1: no place), starts and ends in bp."""

    contig: np.ndarray
    start: np.ndarray
    end: np.ndarray

    def rows(self, rows: np.ndarray) -> "Places":
        """Return some of them."""
        return Places(self.contig[rows], self.start[rows], self.end[rows])


def places_of(table: pd.DataFrame, contigs: list[str]) -> Places:
    """Return the places of a table's rows; ``contigs`` numbers the contigs, and grows by what is new."""
    known = {name: number for number, name in enumerate(contigs)}
    codes, names = pd.factorize(table["chrom"].to_numpy(object))
    numbers = []
    for name in names:
        if name and name not in known:
            known[name] = len(contigs)
            contigs.append(name)
        numbers.append(known[name] if name else -1)
    contig = np.array(numbers, np.int64)[codes]
    return Places(contig, table["start"].to_numpy(np.int64), table["end"].to_numpy(np.int64))


def overlaps_any(places: Places, others: Places) -> np.ndarray:
    """Return bool [n], whether each place shares at least one base with any of the others.

    Places without a contig overlap nothing.
    """
    order = np.lexsort((others.start, others.contig))
    contig, start, end = (column[order] for column in others)
    # One axis for all contigs: positions of contig c begin at c times more than any position.
    stride = max(places.end.max(initial=0), end.max(initial=0)) + 1
    starts = contig * stride + start
    furthest = np.maximum.accumulate(contig * stride + end)
    before = np.searchsorted(starts, places.contig * stride + places.end, side="left")
    reached = np.concatenate([[-1], furthest])[before]
    return (places.contig >= 0) & (reached > places.contig * stride + places.start)


def canonical_ids(codes: np.ndarray) -> np.ndarray:
    """Return int64 [n], the same number for sequences that are equal on either strand.

    Parameters
    ----------
    codes
        uint8 [n, length], base codes; shorter sequences end in ``PADDING``.
    """
    lengths = (codes != PADDING).sum(1)
    found = np.full(len(codes), -1, np.int64)
    number = 0
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        own = codes[rows, :length]
        forward, backward = _as_text(own), _as_text(_COMPLEMENT[own[:, ::-1]])
        ids, distinct = pd.factorize(np.where(backward < forward, backward, forward))
        found[rows] = number + ids
        number += len(distinct)
    return found


def _as_text(codes: np.ndarray) -> np.ndarray:
    """Return each row as one byte string: base codes from 1, for a string must not end in 0."""
    if not codes.shape[1]:
        return np.full(len(codes), b"", "S1")
    return np.ascontiguousarray(codes + 1).view(f"S{codes.shape[1]}")[:, 0]
