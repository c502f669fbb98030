"""Promoters: windows around TSS against genomic places of the same GC content."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from genebert.benchmarks.negatives import Occupied, gc_content, gc_matched
from genebert.benchmarks.tasks.assemble import assemble
from genebert.benchmarks.tasks.material import Material
from genebert.config import PromoterTask as Settings
from genebert.genome import SPLITS, Genome, Interval, Segment, SegmentIndex
from genebert.inputs.bed import read_task_intervals

CLASSES = ["background", "promoter"]


def check(
    settings: Settings, name: str, files: Mapping[str, Path], lengths: Mapping[str, int], contigs: str
) -> dict[str, int]:
    """Read every file of the task in full; return how many records each holds.

    Raises
    ------
    GenebertError
        If one does not fit the genome.
    """
    bed = read_task_intervals(files["tss"], settings.contig_style, name, lengths, contigs)
    return {"tss": len(bed)}


def build(settings: Settings, files: Mapping[str, Path], material: Material, out: str | Path) -> str:
    """Write the dataset of the task; return a line on it.

    Parameters
    ----------
    settings
        Of the task.
    files
        ``tss``: BED6 or GTF of the TSS.
    material
        What tasks are built from.
    out
        ``dataset.parquet``.

    Raises
    ------
    GenebertError
        If a split is left without examples, or the cell type is unknown.
    """
    genome, rng = material.genome, np.random.default_rng(settings.seed)
    bed = read_task_intervals(
        files["tss"], settings.contig_style, material.name, genome.lengths, material.contigs
    )
    windows = promoter_windows(settings, bed, genome.lengths)
    positives = _usable(windows, genome, material.index)
    negatives = draw_negatives(settings, positives, windows, genome, material.segments, rng)
    table = pd.concat([positives[negatives["chrom"].notna().to_numpy()], negatives.dropna()])
    table = table.assign(cell_type=settings.cell_type).astype({"start": "int64", "end": "int64"})
    counts = assemble(table.drop(columns="gc"), CLASSES, settings, material, out)
    return (
        f"{len(windows)} windows, {len(positives)} without N and within one split, "
        f"{int(negatives['chrom'].isna().sum())} of them without a negative of their GC content "
        f"and dropped\n{counts}"
    )


def promoter_windows(settings: Settings, bed: pd.DataFrame, lengths: Mapping[str, int]) -> pd.DataFrame:
    """Return the windows around every TSS, each once: chrom, start, end, strand.

    The TSS is the 5' end of an interval. Windows that leave the contig are dropped.
    """
    forward = bed["strand"] == "+"
    bed["start"], bed["end"] = (
        np.where(forward, bed["start"] - settings.upstream, bed["end"] - 1 - settings.downstream),
        np.where(forward, bed["start"] + settings.downstream + 1, bed["end"] + settings.upstream),
    )
    inside = (bed["start"] >= 0) & (bed["end"] <= bed["chrom"].map(lengths))
    columns = ["chrom", "start", "end", "strand"]
    return bed.loc[inside, columns].drop_duplicates().reset_index(drop=True)


def _usable(windows: pd.DataFrame, genome: Genome, index: SegmentIndex) -> pd.DataFrame:
    rows = []
    for row in windows.itertuples(index=False):
        place = Interval(row.chrom, int(row.start), int(row.end))
        segment = index.around(place)
        sequence = genome.fetch(place)
        if segment is None or "N" in sequence:
            continue
        rows.append((*row, 1, segment.split, gc_content(sequence)))
    columns = [*windows.columns, "label", "split", "gc"]
    return pd.DataFrame(rows, columns=columns)


def draw_negatives(
    settings: Settings,
    positives: pd.DataFrame,
    windows: pd.DataFrame,
    genome: Genome,
    segments: Sequence[Segment],
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Return one negative a positive, row by row, of the same split, GC content and strand.

    Rows are null where no place was found.
    """
    width = settings.upstream + settings.downstream + 1
    occupied = Occupied(width)
    for row in windows.itertuples(index=False):
        start = max(0, row.start - settings.negative_distance)
        occupied.add(Interval(row.chrom, start, row.end + settings.negative_distance))
    negatives = positives.assign(label=0, chrom=None, start=np.nan, end=np.nan)
    for split in SPLITS:
        rows = np.flatnonzero(positives["split"] == split)
        places = gc_matched(
            genome,
            positives["gc"].iloc[rows].tolist(),
            [segment for segment in segments if segment.split == split],
            width,
            occupied,
            rng,
        )
        for row, place in zip(rows, places, strict=True):
            if place is not None:
                negatives.loc[row, ["chrom", "start", "end"]] = [
                    place.chrom,
                    place.start,
                    place.end,
                ]
    return negatives
