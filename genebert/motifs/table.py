"""Log-odds matrices with their thresholds: what scanning needs of the motifs, in row order."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from genebert.errors import GenebertError
from genebert.files import complete_or_absent, digest_of
from genebert.motifs.motif import Motif
from genebert.motifs.order import row_order
from genebert.motifs.read import read_motifs
from genebert.parquet import facts_of, read_parquet

# Scores are whole multiples of 1/1024 nat: their sums are exact in floating point, in any order, so
# that every scanner agrees on every hit, and p-values can be counted exactly.
UNITS_PER_NAT = 1024
# As `write_motif_table` writes it.
_TABLE = pa.schema(
    {
        "row": pa.uint16(),
        "matrix_id": pa.string(),
        "name": pa.string(),
        "class": pa.string(),
        "family": pa.string(),
        "length": pa.uint16(),
        "threshold": pa.float64(),
        "realised_p": pa.float64(),
        "log_odds": pa.list_(pa.float64()),
    }
)
_MEND = "name the motif table, or make it anew"
# Frequencies of the background that differ by less are equal but for their rounding.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class ScoredMotif:
    """A motif as a scanner sees it.

    Attributes
    ----------
    matrix_id, name
        As in the motif file.
    log_odds
        float64 [4, length], natural log, rows A, C, G, T, multiples of 1/1024.
    threshold
        Least score of a hit.
    realised_p
        Probability under the background that a word scores at least ``threshold``.
    tf_class, tf_family
        Structural class and family of the factor, empty where unknown.
    """

    matrix_id: str
    name: str
    log_odds: np.ndarray
    threshold: float
    realised_p: float
    tf_class: str = ""
    tf_family: str = ""

    @property
    def lowest(self) -> float:
        """Least score of any word."""
        return float(self.log_odds.min(axis=0).sum())

    @property
    def highest(self) -> float:
        """Greatest score of any word."""
        return float(self.log_odds.max(axis=0).sum())

    @property
    def label(self) -> str:
        """Id and name, the motif's name in matrices and reports."""
        return f"{self.matrix_id} {self.name}"


@dataclass(frozen=True)
class MotifTable:
    """Motifs in row order, and those dropped because no threshold is rare enough."""

    motifs: list[ScoredMotif]
    dropped: list[ScoredMotif]
    background: list[float]
    pseudocount: float
    p_value: float
    order: str = "similarity"

    def digest(self) -> str:
        """Return a hash of all that decides what a matrix row means."""
        return digest_of(
            [[m.label, m.log_odds.tolist(), m.threshold] for m in self.motifs] + [self.background]
        )


def log_odds(motif: Motif, background: Sequence[float], pseudocount: float) -> np.ndarray:
    """Return ln((count + pseudocount·b) / ((total + pseudocount)·b)), rounded to 1/1024 nat.

    Parameters
    ----------
    motif
        Counts [4, length].
    background
        Frequencies b of A, C, G, T.
    pseudocount
        Added to each column, shared out by the background.
    """
    b = np.asarray(background)[:, None]
    frequency = (motif.counts + pseudocount * b) / (motif.counts.sum(axis=0) + pseudocount)
    return np.round(np.log(frequency / b) * UNITS_PER_NAT) / UNITS_PER_NAT


def score_distribution(scores: np.ndarray, background: Sequence[float]) -> tuple[int, np.ndarray]:
    """Return the exact distribution of a word's score under an independent background.

    Parameters
    ----------
    scores
        float64 [4, length], multiples of 1/1024.
    background
        Frequencies of A, C, G, T.

    Returns
    -------
    lowest
        The lowest score, in units of 1/1024.
    probability
        float64, ``probability[i]`` that of the score ``lowest + i``.
    """
    units = np.rint(scores * UNITS_PER_NAT).astype(np.int64)
    lowest = units.min(axis=0)
    probability = np.ones(1)
    for column, low in zip(units.T, lowest, strict=True):
        wider = np.zeros(len(probability) + int(column.max() - low))
        for base, frequency in zip(column - low, background, strict=True):
            wider[base : base + len(probability)] += frequency * probability
        probability = wider
    return int(lowest.sum()), probability


def threshold_for(
    scores: np.ndarray, background: Sequence[float], p_value: float
) -> tuple[float, float]:
    """Return (threshold, realised p): the least score that is reached with probability ≤ p_value.

    Where even the best word is likelier than that, the threshold is its score.
    """
    lowest, probability = score_distribution(scores, background)
    at_least = np.cumsum(probability[::-1])[::-1]
    # A score that no word has must not be the threshold's realised p of a likelier neighbour.
    reachable = np.flatnonzero(probability > 0)
    rare = reachable[at_least[reachable] <= p_value * (1 + 1e-9)]
    index = rare[0] if len(rare) else reachable[-1]
    return (lowest + int(index)) / UNITS_PER_NAT, float(at_least[index])


def score_motifs(
    motifs: Sequence[Motif],
    background: Sequence[float],
    pseudocount: float,
    p_value: float,
    max_realised_p: float,
    order: str = "similarity",
) -> MotifTable:
    """Order motifs and give each its threshold; drop those above ``max_realised_p``.

    Parameters
    ----------
    motifs
        In any order.
    background
        Frequencies of A, C, G, T, the same on both strands: A = T and C = G, as one threshold serves
        both.
    pseudocount
        Added to each column, shared out by the background.
    p_value
        What a hit's probability under the background is at most, where the motif can reach it.
    max_realised_p
        The same for motifs that cannot.
    order
        ``similarity``, ``family`` or ``file`` (:func:`genebert.motifs.order.row_order`).

    Raises
    ------
    GenebertError
        If a setting is out of its range, no motif is left, or the order is ``family`` and no motif has
        one.
    """
    _check_settings(background, pseudocount, p_value, max_realised_p)
    kept: list[ScoredMotif] = []
    dropped: list[ScoredMotif] = []
    for index in row_order(motifs, order):
        motif = motifs[index]
        scores = log_odds(motif, background, pseudocount)
        threshold, realised = threshold_for(scores, background, p_value)
        scored = ScoredMotif(
            motif.matrix_id, motif.name, scores, threshold, realised, motif.tf_class, motif.tf_family
        )
        (kept if realised <= max_realised_p else dropped).append(scored)
    if not kept:
        raise GenebertError(
            f"no motif reaches p ≤ {max_realised_p:g}",
            "give longer motifs or raise max_realised_p",
        )
    if len(kept) > 65535:
        raise GenebertError(f"{len(kept)} motifs, at most 65535", "give fewer motifs")
    return MotifTable(kept, dropped, list(background), pseudocount, p_value, order)


def _check_settings(
    background: Sequence[float], pseudocount: float, p_value: float, max_realised_p: float
) -> None:
    shown = " ".join(f"{frequency:g}" for frequency in background)
    if len(background) != 4 or not all(0 < frequency < 1 for frequency in background):
        raise GenebertError(
            f"background {shown} is not four frequencies between 0 and 1", "give those of A, C, G, T"
        )
    if abs(sum(background) - 1) > _ROUNDING:
        raise GenebertError(f"background {shown} sums to {sum(background):g}", "make it sum to 1")
    a, c, g, t = background
    if abs(a - t) > _ROUNDING or abs(c - g) > _ROUNDING:
        raise GenebertError(
            f"background {shown} differs between the strands", "make A = T and C = G: take their means"
        )
    if not 0 < pseudocount < float("inf"):
        raise GenebertError(f"pseudocount {pseudocount:g} is not positive", "give a number above 0")
    if not 0 < p_value < 1:
        raise GenebertError(f"p-value {p_value:g} is not between 0 and 1", "give one such as 1e-4")
    if not p_value <= max_realised_p <= 1:
        raise GenebertError(
            f"the greatest realised p, {max_realised_p:g}, is not between the p-value {p_value:g} and 1",
            "raise it, or lower the p-value",
        )


def write_motif_table(
    motif_file: str | Path,
    background: Sequence[float],
    pseudocount: float,
    p_value: float,
    max_realised_p: float,
    order: str,
    families: str | Path | None,
    out: str | Path,
) -> str:
    """Read a motif file, score its motifs, write the table as Parquet; return a line on it.

    Parameters are those of :func:`genebert.motifs.read.read_motifs` and :func:`score_motifs`.
    """
    motifs = read_motifs(motif_file, families)
    table = score_motifs(motifs, background, pseudocount, p_value, max_realised_p, order)
    rows = table.motifs + table.dropped
    columns = {
        "row": pa.array([*range(len(table.motifs)), *[None] * len(table.dropped)], pa.uint16()),
        "matrix_id": [m.matrix_id for m in rows],
        "name": [m.name for m in rows],
        "class": [m.tf_class for m in rows],
        "family": [m.tf_family for m in rows],
        "length": pa.array([m.log_odds.shape[1] for m in rows], pa.uint16()),
        "threshold": [m.threshold for m in rows],
        "realised_p": [m.realised_p for m in rows],
        "log_odds": [m.log_odds.ravel().tolist() for m in rows],
    }
    settings = {
        "background": table.background,
        "pseudocount": pseudocount,
        "p_value": p_value,
        "order": order,
    }
    with complete_or_absent(out) as temporary:
        pq.write_table(
            pa.table(columns).replace_schema_metadata({"genebert": json.dumps(settings)}),
            temporary,
            compression="zstd",
        )
    return f"{len(rows)} motifs in order of {order}; {thresholds_line(table, max_realised_p)}"


def thresholds_line(table: MotifTable, max_realised_p: float) -> str:
    """Return a line on motifs too short for the p-value, and one for each that was dropped."""
    p_value = table.p_value
    rows = table.motifs + table.dropped
    short = sum(m.realised_p > p_value * (1 + 1e-9) for m in rows)
    return (
        f"{short} of {len(rows)} motifs cannot reach p = {p_value:g} and keep their best words; "
        f"{len(table.dropped)} of these are likelier than {max_realised_p:g} and dropped"
        + "".join(f"\ndropped {m.label}: realised p {m.realised_p:.2e}" for m in table.dropped)
    )


def read_motif_table(path: str | Path) -> MotifTable:
    """Read what :func:`write_motif_table` wrote.

    Raises
    ------
    GenebertError
        If the file is missing, damaged, or no such table.
    """
    table = read_parquet(path, _TABLE, _MEND, nullable=("row",))
    settings = _Settings.read(facts_of(table.schema, path, _MEND), path)
    kept: list[ScoredMotif] = []
    dropped: list[ScoredMotif] = []
    for row in table.to_pylist():
        scores, length = np.array(row["log_odds"]), row["length"]
        numbers = [*row["log_odds"], row["threshold"], row["realised_p"]]
        if not length or len(scores) != 4 * length or not np.isfinite(numbers).all():
            raise GenebertError(f"{path}: the scores of '{row['matrix_id']}' are no matrix", _MEND)
        motif = ScoredMotif(
            row["matrix_id"],
            row["name"],
            scores.reshape(4, length),
            row["threshold"],
            row["realised_p"],
            row["class"],
            row["family"],
        )
        (dropped if row["row"] is None else kept).append(motif)
    if table["row"].to_pylist() != [*range(len(kept)), *[None] * len(dropped)] or not kept:
        raise GenebertError(f"{path}: its rows are not in order", _MEND)
    return MotifTable(
        kept, dropped, settings.background, settings.pseudocount, settings.p_value, settings.order
    )


class _Settings(BaseModel):
    """What a table of motifs keeps of how it was made."""

    model_config = ConfigDict(strict=True)

    background: list[float]
    pseudocount: float
    p_value: float
    order: str

    @classmethod
    def read(cls, facts: dict[str, Any], path: str | Path) -> Self:
        """Check the facts kept with a file; GenebertError if they are none of a table of motifs."""
        try:
            settings = cls.model_validate(facts)
        except ValidationError:
            raise GenebertError(
                f"{path} is not a motif table", "name motifs/motifs.parquet of the results"
            ) from None
        _check_settings(settings.background, settings.pseudocount, settings.p_value, 1.0)
        return settings


def motif_probabilities(table: MotifTable) -> tuple[np.ndarray, np.ndarray]:
    """Return the base probabilities of each motif that its log-odds stand for, and its width.

    Parameters
    ----------
    table
        The scored motifs; those that were dropped have no row.

    Returns
    -------
    probabilities
        float32 [T, longest, 4], bases A, C, G, T on the motif's own strand; 0 beyond its width.
    widths
        int64 [T], in bp.
    """
    widths = np.array([motif.log_odds.shape[1] for motif in table.motifs])
    probabilities = np.zeros((len(widths), widths.max(), 4), np.float32)
    for row, motif in zip(probabilities, table.motifs, strict=True):
        frequency = np.asarray(table.background) * np.exp(motif.log_odds.T)
        row[: len(frequency)] = frequency / frequency.sum(axis=1, keepdims=True)
    return probabilities, widths
