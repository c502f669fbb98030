"""The figure of one held-out place: attribution and attention along it, over its motif hits."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from genebert.attribution import SCHEMA
from genebert.errors import GenebertError
from genebert.motifs.table import MotifTable
from genebert.parquet import read_parquet
from genebert.report.plots import COLOURS, as_svg

# Hits that are drawn, variants that have a panel, and the hits' rows below them.
HITS, PANELS, LANES = 14, 4, 3
_AGAIN = "delete the file and make it anew"


@dataclass(frozen=True)
class Place:
    """What was written of one model at one place (:mod:`genebert.attribution`).

    Attributes
    ----------
    bases
        DataFrame of position, base, attribution, attention.
    facts
        variant, seed, chrom, start, end, split, hits.
    """

    bases: pd.DataFrame
    facts: dict[str, Any]

    @property
    def name(self) -> str:
        """Where it is, in bp (0-based, half-open)."""
        return f"{self.facts['chrom']}:{self.facts['start']:,}-{self.facts['end']:,}"


class Hit(NamedTuple):
    """A motif hit: bp from the region's start, half-open; strength in nat."""

    name: str
    start: int
    end: int
    strand: int
    strength: float


def section(files: Sequence[str | Path], motifs: MotifTable) -> dict[str, Any]:
    """Return what the page's template needs to know of the place; empty without files.

    Parameters
    ----------
    files
        As for :func:`read_places`.
    motifs
        In row order.
    """
    places = read_places(files, motifs)
    if not places:
        return {}
    facts = places[0].facts
    hits = strongest(facts["hits"], motifs)
    return {
        "place": places[0].name,
        "split": facts["split"],
        "hits": len(facts["hits"]["motif"]),
        "drawn": len(hits),
        "left_out": [place.facts["variant"] for place in places[PANELS:]],
        "under_hits": [(place.facts["variant"], under_hits(place, hits)) for place in places[:PANELS]],
        "figure": draw(places, hits),
    }


def read_places(files: Sequence[str | Path], motifs: MotifTable) -> list[Place]:
    """Read attributions of one place, one of each variant: the first of its seeds.

    Raises
    ------
    GenebertError
        If they are of other motifs than the table's, or of several places.
    """
    places: dict[str, Place] = {}
    for path in files:
        table = read_parquet(path, SCHEMA, _AGAIN)
        place = Place(table.to_pandas(), json.loads(table.schema.metadata[b"genebert"]))
        first = next(iter(places.values()), place)
        if place.facts["motif_digest"] != motifs.digest() or place.name != first.name:
            raise GenebertError("the attribution is of another corpus", _AGAIN, str(path))
        places.setdefault(place.facts["variant"], place)
    return list(places.values())


def strongest(hits: dict[str, list[Any]], motifs: MotifTable, number: int = HITS) -> list[Hit]:
    """Return the strongest hits that lie apart, sorted by place.

    Strength is the log-odds of the hit: a long informative motif is stronger than a short one that fits
    as well. Of hits that share more than half of the shorter one, such as those of one family, only the
    strongest is kept.

    Parameters
    ----------
    hits
        Of a region: ``motif``, ``position``, ``strand``, ``score``.
    motifs
        In row order.
    number
        At most so many.
    """
    lowest = np.array([motif.lowest for motif in motifs.motifs])
    highest = np.array([motif.highest for motif in motifs.motifs])
    row, score = np.array(hits["motif"], np.int64), np.array(hits["score"], np.float64)
    strength = lowest[row] + score * (highest[row] - lowest[row])
    kept: list[Hit] = []
    for i in np.lexsort([row, hits["position"], -strength]):
        motif = motifs.motifs[row[i]]
        start, length = int(hits["position"][i]), motif.log_odds.shape[1]
        hit = Hit(motif.name, start, start + length, int(hits["strand"][i]), float(strength[i]))
        if not any(_share(hit, other) > 0.5 for other in kept):
            kept.append(hit)
        if len(kept) == number:
            break
    return sorted(kept, key=lambda hit: (hit.start, hit.end))


def _share(one: Hit, other: Hit) -> float:
    common = min(one.end, other.end) - max(one.start, other.start)
    return common / min(one.end - one.start, other.end - other.start)


def under_hits(place: Place, hits: Sequence[Hit]) -> float:
    """Return the mean attribution of bases in hits over that of all other bases."""
    inside = np.zeros(len(place.bases), bool)
    for hit in hits:
        inside[hit.start : hit.end] = True
    values = place.bases["attribution"].to_numpy(np.float64)
    if inside.all() or not inside.any():
        return float("nan")
    return float(values[inside].mean() / values[~inside].mean())


def draw(places: Sequence[Place], hits: Sequence[Hit]) -> str:
    """Draw attribution and attention of some models along a place, and its motif hits below.

    Parameters
    ----------
    places
        At least one; the first ``PANELS`` are drawn.
    hits
        To draw, sorted by place.
    """
    shown = list(places)[:PANELS]
    figure, axes = plt.subplots(
        len(shown) + 1,
        1,
        figsize=(10.6, 1.45 * len(shown) + 1.5),
        sharex=True,
        gridspec_kw={"height_ratios": [*[1.0] * len(shown), 0.85]},
    )
    top = max(float(place.bases["attribution"].max()) for place in shown)
    handles: list[Any] = []
    for panel, place in zip(axes, shown, strict=False):
        handles = _panel(panel, place, hits, top)
    _hits(axes[-1], hits)
    axes[-1].set(xlabel="bp from the region's start, forward strand")
    axes[-1].set_xlim(0, len(shown[0].bases))
    figure.legend(handles=handles, loc="outside upper right", ncols=2, fontsize=8)
    return as_svg(figure, f"Attribution and attention along {shown[0].name}, and motif hits")


def _panel(axes: Axes, place: Place, hits: Sequence[Hit], top: float) -> list[Any]:
    """Draw a model's panel; return its legend's handles."""
    position = place.bases["position"].to_numpy(np.int64)
    for hit in hits:
        axes.axvspan(hit.start, hit.end, color="#eef1f4", zorder=0)
    bars = place.bases["attribution"].to_numpy(np.float64)
    axes.stairs(bars, np.arange(len(bars) + 1), fill=True, color=COLOURS[0], label="attribution (left)")
    axes.set_ylim(0, 1.15 * top)
    axes.set_ylabel("attribution", fontsize=8)
    axes.set_title(f"{place.facts['variant']}, seed {place.facts['seed']}", fontsize=9)
    other = axes.twinx()
    other.plot(
        position + 0.5,
        place.bases["attention"],
        color=COLOURS[1],
        linewidth=1,
        label="attention (right)",
    )
    most = float(place.bases["attention"].max())
    other.set_ylim(0, 1.15 * max(most, 1.0))
    other.set_ylabel("attention", fontsize=8)
    other.spines["right"].set_visible(True)
    return axes.get_legend_handles_labels()[0] + other.get_legend_handles_labels()[0]


def _hits(axes: Axes, hits: Sequence[Hit]) -> None:
    """Draw hits as named spans in the first lane that has room for the name."""
    ends = [float("-inf")] * LANES
    for hit in hits:
        middle = (hit.start + hit.end) / 2
        # A letter is some 4.6 bp wide at this size.
        half = max(4.6 * (len(hit.name) + 2) / 2, (hit.end - hit.start) / 2)
        lane = min(range(LANES), key=lambda lane: (ends[lane] > middle - half, ends[lane]))
        ends[lane] = middle + half
        axes.barh(lane, hit.end - hit.start, left=hit.start, height=0.32, color="#303030")
        axes.text(
            middle,
            lane - 0.22,
            f"{hit.name} {'+' if hit.strand > 0 else '−'}",
            ha="center",
            va="bottom",
            fontsize=7.5,
        )
    axes.set_ylim(LANES - 0.5, -0.95)
    axes.set_yticks([])
    axes.set_ylabel("motif hits", fontsize=8)
    axes.spines["left"].set_visible(False)
