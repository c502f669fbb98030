"""FASTA of peaks: places in the headers, and their sequences."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from genebert.errors import GenebertError
from genebert.files import read_lines
from genebert.genome import reverse_complement
from genebert.inputs.bed import check_in_genome, on_contigs, refuse_other_style, rename_contigs

_HEADER = re.compile(r">\s*(\S+?):([0-9]{1,10})-([0-9]{1,10})(?:\(([+-])\))?(?:\s.*)?")


def is_fasta(path: str | Path) -> bool:
    """Return whether the first line that is not blank begins with ``>``."""
    for _, line in read_lines(path):
        if line.strip():
            return line.startswith(">")
    return False


def read_peak_fasta(
    path: str | Path, contig_style: str, what: str, lengths: Mapping[str, int], contigs: str, where: str
) -> pd.DataFrame:
    """Read peaks with their sequences, on contigs in use; the genome may lack a contig.

    Parameters
    ----------
    path
        FASTA, gzip or not. Headers are ``>chrom:start-end`` (bp, 0-based half-open), with ``(+)`` or
        ``(-)`` after it where the sequence is of that strand, and any text after a blank.
    contig_style
        The style to rename contigs to.
    what, where
        What the file holds ("peaks for 'K562'") and where it was named, for messages.
    lengths
        Contig lengths of the genome in bp.
    contigs
        Regular expression of the contigs in use.

    Returns
    -------
    DataFrame
        ``line`` (of the header, from 1), ``chrom``, ``start``, ``end``, ``sequence`` (of the forward
        strand, upper case, ambiguous bases as N).

    Raises
    ------
    GenebertError
        Naming the line: a header without a place, a sequence of another length or with other letters, a
        contig that the genome has under another name, an end beyond it; or if no peak is left.
    """
    peaks = pd.DataFrame(_records(path), columns=["line", "chrom", "start", "end", "sequence"])
    if peaks.empty:
        raise GenebertError(f"{path} has no peaks", "give a file with at least one", where)
    peaks = on_contigs(rename_contigs(peaks, contig_style), what, contigs, where)
    if peaks.empty:
        raise GenebertError(f"no {what} are on the contigs in use", "check `genome.contigs`", where)
    inside = peaks["chrom"].isin(lengths)
    for name in peaks.loc[~inside, "chrom"].unique():
        refuse_other_style(name, lengths.__contains__, what, where, can_rename=True)
    check_in_genome(peaks[inside], str(path), what, lengths, where)
    return peaks.reset_index(drop=True)


def _records(path: str | Path) -> Iterator[tuple[int, str, int, int, str]]:
    header, pieces = (0, ""), list[str]()
    for number, line in read_lines(path):
        if line.startswith(">"):
            if header[0]:
                yield _record(path, *header, pieces)
            header, pieces = (number, line), []
        elif header[0]:
            pieces.append(line.strip())
        elif line.strip():
            raise GenebertError(
                "sequence before the first '>' line", "give a FASTA", f"{path} line {number}"
            )
    if header[0]:
        yield _record(path, *header, pieces)


def _record(
    path: str | Path, number: int, header: str, pieces: list[str]
) -> tuple[int, str, int, int, str]:
    where = f"{path} line {number}"
    found = _HEADER.fullmatch(header)
    if not found or int(found[2]) >= int(found[3]):
        raise GenebertError(
            f"header '{header[:60]}' names no place",
            "write `>chrom:start-end`, bp, 0-based half-open",
            where,
        )
    start, end, sequence = int(found[2]), int(found[3]), "".join(pieces).upper()
    if len(sequence) != end - start:
        raise GenebertError(
            f"{found[1]}:{start}-{end} has {end - start} bp, its sequence {len(sequence)}",
            "correct the record; starts count from 0, ends are not included",
            where,
        )
    if other := re.search("[^ACGTRYSWKMBDHVN]", sequence):
        raise GenebertError(f"'{other[0]}' is no nucleotide code", "give a DNA FASTA", where)
    sequence = re.sub("[^ACGT]", "N", sequence)
    return number, found[1], start, end, reverse_complement(sequence) if found[4] == "-" else sequence
