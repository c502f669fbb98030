"""ChIP-seq peaks of one cell type, of any of the forms that they come in."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from genebert.errors import GenebertError
from genebert.genome import Genome, Interval
from genebert.inputs.bed import read_bed
from genebert.inputs.peak_fasta import is_fasta, read_peak_fasta
from genebert.inputs.peaks import read_peaks
from genebert.inputs.sheet import Sample
from genebert.inputs.source import Source


def read_chip_peaks(
    path: str | Path,
    cell_type: str,
    contig_style: str,
    lengths: Mapping[str, int],
    contigs: str,
    where: str,
) -> pd.DataFrame:
    """Read peaks on contigs in use, checked against the genome's lengths.

    Parameters
    ----------
    path
        narrowPeak (each line has ten columns), another BED, or FASTA of peaks; gzip or not. Of a FASTA,
        the genome may lack contigs.
    cell_type, where
        Whose peaks they are and where the file was named, for messages.
    contig_style
        The style to rename contigs to.
    lengths
        Contig lengths of the genome in bp.
    contigs
        Regular expression of the contigs in use.

    Returns
    -------
    DataFrame
        ``line`` (from 1), ``chrom``, ``start``, ``end`` (bp, 0-based half-open), ``summit`` (position in
        bp; the middle where there is none), ``signal`` (NaN where there is none) and ``sequence`` (of
        the forward strand; null unless the file is a FASTA).

    Raises
    ------
    GenebertError
        Naming the line that is wrong or does not fit the genome.
    """
    if is_fasta(path):
        peaks = read_peak_fasta(path, contig_style, f"peaks for '{cell_type}'", lengths, contigs, where)
        return peaks.assign(summit=(peaks["start"] + peaks["end"]) // 2, signal=np.nan)
    kind = "narrowPeak" if _has_summits(path) else "bed"
    source = Source(str(path), None, None)
    sample = Sample(cell_type, cell_type, "ChIP-seq", kind, source, str(path), "", contig_style, where)
    return read_peaks(sample, lengths, contigs).assign(sequence=None)


def _has_summits(path: str | Path) -> bool:
    bed = read_bed(path, 3, {"tenth": 10, "eleventh": 11})
    return bool(bed["tenth"].notna().all() and bed["eleventh"].isna().all())


def check_reference(peaks: pd.DataFrame, genome: Genome, cell_type: str, path: Path) -> None:
    """Compare the sequences of peaks with the genome, where it has their contig.

    Where the genome has an N, it says nothing against the file.

    Parameters
    ----------
    peaks
        From :func:`read_chip_peaks`; those without sequence pass.
    genome
        To compare with.
    cell_type, path
        Whose peaks they are and where they lie, for messages.

    Raises
    ------
    GenebertError
        Naming the first peak whose sequence is another.
    """
    given = peaks[peaks["sequence"].notna() & peaks["chrom"].isin(genome.lengths)]
    for row in given.itertuples(index=False):
        place = Interval(row.chrom, row.start, row.end)
        known = genome.fetch(place)
        if known == row.sequence:
            continue
        pairs = enumerate(zip(known, row.sequence, strict=True))
        if differing := [position for position, (one, other) in pairs if one not in (other, "N")]:
            first = f"{row.chrom}:{row.start + differing[0]}"
            raise GenebertError(
                f"peaks for '{cell_type}': the sequence of {place} is not that of the genome: "
                f"{len(differing)} of {len(place)} bases differ, first {first}",
                "use a file of the same assembly as the genome",
                f"{path} line {row.line}",
            )
