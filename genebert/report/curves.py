"""The figure of pre-training: a panel for each measure, a colour for each variant."""

from collections.abc import Sequence
from textwrap import fill
from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from genebert.report.histories import Run, by_variant
from genebert.report.measures import Measure, measures_of, references
from genebert.report.plots import COLOURS, as_svg

Style = dict[str, Any]

# Black is for what variants are held against.
_COLOURS = [colour for colour in COLOURS if colour != "#000000"]
_MARKERS = "os^Dv<"
_MEAN: Style = {"linewidth": 1.7, "markersize": 4.5, "markeredgecolor": "white", "markeredgewidth": 0.5}
_SEED: Style = {"linewidth": 0.7, "alpha": 0.6}
_TRAINING: Style = {"linewidth": 1.1, "linestyle": (0, (1, 1.2))}
_UNTRAINED: Style = {"color": "black", "linestyle": "", "marker": "x", "markersize": 6}
_BASELINE: Style = {"color": "black", "linewidth": 1.0}
# Inches.
_WIDE, _NARROW = 10.6, 6.4
_LABEL: Style = {"fontsize": 7.5, "va": "center", "linespacing": 0.95}
_LABEL_WIDTH = 11
# Labels of lines that lie closer together are moved apart: a fraction of the panel's height.
_APART = 0.13


def pretraining(runs: Sequence[Run]) -> str:
    """Draw the curves of every variant and seed, and the baselines.

    Parameters
    ----------
    runs
        At least one of a trained variant.
    """
    measures = [measure for measure in measures_of(runs) if measure.drawn]
    figure, panels, free = _panels(len(measures))
    groups = by_variant(runs)
    trained = [variant for variant, group in groups.items() if group[0].recipe.trained]
    looks = {
        variant: (_COLOURS[i % len(_COLOURS)], _MARKERS[i % len(_MARKERS)])
        for i, variant in enumerate(trained)
    }
    for axes, measure in zip(panels, measures, strict=True):
        for variant, group in groups.items():
            if variant in looks:
                _curve(axes, measure, group, *looks[variant])
            else:
                _point(axes, measure, group)
        _format(axes, measure)
        _baselines(axes, runs, measure)
    _legend(figure, free, _handles(runs, looks))
    return as_svg(figure, "Held-out figures of pre-training by step, and their baselines")


def _panels(number: int) -> tuple[Figure, list[Axes], Axes | None]:
    """Return a figure, its panels, and the empty one that is left over, if there is one."""
    columns = {1: 1, 2: 2, 4: 2}.get(number, 3)
    rows = -(-number // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(_WIDE if columns > 1 else _NARROW, 2.9 * rows + 0.5), squeeze=False
    )
    free = axes.flat[number:]
    for empty in free:
        empty.axis("off")
    return figure, list(axes.flat[:number]), free[0] if len(free) else None


def _curve(axes: Axes, measure: Measure, runs: Sequence[Run], colour: str, marker: str) -> None:
    held_out = _by_step(runs, "validation", measure.metric)
    if held_out.empty:
        return
    training = _by_step(runs, "train", measure.metric).mean(axis=1, skipna=False)
    axes.plot(training.index, training, color=colour, **_TRAINING)
    if held_out.shape[1] > 1:
        axes.plot(held_out.index, held_out, color=colour, **_SEED)
    middle = held_out.mean(axis=1, skipna=False)
    axes.plot(middle.index, middle, color=colour, marker=marker, **_MEAN)


def _point(axes: Axes, measure: Measure, runs: Sequence[Run]) -> None:
    # Nothing that is not clipped has no size, and no layout.
    if values := measure.values(runs):
        axes.plot([0] * len(values), values, clip_on=False, **_UNTRAINED)


def _by_step(runs: Sequence[Run], split: str, metric: str) -> pd.DataFrame:
    """Return values with a row a step and a column a seed."""
    return pd.DataFrame({run.seed: run.rows(split, metric) for run in runs})


def _format(axes: Axes, measure: Measure) -> None:
    axes.set(title=measure.task, xlabel="step", ylabel=measure.figure)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)


def _baselines(axes: Axes, runs: Sequence[Run], measure: Measure) -> None:
    """Draw a line for each baseline, and its name beside the panel.

    Not those of controls, which are lines at chance.
    """
    found = references([run for run in runs if not run.is_control] or runs, measure)
    for reference in found:
        dash = ":" if reference.baseline.name == "chance" else "--"
        axes.axhline(reference.value, linestyle=dash, **_BASELINE)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high)
    place = float("-inf")
    for reference in sorted(found, key=lambda reference: reference.value):
        # As a fraction of the panel, above the label before.
        place = max((reference.value - low) / (high - low), place + _APART)
        axes.text(
            1.02, place, fill(reference.baseline.name, _LABEL_WIDTH), **_LABEL, transform=axes.transAxes
        )


def _handles(runs: Sequence[Run], looks: dict[str, tuple[str, str]]) -> list[Line2D]:
    """Return the legend's lines: variants, then what kinds of lines there are."""
    groups = by_variant(runs)
    several = max(map(len, groups.values())) > 1
    of_mean = ", mean of seeds" if several else ""
    handles = [
        Line2D([], [], color=looks[variant][0], marker=looks[variant][1], label=variant, **_MEAN)
        if variant in looks
        else Line2D([], [], label=f"{variant}, untrained", **_UNTRAINED)
        for variant in groups
    ]
    kinds: list[tuple[str, Style]] = [
        ("held out" + of_mean, {"linewidth": 1.7}),
        ("training" + of_mean, _TRAINING),
    ]
    if several:
        kinds.append(("held out, each seed", _SEED))
    return handles + [Line2D([], [], color="#444444", label=label, **look) for label, look in kinds]


def _legend(figure: Figure, free: Axes | None, handles: Sequence[Line2D]) -> None:
    if free is not None:
        free.legend(handles=handles, loc="center left")
    else:
        columns = 5 if figure.get_figwidth() > _NARROW else 2
        figure.legend(handles=handles, loc="outside lower center", ncols=columns)
