"""Which masking strategy a step of pre-training uses: curricula go from easy to hard.

Both are of curriculum-GeneMask (Roy et al. 2024), whose hard strategy is ``global_pmi``.
"""

import itertools
from collections.abc import Sequence

import torch

from genebert import counter_random

_STREAM_CURRICULUM = 48
# `cm_gems` turns to the hard strategy once two consecutive perplexities differ by less.
_PLATEAU = 1.0


def strategy_at(masking: str, seed: int, step: int, steps: int, perplexities: Sequence[float]) -> str:
    """Return the strategy of a step's whole global batch, the same in every process.

    Parameters
    ----------
    masking
        ``cm_gems``: ``genemask``, and ``global_pmi`` for good once the held-out perplexity moves by less
        than 1 from one evaluation to the next. ``cm_step``: ``global_pmi`` with a probability that
        rises from 0 by 0.01 a hundredth of the steps, else ``random_span``. Else a strategy: that one.
    seed
        Of the run.
    step, steps
        The step, from 0, and how many there are.
    perplexities
        Of masked-sequence prediction at all evaluations so far, in order.
    """
    if masking == "cm_gems":
        moves = (abs(after - before) for before, after in itertools.pairwise(perplexities))
        return "global_pmi" if any(move < _PLATEAU for move in moves) else "genemask"
    if masking == "cm_step":
        key = counter_random.sample_keys(seed, step, torch.zeros(1, dtype=torch.int64))
        draw = float(counter_random.uniform(key, _STREAM_CURRICULUM, 1))
        return "global_pmi" if draw < step * 100 // steps / 100 else "random_span"
    return masking
