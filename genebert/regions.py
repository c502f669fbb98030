"""Peaks of many samples -> one catalogue of regions."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from genebert.errors import GenebertError
from genebert.files import complete_or_absent
from genebert.genome import Segment, SegmentIndex
from genebert.inputs.peaks import read_cleaned


def load_peaks(files: Mapping[str, str | Path]) -> pd.DataFrame:
    """Read cleaned peak files.

    Parameters
    ----------
    files
        Path by sample name.

    Returns
    -------
    DataFrame
        chrom, start, end, name, signal, summit, ``sample`` and ``rank``: the signal's mid-rank
        within its sample in (0, 1), which makes samples of any depth comparable; peaks of a sample
        without signal all get 1/2.
    """
    tables = []
    for sample, path in files.items():
        peaks = read_cleaned(path)
        peaks["sample"] = sample
        peaks["rank"] = (peaks["signal"].rank(method="average") - 0.5) / len(peaks)
        tables.append(peaks)
    return pd.concat(tables, ignore_index=True)


def build_catalogue(
    peaks: pd.DataFrame, width: int, segments: Sequence[Segment]
) -> tuple[pd.DataFrame, np.ndarray]:
    """Choose non-overlapping windows of one width around summits, strongest first.

    A window is shifted where it would leave the contig or cross into another split. A window that
    overlaps a stronger one already chosen is absorbed: its peak belongs to the one of these it overlaps
    most (the stronger of two equal ones). Peaks on segments shorter than the width are dropped.

    Parameters
    ----------
    peaks
        From :func:`load_peaks`, on contigs of ``segments``.
    width
        Width of each region in bp.
    segments
        Stretches of one split each, in genome order, covering the genome.

    Returns
    -------
    regions
        DataFrame of ``region_id`` (row number), chrom, start, end (bp, 0-based half-open), split; in
        genome order.
    region_of_peak
        int64, one a peak: its region_id, −1 where the peak was dropped.
    """
    chrom_rank = {segment.chrom: rank for rank, segment in enumerate(segments)}
    starts, splits = _window_starts(peaks, width, SegmentIndex(segments))
    chroms = peaks["chrom"].map(chrom_rank).to_numpy()
    # Equal ranks are settled by place, so that the order of samples does not matter.
    order = np.lexsort((peaks["name"], starts, chroms, -peaks["rank"].to_numpy()))
    chosen: list[int] = []
    region_of: np.ndarray = np.full(len(peaks), -1, dtype=np.int64)
    # Chosen windows do not overlap: at most one of them starts in each bin of `width` bp.
    bins: dict[tuple[int, int], int] = {}
    for peak in order[starts[order] >= 0]:
        start, chrom = int(starts[peak]), int(chroms[peak])
        best, best_overlap = -1, 0
        for bin_ in range(start // width - 1, start // width + 2):
            rival = bins.get((chrom, bin_), -1)
            overlap = width - abs(int(starts[chosen[rival]]) - start) if rival >= 0 else 0
            if overlap > best_overlap or (overlap == best_overlap > 0 and rival < best):
                best, best_overlap = rival, overlap
        if best < 0:
            best = bins[chrom, start // width] = len(chosen)
            chosen.append(peak)
        region_of[peak] = best
    regions = pd.DataFrame(
        {
            "chrom": peaks["chrom"].to_numpy()[chosen],
            "start": starts[chosen],
            "end": starts[chosen] + width,
            "split": splits[chosen],
            "rank": chroms[chosen],
        }
    )
    genome_order = np.lexsort((regions["start"], regions["rank"]))
    regions = regions.iloc[genome_order].drop(columns="rank").reset_index(drop=True)
    regions.insert(0, "region_id", np.arange(len(regions), dtype=np.uint32))
    new_id = np.empty(len(chosen) + 1, dtype=np.int64)
    new_id[genome_order] = np.arange(len(chosen))
    new_id[-1] = -1
    return regions, new_id[region_of]


def _window_starts(
    peaks: pd.DataFrame, width: int, index: SegmentIndex
) -> tuple[np.ndarray, np.ndarray]:
    starts = np.empty(len(peaks), dtype=np.int64)
    splits = np.empty(len(peaks), dtype=object)
    for row, (chrom, summit) in enumerate(zip(peaks["chrom"], peaks["summit"], strict=True)):
        segment = index.at(chrom, summit)
        centred = summit - width // 2
        starts[row] = max(segment.start, min(centred, segment.end - width))
        splits[row] = segment.split
        if segment.end - segment.start < width:
            starts[row] = -1
    return starts, splits


def accessibility_table(
    peaks: pd.DataFrame, region_of_peak: np.ndarray, cell_type_of: Mapping[str, str]
) -> pd.DataFrame:
    """Return the sparse table (region_id, cell_type, signal): signal is the best peak's rank."""
    kept = peaks[region_of_peak >= 0].assign(
        region_id=region_of_peak[region_of_peak >= 0].astype(np.uint32)
    )
    kept = kept.assign(cell_type=kept["sample"].map(cell_type_of))
    table = kept.groupby(["region_id", "cell_type"], as_index=False)["rank"].max()
    return table.rename(columns={"rank": "signal"}).astype({"signal": "float32"})


def write_regions(
    files: Mapping[str, str | Path],
    cell_type_of: Mapping[str, str],
    width: int,
    segments: Sequence[Segment],
    out: str | Path,
) -> str:
    """Write ``regions.parquet``, ``accessibility.parquet`` and ``peaks.parquet`` into a folder.

    ``peaks.parquet`` traces every kept peak (sample, name, place) to its region.

    Returns
    -------
    str
        A line that says how many peaks became how many regions.
    """
    peaks = load_peaks(files)
    regions, region_of_peak = build_catalogue(peaks, width, segments)
    if regions.empty:
        raise GenebertError("no peak lies on a contig as long as a region", "lower regions.width")
    check_catalogue(regions, width)
    kept = region_of_peak >= 0
    traced = peaks.loc[kept, ["sample", "name", "chrom", "start", "end", "signal"]].assign(
        region_id=region_of_peak[kept].astype(np.uint32)
    )
    out = Path(out)
    write_table(regions, out / "regions.parquet")
    write_table(accessibility_table(peaks, region_of_peak, cell_type_of), out / "accessibility.parquet")
    write_table(traced, out / "peaks.parquet")
    return (
        f"{len(peaks)} peaks of {len(files)} samples -> {len(regions)} regions of {width} bp; "
        f"{int((~kept).sum())} peaks dropped on stretches shorter than that"
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
        pq.write_table(
            pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None),
            temporary,
            compression="zstd",
        )
