"""Top-k accuracy, by which splice-site predictors are compared."""

import numpy as np


def top_k(labels: np.ndarray, scores: np.ndarray, label: int) -> float:
    """Return the fraction of true sites among the k positions scored highest, k being their number.

    The threshold is thus the one at which as many positions are called as are true, where precision
    and recall are the same. Of positions with the k-th highest score, those that are no sites are taken
    first: ties never flatter a model, and the order of rows does not matter.

    Parameters
    ----------
    labels
        int [n].
    scores
        float [n], larger where the class is likelier; finite.
    label
        The class.

    Returns
    -------
    float
        In [0, 1]; NaN where no position is of the class.

    References
    ----------
    Jaganathan et al. 2019, doi:10.1016/j.cell.2018.12.015.
    """
    assert labels.shape == scores.shape, "a score for each label"
    assert np.isfinite(scores).all(), "a score is not finite"
    is_site = labels == label
    k = int(is_site.sum())
    if not k:
        return float("nan")
    threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
    above, tied = scores > threshold, scores == threshold
    places = k - int(above.sum()) - int((tied & ~is_site).sum())
    return (int((above & is_site).sum()) + max(0, places)) / k
