from pathlib import Path

import numpy as np
import pytest

from genebert.errors import GenebertError
from genebert.motifs.jaspar import Motif, order_by_similarity, read_jaspar, similarity_matrix

GOOD = ">M1 first\nA [ 1 0 ]\nC [ 0 2.5 ]\nG [ 3 0 ]\nT [ 0 4 ]\n"


def _read(folder: Path, text: str) -> list[Motif]:
    (folder / "motifs.jaspar").write_text(text)
    return read_jaspar(folder / "motifs.jaspar")


def test_counts_names_and_decimals_are_read(tmp_path: Path) -> None:
    (motif,) = _read(tmp_path, GOOD)
    assert (motif.matrix_id, motif.name) == ("M1", "first")
    assert motif.counts.tolist() == [[1, 0], [0, 2.5], [3, 0], [0, 4]]


@pytest.mark.parametrize(
    "text",
    [
        ">M1\tfirst\n1 0\n0 2.5\n3 0\n0 4\n",
        "\n>M1 first\n\nA[1 0]\nC[0 2.5]\nG[3 0]\nT[0 4]\n\n",
        ">M1 first\nA  [1\t0 ]\nC  [0\t2.5 ]\nG  [3\t0 ]\nT  [0\t4 ]",
    ],
)
def test_the_dialects_of_the_format_are_one(tmp_path: Path, text: str) -> None:
    (motif,) = _read(tmp_path, text)
    (usual,) = _read(tmp_path, GOOD)
    assert (motif.matrix_id, motif.name) == (usual.matrix_id, usual.name)
    assert motif.counts.tolist() == usual.counts.tolist()


def test_a_motif_without_a_name_is_called_by_its_id(tmp_path: Path) -> None:
    assert _read(tmp_path, GOOD.replace(" first", ""))[0].name == "M1"


@pytest.mark.parametrize(
    ("text", "said", "line"),
    [
        ("", "has no motifs", None),
        ("\n\n", "has no motifs", None),
        ("A [ 1 ]\n" + GOOD, "counts before the first '>' line", 1),
        (GOOD.replace("C [ 0 2.5 ]", "C [ 0 ]"), "is ragged: rows of 2, 1, 2, 2 columns", 1),
        (GOOD.replace("T [ 0 4 ]\n", ""), "is ragged: rows of 2, 2, 2 columns", 1),
        (">M0 none\n" + GOOD, "the matrix of 'M0' is ragged: rows of no columns", 1),
        (">M0 e\nA [ ]\nC [ ]\nG [ ]\nT [ ]\n", "is ragged", 1),
        (GOOD + "A [ 1 1 ]\n", "is not row T of a matrix", 6),
        (GOOD.replace("C [", "G [", 1), "is not row C of a matrix", 3),
        (GOOD.replace("2.5", "two"), "could not convert string to float: 'two'", 3),
        (GOOD.replace("2.5", "-2"), "a count is negative or not finite", 3),
        (GOOD.replace("2.5", "nan"), "a count is negative or not finite", 3),
        (GOOD.replace("2.5", "inf"), "a count is negative or not finite", 3),
        (GOOD.replace("2.5", "0").replace("4", "0"), "column 2 of 'M1' has no counts", 1),
        (GOOD + GOOD, "motif 'M1' is given twice", None),
    ],
)
def test_a_bad_file_is_refused_by_line(tmp_path: Path, text: str, said: str, line: int | None) -> None:
    with pytest.raises(GenebertError) as error:
        _read(tmp_path, text)
    assert said in str(error.value)
    assert "motifs.jaspar" + (f" line {line}" if line else "") in str(error.value)


def test_jaspar_is_read_whole(jaspar_file: Path) -> None:
    motifs = read_jaspar(jaspar_file)
    assert len(motifs) == 1019
    assert len({motif.matrix_id for motif in motifs}) == 1019
    assert {motif.counts.shape[0] for motif in motifs} == {4}
    lengths = [motif.counts.shape[1] for motif in motifs]
    assert (min(lengths), max(lengths)) == (4, 33)
    first = jaspar_file.read_text().splitlines()[:5]
    assert motifs[0].matrix_id == first[0][1:].split()[0]
    assert motifs[0].counts[0].tolist() == [float(x) for x in first[1].split()[2:-1]]


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
