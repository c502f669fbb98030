"""Transcription start sites from a gene annotation in GTF."""

import re
from pathlib import Path

import pandas as pd

from genebert.errors import GenebertError
from genebert.files import read_lines

_TYPE = re.compile(r'\bgene_(?:bio)?type "?([^";]+)"?')
_NAME = re.compile(r'\bgene_name "?([^";]+)"?')


def is_gtf(path: str | Path) -> bool:
    """Return whether a file's name says that it is an annotation rather than a BED."""
    return str(path).removesuffix(".gz").endswith(".gtf")


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
        Naming the line that is no GTF; or if no gene is protein-coding.
    """
    rows = []
    for number, line in read_lines(path):
        if not line.strip() or line.startswith("#"):
            continue
        cells = line.split("\t")
        where = f"{path} line {number}"
        if len(cells) != 9:
            raise GenebertError(f"{len(cells)} columns where GTF has 9", "give a GTF", where)
        if cells[2] != "gene":
            continue
        kind = _TYPE.search(cells[8])
        if not kind or kind.group(1) != "protein_coding":
            continue
        rows.append((number, cells[0], *_first_base(cells, where), _name(cells[8]), cells[6]))
    if not rows:
        raise GenebertError(
            f"{path} has no `gene` line of type protein_coding",
            "give a GENCODE or Ensembl GTF, or a BED6 of TSS",
        )
    table = pd.DataFrame(rows, columns=["line", "chrom", "start", "end", "name", "strand"])
    return table.drop_duplicates(["chrom", "start", "strand"]).reset_index(drop=True)


def _first_base(cells: list[str], where: str) -> tuple[int, int]:
    first, last, strand = cells[3], cells[4], cells[6]
    if not (first.isdigit() and last.isdigit() and 1 <= int(first) <= int(last)):
        raise GenebertError(
            f"'{first}' to '{last}' is no stretch of bp from 1", "correct the line", where
        )
    if strand not in ("+", "-"):
        raise GenebertError(f"strand '{strand}' is neither + nor -", "correct the line", where)
    position = int(first) - 1 if strand == "+" else int(last) - 1
    return position, position + 1


def _name(attributes: str) -> str:
    found = _NAME.search(attributes)
    return found.group(1) if found else "."
