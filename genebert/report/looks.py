"""How models look in figures: alike on every task, apart without colour."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genebert.benchmarks.comparisons import is_pretrained
from genebert.config import BASELINES
from genebert.report.plots import COLOURS

# Lines of a figure that are told apart; all others are grey.
HIGHLIGHTED = 7
_COLOURS = [colour for colour in COLOURS if colour not in ("#000000", "#999999")]
_DASHES = [
    "-",
    (0, (5, 1.5)),
    (0, (1, 1)),
    (0, (6, 1.5, 1, 1.5)),
    (0, (3, 1, 1, 1, 1, 1)),
]
_MARKERS = "os^Dv<P"


@dataclass(frozen=True)
class Look:
    """Colour, dash and marker of a model's line."""

    colour: str
    dash: Any
    marker: str

    def line(self) -> dict[str, Any]:
        """Return what matplotlib needs to know to draw the line, without markers."""
        return {"color": self.colour, "linestyle": self.dash}


BEST_BASELINE = Look("#000000", (0, (2, 1.2)), "x")
OTHER = Look("#a0a0a0", "-", "")


def kind_of(model: str, untrained: str) -> str:
    """Return ``pre-trained``, ``untrained`` (the same networks) or ``baseline``."""
    if model in BASELINES:
        return "baseline"
    return "pre-trained" if is_pretrained(model, untrained) else "untrained"


def looks_of(models: Sequence[str]) -> dict[str, Look]:
    """Return the look of each model that is no baseline, by its place in the list.

    Parameters
    ----------
    models
        Of all tasks, in the order of the configuration.
    """
    networks = [model for model in dict.fromkeys(models) if model not in BASELINES]
    return {
        model: Look(_COLOURS[i % len(_COLOURS)], _DASHES[i % len(_DASHES)], _MARKERS[i % len(_MARKERS)])
        for i, model in enumerate(networks)
    }


def chosen(means: Mapping[str, float], looks: Mapping[str, Look]) -> dict[str, Look]:
    """Return the looks of a figure's models: networks of the highest means, the best baseline, others.

    Parameters
    ----------
    means
        Headline metric by model, those that have one.
    looks
        Of networks.
    """
    order = sorted(means, key=lambda model: -means[model])
    networks = [model for model in order if model in looks][:HIGHLIGHTED]
    baselines = [model for model in order if model not in looks][:1]
    return {
        model: looks[model] if model in networks else BEST_BASELINE if model in baselines else OTHER
        for model in order
    }
