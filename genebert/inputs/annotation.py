"""Gene annotations in GTF, and the transcription start sites of one."""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from genebert.errors import GenebertError
from genebert.files import read_lines

_TYPE = re.compile(r'\bgene_(?:bio)?type "?([^";]+)"?')
_GFF3 = re.compile(r"##gff-version\s+3")
_KEY_VALUE = re.compile(r"\s*\w+=")
_WHOLE = re.compile("[0-9]{1,10}")
_NAME = re.compile(r'\bgene_name "?([^";]+)"?')


def is_gtf(path: str | Path) -> bool:
    """Return whether a file holds an annotation rather than a BED, as its first line tells.

    GTF, and GFF3 too (:func:`read_gtf_tss` refuses it), has nine columns, with coordinates in the fourth
    and fifth; a BED has its own in the second and third. The name does not count: a fetched file may
    have any.

    Raises
    ------
    GenebertError
        If the file cannot be read.
    """
    for _, line in read_lines(path):
        if line.strip() and not line.startswith("#"):
            cells = line.split("\t")
            return (
                len(cells) == 9
                and all(map(_WHOLE.fullmatch, cells[3:5]))
                and not all(map(_WHOLE.fullmatch, cells[1:3]))
            )
    return False


def read_gtf_tss(path: str | Path) -> pd.DataFrame:
    """Read the TSS of protein-coding genes: the 5' end of each ``gene`` line.

    GTF counts from 1 and includes the end; what is returned is 0-based half-open.

    Parameters
    ----------
    path
        GENCODE (``gene_type``) or Ensembl (``gene_biotype``) annotation, gzip or not.

    Returns
    -------
    DataFrame
        ``line`` (from 1), ``chrom``, ``start``, ``end`` (one bp), ``name``, ``strand``; a place and
        strand only once.

    Raises
    ------
    GenebertError
        Naming the line that is no GTF, or shows that the file is GFF3; or if no gene is protein-coding.
    """
    rows = []
    for number, cells in gtf_records(path):
        if cells[2] != "gene":
            continue
        kind = _TYPE.search(cells[8])
        if not kind or kind.group(1) != "protein_coding":
            continue
        start, end = gtf_span(cells, f"{path} line {number}")
        first = start if cells[6] == "+" else end - 1
        rows.append((number, cells[0], first, first + 1, _name(cells[8]), cells[6]))
    if not rows:
        raise GenebertError(
            f"{path} has no `gene` line of type protein_coding",
            "give a GENCODE or Ensembl GTF, or a BED6 of TSS",
        )
    table = pd.DataFrame(rows, columns=["line", "chrom", "start", "end", "name", "strand"])
    return table.drop_duplicates(["chrom", "start", "strand"]).reset_index(drop=True)


def gtf_records(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number from 1, its nine cells) of every record of a GTF, gzip or not.

    Raises
    ------
    GenebertError
        Naming the line that is no GTF, or shows that the file is GFF3.
    """
    for number, line in read_lines(path):
        where = f"{path} line {number}"
        if _GFF3.match(line):
            raise _is_gff3(where)
        if not line.strip() or line.startswith("#"):
            continue
        cells = line.split("\t")
        if len(cells) != 9:
            raise GenebertError(f"{len(cells)} columns where GTF has 9", "give a GTF", where)
        if _KEY_VALUE.match(cells[8]):
            raise _is_gff3(where)
        yield number, cells


def gtf_span(cells: list[str], where: str) -> tuple[int, int]:
    """Return the start and end, 0-based half-open, of a record; its strand must be + or -.

    Raises
    ------
    GenebertError
        If a coordinate or the strand is none.
    """
    first, last, strand = cells[3], cells[4], cells[6]
    if not (_WHOLE.fullmatch(first) and _WHOLE.fullmatch(last) and 1 <= int(first) <= int(last)):
        raise GenebertError(
            f"'{first}' to '{last}' is no stretch of bp from 1", "correct the line", where
        )
    if strand not in ("+", "-"):
        raise GenebertError(f"strand '{strand}' is neither + nor -", "correct the line", where)
    return int(first) - 1, int(last)


def _is_gff3(where: str) -> GenebertError:
    return GenebertError("the annotation is GFF3", "give the GTF of the same release", where)


def _name(attributes: str) -> str:
    found = _NAME.search(attributes)
    return found.group(1) if found else "."
