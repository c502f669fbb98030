"""A permutation test of what burdens add to covariates."""

import numpy as np
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from genebert.benchmarks.nested_cv import Folds


def redraw(
    labels: np.ndarray, covariates: np.ndarray, folds: Folds, number: int, seed: int
) -> np.ndarray:
    """Draw phenotypes as they might have been if nothing but covariates mattered.

    Within each cell of the folds the cases are drawn anew, as many as there are. Without covariates that
    is a permutation, and the test exact. With them, an individual's chance follows its odds by a
    logistic regression on the covariates: a plain permutation would also break what covariates share
    with the phenotype and with the genotypes, and would call ancestry an effect. The test is then as
    good as that regression: what covariates do beyond it may pass for an effect of burdens.

    Parameters
    ----------
    labels
        int [n], 1 for a case.
    covariates
        float64 [n, covariates].
    folds
        Whose cells keep their numbers of cases.
    number
        How many to draw.
    seed
        Of the draws.

    Returns
    -------
    ndarray
        int8 [n, number].

    References
    ----------
    Epstein et al. 2012, A permutation procedure to correct for confounders in case-control studies,
    including tests of rare variation.
    """
    rng = np.random.default_rng(seed)
    odds = _log_odds(labels, covariates)
    drawn = np.zeros((len(labels), number), dtype=np.int8)
    for rows in folds.cells():
        drawn[rows] = draw_cases(odds[rows], int(labels[rows].sum()), number, rng)
    return drawn


def draw_cases(log_odds: np.ndarray, cases: int, number: int, rng: np.random.Generator) -> np.ndarray:
    """Draw so many cases of the individuals, independent but for their number (conditional Bernoulli).

    Parameters
    ----------
    log_odds
        float64 [n], of being a case.
    cases
        How many.
    number
        How many draws.
    rng
        Random numbers.

    Returns
    -------
    ndarray
        int8 [n, number]; each column sums to ``cases``.
    """
    count = len(log_odds)
    # ways[i, j + 1]: log of the summed odds of all choices of j cases from individual i on.
    ways = np.full((count + 1, cases + 2), -np.inf)
    ways[:, 1] = 0
    for i in reversed(range(count)):
        ways[i, 2:] = np.logaddexp(ways[i + 1, 2:], log_odds[i] + ways[i + 1, 1:-1])
    drawn = np.zeros((count, number), dtype=np.int8)
    left = np.full(number, cases)
    for i in range(count):
        chance = np.exp(log_odds[i] + ways[i + 1, left] - ways[i, left + 1])
        drawn[i] = rng.random(number) < chance
        left -= drawn[i]
    assert (left == 0).all(), "as many cases as asked for"
    return drawn


def aurocs(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return float64 [columns], the AUROC of each column of scores for its own column of labels."""
    cases = labels.sum(0).astype(np.float64)
    ranks = (rankdata(scores, axis=0) * labels).sum(0)
    return (ranks - cases * (cases + 1) / 2) / (cases * (len(labels) - cases))


def p_value(observed: float, drawn: np.ndarray) -> float | None:
    """Return how often a draw is at least as large, the observed one counted in; None without draws."""
    if not len(drawn):
        return None
    return float((1 + (drawn >= observed).sum()) / (1 + len(drawn)))


def _log_odds(labels: np.ndarray, covariates: np.ndarray) -> np.ndarray:
    if not covariates.shape[1]:
        return np.zeros(len(labels))
    scaled = StandardScaler().fit_transform(covariates)
    # So weak a penalty that it only keeps covariates finite that separate the classes.
    model = LogisticRegression(C=1e4, max_iter=1000).fit(scaled, labels)
    return model.decision_function(scaled)
