"""95 % intervals by bootstrap over blocks of the genome and over seeds.

Blocks are drawn once for a task and kept: every model is scored on the same draws, so that differences
between models are paired. A draw is a number of times a block: metrics are computed from weighted sums,
exactly as scikit-learn's ``sample_weight`` would.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

# Below, percentiles of so few blocks say little.
MIN_BLOCKS = 20
RESAMPLES = 1000
# Draws in which a class is missing have no area; with more of them than this there is no interval.
_UNDEFINED = 0.05
# Cells of weights that are worked on at a time: they stay in a core's cache.
_AT_ONCE = 1 << 18


def block_of(predictions: pd.DataFrame, block_bp: int) -> np.ndarray:
    """Return int64 [n], a number for each block of ``block_bp`` that holds an example's start.

    An example without a place is a block of its own.
    """
    chrom = predictions["chrom"].to_numpy(object)
    position = predictions["start"].to_numpy() // block_bp
    own = pd.factorize(chrom)[0] * (position.max(initial=0) + 1) + position
    own = np.where(chrom == "", own.max(initial=0) + 1 + np.arange(len(own)), own)
    return pd.factorize(own)[0].astype(np.int64)


def draw_blocks(blocks: int, seed: int = 0) -> np.ndarray | None:
    """Return uint16 [RESAMPLES, blocks], how often each block is drawn; None below ``MIN_BLOCKS``."""
    if blocks < MIN_BLOCKS:
        return None
    rng = np.random.default_rng(seed)
    draws = np.empty((RESAMPLES, blocks), np.uint16)
    for draw in draws:
        draw[:] = np.bincount(rng.integers(blocks, size=blocks), minlength=blocks)
    return draws


def resampled(
    metric: str,
    labels: np.ndarray,
    scores: np.ndarray,
    blocks: np.ndarray,
    draws: np.ndarray,
    sites: Sequence[int] = (1,),
) -> np.ndarray:
    """Return float64 [draws], the metric of each draw; NaN where a class is missing.

    Parameters
    ----------
    metric
        ``auroc``, ``auprc`` or ``mcc``, as in :mod:`genebert.benchmarks.metrics`.
    labels
        int [n].
    scores
        float [n] of class 1, or float [n, classes].
    blocks
        int64 [n], the block of each example.
    draws
        int [draws, blocks], how often each block is drawn.
    sites
        Labels over which areas are averaged.
    """
    if metric == "mcc":
        called = (scores >= 0.5).astype(np.int64) if scores.ndim == 1 else scores.argmax(1)
        return _mcc(labels, called, blocks, draws)
    if scores.ndim == 1:
        return _area(metric, labels == 1, scores, blocks, draws)
    areas = [_area(metric, labels == label, scores[:, label], blocks, draws) for label in sites]
    return np.mean(areas, axis=0)


def mean_over_seeds(by_seed: Sequence[np.ndarray], seed: int = 0) -> np.ndarray:
    """Return float64 [draws], in each draw the mean over as many seeds, drawn with replacement.

    Parameters
    ----------
    by_seed
        float64 [draws], the metric of the same draws of blocks, one array a seed.
    seed
        Of the draw: models of equally many seeds get the same, for their n-th seeds belong together.
    """
    values = np.stack(by_seed)
    chosen = np.random.default_rng([seed, len(values)]).integers(len(values), size=values.shape)
    return np.take_along_axis(values, chosen, axis=0).mean(0)


def percentiles(draws: np.ndarray) -> tuple[float, float] | None:
    """Return the 2.5 and 97.5 percentiles; None where more than 5 % of the draws are undefined."""
    if np.isnan(draws).mean() > _UNDEFINED:
        return None
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return float(low), float(high)


def _area(
    metric: str, is_class: np.ndarray, scores: np.ndarray, blocks: np.ndarray, draws: np.ndarray
) -> np.ndarray:
    if not is_class.any() or is_class.all():
        return np.full(len(draws), np.nan)
    rank, block, positives, negatives = _cells(is_class, scores, blocks)
    last = np.flatnonzero(np.diff(rank, append=rank[-1] + 1))  # of each rank
    area = {"auroc": _auroc, "auprc": _auprc}[metric]
    step = max(1, _AT_ONCE // len(rank))
    found = np.empty(len(draws))
    for first in range(0, len(draws), step):
        weights = draws[first : first + step, block].astype(np.int32)
        # int32 holds any weighted count of up to a billion examples.
        tp = np.cumsum(weights * positives, axis=1, dtype=np.int32)[:, last]
        fp = np.cumsum(weights * negatives, axis=1, dtype=np.int32)[:, last]
        with np.errstate(invalid="ignore", divide="ignore"):
            found[first : first + step] = area(tp, fp)
    return found


def _cells(
    is_class: np.ndarray, scores: np.ndarray, blocks: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Count the examples of each rank and block, best rank first.

    All that matters for an area is between which positives a negative lies: ranks are the scores of the
    positives and the gaps between them, so that millions of negatives become few cells.

    Returns
    -------
    tuple
        int64 rank, int64 block, int32 positives and int32 negatives of each cell.
    """
    distinct = np.unique(scores[is_class])
    rank = np.searchsorted(-distinct[::-1], -scores, "left")
    rank += np.searchsorted(-distinct[::-1], -scores, "right")
    number = int(blocks.max()) + 1
    cells, cell = np.unique(rank * number + blocks, return_inverse=True)
    positives = np.bincount(cell[is_class], minlength=len(cells)).astype(np.int32)
    negatives = np.bincount(cell[~is_class], minlength=len(cells)).astype(np.int32)
    return cells // number, cells % number, positives, negatives


def _auroc(tp: np.ndarray, fp: np.ndarray) -> np.ndarray:
    """Return the areas of curves int [draws, ranks]: pairs that the positive wins, ties by half."""
    gained = np.diff(fp, axis=1, prepend=0)
    before = np.concatenate([np.zeros_like(tp[:, :1]), tp[:, :-1]], axis=1)
    won = np.einsum("dr,dr->d", gained, before + tp, dtype=np.float64) / 2
    return won / (tp[:, -1] * fp[:, -1].astype(np.float64))


def _auprc(tp: np.ndarray, fp: np.ndarray) -> np.ndarray:
    """Return the average precisions: precision at each rank, weighted by the recall that it gains."""
    gained = np.diff(tp, axis=1, prepend=0)
    precision = tp / np.maximum(tp + fp, 1)
    found = np.einsum("dr,dr->d", gained, precision) / tp[:, -1]
    return np.where(fp[:, -1] > 0, found, np.nan)


def _mcc(labels: np.ndarray, called: np.ndarray, blocks: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Return the multi-class MCC of each draw; 0 where only one class is there or is called."""
    classes = int(max(labels.max(), called.max())) + 1
    cell = (blocks * classes + labels) * classes + called
    by_block = np.bincount(cell, minlength=draws.shape[1] * classes**2)
    by_block = by_block.reshape(draws.shape[1], classes**2)
    step = max(1, _AT_ONCE // draws.shape[1])
    tables = [draws[i : i + step].astype(np.int64) @ by_block for i in range(0, len(draws), step)]
    table = np.concatenate(tables).reshape(-1, classes, classes).astype(np.float64)
    true, predicted, total = table.sum(2), table.sum(1), table.sum((1, 2))
    right = np.trace(table, axis1=1, axis2=2)
    above = right * total - (true * predicted).sum(1)
    below = (total**2 - (true**2).sum(1)) * (total**2 - (predicted**2).sum(1))
    return np.where(below > 0, above / np.sqrt(np.maximum(below, 1)), 0.0)
