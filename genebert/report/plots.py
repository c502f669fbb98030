"""Figures as SVG text: colour-blind safe (Okabe & Ito), readable in print."""

import hashlib
import html
import io
import re
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

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


def as_svg(figure: Figure, label: str) -> str:
    """Return the figure as an SVG element and close it.

    Parameters
    ----------
    figure
        Its text stays text.
    label
        What it shows, for those who hear the page.
    """
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    # Names of groups are the same in every figure and nothing refers to them; what is referred to is
    # given a name that no other figure of a page has.
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    own = "f" + hashlib.sha256(svg.encode()).hexdigest()[:8]
    svg = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{own}-", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(label)}"', 1)


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
    return as_svg(figure, "Regions open in each cell type; motif hits of a region")


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
    return as_svg(figure, "Best hit of each motif in each region of the locus")
