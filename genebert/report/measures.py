"""What held-out figures of pre-training are called, and what they are held against."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from genebert.report.histories import Run, by_variant


class Baseline(NamedTuple):
    """What a figure is held against: how to call it, and the metric that holds it (None: zero)."""

    name: str
    metric: str | None

    def values(self, runs: Sequence[Run]) -> list[float]:
        """Return its value for each run; empty where runs report none, as untrained ones do."""
        if self.metric is None:
            return [0.0] * len(runs)
        return [run.final[self.metric] for run in runs if self.metric in run.final]


class Measure(NamedTuple):
    """A held-out figure that a person can judge.

    Attributes
    ----------
    metric
        Its name in the history.
    task
        What the network is asked: head of the table's column and of the panel.
    figure
        How it is measured.
    place
        The task in a sentence.
    baselines
        Hardest first.
    drawn
        Whether it gets a panel.
    once_a_view
        Whether each held-out view counts once: then the sampling error of the figure is known.
    """

    metric: str
    task: str
    figure: str
    place: str = ""
    baselines: tuple[Baseline, ...] = ()
    drawn: bool = True
    once_a_view: bool = False

    def values(self, runs: Sequence[Run]) -> list[float]:
        """Return the last held-out value of each run that has it."""
        return [run.final[self.metric] for run in runs if self.metric in run.final]

    def number(self, value: float) -> str:
        """Return a value with the digits that mean something."""
        if self.figure == "perplexity" and math.isfinite(value):
            digits = max(0, 2 - math.floor(math.log10(max(value, 1.0))))
            return f"{value:,.{digits}f}"
        return f"{value:z.3f}".replace("-", "−")


MEASURES = (
    Measure("masked_sequence_accuracy", "Masked tokens", "accuracy"),
    Measure("masked_sequence_perplexity", "Masked tokens", "perplexity", drawn=False),
    Measure(
        "masked_sequence_base_accuracy",
        "Fully hidden bases",
        "accuracy",
        "On fully hidden bases",
        (Baseline("Markov chain", "masked_sequence_markov_base_accuracy"),),
    ),
    Measure(
        "masked_region_r2",
        "Hidden matrix blocks",
        "R²",
        "On hidden blocks of the matrix",
        (Baseline("mean of each motif", None),),
    ),
    Measure(
        "matching_top1",
        "Matching",
        "top-1",
        "At matching",
        (Baseline("ridge regression", "matching_linear_top1"), Baseline("chance", "matching_chance")),
        once_a_view=True,
    ),
    Measure(
        "matching_encoders_top1",
        "Matching",
        "top-1, encoders alone",
        "At matching by the encoders alone",
        (Baseline("chance", "matching_chance"),),
        once_a_view=True,
    ),
    Measure(
        "next_segment_accuracy",
        "Next segment",
        "accuracy",
        "At telling which segments are of one place",
        (
            Baseline("GC comparison", "next_segment_gc_accuracy"),
            Baseline("chance", "next_segment_chance"),
        ),
        once_a_view=True,
    ),
    Measure(
        "motif_target_accuracy",
        "Motif target",
        "accuracy",
        "On bases of motif hits",
        (Baseline("chance", "motif_target_chance"),),
    ),
)


def measures_of(runs: Sequence[Run]) -> list[Measure]:
    """Return the measures of objectives that some trained variant pursues."""
    trained = [run for run in runs if run.recipe.trained]
    return [measure for measure in MEASURES if measure.values(trained)]


class Reference(NamedTuple):
    """A baseline's value; its label names the variants that it holds for, where not for all."""

    label: str
    value: float
    baseline: Baseline


def references(runs: Sequence[Run], measure: Measure) -> list[Reference]:
    """Return the values of a measure's baselines, hardest first.

    The control of shuffled matrices has a ridge regression of its own: values that differ between
    variants in the digits shown are apart.
    """
    found = []
    for baseline in measure.baselines:
        holders: dict[str, list[str]] = {}
        values: dict[str, list[float]] = {}
        for variant, group in by_variant(runs).items():
            own = baseline.values([run for run in group if measure.metric in run.final])
            if own and group[0].recipe.trained:
                shown = measure.number(mean(own))
                holders.setdefault(shown, []).append(variant)
                values.setdefault(shown, []).extend(own)
        for shown, variants in holders.items():
            label = baseline.name if len(holders) == 1 else f"{baseline.name}: {', '.join(variants)}"
            found.append(Reference(label, mean(values[shown]), baseline))
    return found


def mean(values: Sequence[float]) -> float:
    """Return the mean of at least one value."""
    return sum(values) / len(values)
