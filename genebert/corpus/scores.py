"""Scores as a corpus keeps them: whole 128ths of a motif's span.

Rounded down: a kept score is never above the scanned one, by less than 1/128 below it, and is 1 only for
the best word of a motif. On disk they are float16, which holds every 128th exactly; in memory a byte.
"""

import numpy as np

STEPS = 128
_BLOCK = 512
_ONE_AS_BITS = 0x3C00  # 1.0 as float16; positive float16 values are ordered like their bits


def to_steps(score: np.ndarray) -> np.ndarray:
    """Return uint8: scores in [0, 1] as 128ths, rounded down; 1 at least, since 0 is no hit.

    Exact for floats of any size, which a power of two scales without rounding.
    """
    return np.maximum(np.floor(score * STEPS), 1).astype(np.uint8)


_STEPS_OF_BITS = to_steps(np.arange(_ONE_AS_BITS + 1, dtype=np.uint16).view(np.float16))


def steps_of_stored(score: np.ndarray) -> np.ndarray:
    """Return what :func:`to_steps` returns, of float16, by looking its bits up: ten times faster.

    Raises
    ------
    IndexError
        If a score is not in [0, 1].
    """
    return _STEPS_OF_BITS.take(score.view(np.uint16))


def from_steps(steps: np.ndarray) -> np.ndarray:
    """Return float32 scores of 128ths."""
    return steps.astype(np.float32) / np.float32(STEPS)


def add_best(best: np.ndarray, counts: np.ndarray, motif: np.ndarray, steps: np.ndarray) -> None:
    """Raise each cell of a dense table to the best of its hits.

    Parameters
    ----------
    best
        uint8 [n, T], contiguous; 128ths, 0 where there is no hit. Changed in place.
    counts
        Hits of each row [n].
    motif, steps
        [hits], row by row: motif below T, and score in 128ths.
    """
    import torch  # noqa: PLC0415 (writing and checking a corpus starts at once without)

    rows, motifs = best.shape
    ends = np.concatenate([[0], np.cumsum(counts)])
    # In blocks that stay in the processor's cache; torch lets other threads work meanwhile.
    for start in range(0, rows, _BLOCK):
        stop = min(start + _BLOCK, rows)
        hits = slice(ends[start], ends[stop])
        cell = np.repeat(np.arange(stop - start) * motifs, counts[start:stop]) + motif[hits]
        table = torch.from_numpy(best[start:stop].reshape(-1))
        table.scatter_reduce_(0, torch.from_numpy(cell), torch.from_numpy(steps[hits]), "amax")
