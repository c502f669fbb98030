"""Promoters: windows around TSS against genomic places of the same GC content."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from genebert.benchmarks.dataset import (
    ColumnFinder,
    hits_by_example,
    label_counts,
    write_dataset,
)
from genebert.benchmarks.negatives import Occupied, gc_content, gc_matched
from genebert.catalogue import catalogue_digest
from genebert.config import PromoterTask as Settings
from genebert.errors import GenebertError
from genebert.genome import (
    SPLITS,
    Genome,
    Interval,
    Segment,
    SegmentIndex,
    reverse_complement,
)
from genebert.inputs.bed import read_task_intervals
from genebert.motifs.scan import Scanner
from genebert.motifs.table import MotifTable

CLASSES = ["background", "promoter"]


def build(
    settings: Settings,
    name: str,
    tss: str | Path,
    contigs: str,
    fasta: str | Path,
    segments: Sequence[Segment],
    regions: str | Path,
    accessibility: str | Path,
    motifs: MotifTable,
    columns: int,
    out: str | Path,
) -> str:
    """Write the dataset of the task; return a line on it.

    Parameters
    ----------
    settings, name
        Of the task.
    tss, contigs
        BED6 or GTF of the TSS, and the regular expression of the contigs in use.
    fasta
        Indexed genome.
    segments
        The global split.
    regions, accessibility
        The catalogue, from which columns come.
    motifs
        Scored motifs.
    columns
        R.
    out
        ``dataset.parquet``.

    Raises
    ------
    GenebertError
        If a split is left without examples, or the cell type is unknown.
    """
    genome = Genome(fasta)
    index = SegmentIndex(segments)
    rng = np.random.default_rng(settings.seed)
    bed = read_task_intervals(tss, settings.contig_style, name, genome.lengths, contigs)
    windows = promoter_windows(settings, bed, genome.lengths)
    positives = _usable(windows, genome, index)
    negatives = draw_negatives(settings, positives, windows, genome, segments, rng)
    table = pd.concat([positives[negatives["chrom"].notna().to_numpy()], negatives.dropna()])
    table = table.assign(
        rank=table["chrom"].map({c: r for r, c in enumerate(genome.lengths)}),
        cell_type=settings.cell_type,
    ).astype({"start": "int64", "end": "int64"})
    table = table.sort_values(["rank", "start", "end", "strand"]).reset_index(drop=True)
    for split in SPLITS:
        if not (table["split"] == split).any():
            raise GenebertError(
                f"task '{name}' has no {split} example",
                "hold out places that hold TSS (genome.split)",
                f"benchmarks.tasks.{name}",
            )
    table["sequence"] = [_oriented(genome, row) for row in table.itertuples(index=False)]
    hits = Scanner(motifs).scan(table["sequence"].tolist())
    finder = ColumnFinder(_column_regions(regions, accessibility, settings.cell_type, name), columns)
    beside = np.array(
        [
            finder.beside(Interval(r.chrom, r.start, r.end), index.at(r.chrom, r.start))
            for r in table.itertuples(index=False)
        ]
    )
    write_dataset(
        table,
        hits_by_example(hits.sequence, hits.motif, len(table)),
        hits_by_example(hits.sequence, hits.score, len(table)),
        beside,
        {
            "task": name,
            "classes": CLASSES,
            "motif_digest": motifs.digest(),
            "catalogue": catalogue_digest(regions),
            "settings": settings.model_dump(),
        },
        out,
    )
    return (
        f"{len(windows)} windows, {len(positives)} without N and within one split, "
        f"{int(negatives['chrom'].isna().sum())} of them without a negative of their GC content "
        f"and dropped\n{label_counts(table, CLASSES)}"
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


def _oriented(genome: Genome, row) -> str:  # type: ignore[no-untyped-def]
    sequence = genome.fetch(Interval(row.chrom, row.start, row.end))
    return sequence if row.strand == "+" else reverse_complement(sequence)


def _column_regions(
    regions: str | Path, accessibility: str | Path, cell_type: str, name: str
) -> pd.DataFrame:
    catalogue = pq.read_table(regions).to_pandas()
    if cell_type == "any":
        return catalogue
    open_in = pq.read_table(accessibility).to_pandas()
    if cell_type not in set(open_in["cell_type"]):
        raise GenebertError(
            f"cell_type '{cell_type}' is in no sample",
            f"use `any` or one of {', '.join(sorted(open_in['cell_type'].unique()))}",
            f"benchmarks.tasks.{name}",
        )
    ids = open_in.loc[open_in["cell_type"] == cell_type, "region_id"]
    return catalogue[catalogue["region_id"].isin(ids)]
