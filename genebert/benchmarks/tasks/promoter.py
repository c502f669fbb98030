"""Promoters: windows around TSS against places, or sequences, that are none.

A promoter is of the subset ``TATA`` where TATAWAW (W: A or T) begins 35 to 20 bp before its TSS, on its
strand, else of ``no_TATA``; its negative is of the same one.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from genebert.benchmarks.negatives import (
    Occupied,
    gc_content,
    gc_matched,
    randomise_parts,
    shuffle_dinucleotides,
)
from genebert.benchmarks.tasks.assemble import PLACE, assemble, first_by_hash, oriented
from genebert.benchmarks.tasks.material import Material
from genebert.config import PromoterTask as Settings
from genebert.genome import SPLITS, Genome, Interval, reverse_complement
from genebert.inputs.bed import read_task_intervals
from genebert.sequence.codes import decode, encode_all

CLASSES = ["background", "promoter"]
_TATA = re.compile("TATA[AT]A[AT]")
_TATA_FIRST, _TATA_LAST, _TATA_LENGTH = 35, 20, 7
_CHANGES = {"deepromoter": randomise_parts, "dinucleotide_shuffle": shuffle_dinucleotides}


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
    positives = _usable(windows, settings, material)
    usable = len(positives)
    if settings.max_examples is not None:
        # Capped before negatives are drawn, so that none loses its promoter.
        kept = first_by_hash(positives, settings.max_examples, settings.seed)
        positives = positives.iloc[kept].reset_index(drop=True)
    if settings.negatives == "gc_matched":
        negatives = draw_places(settings, positives, windows, material, rng)
    else:
        negatives = change_sequences(settings, positives, rng)
    table = pd.concat([positives.iloc[negatives.index], negatives], ignore_index=True)
    counts = assemble(table, CLASSES, settings, material, out)
    return (
        f"{len(windows)} windows, {usable} without N and within one split, {len(positives)} kept, "
        f"{len(positives) - len(negatives)} of them without a negative and dropped\n{counts}"
    )


def promoter_windows(settings: Settings, bed: pd.DataFrame, lengths: Mapping[str, int]) -> pd.DataFrame:
    """Return the windows around every TSS, each once: chrom, start, end, strand.

    The TSS is ``tss_offset`` bp after the 5' end of an interval. Windows that leave the contig are
    dropped.
    """
    forward = bed["strand"] == "+"
    offset = settings.tss_offset
    tss = np.where(forward, bed["start"] + offset, bed["end"] - 1 - offset)
    windows = bed.assign(
        start=np.where(forward, tss - settings.upstream, tss - settings.downstream),
        end=np.where(forward, tss + settings.downstream, tss + settings.upstream) + 1,
    )
    inside = (windows["start"] >= 0) & (windows["end"] <= windows["chrom"].map(lengths))
    return windows.loc[inside, PLACE].drop_duplicates().reset_index(drop=True)


def _usable(windows: pd.DataFrame, settings: Settings, material: Material) -> pd.DataFrame:
    rows = []
    for row in windows.itertuples(index=False):
        place = Interval(row.chrom, int(row.start), int(row.end))
        segment, sequence = material.index.around(place), oriented(material, row)
        if segment is None or "N" in sequence:
            continue
        tss = place.start + settings.upstream if row.strand == "+" else place.end - 1 - settings.upstream
        subset = "TATA" if has_tata(material.genome, row.chrom, tss, row.strand) else "no_TATA"
        rows.append((*row, 1, settings.cell_type, segment.split, subset, sequence))
    columns = [*windows.columns, "label", "cell_type", "split", "subset", "sequence"]
    return pd.DataFrame(rows, columns=columns)


def has_tata(genome: Genome, chrom: str, tss: int, strand: str) -> bool:
    """Return whether a TATA box begins 35 to 20 bp before a TSS (a position, bp from 0)."""
    first, last = _TATA_FIRST, _TATA_LAST - _TATA_LENGTH + 1
    start, end = (tss - first, tss - last + 1) if strand == "+" else (tss + last, tss + first + 1)
    start, end = max(0, start), min(end, genome.lengths[chrom])
    if start >= end:
        return False
    sequence = genome.fetch(Interval(chrom, start, end))
    return bool(_TATA.search(sequence if strand == "+" else reverse_complement(sequence)))


def draw_places(
    settings: Settings,
    positives: pd.DataFrame,
    windows: pd.DataFrame,
    material: Material,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Return a negative place of each promoter's split, GC content and strand.

    Parameters
    ----------
    settings
        Of the task.
    positives
        The promoters.
    windows
        All places that a negative keeps off.
    material
        What tasks are built from.
    rng
        Decides the draw.

    Returns
    -------
    DataFrame
        As ``positives``, of which it has the index; without a row where no place was found.
    """
    occupied = Occupied(settings.bases())
    for row in windows.itertuples(index=False):
        start = max(0, row.start - settings.negative_distance)
        occupied.add(Interval(row.chrom, start, row.end + settings.negative_distance))
    found: dict[int, Interval] = {}
    for split in SPLITS:
        rows = np.flatnonzero(positives["split"] == split)
        places = gc_matched(
            material.genome,
            positives["sequence"].iloc[rows].map(gc_content).tolist(),
            [segment for segment in material.segments if segment.split == split],
            settings.bases(),
            occupied,
            rng,
        )
        found |= {row: place for row, place in zip(rows.tolist(), places, strict=True) if place}
    taken = sorted(found)
    negatives = positives.iloc[taken].assign(
        label=0,
        chrom=[found[row].chrom for row in taken],
        start=[found[row].start for row in taken],
        end=[found[row].end for row in taken],
    )
    return negatives.assign(
        sequence=[oriented(material, row) for row in negatives.itertuples(index=False)]
    )


def change_sequences(
    settings: Settings, positives: pd.DataFrame, rng: np.random.Generator
) -> pd.DataFrame:
    """Return each promoter with its sequence changed as ``settings.negatives`` names.

    Negatives have the places of their promoters: nothing but sequence tells them apart. Without a row
    where a sequence cannot be changed (AAAA cannot be shuffled). The index is that of ``positives``.
    """
    if positives.empty:
        return positives
    change = _CHANGES[settings.negatives]
    changed = decode(change(encode_all(positives["sequence"].tolist()), rng))
    negatives = positives.assign(label=0, sequence=changed)
    return negatives[negatives["sequence"] != positives["sequence"]]
