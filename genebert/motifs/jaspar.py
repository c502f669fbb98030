"""Count matrices in JASPAR text format, and the order of their rows in a TF × region matrix."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from genebert.errors import GenebertError
from genebert.files import read_lines

_ROW = re.compile(r"^([ACGT])?\s*\[?\s*([^\[\]]*?)\s*\]?$")


@dataclass(frozen=True)
class Motif:
    """A position frequency matrix.

    Attributes
    ----------
    matrix_id, name
        As in the file: ``MA0139.2``, ``CTCF``.
    counts
        float64 [4, length], rows A, C, G, T.
    """

    matrix_id: str
    name: str
    counts: np.ndarray


def read_jaspar(path: str | Path) -> list[Motif]:
    """Read motifs in file order.

    Raises
    ------
    GenebertError
        Naming the line: a ragged matrix, a count that is no number ≥ 0, a column without counts,
        an id given twice, no motif at all.
    """
    motifs: list[Motif] = []
    header, started = "", 0
    rows: list[list[float]] = []
    for number, line in read_lines(path):
        if not line.strip():
            continue
        if line.startswith(">"):
            if header:
                motifs.append(_motif(header, rows, f"{path} line {started}"))
            header, rows, started = line[1:].strip(), [], number
            continue
        if not header:
            raise GenebertError(
                "counts before the first '>' line",
                "give JASPAR text format: '>ID NAME', then rows A, C, G, T",
                f"{path} line {number}",
            )
        rows.append(_row(line.strip(), len(rows), f"{path} line {number}"))
    if header:
        motifs.append(_motif(header, rows, f"{path} line {started}"))
    if not motifs:
        raise GenebertError(f"{path} has no motifs", "give a file with at least one matrix")
    seen: set[str] = set()
    for motif in motifs:
        if motif.matrix_id in seen:
            raise GenebertError(
                f"motif '{motif.matrix_id}' is given twice", "keep one of them", str(path)
            )
        seen.add(motif.matrix_id)
    return motifs


def _row(line: str, index: int, where: str) -> list[float]:
    match = _ROW.match(line)
    letter = match.group(1) if match else None
    if not match or index > 3 or letter not in (None, "ACGT"[index]):
        raise GenebertError(
            f"'{line[:30]}' is not row {'ACGT'[min(index, 3)]} of a matrix",
            "each matrix has four rows, in the order A, C, G, T",
            where,
        )
    try:
        counts = [float(cell) for cell in match.group(2).split()]
    except ValueError as error:
        raise GenebertError(str(error), "write counts as numbers", where) from None
    if not all(0 <= count < float("inf") for count in counts):
        raise GenebertError("a count is negative or not finite", "write counts ≥ 0", where)
    return counts


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
    counts = np.array(rows)
    if not (counts.sum(axis=0) > 0).all():
        raise GenebertError(
            f"column {int(counts.sum(axis=0).argmin()) + 1} of '{matrix_id}' has no counts",
            "remove the column or the motif",
            where,
        )
    return Motif(matrix_id.strip(), name.strip() or matrix_id.strip(), counts)


def order_by_similarity(motifs: Sequence[Motif]) -> list[int]:
    """Return the motifs' indices such that similar ones are neighbours.

    Leaves of an average-linkage tree over 1 − similarity; the similarity of two motifs is their best
    normalised cross-correlation over offsets and strands (base frequencies − 1/4, zero outside).
    The result depends on the matrices only, not on their order in the file.
    """
    if len(motifs) < 3:
        return sorted(range(len(motifs)), key=lambda i: motifs[i].matrix_id)
    by_id = sorted(range(len(motifs)), key=lambda i: motifs[i].matrix_id)
    similarity = similarity_matrix([motifs[i] for i in by_id])
    distance = np.round(1 - similarity, 5)  # rounding hides differences between BLAS builds
    np.fill_diagonal(distance, 0)
    leaves = leaves_list(linkage(squareform(distance, checks=False), "average"))
    return [by_id[leaf] for leaf in leaves]


def similarity_matrix(motifs: Sequence[Motif]) -> np.ndarray:
    """Return float64 [n, n], the best normalised cross-correlation of each pair, in [−1, 1]."""
    n, longest = len(motifs), max(motif.counts.shape[1] for motif in motifs)
    padded = np.zeros((n, 4, longest))
    reverse = np.zeros((n, 4, longest))
    for i, motif in enumerate(motifs):
        centred = motif.counts / motif.counts.sum(axis=0) - 0.25
        centred = centred / max(float(np.linalg.norm(centred)), 1e-12)
        padded[i, :, : centred.shape[1]] = centred
        reverse[i, :, : centred.shape[1]] = centred[::-1, ::-1]
    best = np.full((n, n), -1.0)
    fixed = padded.reshape(n, -1)
    for other in (padded, reverse):
        for offset in range(1 - longest, longest):
            shifted = np.zeros_like(other)
            if offset >= 0:
                shifted[:, :, offset:] = other[:, :, : longest - offset]
            else:
                shifted[:, :, :offset] = other[:, :, -offset:]
            np.maximum(best, fixed @ shifted.reshape(n, -1).T, out=best)
    return np.maximum(best, best.T)
