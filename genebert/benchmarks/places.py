"""Places as columns: in which split they lie, what they touch, which ones keep apart."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from genebert.genome import Segment
from genebert.regions import Windows, choose_windows


def splits_of(places: pd.DataFrame, segments: Sequence[Segment]) -> np.ndarray:
    """Return the split that holds each place whole, as text; empty where none does.

    Parameters
    ----------
    places
        chrom, start, end (bp, 0-based half-open).
    segments
        The global split, in genome order; contigs that it lacks hold no place.
    """
    found = np.full(len(places), "", dtype=object)
    of_contig: dict[str, list[Segment]] = {}
    for segment in segments:
        of_contig.setdefault(segment.chrom, []).append(segment)
    for chrom, rows in places.groupby("chrom", sort=False).indices.items():
        if chrom not in of_contig:
            continue
        own = of_contig[str(chrom)]
        start, end = places["start"].to_numpy()[rows], places["end"].to_numpy()[rows]
        number = np.searchsorted([segment.start for segment in own], start, side="right") - 1
        whole = (start >= 0) & (end <= np.array([segment.end for segment in own])[number])
        splits = np.array([segment.split for segment in own], dtype=object)
        found[rows] = np.where(whole, splits[number], "")
    return found


def touching(places: pd.DataFrame, others: pd.DataFrame) -> np.ndarray:
    """Return bool [n]: which places share a base with one of the others.

    Both have chrom, start and end, in any order; the others may overlap one another.
    """
    found = np.zeros(len(places), dtype=bool)
    of_contig = {chrom: rows.sort_values("start") for chrom, rows in others.groupby("chrom", sort=False)}
    for chrom, rows in places.groupby("chrom", sort=False).indices.items():
        if chrom not in of_contig:
            continue
        starts = of_contig[chrom]["start"].to_numpy()
        # The furthest end of all that begin so far left.
        ends = np.maximum.accumulate(of_contig[chrom]["end"].to_numpy())
        start, end = places["start"].to_numpy()[rows], places["end"].to_numpy()[rows]
        before = np.searchsorted(starts, end, side="left")
        found[rows] = (before > 0) & (ends[before - 1] > start)
    return found


def apart(places: pd.DataFrame, strength: np.ndarray) -> np.ndarray:
    """Return int64 rows, sorted, of places that do not overlap.

    The strongest is taken first, of equally strong ones that of the first row.

    Parameters
    ----------
    places
        chrom, start, end, all of one width.
    strength
        float64 [n]; NaN is weakest.
    """
    if places.empty:
        return np.empty(0, np.int64)
    width = int((places["end"] - places["start"]).iloc[0])
    contig, _ = pd.factorize(places["chrom"])
    # Contigs one behind the other, a window apart.
    lengths = places["end"].groupby(contig).max().to_numpy() + width
    position = places["start"].to_numpy() + (np.cumsum(lengths) - lengths)[contig]
    order = np.argsort(-np.nan_to_num(strength, nan=-np.inf), kind="stable")
    rank = np.empty(len(order), np.float32)
    rank[order] = np.arange(len(order), 0, -1)
    assert len(order) < 1 << 24, "ranks are whole numbers of single precision"
    chosen = choose_windows(Windows(position, rank), width).start
    first = pd.Series(order).groupby(position[order]).first()
    return np.sort(first.loc[chosen].to_numpy())
