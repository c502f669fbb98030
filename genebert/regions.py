"""Peaks of many samples -> one catalogue of regions.

Places are positions on the whole genome, contig after contig in genome order. Of all peaks at once only
start and rank of their windows are in memory (12 bytes a peak); names are read again, sample by sample.
"""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from genebert.catalogue import ACCESSIBILITY, REGIONS
from genebert.errors import GenebertError
from genebert.files import complete_or_absent
from genebert.genome import Segment
from genebert.inputs.peaks import read_cleaned
from genebert.progress import Progress

NOWHERE = -1
_WORDS = pa.dictionary(pa.int32(), pa.string())
_PEAKS = pa.schema(
    {
        "sample": _WORDS,
        "name": pa.string(),
        "chrom": _WORDS,
        "start": pa.int64(),
        "end": pa.int64(),
        "signal": pa.float64(),
        "region_id": pa.uint32(),
    }
)
# Rows that a job reads at least, where it needs a few regions only.
_REGIONS_A_GROUP = 1 << 16
_VIEWS_A_GROUP = 1 << 20
# Windows that are chosen or absorbed in one go.
_BLOCK = 1 << 20
_FAR = -(1 << 62)


class Windows(NamedTuple):
    """Windows of one width.

    Attributes
    ----------
    start
        int64, position on the whole genome; ``NOWHERE`` where the stretch of one split is too short.
    rank
        float32 in (0, 1): the signal's mid-rank within its sample, which makes samples of any depth
        comparable; 1/2 for all peaks of a sample without signal.
    """

    start: np.ndarray
    rank: np.ndarray


class OpenIn(NamedTuple):
    """The regions that are open in one cell type.

    Attributes
    ----------
    name
        The cell type.
    region_id
        uint32, each once.
    signal
        float32, rank of the best peak in each.
    """

    name: str
    region_id: np.ndarray
    signal: np.ndarray


class Layout:
    """Where contigs and the stretches of one split each lie on the whole genome.

    Parameters
    ----------
    segments
        Stretches of one split each, in genome order, covering the genome.
    """

    def __init__(self, segments: Sequence[Segment]) -> None:
        lengths = np.array([segment.end - segment.start for segment in segments])
        self.ends: np.ndarray = np.cumsum(lengths)
        self.begins: np.ndarray = self.ends - lengths
        self.splits = np.array([segment.split for segment in segments], object)
        first = [number for number, segment in enumerate(segments) if segment.start == 0]
        self.chroms = [segments[number].chrom for number in first]
        self.chrom_begins: np.ndarray = self.begins[first]
        self.chrom_ends: np.ndarray = np.append(self.chrom_begins[1:], self.ends[-1])

    def positions(self, chrom: pd.Series, place: pd.Series) -> np.ndarray:
        """Return the positions on the whole genome of places on contigs.

        Raises
        ------
        GenebertError
            If one is outside the genome.
        """
        found = pc.index_in(pa.array(chrom, pa.string()), pa.array(self.chroms, pa.string()))
        codes = found.fill_null(-1).to_numpy()
        positions: np.ndarray = self.chrom_begins[codes] + place.to_numpy()
        inside = (codes >= 0) & (place.to_numpy() >= 0) & (positions < self.chrom_ends[codes])
        if not inside.all():
            row = int(np.argmin(inside))
            raise GenebertError(
                f"{chrom.iloc[row]}:{place.iloc[row]} is not in the genome",
                "delete the folder of cleaned peaks and run again",
            )
        return positions

    def windows(self, summits: np.ndarray, width: int) -> np.ndarray:
        """Return where windows start: around the summit, but within its stretch of one split."""
        stretch = np.searchsorted(self.begins, summits, side="right") - 1
        latest = self.ends[stretch] - width
        starts = np.clip(summits - width // 2, self.begins[stretch], latest)
        return np.where(latest >= self.begins[stretch], starts, NOWHERE)

    def table(self, starts: np.ndarray, width: int) -> pd.DataFrame:
        """Return region_id, chrom, start, end (bp, 0-based half-open) and split of sorted windows."""
        contig = np.searchsorted(self.chrom_begins, starts, side="right") - 1
        stretch = np.searchsorted(self.begins, starts, side="right") - 1
        start = starts - self.chrom_begins[contig]
        return pd.DataFrame(
            {
                "region_id": np.arange(len(starts), dtype=np.uint32),
                "chrom": np.array(self.chroms, object)[contig],
                "start": start,
                "end": start + width,
                "split": self.splits[stretch],
            }
        )


def load_windows(path: str | Path, width: int, layout: Layout) -> Windows:
    """Read a cleaned peak file and return the window around each summit.

    A window is shifted where it would leave the contig or cross into another split.
    """
    peaks = read_cleaned(path, ["chrom", "signal", "summit"])
    rank = (peaks["signal"].rank(method="average") - 0.5) / len(peaks)
    starts = layout.windows(layout.positions(peaks["chrom"], peaks["summit"]), width)
    return Windows(starts, rank.to_numpy(np.float32))


def choose_windows(windows: Windows, width: int) -> Windows:
    """Choose windows that do not overlap: strongest first, those that overlap a chosen one left out.

    Of equal ranks, compared in single precision, the first place comes first: neither the order of peaks
    nor that of samples matters.

    Returns
    -------
    Windows
        The chosen ones, sorted by start.
    """
    order = np.lexsort((windows.start, -windows.rank))
    # Chosen windows do not overlap: at most one of them starts in each bin of `width` bp.
    bins = np.full(windows.start.max(initial=0) // width + 3, _FAR)
    chosen: list[np.ndarray] = []
    for first in range(0, len(order), _BLOCK):
        rows = order[first : first + _BLOCK]
        start = windows.start[rows]
        near = bins[start[:, None] // width + [0, 1, 2]]
        free = (start != NOWHERE) & (abs(near - start[:, None]) >= width).all(axis=1)
        rows = rows[free][_greedy(start[free], width)]
        bins[windows.start[rows] // width + 1] = windows.start[rows]
        chosen.append(rows)
    rows = np.concatenate(chosen)
    rows = rows[np.argsort(windows.start[rows])]
    return Windows(windows.start[rows], windows.rank[rows])


def _greedy(starts: np.ndarray, width: int) -> list[int]:
    """Return the rows that overlap no earlier row that was returned."""
    rows: list[int] = []
    start_in: dict[int, int] = {}
    for row, (start, bin_) in enumerate(zip(starts.tolist(), (starts // width).tolist(), strict=True)):
        if not (
            bin_ in start_in
            or start - start_in.get(bin_ - 1, _FAR) < width
            or start_in.get(bin_ + 1, -_FAR) - start < width
        ):
            start_in[bin_] = start
            rows.append(row)
    return rows


def assign(windows: Windows, chosen: Windows, width: int) -> np.ndarray:
    """Return the chosen window of each window: of the stronger ones the one it overlaps most.

    Of two equal overlaps the stronger one counts.

    Returns
    -------
    ndarray
        int64 row of ``chosen``; ``NOWHERE`` where the window is.
    """
    left = np.searchsorted(chosen.start, windows.start, side="right") - 1
    right = left + 1

    def overlap(row: np.ndarray) -> np.ndarray:
        rank, start = chosen.rank[row], chosen.start[row]
        stronger = (rank > windows.rank) | ((rank == windows.rank) & (start <= windows.start))
        return np.where(stronger, np.maximum(width - abs(start - windows.start), 0), 0)

    # No window is left of the first or right of the last one: then both are the same.
    left, right = np.maximum(left, 0), np.minimum(right, len(chosen.start) - 1)
    of_left, of_right = overlap(left), overlap(right)
    to_right = (of_right > of_left) | ((of_right == of_left) & (chosen.rank[right] > chosen.rank[left]))
    placed = windows.start != NOWHERE
    assert (np.maximum(of_left, of_right)[placed] > 0).all(), "a peak has no region"
    return np.where(placed, np.where(to_right, right, left), NOWHERE)


def write_regions(
    files: Mapping[str, str | Path],
    cell_type_of: Mapping[str, str],
    width: int,
    segments: Sequence[Segment],
    out: str | Path,
) -> str:
    """Write ``regions.parquet``, ``accessibility.parquet`` and ``peaks.parquet`` into a folder.

    Parameters
    ----------
    files
        Cleaned peak file by sample.
    cell_type_of
        Cell type by sample.
    width
        Width of each region in bp.
    segments
        Stretches of one split each, in genome order, covering the genome.
    out
        Folder. ``regions.parquet``: region_id (row number), chrom, start, end (bp, 0-based half-open),
        split, in genome order. ``accessibility.parquet``: region_id, cell_type, signal (the rank of the
        best peak), in order of the two. ``peaks.parquet``: sample, name, chrom, start, end, signal of
        every kept peak and the region_id it belongs to, in order of cell type, sample and place.

    Returns
    -------
    str
        A line that says how many peaks became how many regions.
    """
    samples = sorted(files, key=lambda sample: (cell_type_of[sample], sample))
    layout = Layout(segments)
    windows = [
        load_windows(files[sample], width, layout) for sample in Progress(samples, "reading peaks")
    ]
    chosen = choose_windows(Windows(*map(np.concatenate, zip(*windows, strict=True))), width)
    if not len(chosen.start):
        raise GenebertError("no peak lies on a contig as long as a region", "lower regions.width")
    regions = layout.table(chosen.start, width)
    check_catalogue(regions, width)
    out = Path(out)
    with (
        complete_or_absent(out / "regions.parquet") as regions_file,
        complete_or_absent(out / "accessibility.parquet") as accessibility_file,
        complete_or_absent(out / "peaks.parquet") as peaks_file,
    ):
        _write(pa.Table.from_pandas(regions, REGIONS), regions_file, _REGIONS_A_GROUP)
        open_in: list[OpenIn] = []
        with pq.ParquetWriter(peaks_file, _PEAKS, compression="zstd") as writer:
            tracing = zip(Progress(samples, "tracing peaks"), windows, strict=True)
            for cell_type, group in itertools.groupby(tracing, lambda pair: cell_type_of[pair[0]]):
                best = np.zeros(len(regions), np.float32)
                for sample, own in group:
                    region = assign(own, chosen, width)
                    kept = region != NOWHERE
                    np.maximum.at(best, region[kept], own.rank[kept])
                    writer.write_table(_traced(files[sample], sample, layout.chroms, region))
                ids = np.flatnonzero(best)
                open_in.append(OpenIn(cell_type, ids.astype(np.uint32), best[ids]))
        _write(accessibility_table(open_in, len(regions)), accessibility_file, _VIEWS_A_GROUP)
    peaks = sum(len(own.start) for own in windows)
    dropped = sum(int((own.start == NOWHERE).sum()) for own in windows)
    return (
        f"{peaks} peaks of {len(files)} samples -> {len(regions)} regions of {width} bp; "
        f"{dropped} peaks dropped on stretches shorter than that"
    )


def _traced(
    path: str | Path, sample: str, chroms: Sequence[str], region_of_peak: np.ndarray
) -> pa.Table:
    """Return the kept peaks of one sample with their regions."""
    kept = region_of_peak != NOWHERE
    peaks = read_cleaned(path, ["name", "chrom", "start", "end", "signal"])[kept]
    # The same dictionary in every sample: readers need not unify them.
    chrom = pd.Categorical(peaks["chrom"], categories=chroms)
    return pa.Table.from_pandas(
        peaks.assign(
            sample=pd.Categorical([sample] * len(peaks)),
            chrom=chrom,
            region_id=region_of_peak[kept].astype(np.uint32),
        ),
        _PEAKS,
        preserve_index=False,
    )


def accessibility_table(open_in: Sequence[OpenIn], regions: int) -> pa.Table:
    """Return the sparse table (region_id, cell_type, signal) in order of region and cell type.

    Parameters
    ----------
    open_in
        One a cell type, in order of their names.
    regions
        How many there are.
    """
    counts = np.bincount(
        np.concatenate([cell_type.region_id for cell_type in open_in]), minlength=regions
    )
    code = np.empty(counts.sum(), np.int32)
    signal = np.empty(counts.sum(), np.float32)
    # Where each region's next row goes.
    next_row = np.cumsum(counts) - counts
    for number, cell_type in enumerate(open_in):
        rows = next_row[cell_type.region_id]
        code[rows], signal[rows] = number, cell_type.signal
        next_row[cell_type.region_id] += 1
    names = [cell_type.name for cell_type in open_in]
    return pa.table(
        {
            "region_id": np.repeat(np.arange(regions, dtype=np.uint32), counts),
            "cell_type": pa.DictionaryArray.from_arrays(code, names),
            "signal": signal,
        },
        schema=ACCESSIBILITY,
    )


def check_catalogue(regions: pd.DataFrame, width: int) -> None:
    """Assert what every later stage relies on: one width, sorted within contigs, no overlap."""
    assert (regions["end"] - regions["start"] == width).all()
    same_contig = (regions["chrom"] == regions["chrom"].shift()).to_numpy()
    gap = (regions["start"] - regions["end"].shift()).to_numpy()
    assert (gap[same_contig] >= 0).all(), "regions overlap or are out of order"
    assert (~same_contig).sum() == regions["chrom"].nunique(), "a contig's regions are apart"


def write_table(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table as Parquet, complete or absent, the same bytes for the same rows."""
    with complete_or_absent(path) as temporary:
        _write(pa.Table.from_pandas(table, preserve_index=False), temporary, _VIEWS_A_GROUP)


def _write(table: pa.Table, path: Path, rows_a_group: int) -> None:
    pq.write_table(
        table.replace_schema_metadata(None), path, compression="zstd", row_group_size=rows_a_group
    )
