"""The columns that a place may look at, and how far the catalogue covers it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from genebert.catalogue import read_accessibility, read_regions
from genebert.errors import GenebertError
from genebert.genome import Interval, Segment, SegmentIndex


class ColumnFinder:
    """Finds the regions beside a place: of its own split, and never overlapping it.

    Parameters
    ----------
    regions
        DataFrame of region_id, chrom, start, end of the regions that may be columns, in genome order.
    columns
        R; the focal place is column R // 2.
    """

    def __init__(self, regions: pd.DataFrame, columns: int) -> None:
        self.columns = columns
        self._of = {
            chrom: (rows["start"].to_numpy(), rows["end"].to_numpy(), rows["region_id"].to_numpy())
            for chrom, rows in regions.groupby("chrom", sort=False)
        }

    def beside(self, place: Interval, segment: Segment) -> np.ndarray:
        """Return int64 [R], region ids; −1 where there is none and in the focal column."""
        found = np.full(self.columns, -1, dtype=np.int64)
        if place.chrom not in self._of:
            return found
        starts, ends, ids = self._of[place.chrom]
        focal = self.columns // 2
        # Regions do not overlap: both edges are sorted.
        first = int(np.searchsorted(starts, segment.start, side="left"))
        last = int(np.searchsorted(ends, segment.end, side="right"))
        left_end = int(np.searchsorted(ends, place.start, side="right"))
        right_start = int(np.searchsorted(starts, place.end, side="left"))
        left = ids[max(first, left_end - focal) : left_end]
        right = ids[right_start : min(last, right_start + self.columns - focal - 1)]
        found[focal - len(left) : focal] = left
        found[focal + 1 : focal + 1 + len(right)] = right
        return found


def columns_beside(
    places: pd.DataFrame,
    regions: Path,
    accessibility: Path,
    index: SegmentIndex,
    columns: int,
    where: str,
) -> np.ndarray:
    """Return int64 [n, R], the regions beside each place that are open in its cell type.

    Parameters
    ----------
    places
        chrom, start, end, cell_type (``any``: open in one). One whose contig is not in the genome has
        no columns.
    regions, accessibility
        The catalogue and where each region is open.
    index
        Of the global split.
    columns
        R.
    where
        The task's key, for messages.

    Raises
    ------
    GenebertError
        If a cell type is in no sample.
    """
    found = np.full((len(places), columns), -1, dtype=np.int64)
    places = places.reset_index(drop=True)
    known = places[places["chrom"].isin(index.contigs)]
    for cell_type, rows in known.groupby("cell_type", sort=False):
        finder = ColumnFinder(open_regions(regions, accessibility, str(cell_type), where), columns)
        for row in rows.itertuples():
            place = Interval(row.chrom, row.start, row.end)
            segment = index.around(place) or index.at(row.chrom, row.start)
            found[row.Index] = finder.beside(place, segment)
    return found


def open_regions(regions: Path, accessibility: Path, cell_type: str, where: str) -> pd.DataFrame:
    """Return the catalogue's regions that are open in a cell type, or in one (``any``).

    Raises
    ------
    GenebertError
        If the cell type is in no sample.
    """
    catalogue: pd.DataFrame = read_regions(regions).to_pandas()
    if cell_type == "any":
        return catalogue
    open_in = read_accessibility(accessibility).to_pandas()
    if cell_type not in set(open_in["cell_type"]):
        raise GenebertError(
            f"cell type '{cell_type}' is in no sample",
            f"use `any` or one of {', '.join(sorted(open_in['cell_type'].unique()))}",
            where,
        )
    ids = open_in.loc[open_in["cell_type"] == cell_type, "region_id"]
    return catalogue[catalogue["region_id"].isin(ids)]


def occupancy(places: pd.DataFrame, regions: Path, index: SegmentIndex) -> np.ndarray:
    """Return float32 [n], the fraction of each place's bp that lie in catalogue regions.

    NaN where its contig is not in the genome.
    """
    catalogue = read_regions(regions).select(["chrom", "start", "end"]).to_pandas()
    edges: Mapping[str, tuple[np.ndarray, np.ndarray]] = {
        str(chrom): (rows["start"].to_numpy(), rows["end"].to_numpy())
        for chrom, rows in catalogue.groupby("chrom", sort=False)
    }
    found = np.full(len(places), np.nan, dtype=np.float32)
    for chrom, rows in places.reset_index(drop=True).groupby("chrom", sort=False):
        if chrom not in index.contigs:
            continue
        starts, ends = edges.get(str(chrom), (np.empty(0, np.int64), np.empty(0, np.int64)))
        first, last = rows["start"].to_numpy(), rows["end"].to_numpy()
        covered = _covered_before(last, starts, ends) - _covered_before(first, starts, ends)
        found[rows.index] = covered / (last - first)
    return found


def _covered_before(position: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return how many bp before each position lie in regions, which are sorted and do not overlap."""
    assert (starts[1:] >= ends[:-1]).all(), "the catalogue is sorted, and no regions overlap"
    total = np.concatenate([[0], np.cumsum(ends - starts)])
    before = np.searchsorted(starts, position, side="left")
    over = np.zeros_like(position)
    within = before > 0
    over[within] = np.maximum(0, ends[before[within] - 1] - position[within])
    return total[before] - over
