"""Region embeddings by cell type: their principal components, and how far cell types lie apart."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from matplotlib import pyplot as plt
from matplotlib.lines import Line2D

from genebert.parquet import readable
from genebert.report.plots import COLOURS, as_svg

# Views of a cell type that are drawn and compared, at most; neighbours that are looked at.
MOST, NEIGHBOURS = 150, 10
_MARKERS = "os^Dv<P*X"
_COLUMNS = 3


class Embedding(NamedTuple):
    """Some held-out views as a model sees them.

    Attributes
    ----------
    variant, seed
        Of the model.
    region
        int64 [n].
    cell_type
        str [n].
    features
        float64 [n, width], each standardised.
    """

    variant: str
    seed: int
    region: np.ndarray
    cell_type: np.ndarray
    features: np.ndarray


class Separation(NamedTuple):
    """Share of nearest neighbours that are of the same cell type, and what chance gives."""

    same: float
    chance: float


def section(files: Sequence[str | Path]) -> dict[str, Any]:
    """Return what the page's template needs to know of the embeddings; empty without held-out views.

    Parameters
    ----------
    files
        As for :func:`read_embeddings`.
    """
    embeddings = read_embeddings(files)
    if not embeddings:
        return {}
    return {
        "views": len(embeddings[0].region),
        "most": MOST,
        "neighbours": NEIGHBOURS,
        "rows": [
            {
                "variant": embedding.variant,
                "shares": components(embedding.features)[1],
                "separation": separation(embedding),
            }
            for embedding in embeddings
        ],
        "figure": draw(embeddings),
    }


def read_embeddings(files: Sequence[str | Path]) -> list[Embedding]:
    """Read the embeddings of each variant's first seed: views of the test split, evenly thinned.

    Parameters
    ----------
    files
        ``…/{variant}/seed{n}/embeddings.parquet``: region_id, cell_type, split and features (lists).
    """
    found: dict[str, Embedding] = {}
    for path in map(Path, files):
        variant, seed = path.parent.parent.name, int(path.parent.name.removeprefix("seed"))
        if variant not in found and (one := _read(path, variant, seed)) is not None:
            found[variant] = one
    return list(found.values())


def _read(path: Path, variant: str, seed: int) -> Embedding | None:
    """Return None where no view is of the test split."""
    keys = _of_test(path, "region_id", "cell_type")
    region = keys["region_id"].to_numpy().astype(np.int64)
    cell_type = np.array(keys["cell_type"].to_pylist(), dtype=object)
    rows = thinned(region, cell_type)
    if not len(rows):
        return None
    table = _of_test(path, "features").take(rows)
    flat = pc.list_flatten(table["features"]).to_numpy().astype(np.float64)
    features = flat.reshape(len(rows), -1)
    spread = features.std(0)
    scaled = (features - features.mean(0))[:, spread > 0] / spread[spread > 0]
    return Embedding(variant, seed, region[rows], cell_type[rows], scaled)


def _of_test(path: Path, *columns: str) -> pa.Table:
    with readable(path, "delete the file and call the workflow again"):
        return pq.read_table(path, columns=list(columns), filters=[("split", "=", "test")])


def thinned(region: np.ndarray, cell_type: np.ndarray) -> np.ndarray:
    """Return int64 rows, sorted by cell type and region: of each cell type ``MOST``, evenly spaced."""
    chosen = []
    for name in sorted(set(cell_type)):
        own = np.flatnonzero(cell_type == name)
        own = own[np.argsort(region[own], kind="stable")]
        chosen.append(own[:: -(-len(own) // MOST)])
    return np.concatenate([np.empty(0, np.int64), *chosen])


def components(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first two principal components [n, 2], and the shares of variance of both.

    The largest loading of each is positive: a sign says nothing.
    """
    centred = features - features.mean(0)
    left, singular, right = np.linalg.svd(centred, full_matrices=False)
    largest = np.abs(right).argmax(1)
    sign = np.sign(right[np.arange(len(right)), largest])
    score, share = left * singular * sign, singular**2 / max((singular**2).sum(), 1e-300)
    missing = max(0, 2 - score.shape[1])
    return np.pad(score, ((0, 0), (0, missing)))[:, :2], np.pad(share, (0, missing))[:2]


def separation(embedding: Embedding) -> Separation | None:
    """Return how often near neighbours, in all features, are of the same cell type; None for one.

    Views of a view's own region are no neighbours of it: by sequence they are the same. Shares are means
    over the views of a cell type, then over cell types; chance is what neighbours drawn at random give.
    """
    names, own = np.unique(embedding.cell_type, return_inverse=True)
    if len(names) < 2:
        return None
    squared = (embedding.features**2).sum(1)
    distance = squared[:, None] + squared - 2 * embedding.features @ embedding.features.T
    eligible = embedding.region[:, None] != embedding.region
    alike = own[:, None] == own
    distance[~eligible] = np.inf
    near = np.argsort(distance, axis=1, kind="stable")[:, :NEIGHBOURS]
    rows = np.arange(len(own))[:, None]
    counted = eligible[rows, near]
    same = (alike[rows, near] & counted).sum(1) / np.maximum(counted.sum(1), 1)
    chance = (alike & eligible).sum(1) / np.maximum(eligible.sum(1), 1)
    by_type = [
        [values[own == number].mean() for number in range(len(names))] for values in (same, chance)
    ]
    return Separation(float(np.mean(by_type[0])), float(np.mean(by_type[1])))


def draw(embeddings: Sequence[Embedding]) -> str:
    """Draw the first two principal components of each variant's embeddings.

    Parameters
    ----------
    embeddings
        At least one.
    """
    cell_types = sorted({name for embedding in embeddings for name in embedding.cell_type})
    looks: dict[str, dict[str, Any]] = {
        name: {
            "color": COLOURS[i % (len(COLOURS) - 1)],
            "marker": _MARKERS[i % len(_MARKERS)],
            "markersize": 4.4,
            "linestyle": "",
            "alpha": 0.75,
            "markeredgewidth": 0,
        }
        for i, name in enumerate(cell_types)
    }
    columns = min(_COLUMNS, len(embeddings))
    rows = -(-len(embeddings) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(2.95 * columns + 1.6, 2.9 * rows), squeeze=False)
    for panel in axes.flat[len(embeddings) :]:
        panel.axis("off")
    for panel, embedding in zip(axes.flat, embeddings, strict=False):
        points, share = components(embedding.features)
        for name in cell_types:
            panel.plot(*points[embedding.cell_type == name].T, **looks[name])
        panel.set(
            xlabel=f"PC 1 ({100 * share[0]:.0f} % of variance)",
            ylabel=f"PC 2 ({100 * share[1]:.0f} %)",
            title=f"{embedding.variant}, seed {embedding.seed}",
            xticks=[],
            yticks=[],
        )
    handles = [Line2D([], [], label=name, **look) for name, look in looks.items()]
    figure.legend(handles=handles, loc="outside right upper", fontsize=8)
    return as_svg(figure, "Principal components of the embeddings of held-out regions, by cell type")
