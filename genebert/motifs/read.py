"""Motif files of any format, and the table of their factors' families."""

import dataclasses
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from genebert.errors import GenebertError
from genebert.files import read_lines
from genebert.motifs.jaspar import parse_jaspar, parse_single_matrix
from genebert.motifs.meme import parse_meme
from genebert.motifs.motif import DEFAULT_SITES, TOLERANCE, Motif, as_counts
from genebert.motifs.transfac import parse_transfac

_Parser = Callable[[Iterable[tuple[int, str]], str], list[Motif]]
# How the first line that is neither empty nor a `#` comment looks.
_FORMATS: tuple[tuple[re.Pattern[str], _Parser], ...] = (
    (re.compile(r">"), parse_jaspar),
    (re.compile(r"MEME version|\*{10}"), parse_meme),
    (re.compile(r"(AC|ID|NA|DE|VV|XX|P0|PO)(\s|$)"), parse_transfac),
    (re.compile(r"\s*[ACGT]?\s*\[?\s*[\d.]"), parse_single_matrix),
)
_FAMILY_COLUMNS = ("matrix_id", "class", "family")


def read_motifs(path: str | Path, families: str | Path | None = None) -> list[Motif]:
    """Read motifs in file order; the format is told from what the file begins with.

    Parameters
    ----------
    path
        JASPAR text (``jaspar`` or ``pfm``), MEME or TRANSFAC, gzip or not. A matrix of JASPAR or
        TRANSFAC whose columns all add up to 1 holds frequencies: they are made counts of 20 sites, as
        in MEME, and stderr says so.
    families
        Table for :func:`read_families`: it says the class and family of the motifs that it lists,
        whatever the motif file says.

    Raises
    ------
    GenebertError
        Naming file and line: no known format, a matrix that cannot be read, an id given twice, no
        motif at all.
    """
    lines = [(number, line) for number, line in read_lines(path) if not line.startswith("#")]
    motifs: list[Motif] = []
    if any(line.strip() for _, line in lines):
        parser = _parser(lines, path)
        motifs = parser(lines, str(path))
        if parser is not parse_meme:
            motifs = _all_counts(motifs, path)
    if not motifs:
        raise GenebertError(f"{path} has no motifs", "give a file with at least one matrix")
    seen: set[str] = set()
    for motif in motifs:
        if motif.matrix_id in seen:
            raise GenebertError(
                f"motif '{motif.matrix_id}' is given twice", "keep one of them", str(path)
            )
        seen.add(motif.matrix_id)
    if families is None:
        return motifs
    known = read_families(families)
    for row, motif in enumerate(motifs):
        if motif.matrix_id in known:
            tf_class, tf_family = known[motif.matrix_id]
            motifs[row] = dataclasses.replace(motif, tf_class=tf_class, tf_family=tf_family)
    return motifs


def _all_counts(motifs: list[Motif], path: str | Path) -> list[Motif]:
    """Return the motifs with counts for frequencies, beside which a pseudocount of 1 would be huge."""
    shares = [bool((abs(motif.counts.sum(axis=0) - 1) <= TOLERANCE).all()) for motif in motifs]
    if any(shares):
        print(
            f"{path}: {sum(shares)} of {len(motifs)} matrices hold frequencies: "
            f"taken as those of {DEFAULT_SITES:g} sites",
            file=sys.stderr,
        )
    return [
        dataclasses.replace(motif, counts=as_counts(motif.counts)) if share else motif
        for motif, share in zip(motifs, shares, strict=True)
    ]


def _parser(lines: list[tuple[int, str]], path: str | Path) -> _Parser:
    number, first = next((number, line) for number, line in lines if line.strip())
    for pattern, parser in _FORMATS:
        if pattern.match(first):
            return parser
    raise GenebertError(
        f"'{first.strip()[:30]}' begins no motif file that is known",
        "give JASPAR ('>ID NAME'), MEME ('MEME version 4') or TRANSFAC ('AC ID') text",
        f"{path} line {number}",
    )


def read_families(path: str | Path) -> dict[str, tuple[str, str]]:
    """Read a tab-separated table with columns matrix_id, class and family.

    Returns
    -------
    dict
        (class, family) by matrix id, its version included.

    Raises
    ------
    GenebertError
        Naming the line: a column is missing, a line has more or fewer cells than the header, an id
        is empty or given twice.
    """
    found: dict[str, tuple[str, str]] = {}
    header: list[str] = []
    for number, line in read_lines(path):
        if not line.strip() or line.startswith("#"):
            continue
        where = f"{path} line {number}"
        cells = [cell.strip() for cell in line.split("\t")]
        if not header:
            header = cells
            if missing := [name for name in _FAMILY_COLUMNS if name not in header]:
                raise GenebertError(
                    f"no column '{missing[0]}'", f"name the columns {', '.join(_FAMILY_COLUMNS)}", where
                )
            continue
        if len(cells) != len(header):
            raise GenebertError(
                f"{len(cells)} cells under {len(header)} columns", "separate cells by one tab", where
            )
        row = dict(zip(header, cells, strict=True))
        if not row["matrix_id"] or row["matrix_id"] in found:
            raise GenebertError(
                f"matrix_id '{row['matrix_id']}' is empty or given twice", "keep one line a motif", where
            )
        found[row["matrix_id"]] = (row["class"], row["family"])
    if not found:
        raise GenebertError(f"{path} has no motifs", "give a line a motif under a header line")
    return found
