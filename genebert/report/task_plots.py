"""The figures of a task: curves, bars, and the matrix of cell types."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from genebert.report.looks import BEST_BASELINE, OTHER, Look, kind_of
from genebert.report.plots import COLOURS, as_svg
from genebert.report.scores import GRID, mean_precision, mean_roc, reliability

Style = dict[str, Any]

# Inches.
_WIDE = 10.6
_ROW, _AROUND = 0.215, 0.95
_GRID: Style = {"color": "#e6e6e6", "linewidth": 0.6}
_CHANCE: Style = {"color": "black", "linestyle": ":", "linewidth": 0.9}
_WHISKER: Style = {"color": "black", "marker": "|", "markersize": 6, "linewidth": 1.1}
_LONGEST = 28
# Fill and hatch of a kind of model: apart in grey, too.
_KINDS: dict[str, Style] = {
    "pre-trained": {"facecolor": COLOURS[0], "edgecolor": COLOURS[0]},
    "untrained": {"facecolor": "white", "edgecolor": COLOURS[0], "hatch": "////"},
    "baseline": {"facecolor": "#b8b8b8", "edgecolor": "#b8b8b8"},
}
# Names in a matrix's cells are black on light, white on dark.
_LIGHT = 0.6


def short(model: str) -> str:
    """Return a model's name, the middle of a long one left out."""
    half = (_LONGEST - 1) // 2
    return model if len(model) <= _LONGEST else f"{model[:half]}…{model[-half:]}"


def curves(
    title: str,
    tables: Mapping[str, Sequence[pd.DataFrame]],
    looks: Mapping[str, Look],
    means: Mapping[str, float],
    sites: Sequence[int],
) -> str:
    """Draw ROC, precision and recall, and reliability; the last only where there are probabilities.

    Parameters
    ----------
    title
        What is drawn.
    tables
        Predictions of each model, a table a seed.
    looks
        Of the models to draw, best first.
    means
        Headline metric by model.
    sites
        Labels that are looked for.
    """
    calibrated = {
        model: curve
        for model, look in looks.items()
        if look is not OTHER and (curve := reliability(tables[model], sites)) is not None
    }
    panels = 3 if calibrated else 2
    figure, axes = plt.subplots(1, panels, figsize=(2.75 * panels + 2.35, 3.15))
    roc, precision = axes[:2]
    # Grey lines lie below, and the best model on top.
    upwards = [*looks.items()][::-1]
    for model, look in sorted(upwards, key=lambda item: item[1] is not OTHER):
        for panel, values in (
            (roc, mean_roc(tables[model], sites)),
            (precision, mean_precision(tables[model], sites)),
        ):
            _line(panel, GRID, values, look)
        if model in calibrated:
            axes[2].plot(
                *calibrated[model],
                color=look.colour,
                linestyle=look.dash,
                marker=look.marker,
                markersize=3.5,
                linewidth=1.2,
            )
    roc.plot([0, 1], [0, 1], **_CHANCE)
    share = float(np.mean([np.mean(next(iter(tables.values()))[0]["label"] == s) for s in sites]))
    precision.axhline(share, **_CHANCE)
    roc.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC")
    precision.set(xlabel="recall", ylabel="precision", title="Precision and recall")
    if calibrated:
        axes[2].plot([0, 1], [0, 1], **_CHANCE)
        axes[2].set(xlabel="predicted probability", ylabel="observed frequency", title="Calibration")
    for panel in axes:
        panel.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        panel.grid(**_GRID)
        panel.set_axisbelow(True)
    figure.legend(handles=_legend(looks, means), loc="outside right upper", fontsize=8)
    return as_svg(figure, f"{title}: ROC, precision and recall, calibration of each model")


def _line(axes: Axes, x: np.ndarray, y: np.ndarray, look: Look) -> None:
    if look is OTHER:
        axes.plot(x, y, color=look.colour, linewidth=0.7, zorder=1)
    else:
        start = 7 + 5 * (sum(map(ord, look.marker)) % 5)
        axes.plot(
            x, y, linewidth=1.3, marker=look.marker, markersize=3.5, markevery=(start, 45), **look.line()
        )


def _legend(looks: Mapping[str, Look], means: Mapping[str, float]) -> list[Line2D]:
    handles = []
    for model, look in looks.items():
        if look is not OTHER:
            best = "\n(best baseline)" if look is BEST_BASELINE else ""
            handles.append(
                Line2D(
                    [],
                    [],
                    marker=look.marker,
                    markersize=3.5,
                    linewidth=1.3,
                    label=f"{short(model)}  {means[model]:.2f}{best}",
                    **look.line(),
                )
            )
    if number := sum(look is OTHER for look in looks.values()):
        label = f"{number} other model{'s' if number > 1 else ''}"
        handles.append(Line2D([], [], color=OTHER.colour, linewidth=0.7, label=label))
    return [*handles, Line2D([], [], label="chance; perfect calibration", **_CHANCE)]


def bars(title: str, rows: pd.DataFrame, untrained: str, simulated: bool = False) -> str:
    """Draw the headline of each model from chance, and its differences to others, with intervals.

    Parameters
    ----------
    title
        What is drawn.
    rows
        Of the summary, of one part of one task, in the order to draw.
    untrained
        Name of the variant without pre-training.
    simulated
        Whether the labels are simulated.
    """
    headline, chance = rows["headline"].iloc[0], float(rows["chance"].iloc[0])
    differences = [
        (name, f"less {other}")
        for name, other in (
            ("vs_scratch", f"{untrained}, same inputs"),
            ("vs_sequence_only", "sequence_only"),
        )
        if rows[name].notna().any()
    ]
    height = _AROUND + _ROW * len(rows)
    ratios = [1.25, *[1] * len(differences)]
    figure, axes = plt.subplots(
        1,
        len(ratios),
        figsize=(_WIDE, height),
        sharey=True,
        squeeze=False,
        gridspec_kw={"width_ratios": ratios},
    )
    first = axes[0, 0]
    names = [(headline, "low", "high")]
    names += [(name, f"{name}_low", f"{name}_high") for name, _ in differences]
    titles = [f"{headline}{', SIMULATED phenotype' if simulated else ''}"]
    titles += [f"{headline}, {label}" for _, label in differences]
    for panel, columns, heading in zip(axes[0], names, titles, strict=True):
        _bars(panel, rows, columns, chance if panel is first else 0.0, untrained)
        panel.set_title(heading)
    _one_scale(list(axes[0, 1:]))
    first.set_yticks(range(len(rows)), [short(model) for model in rows["model"]], fontsize=8)
    first.invert_yaxis()
    first.margins(y=0.01)
    kinds = list(dict.fromkeys(kind_of(model, untrained) for model in rows["model"]))
    handles: list[Artist] = [Patch(label=kind, **_KINDS[kind]) for kind in _KINDS if kind in kinds]
    handles.append(Line2D([], [], color="black", linewidth=0.9, label="chance (left), no difference"))
    if rows["low"].notna().any():
        handles.append(Line2D([], [], label="95 % interval", **_WHISKER))
    figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=8)
    return as_svg(figure, f"{title}: {headline} of each model, and differences between models")


def _one_scale(panels: Sequence[Axes]) -> None:
    """Give panels of differences one scale: what looks larger is larger."""
    limits = [panel.get_xlim() for panel in panels]
    for panel in panels:
        panel.set_xlim(min(low for low, _ in limits), max(high for _, high in limits))


def _bars(
    axes: Axes, rows: pd.DataFrame, columns: tuple[str, str, str], base: float, untrained: str
) -> None:
    name, low, high = columns
    for place, (_, row) in enumerate(rows.iterrows()):
        if pd.isna(row[name]):
            continue
        look = _KINDS[kind_of(row["model"], untrained)]
        axes.barh(place, row[name] - base, left=base, height=0.68, linewidth=0.8, **look)
        if pd.notna(row[low]):
            axes.plot(
                [row[low], row[high]],
                [place] * 2,
                color="black",
                marker="|",
                markersize=6,
                linewidth=1.1,
            )
    axes.axvline(base, color="black", linewidth=0.9)
    axes.grid(axis="x", **_GRID)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)


def cell_type_matrices(
    tf: str, headline: str, chance: float, matrices: Mapping[str, pd.DataFrame]
) -> str:
    """Draw, for some models, what training in one cell type gives in another.

    Parameters
    ----------
    tf
        Name of the TF.
    headline, chance
        The metric, and its value without a signal.
    matrices
        By model: rows train-in, columns test-in, NaN where there is none.
    """
    some = next(iter(matrices.values()))
    # Names of cell types are read across.
    size = 0.62 * some.shape[1] + 1.1, 0.42 * some.shape[0] + 1.5
    figure, axes = plt.subplots(
        1, len(matrices), figsize=(size[0] * len(matrices) + 1.6, size[1]), squeeze=False, sharey=True
    )
    values = np.stack([table.to_numpy(float) for table in matrices.values()])
    low, high = min(chance, float(np.nanmin(values))), max(1.0, float(np.nanmax(values)))
    for panel, (model, table) in zip(axes[0], matrices.items(), strict=True):
        shown = np.ma.masked_invalid(table.to_numpy(float))
        picture = panel.imshow(shown, cmap="viridis", vmin=low, vmax=high, aspect="auto")
        for (row, column), value in np.ndenumerate(table.to_numpy(float)):
            dark = np.isfinite(value) and (value - low) / (high - low) < _LIGHT
            panel.text(
                column,
                row,
                f"{value:.2f}" if np.isfinite(value) else "–",
                ha="center",
                va="center",
                color="white" if dark else "black",
                fontsize=9,
            )
        panel.set_xticks(range(table.shape[1]), table.columns, rotation=35, ha="right", fontsize=8)
        panel.set_yticks(range(table.shape[0]), table.index, fontsize=8)
        panel.set_title(short(model), fontsize=9)
        panel.set_xlabel("tested in")
        panel.spines[:].set_visible(True)
    axes[0, 0].set_ylabel("trained in")
    figure.colorbar(picture, ax=axes[0, -1], label=headline)
    return as_svg(figure, f"{tf}: {headline} by cell type trained and tested in")
