from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert.benchmarks import kinship as module
from genebert.benchmarks.kinship import (
    FIRST_DEGREE,
    copies,
    independent_variants,
    kinship,
    kinship_limit,
    related,
)
from genebert.files import read_lines


def _people(number: int, frequency: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return int8 [number, 2, variants], alleles of the unrelated."""
    rng = np.random.default_rng(seed)
    return (rng.random((number, 2, len(frequency))) < frequency).astype(np.int8)


def _child(one: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    variants = np.arange(one.shape[1])
    return np.stack([parent[rng.integers(0, 2, len(variants)), variants] for parent in (one, other)])


def _families(variants: int) -> np.ndarray:
    """Return int8 [300, variants]: 0 and 1 with a child 2, 3 and 4 with 5 and 6; 7 and 8 are twins."""
    rng = np.random.default_rng(3)
    people = _people(300, rng.uniform(0.1, 0.9, variants))
    people[2] = _child(people[0], people[1], rng)
    people[5], people[6] = (_child(people[3], people[4], rng) for _ in range(2))
    people[8] = people[7]
    dosage: np.ndarray = people.sum(1, dtype=np.int8)
    return dosage


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_kinship_is_that_of_the_definition(seed: int, variants: int) -> None:
    dosage = np.random.default_rng(seed).choice([-1, 0, 1, 1, 2], (5, variants)).astype(np.int8)
    found = kinship(dosage[:2], dosage[2:])
    for i, own in enumerate(dosage[:2]):
        for j, its in enumerate(dosage[2:]):
            pairs = [(a, b) for a, b in zip(own.tolist(), its.tolist(), strict=True) if min(a, b) >= 0]
            both = sum(pair == (1, 1) for pair in pairs)
            opposite = sum(sorted(pair) == [0, 2] for pair in pairs)
            less, more = sorted([sum(a == 1 for a, _ in pairs), sum(b == 1 for _, b in pairs)])
            if less < 10:
                assert found[i, j] == 0
                continue
            expected = (both - 2 * opposite) / (2 * less) + 0.5 - (less + more) / (4 * less)
            assert found[i, j] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("block", [2000, 7])
def test_relatives_in_other_folds_are_found_and_no_one_else(
    monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(module, "_BLOCK", block)
    dosage = _families(2000)
    dosage[np.random.default_rng(1).random(dosage.shape) < 0.02] = -1
    limit = kinship_limit(dosage)
    assert limit == FIRST_DEGREE
    apart, together = np.arange(300), np.zeros(300, int)
    assert np.flatnonzero(related(dosage, apart, limit)).tolist() == list(range(9))
    assert not related(dosage, together, limit).any()
    # The parents of 2 are no relatives of one another: beside it in one fold, none has one elsewhere.
    apart[:3] = 1000
    assert np.flatnonzero(related(dosage, apart, limit)).tolist() == list(range(3, 9))


def test_of_200_variants_only_twins_are_told_and_of_60_nobody() -> None:
    dosage = _families(200)
    limit = kinship_limit(dosage)
    assert limit is not None
    assert limit > FIRST_DEGREE
    found = set(np.flatnonzero(related(dosage, np.arange(300), limit)).tolist())
    assert {7, 8} <= found <= set(range(9))
    assert kinship_limit(_families(60)) is None
    assert kinship_limit(dosage[:, :0]) is None


def test_two_populations_are_no_relatives() -> None:
    rng = np.random.default_rng(4)
    ancestral = rng.uniform(0.2, 0.8, 2000)
    drift = [np.clip(ancestral + rng.normal(0, 0.15, 2000), 0.02, 0.98) for _ in range(2)]
    dosage = np.concatenate(
        [_people(150, frequency, seed).sum(1) for seed, frequency in enumerate(drift)]
    )
    limit = kinship_limit(dosage.astype(np.int8))
    assert limit == FIRST_DEGREE
    assert not related(dosage.astype(np.int8), np.arange(300), limit).any()


def test_only_copies_in_other_folds_count() -> None:
    dosage, fold = _families(80), np.arange(300) % 3
    assert np.flatnonzero(copies(dosage, fold)).tolist() == [7, 8]
    assert not copies(dosage, np.zeros(300, int)).any()
    dosage[8, 0] = -1
    assert not copies(dosage, fold).any()


def test_people_with_few_rare_alleles_are_no_copies() -> None:
    dosage = _people(400, np.full(50, 0.002), seed=2).sum(1).astype(np.int8)
    fold = np.arange(400) % 2
    none = (dosage == 0).all(1)
    assert none.sum() > 200
    assert not copies(dosage, fold).any()


def test_linked_variants_are_no_more_than_one() -> None:
    """Everyone has two of three haplotypes of 100 variants: of many people, many are alike by chance."""
    rng = np.random.default_rng(6)
    haplotypes = rng.integers(0, 2, (3, 100))
    dosage = haplotypes[rng.integers(0, 3, (200, 2))].sum(1).astype(np.int8)
    assert independent_variants(dosage) < 3
    assert not copies(dosage, np.arange(200) % 2).any()
    free = _people(500, rng.uniform(0.1, 0.9, 300)).sum(1).astype(np.int8)
    assert independent_variants(free) == pytest.approx(300, rel=0.03)
    assert independent_variants(np.repeat(free, 3, 1)) == pytest.approx(300, rel=0.03)


def test_nobody_of_the_demos_cohort_is_called_a_relative(repository: Path) -> None:
    """All its variants, of three million bp: linked so far that chance reaches twins."""
    rows = [
        line.split("\t")[9:]
        for _, line in read_lines(repository / "resources/demo/cohort.vcf.gz")
        if not line.startswith("#")
    ][::10]
    alleles = np.array([[cell[0] + cell[2] for cell in row] for row in rows]).T
    dosage = ((alleles == "01") | (alleles == "10")).astype(np.int8) + 2 * (alleles == "11").astype(
        np.int8
    )
    assert dosage.shape == (503, 671)
    assert 30 < independent_variants(dosage) < 120
    assert kinship_limit(dosage) is None
    fold = np.arange(503) % 5
    assert not copies(dosage, fold).any()
    dosage[1] = dosage[0]
    assert np.flatnonzero(copies(dosage, fold)).tolist() == [0, 1]
