import gzip
from pathlib import Path

import pytest

from genebert.errors import GenebertError
from genebert.motifs.motif import Motif
from genebert.motifs.read import read_motifs

GOOD = ">M1 first\nA [ 1 0 ]\nC [ 0 2.5 ]\nG [ 3 0 ]\nT [ 0 4 ]\n"


def _read(folder: Path, text: str) -> list[Motif]:
    return read_motifs(write(folder / "motifs.jaspar", text))


def write(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


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
        (GOOD.replace(">M1 first", ">"), "a motif has no id", 1),
        ("1 0\n0 2.5\n3 0\n", "is ragged: rows of 2, 2, 2 columns", 1),
        ("1 0\n0 2.5\n3 0\n0 4\n0 4\n", "is not row T of a matrix", 5),
    ],
)
def test_a_bad_file_is_refused_by_line(tmp_path: Path, text: str, said: str, line: int | None) -> None:
    with pytest.raises(GenebertError) as error:
        _read(tmp_path, text)
    assert said in str(error.value)
    assert "motifs.jaspar" + (f" line {line}" if line else "") in str(error.value)


@pytest.mark.parametrize("name", ["M1.pfm", "M1.pfm.gz", "M1"])
def test_a_single_matrix_without_a_header_is_named_after_its_file(tmp_path: Path, name: str) -> None:
    rows = "\n".join(GOOD.splitlines()[1:])
    for text in (rows, "1 0\n0 2.5\n3 0\n0 4\n", "  1.00   0.00\n0 2.5\n\n3 0\n0 4"):
        (motif,) = read_motifs(write(tmp_path / name, text))
        assert (motif.matrix_id, motif.name) == ("M1", "M1")
        assert motif.counts.tolist() == [[1, 0], [0, 2.5], [3, 0], [0, 4]]


def test_jaspar_is_read_whole(jaspar_file: Path) -> None:
    motifs = read_motifs(jaspar_file)
    assert len(motifs) == 1019
    assert len({motif.matrix_id for motif in motifs}) == 1019
    assert {motif.counts.shape[0] for motif in motifs} == {4}
    lengths = [motif.counts.shape[1] for motif in motifs]
    assert (min(lengths), max(lengths)) == (4, 33)
    first = jaspar_file.read_text().splitlines()[:5]
    assert motifs[0].matrix_id == first[0][1:].split()[0]
    assert motifs[0].counts[0].tolist() == [float(x) for x in first[1].split()[2:-1]]
