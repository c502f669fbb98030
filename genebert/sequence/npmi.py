"""How much more often the bases of a k-mer stand together than its parts foretell: its NPMI.

PMI(w) is the least log p(w) / ∏ p(s) over all ways to cut w into two or more parts s (Levine et al.
2021); NPMI(w) = PMI(w) · ln f(w) / (ln f(w) + ln c) trusts rare k-mers less, and those counted fewer
than c times are not ranked (GeneMask: Roy et al. 2023).

The method counts n-grams of up to 10 bases; what is masked are tokens of k, and these and their parts
have n = 1 … k. A part is counted at least as often as the whole, so that none is dropped before it.
"""

from collections.abc import Sequence

import numpy as np
import torch

from genebert.sequence.tokens import SPECIAL, KmerTokenizer

LEAST_COUNT = 101


def count_ngrams(codes: np.ndarray, k: int) -> list[np.ndarray]:
    """Count n-grams of both strands, n = 1 … k: training reads either.

    Parameters
    ----------
    codes
        uint8 [n, length], base codes; what holds another base than A, C, G, T is not counted.
    k
        Longest n-gram in bp.

    Returns
    -------
    counts
        int64 [4^n] for each n, in the order of the tokens of n bases.
    """
    forward = torch.from_numpy(codes)
    return [_both_strands(_count(forward, KmerTokenizer(n)), n) for n in range(1, k + 1)]


def _count(codes: torch.Tensor, tokenizer: KmerTokenizer) -> np.ndarray:
    ids = tokenizer(codes).flatten()
    return torch.bincount(ids, minlength=tokenizer.size)[len(SPECIAL) :].numpy()


def _both_strands(counts: np.ndarray, n: int) -> np.ndarray:
    """Add to each n-gram's count that of its reverse complement."""
    # The bases A, T, C, G are digits 0 to 3: complements differ in one bit.
    complement = counts[np.arange(4**n) ^ (4**n - 1) // 3]
    return counts + complement.reshape((4,) * n).T.ravel()


def pmi(counts: Sequence[np.ndarray]) -> np.ndarray:
    """Return float64 [4^k], the PMI (nat) of each k-mer; NaN for those that were not counted.

    Parameters
    ----------
    counts
        As :func:`count_ngrams` returns them, k ≥ 2. p(s) is among the n-grams of the length of s.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        log_p = [np.log(count / count.sum()) for count in counts]
        # The likeliest way to make each n-gram of any number of parts, and of two or more.
        made: list[np.ndarray] = []
        cut = np.array(-np.inf)
        for n, whole in enumerate(log_p, start=1):
            cuts = [np.add.outer(log_p[i - 1], made[n - i - 1]).ravel() for i in range(1, n)]
            cut = np.max(cuts, axis=0, initial=-np.inf)
            made.append(np.maximum(whole, cut))
        return log_p[-1] - cut


def npmi(counts: Sequence[np.ndarray], least: int = LEAST_COUNT) -> np.ndarray:
    """Return float64 [4^k], the NPMI of each k-mer; −inf for those counted less than ``least`` times.

    Parameters
    ----------
    counts
        As for :func:`pmi`.
    least
        c of the definition, above 1.
    """
    frequency = counts[-1]
    ranked = frequency >= least
    log_f = np.log(np.maximum(frequency, least))
    return np.where(ranked, pmi(counts) * log_f / (log_f + np.log(least)), -np.inf)
