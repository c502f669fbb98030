"""Which individuals of a cohort are copies or close relatives of individuals of another fold.

Kinship is KING-robust (Manichaikul et al., Bioinformatics 2010, between families): half for twins, a
quarter for first-degree relatives, none or less for the unrelated, whatever populations they are from.
How far chance takes it depends on how many variants are independent, so it is measured: as the spread of
kinship over pairs of the cohort, nearly all of which are unrelated.
"""

import hashlib
from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.stats import norm

from genebert.benchmarks.checks import NONE, Check
from genebert.benchmarks.individuals import Individuals

# Bounds of the degrees of kinship, halfway between them as powers of 2.
FIRST_DEGREE, TWINS = 2**-2.5, 2**-1.5
# In one cohort of so many, chance may call any two individuals copies, or related.
CHANCE = 0.05
# Minor alleles of a lower frequency are shared by too few: kinship by them has no normal spread.
COMMON = 0.05
# More variants, or pairs of more individuals, hardly change what is measured.
_VARIANTS, _SAMPLE = 5000, 1000
# Of two individuals of whom one has fewer heterozygous calls, nothing is said.
_CALLS = 10
_BLOCK = 2000
# Quantiles of kinship that the spread is read from: above the pairs of different populations.
_LOWER, _UPPER = 0.75, 0.9


def checks_of_individuals(cohort: Individuals) -> Iterator[Check]:
    """Yield what the folds of a cohort share: the same calls, and relatives."""
    fold = cohort.folds.outer
    yield Check(
        "copies_of_individuals",
        float(copies(cohort.dosage, fold).mean()),
        NONE,
        "share of individuals all of whose calls one of another fold has too, by more than chance: "
        "a person twice, or twins",
    )
    common = _common(cohort.dosage)
    limit = kinship_limit(common)
    found = None if limit is None else float(related(common, fold, limit).mean())
    beyond = "" if limit is None else f" over {limit:.3g}"
    yield Check(
        "related_individuals",
        found,
        NONE,
        f"share of individuals with a twin or first-degree relative in another fold: kinship{beyond} by "
        f"{common.shape[1]} common variants; empty: with so few independent ones, chance goes as far",
    )


def copies(dosage: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Return bool [n], who has exactly the calls of one of another fold, where chance does not do it.

    Chance is the product of how frequent each call is, over as many variants as are independent: people
    without any of a few rare alleles are no copies.

    Parameters
    ----------
    dosage
        int8 [n, variants], −1 where unknown.
    fold
        int [n].
    """
    number, variants = dosage.shape
    same = [hashlib.blake2b(row).digest() for row in np.ascontiguousarray(dosage)]
    shared = (pd.Series(fold).groupby(same).transform("nunique") > 1).to_numpy(copy=True)
    rows = np.flatnonzero(shared)
    if not len(rows):
        return shared
    chance = np.zeros(len(rows))
    for call in (-1, 0, 1, 2):
        frequency = np.maximum((dosage == call).mean(0), 1 / number)
        chance += (dosage[rows] == call) @ np.log(frequency)
    chance *= independent_variants(dosage) / variants
    shared[rows] = 2 * np.log(number) + chance < np.log(CHANCE)
    return shared


def independent_variants(dosage: np.ndarray) -> float:
    """Return how many independent variants say as much as those of int8 [n, variants] together.

    Their number squared over the sum of their squared correlations, less what chance adds to these.
    """
    calls = dosage[_spread(len(dosage), _SAMPLE)][:, _spread(dosage.shape[1], _VARIANTS)]
    known = calls >= 0
    mean = np.where(known, calls, 0).sum(0) / np.maximum(known.sum(0), 1)
    centred = np.where(known, calls - mean, 0).astype(np.float32)
    length = np.sqrt((centred**2).sum(0))
    unit = centred[:, length > 0] / length[length > 0]
    number = unit.shape[1]
    squares = float(((unit.T @ unit) ** 2).sum()) - number * (number - 1) / len(calls)
    # Of variants that were left out of the sample, as many are independent.
    return dosage.shape[1] / calls.shape[1] * number**2 / max(squares, number) if number else 0.0


def kinship(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return float32 [n, m], the kinship of two groups by KING-robust; 0 where too few calls tell.

    Parameters
    ----------
    one, other
        int8 [n, variants] and [m, variants], copies of an allele; −1 where unknown, which leaves the
        variant out for the pair.
    """
    (het, known, homozygous), (its_het, its_known, its_homozygous) = map(_parts, (one, other))
    opposite = (abs(homozygous) @ abs(its_homozygous).T - homozygous @ its_homozygous.T) / 2
    numbers = het @ its_known.T, known @ its_het.T
    least = np.minimum(*numbers)
    found = (het @ its_het.T - 2 * opposite) / 2 - (numbers[0] + numbers[1]) / 4
    return np.where(least >= _CALLS, found / np.maximum(least, 1) + np.float32(0.5), np.float32(0))


def _parts(dosage: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return float32 arrays like the calls: heterozygous, known, homozygous as −1 and 1."""
    known = dosage >= 0
    homozygous = np.where(known, dosage.astype(np.float32) - 1, np.float32(0))
    return (dosage == 1).astype(np.float32), known.astype(np.float32), homozygous


def kinship_limit(dosage: np.ndarray) -> float | None:
    """Return the kinship that tells first-degree relatives, or only some of them, from the unrelated.

    :data:`FIRST_DEGREE`, or what chance reaches if it goes further; None where chance reaches twins.
    """
    number = len(dosage)
    if number < 2 or not dosage.shape[1]:
        return None
    sample = dosage[_spread(number, _SAMPLE)]
    pairs = kinship(sample, sample)[np.triu_indices(len(sample), 1)]
    lower, upper = np.quantile(pairs, [_LOWER, _UPPER])
    deviation = (upper - lower) / (norm.ppf(_UPPER) - norm.ppf(_LOWER))
    furthest = norm.isf(CHANCE / (number * (number - 1) / 2)) - norm.ppf(_UPPER)
    limit = float(max(FIRST_DEGREE, upper + furthest * deviation))
    return limit if limit < TWINS else None


def related(dosage: np.ndarray, fold: np.ndarray, limit: float) -> np.ndarray:
    """Return bool [n], who has a kinship above the limit with one of another fold."""
    found = np.zeros(len(dosage), bool)
    blocks = [slice(first, first + _BLOCK) for first in range(0, len(dosage), _BLOCK)]
    for number, rows in enumerate(blocks):
        for columns in blocks[number:]:
            near = kinship(dosage[rows], dosage[columns]) > limit
            near &= fold[rows, None] != fold[None, columns]
            found[rows] |= near.any(1)
            found[columns] |= near.any(0)
    return found


def _common(dosage: np.ndarray) -> np.ndarray:
    """Return int8 [n, variants], the variants that kinship is told by."""
    known = dosage >= 0
    copied = np.where(known, dosage, 0).sum(0, dtype=np.int64)
    frequency = copied / np.maximum(2 * known.sum(0), 1)
    rows = np.flatnonzero(np.minimum(frequency, 1 - frequency) >= COMMON)
    return np.ascontiguousarray(dosage[:, rows[_spread(len(rows), _VARIANTS)]])


def _spread(number: int, most: int) -> np.ndarray:
    """Return int64, at most so many of the first numbers, evenly spread."""
    return np.arange(number) if number <= most else np.linspace(0, number - 1, most).astype(np.int64)
