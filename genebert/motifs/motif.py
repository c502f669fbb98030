"""A motif as its file gives it: counts, names, and the family of its factor."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from genebert.errors import GenebertError

# What MEME itself assumes where a matrix does not say how many sites it was made from.
DEFAULT_SITES = 20.0
# Printed probabilities are rounded; a column off by more than this is another thing.
TOLERANCE = 0.02
_LONGEST = 1000


@dataclass(frozen=True)
class Motif:
    """A position frequency matrix.

    Attributes
    ----------
    matrix_id, name
        As in the file: ``MA0139.2``, ``CTCF``.
    counts
        float64 [4, length], rows A, C, G, T.
    tf_class, tf_family
        Structural class and family of the factor, empty where unknown.
    """

    matrix_id: str
    name: str
    counts: np.ndarray
    tf_class: str = ""
    tf_family: str = ""


def read_numbers(cells: Sequence[str], where: str, what: str = "count") -> list[float]:
    """Return cells as finite numbers ≥ 0; ``what`` they are is for the message.

    Raises
    ------
    GenebertError
        If one is no such number.
    """
    try:
        numbers = [float(cell) for cell in cells]
    except ValueError as error:
        raise GenebertError(str(error), f"write each {what} as a number", where) from None
    if not all(0 <= number < float("inf") for number in numbers):
        raise GenebertError(f"a {what} is negative or not finite", f"write each {what} ≥ 0", where)
    return numbers


def checked(motif: Motif, where: str) -> Motif:
    """Return the motif if each of its columns has counts.

    Raises
    ------
    GenebertError
        If one has none, or the motif has no id or no columns.
    """
    if not motif.matrix_id:
        raise GenebertError("a motif has no id", "give every motif an id of its own", where)
    totals = motif.counts.sum(axis=0)
    if not len(totals):
        raise GenebertError(f"'{motif.matrix_id}' has no matrix", "give its matrix or remove it", where)
    if len(totals) > _LONGEST or not np.isfinite(totals).all():
        raise GenebertError(
            f"'{motif.matrix_id}' has {len(totals)} columns, or counts that add up to infinity",
            f"give matrices of {_LONGEST} columns at most",
            where,
        )
    if not (totals > 0).all():
        raise GenebertError(
            f"column {int(totals.argmin()) + 1} of '{motif.matrix_id}' has no counts",
            "remove the column or the motif",
            where,
        )
    return motif


def as_counts(probabilities: np.ndarray, sites: float = DEFAULT_SITES) -> np.ndarray:
    """Return probabilities [4, length], made to add up to 1 in each column, × the number of sites."""
    counts: np.ndarray = probabilities / probabilities.sum(axis=0) * sites
    return counts
