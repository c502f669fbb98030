"""Figures as SVG text: colour-blind safe (Okabe & Ito), readable in print."""

import io
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_auc_score, roc_curve

mpl.use("Agg")
mpl.rcParams.update(
    {
        "svg.fonttype": "none",
        "svg.hashsalt": "genebert",
        "font.family": "sans-serif",
        "font.sans-serif": ["Helvetica", "Arial", "Liberation Sans", "DejaVu Sans"],
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "legend.frameon": False,
        "figure.constrained_layout.use": True,
    }
)
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
DASHES = ("-", "--", "-.", ":")


def as_svg(figure: Figure) -> str:
    """Return the figure as an SVG element and close it."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def style_of(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return a colour and a line style for each name, stable in the order given."""
    return {
        name: (COLOURS[i % len(COLOURS)], DASHES[i // len(COLOURS) % len(DASHES)])
        for i, name in enumerate(names)
    }


def corpus_statistics(
    by_cell_type: pd.DataFrame, hits_per_region: np.ndarray, motifs_per_region: np.ndarray
) -> str:
    """Draw open regions of each cell type and split, and hits and motifs of a region.

    Parameters
    ----------
    by_cell_type
        Rows cell types, columns splits, counts of regions.
    hits_per_region, motifs_per_region
        int [regions].
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.2))
    base = np.zeros(len(by_cell_type))
    for split, colour in zip(by_cell_type.columns, COLOURS, strict=False):
        counts = by_cell_type[split].to_numpy()
        left.barh(by_cell_type.index, counts, left=base, color=colour, label=split)
        base += counts
    left.invert_yaxis()
    left.set(xlabel="open regions", title="Regions open in each cell type")
    left.legend(title="split")
    for values, label, colour in (
        (hits_per_region, "hits", COLOURS[0]),
        (motifs_per_region, "different motifs", COLOURS[1]),
    ):
        right.hist(values, bins=40, histtype="step", color=colour, label=label, linewidth=1.5)
    right.set(xlabel="per region", ylabel="regions", title="Motif hits of a region, both strands")
    right.legend()
    return as_svg(figure)


def matrix(dense: np.ndarray, motifs: Sequence[str], columns: Sequence[str], focal: int) -> str:
    """Draw the TF × region matrix of one locus: whole, and the motifs that differ most along it.

    Parameters
    ----------
    dense
        float [T, R], best hit of each motif in each region, 0 where there is none.
    motifs, columns
        Names of rows and columns.
    focal
        Index of the focal column.
    """
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(10, 6.5), gridspec_kw={"width_ratios": [1, 1.15]}
    )
    shown = np.ma.masked_equal(dense, 0)
    picture = left.imshow(shown, aspect="auto", cmap="viridis", vmin=0.5, vmax=1, rasterized=True)
    ticks = np.linspace(0, len(motifs) - 1, 15).astype(int)
    left.set_yticks(ticks, [motifs[i].split(" ", 1)[1] for i in ticks], fontsize=7)
    left.set_title(f"All {len(motifs)} motifs, similar ones side by side")
    chosen = np.sort(np.argsort(-dense.var(axis=1), kind="stable")[:40])
    right.imshow(shown[chosen], aspect="auto", cmap="viridis", vmin=0.5, vmax=1)
    right.set_yticks(range(len(chosen)), [motifs[i].split(" ", 1)[1] for i in chosen], fontsize=7)
    right.set_title("The 40 that vary most here")
    for axes in (left, right):
        axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=6)
        axes.get_xticklabels()[focal].set_fontweight("bold")
        axes.spines[:].set_visible(True)
    figure.colorbar(picture, ax=right, label="score of the best hit (white: none)", shrink=0.6)
    return as_svg(figure)


def benchmark(task: str, runs: Mapping[str, Sequence[pd.DataFrame]]) -> str:
    """Draw ROC and precision-recall curves on the test split, and AUROC of each seed.

    Parameters
    ----------
    task
        Name of the task.
    runs
        Test predictions (label, score) by model, one table a seed.
    """
    styles = style_of(list(runs))
    figure, (roc, pr, dots) = plt.subplots(
        1, 3, figsize=(13, 3.8), gridspec_kw={"width_ratios": [1, 1, 1.1]}
    )
    for row, (model, by_seed) in enumerate(runs.items()):
        colour, dash = styles[model]
        for predictions in by_seed:
            label, score = predictions["label"], predictions["score"]
            fpr, tpr, _ = roc_curve(label, score)
            precision, recall, _ = precision_recall_curve(label, score)
            roc.plot(fpr, tpr, color=colour, linestyle=dash, linewidth=1)
            pr.plot(recall, precision, color=colour, linestyle=dash, linewidth=1)
            area = roc_auc_score(label, score)
            dots.plot(area, row, "o", color=colour, markersize=6, alpha=0.8)
    roc.plot([0, 1], [0, 1], color="black", linestyle=":", linewidth=0.8)
    roc.set(xlabel="false positive rate", ylabel="true positive rate", title=f"{task}: ROC")
    pr.set(xlabel="recall", ylabel="precision", title=f"{task}: precision and recall")
    dots.set_yticks(range(len(runs)), list(runs))
    dots.invert_yaxis()
    dots.axvline(0.5, color="black", linestyle=":", linewidth=0.8)
    dots.set(xlabel="test AUROC, a dot a seed", title="Models (colour as in the curves)")
    return as_svg(figure)
