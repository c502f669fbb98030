import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from genebert.errors import GenebertError
from genebert.motifs.motif import Motif
from genebert.motifs.order import order_by_similarity, row_order, similarity_matrix


def _random_motifs(count: int, seed: int = 0) -> list[Motif]:
    rng = np.random.default_rng(seed)
    return [
        Motif(f"R{i:02d}", f"r{i}", 100 * rng.dirichlet([0.15] * 4, rng.integers(6, 14)).T + 1)
        for i in range(count)
    ]


def test_the_order_does_not_depend_on_the_order_of_the_file() -> None:
    motifs = _random_motifs(40)
    expected = [motifs[i].matrix_id for i in order_by_similarity(motifs)]
    assert sorted(expected) == [motif.matrix_id for motif in motifs]
    for seed in range(5):
        shuffled = [motifs[i] for i in np.random.default_rng(seed).permutation(40)]
        assert [shuffled[i].matrix_id for i in order_by_similarity(shuffled)] == expected


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_motifs_are_ordered_by_id(count: int) -> None:
    motifs = _random_motifs(count)[::-1]
    assert order_by_similarity(motifs) == list(range(count))[::-1]


def test_a_motif_stands_beside_its_near_copy_and_its_reverse_complement() -> None:
    rng = np.random.default_rng(3)
    motifs = _random_motifs(30, seed=4)
    original = motifs[7]
    flank = np.full((4, 2), 25.0)
    copies = [
        Motif("Z98", "copy", original.counts + rng.uniform(0, 3, original.counts.shape)),
        Motif("A00", "other strand", np.hstack([flank, original.counts[::-1, ::-1]])),
    ]
    order = [(motifs + copies)[i].matrix_id for i in order_by_similarity(motifs + copies)]
    places = sorted(order.index(name) for name in ("R07", "Z98", "A00"))
    assert places == list(range(places[0], places[0] + 3))


def test_similarity_is_that_of_the_best_alignment_of_either_strand() -> None:
    motifs = _random_motifs(6, seed=5)
    found = similarity_matrix(motifs)

    def centred(motif: Motif) -> np.ndarray:
        frequency = motif.counts / motif.counts.sum(axis=0) - 0.25
        return frequency / np.sqrt((frequency**2).sum())

    for i, a in enumerate(map(centred, motifs)):
        for j, b in enumerate(map(centred, motifs)):
            best = -1.0
            for other in (b, b[::-1, ::-1]):
                for offset in range(1 - other.shape[1], a.shape[1]):
                    overlap = [
                        float(a[:, p] @ other[:, p - offset])
                        for p in range(a.shape[1])
                        if 0 <= p - offset < other.shape[1]
                    ]
                    best = max(best, sum(overlap))
            assert found[i, j] == pytest.approx(best, abs=1e-9)


def _ids(motifs: Sequence[Motif], order: str) -> list[str]:
    return [motifs[index].matrix_id for index in row_order(motifs, order)]


FAMILIES = [("zip", "fos"), ("", ""), ("helix", "myc"), ("zip", "atf"), ("helix", ""), ("helix", "max")]


@pytest.fixture
def families() -> list[Motif]:
    """Thirty motifs of five families, and six without."""
    return [
        dataclasses.replace(motif, tf_class=FAMILIES[i % 6][0], tf_family=FAMILIES[i % 6][1])
        for i, motif in enumerate(_random_motifs(36, seed=6))
    ]


def test_families_stand_together_by_class_and_name_and_the_unknown_stand_last(
    families: list[Motif],
) -> None:
    ordered = [families[index] for index in row_order(families, "family")]
    groups = [(motif.tf_class, motif.tf_family) for motif in ordered]
    assert list(dict.fromkeys(groups)) == [
        ("helix", ""),
        ("helix", "max"),
        ("helix", "myc"),
        ("zip", "atf"),
        ("zip", "fos"),
        ("", ""),
    ]
    assert sum(a != b for a, b in itertools.pairwise(groups)) == 5
    for group in set(groups):
        members = [m for m in families if (m.tf_class, m.tf_family) == group]
        placed = [m.matrix_id for m in ordered if (m.tf_class, m.tf_family) == group]
        assert placed == _ids(members, "similarity")


@pytest.mark.parametrize("order", ["similarity", "family"])
def test_an_order_of_motifs_does_not_depend_on_the_file(families: list[Motif], order: str) -> None:
    expected = _ids(families, order)
    assert sorted(expected) == sorted(motif.matrix_id for motif in families)
    for seed in range(3):
        shuffled = [families[i] for i in np.random.default_rng(seed).permutation(len(families))]
        assert _ids(shuffled, order) == expected
    assert _ids(families[::-1], "file") == [motif.matrix_id for motif in families[::-1]]


def test_equal_matrices_of_a_family_are_ordered_by_id(families: list[Motif]) -> None:
    twins = [dataclasses.replace(families[0], matrix_id=name) for name in ("B", "C", "A", "D")]
    assert _ids(twins, "family") == _ids(twins[::-1], "family") == _ids(twins, "similarity")


def test_families_that_no_motif_has_are_no_order() -> None:
    with pytest.raises(GenebertError, match="no motif has a family"):
        row_order(_random_motifs(4), "family")
