"""Matrices in TRANSFAC text format, as JASPAR releases and Biopython write it.

Numbers are taken as they are; :func:`genebert.motifs.read.read_motifs` makes frequencies counts.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from genebert.errors import GenebertError
from genebert.motifs.motif import Motif, checked, read_numbers

_COMMENT = re.compile(r"(tf_class|tf_family)\s*:\s*(.*)")


@dataclass
class _Record:
    """What the lines of one motif have said so far."""

    started: int = 0
    fields: dict[str, str] = field(default_factory=dict)
    letters: list[str] = field(default_factory=list)
    first: int = 0
    columns: list[list[float]] = field(default_factory=list)


def parse_transfac(lines: Iterable[tuple[int, str]], path: str) -> list[Motif]:
    """Return the motifs of a TRANSFAC file.

    The id is line AC (or ID), the name NA (or ID); class and family are JASPAR's comments.

    Parameters
    ----------
    lines
        (number from 1, text) of each line.
    path
        The file, for messages.

    Raises
    ------
    GenebertError
        Naming the line: counts that do not fit the head of their matrix or are out of order, a motif
        without id or matrix, one that does not end with ``//``.
    """
    motifs: list[Motif] = []
    record = _Record()
    for number, line in lines:
        where = f"{path} line {number}"
        key, _, text = line.strip().replace("\t", " ").partition(" ")
        text = text.strip()
        if key == "//":
            motifs.extend(_motifs(record, path))
            record = _Record()
        elif key in ("AC", "ID", "NA"):
            if key in record.fields:
                raise GenebertError(
                    f"'{next(iter(record.fields.values()))}' has two {key} lines",
                    "end every motif with a line `//`",
                    where,
                )
            record.started = record.started or number
            record.fields[key] = text
        elif key in ("P0", "PO"):
            record.letters = text.upper().split()
            if sorted(record.letters) != list("ACGT"):
                raise GenebertError(
                    f"the matrix has columns '{text}'", "name its columns A, C, G, T", where
                )
            record.started = record.started or number
        elif key.isdecimal():
            _add_column(record, int(key), text.split(), where)
        elif key == "CC" and (comment := _COMMENT.match(text)):
            record.fields[comment.group(1)] = comment.group(2).strip()
    if record.started:
        raise GenebertError(
            "the last motif does not end",
            "end every motif with a line `//`",
            f"{path} line {record.started}",
        )
    return motifs


def _add_column(record: _Record, position: int, cells: list[str], where: str) -> None:
    if not record.letters:
        raise GenebertError("counts before the head of a matrix", "write `PO A C G T` above them", where)
    if not record.columns:
        record.first = position
    if position != record.first + len(record.columns):
        raise GenebertError(
            f"position {position} where {record.first + len(record.columns)} is due",
            "number the positions one by one",
            where,
        )
    if len(cells) == 5 and cells[4].isalpha():  # the consensus letter
        cells = cells[:4]
    if len(cells) != 4:
        raise GenebertError(f"{len(cells)} counts where 4 are needed", "correct the line", where)
    record.columns.append(read_numbers(cells, where))


def _motifs(record: _Record, path: str) -> list[Motif]:
    """Return the record's motif; the header of a file is a record without one."""
    if not record.started:
        return []
    fields = record.fields
    matrix_id = fields.get("AC") or fields.get("ID", "")
    order = [record.letters.index(base) for base in "ACGT"] if record.letters else [0, 1, 2, 3]
    motif = Motif(
        matrix_id,
        fields.get("NA") or fields.get("ID") or matrix_id,
        np.array(record.columns).reshape(-1, 4).T[order],
        fields.get("tf_class", ""),
        fields.get("tf_family", ""),
    )
    return [checked(motif, f"{path} line {record.started}")]
