"""95 % intervals by bootstrap over blocks of the genome and over seeds."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from genebert.benchmarks.metrics import METRICS

MIN_BLOCKS = 20
RESAMPLES = 1000


def block_of(predictions: pd.DataFrame, block_bp: int) -> np.ndarray:
    """Return int64 [n], a number for each block of ``block_bp`` that holds an example's start."""
    blocks = predictions["chrom"] + ":" + (predictions["start"] // block_bp).astype(str)
    return pd.factorize(blocks)[0]


def interval(
    by_seed: Sequence[pd.DataFrame], metric: str, block_bp: int, seed: int = 0
) -> tuple[float, float] | None:
    """Return the 2.5 and 97.5 percentiles of a metric's mean over seeds.

    Blocks are drawn with replacement, the same for each seed's predictions; so are the seeds. Examples
    near one another are not independent: a block stays together.

    Parameters
    ----------
    by_seed
        Predictions (chrom, start, label, score) of the same examples in the same order, one a seed.
    metric
        One of :data:`genebert.benchmarks.metrics.BINARY`.
    block_bp
        Length of a block.

    Returns
    -------
    tuple or None
        None below 20 blocks: too few to resample.
    """
    blocks = block_of(by_seed[0], block_bp)
    count = blocks.max() + 1
    if count < MIN_BLOCKS:
        return None
    rng = np.random.default_rng(seed)
    rows_of = [np.flatnonzero(blocks == block) for block in range(count)]
    labels = by_seed[0]["label"].to_numpy()
    scores = [predictions["score"].to_numpy() for predictions in by_seed]
    draws = []
    for _ in range(RESAMPLES):
        rows = np.concatenate([rows_of[block] for block in rng.integers(count, size=count)])
        chosen = rng.integers(len(scores), size=len(scores))
        values = [METRICS[metric](labels[rows], scores[s][rows]) for s in chosen]
        draws.append(np.mean(values))
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return float(low), float(high)
