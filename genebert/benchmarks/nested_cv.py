"""Nested cross-validation of a ridge regression, of many phenotypes of the same individuals at once.

A linear model of a phenotype that is 0 or 1 is the linear discriminant of its classes. What a fit needs
of the individuals is worked out once a fold; each phenotype then costs a matrix product, so that a
permutation test may repeat the whole of it, choice of the penalty included.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

INNER = 3
# Shares of the phenotype's variance that burdens may explain; each stands for a penalty.
SHARES = (0.01, 0.05, 0.2, 0.5, 0.9)
_COLLINEAR = 1e-6


@dataclass(frozen=True)
class Folds:
    """Where each individual is held out.

    Attributes
    ----------
    outer, inner
        int [n]. An outer fold is predicted by a model of the others, whose penalty is chosen by holding
        out one inner fold of them at a time. The two cut the individuals into cells.
    """

    outer: np.ndarray
    inner: np.ndarray

    def cells(self) -> Iterator[np.ndarray]:
        """Yield the int64 rows of each cell."""
        for outer in np.unique(self.outer):
            for inner in range(INNER):
                yield np.flatnonzero((self.outer == outer) & (self.inner == inner))


@dataclass(frozen=True)
class Predictions:
    """What models said of individuals that they had not seen.

    Attributes
    ----------
    probability
        float64 [n, phenotypes], of being a case were both classes as frequent.
    coefficient
        float64 [folds, regions], of the first phenotype's models.
    share
        float64 [folds], of :data:`SHARES`, chosen for the first phenotype.
    """

    probability: np.ndarray
    coefficient: np.ndarray
    share: np.ndarray


def stratified_folds(labels: np.ndarray, folds: int, seed: int) -> Folds:
    """Draw folds such that each cell of an outer and an inner one has as many cases as any, ±1.

    So has it of controls.
    """
    rng = np.random.default_rng(seed)
    cell = np.empty(len(labels), dtype=np.int32)
    for label in (0, 1):
        rows = rng.permutation(np.flatnonzero(labels == label))
        cell[rows] = np.arange(len(rows)) % (folds * INNER)
    return Folds(cell % folds, cell // folds)


def predict(
    burden: np.ndarray, covariates: np.ndarray, folds: Folds, phenotypes: np.ndarray
) -> Predictions:
    """Predict each individual by a model of the other outer folds.

    Parameters
    ----------
    burden
        float64 [n, regions]. Penalised: all alike, so that a region's burden counts by its size.
    covariates
        float64 [n, covariates]. Always in the model, not penalised.
    folds
        Where individuals are held out.
    phenotypes
        [n, phenotypes] of 0 and 1; each is modelled by itself.

    Notes
    -----
    The penalty is that of the least squared error over the inner folds. A score s becomes log-odds by
    (s − π)/(π(1 − π)), π the cases' share in training: first-order, and as if classes were balanced.
    """
    phenotypes = phenotypes.astype(np.float64)
    probability = np.full(phenotypes.shape, np.nan)
    coefficients, shares = [], []
    for outer in np.unique(folds.outer):
        train, test = np.flatnonzero(folds.outer != outer), np.flatnonzero(folds.outer == outer)
        chosen = _choose(burden, covariates, folds.inner, train, phenotypes)
        ridge = _ridge(burden, covariates, train, test)
        known = phenotypes[train]
        score = np.empty((len(test), phenotypes.shape[1]))
        for number, share in enumerate(SHARES):
            columns = chosen == number
            score[:, columns] = ridge.scores(known[:, columns], share)
        prior = known.mean(0)
        probability[test] = expit((score - prior) / (prior * (1 - prior)))
        shares.append(SHARES[chosen[0]])
        coefficients.append(ridge.coefficients(known[:, 0], shares[-1]))
    assert np.isfinite(probability).all(), "each individual is held out once"
    return Predictions(probability, np.stack(coefficients), np.array(shares))


def _choose(
    burden: np.ndarray,
    covariates: np.ndarray,
    inner: np.ndarray,
    train: np.ndarray,
    phenotypes: np.ndarray,
) -> np.ndarray:
    """Return int64 [phenotypes], which of SHARES predicts the inner folds of ``train`` best."""
    error = np.zeros((len(SHARES), phenotypes.shape[1]))
    for held_out in range(INNER):
        learn, test = train[inner[train] != held_out], train[inner[train] == held_out]
        ridge = _ridge(burden, covariates, learn, test)
        for number, share in enumerate(SHARES):
            error[number] += ((ridge.scores(phenotypes[learn], share) - phenotypes[test]) ** 2).sum(0)
    return error.argmin(0)


@dataclass(frozen=True)
class _Ridge:
    """A ridge regression but for phenotype and penalty.

    Attributes
    ----------
    base
        float64 [test, train], phenotypes -> what the covariates alone predict.
    left, singular, right
        float64 [test, rank], [rank], [rank, train]: burdens, their linear fit by covariates in training
        taken off, as a singular value decomposition.
    loadings
        float64 [rank, regions].
    """

    base: np.ndarray
    left: np.ndarray
    singular: np.ndarray
    right: np.ndarray
    loadings: np.ndarray

    def scores(self, phenotypes: np.ndarray, share: float) -> np.ndarray:
        """Return float64 [test, phenotypes] of phenotypes [train, phenotypes]."""
        return self.base @ phenotypes + self.left @ self._shrunken(phenotypes, share)

    def coefficients(self, phenotype: np.ndarray, share: float) -> np.ndarray:
        """Return float64 [regions]: change of the score by a unit of burden."""
        return self.loadings.T @ self._shrunken(phenotype[:, None], share)[:, 0]

    def _shrunken(self, phenotypes: np.ndarray, share: float) -> np.ndarray:
        variance = self.singular**2
        penalty = variance.sum() / self.right.shape[1] * (1 - share) / share
        shrunken = self.singular / (variance + penalty + np.finfo(float).tiny)
        return shrunken[:, None] * (self.right @ phenotypes)


def _ridge(burden: np.ndarray, covariates: np.ndarray, train: np.ndarray, test: np.ndarray) -> _Ridge:
    mean, deviation = covariates[train].mean(0), covariates[train].std(0)
    scaled = (covariates - mean) / np.where(deviation > 0, deviation, 1)
    design = np.column_stack([np.ones(len(scaled)), scaled])
    inverse = np.linalg.pinv(design[train])
    fitted = inverse @ burden[train]
    own = burden[train] - design[train] @ fitted
    other = burden[test] - design[test] @ fitted
    # Constant in training, or a sum of covariates: what is left is rounding.
    spent = np.linalg.norm(own, axis=0) <= _COLLINEAR * np.linalg.norm(burden[train], axis=0)
    own[:, spent] = other[:, spent] = 0
    left, singular, loadings = np.linalg.svd(own, full_matrices=False)
    return _Ridge(design[test] @ inverse, other @ loadings.T, singular, left.T, loadings)
