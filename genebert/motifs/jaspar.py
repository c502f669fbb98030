"""Matrices in JASPAR's text formats: ``jaspar``, and ``pfm`` with or without a header line.

Numbers are taken as they are; :func:`genebert.motifs.read.read_motifs` makes frequencies counts.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from genebert.errors import GenebertError
from genebert.motifs.motif import Motif, checked, read_numbers

_ROW = re.compile(r"^([ACGT])?\s*\[?\s*([^\[\]]*?)\s*\]?$")


def parse_jaspar(lines: Iterable[tuple[int, str]], path: str) -> list[Motif]:
    """Return the motifs of a file of ``>ID NAME`` lines, each followed by rows A, C, G, T.

    Parameters
    ----------
    lines
        (number from 1, text) of each line.
    path
        The file, for messages.

    Raises
    ------
    GenebertError
        Naming the line: a ragged matrix, a count that is no number ≥ 0, a column without counts.
    """
    motifs: list[Motif] = []
    header, started = "", 0
    rows: list[list[float]] = []
    for number, line in lines:
        if not line.strip():
            continue
        if line.startswith(">"):
            if started:
                motifs.append(_motif(header, rows, f"{path} line {started}"))
            header, rows, started = line[1:].strip(), [], number
        else:
            rows.append(_row(line.strip(), len(rows), f"{path} line {number}"))
    motifs.append(_motif(header, rows, f"{path} line {started}"))
    return motifs


def parse_single_matrix(lines: Iterable[tuple[int, str]], path: str) -> list[Motif]:
    """Return the one motif of a file that has four rows and no header; it is named after the file.

    Raises
    ------
    GenebertError
        As :func:`parse_jaspar`, and for a header that comes after counts.
    """
    rows: list[list[float]] = []
    started = 0
    for number, line in lines:
        if not line.strip():
            continue
        started = started or number
        if line.startswith(">"):
            raise GenebertError(
                "counts before the first '>' line",
                "give JASPAR text format: '>ID NAME', then rows A, C, G, T",
                f"{path} line {started}",
            )
        rows.append(_row(line.strip(), len(rows), f"{path} line {number}"))
    name = re.sub(r"\.gz$", "", Path(path).name)
    return [_motif(Path(name).stem, rows, f"{path} line {started}")]


def _row(line: str, index: int, where: str) -> list[float]:
    match = _ROW.match(line)
    letter = match.group(1) if match else None
    if not match or index > 3 or letter not in (None, "ACGT"[index]):
        raise GenebertError(
            f"'{line[:30]}' is not row {'ACGT'[min(index, 3)]} of a matrix",
            "each matrix has four rows, in the order A, C, G, T",
            where,
        )
    return read_numbers(match.group(2).split(), where)


def _motif(header: str, rows: list[list[float]], where: str) -> Motif:
    matrix_id, _, name = header.partition("\t" if "\t" in header else " ")
    lengths = [len(row) for row in rows]
    if len(rows) != 4 or len(set(lengths)) != 1 or lengths[0] == 0:
        raise GenebertError(
            f"the matrix of '{matrix_id}' is ragged: rows of {', '.join(map(str, lengths)) or 'no'} "
            "columns",
            "give four rows (A, C, G, T) of one length",
            where,
        )
    return checked(Motif(matrix_id.strip(), name.strip() or matrix_id.strip(), np.array(rows)), where)
