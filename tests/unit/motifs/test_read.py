import gzip
from pathlib import Path

import Bio.motifs
import numpy as np
import pytest

from genebert.errors import GenebertError
from genebert.motifs.read import read_families, read_motifs

FAMILIES = "matrix_id\tclass\tfamily\nMA9001.1\tzinc\tGATA\nMA9002.2\tzip\tother\n"


@pytest.mark.parametrize("form", ["jaspar", "pfm", "jaspar.gz"])
def test_what_biopython_writes_of_jaspar_is_read(jaspar_file: Path, tmp_path: Path, form: str) -> None:
    with jaspar_file.open() as handle:
        originals = Bio.motifs.parse(handle, "jaspar")
    if form == "pfm":  # one matrix, no header
        originals = originals[3:4]
    data = Bio.motifs.write(originals, form.removesuffix(".gz")).encode()
    path = tmp_path / f"{originals[0].matrix_id}.{form}"
    path.write_bytes(gzip.compress(data) if form.endswith(".gz") else data)
    found = read_motifs(path)
    for motif, original in zip(found, originals, strict=True):
        assert motif.matrix_id == original.matrix_id
        if form != "pfm":
            assert motif.name == original.name
        # Biopython writes two decimals.
        rounded = [[float(f"{n:.2f}") for n in original.counts[base]] for base in "ACGT"]
        assert motif.counts.tolist() == rounded


@pytest.mark.parametrize(
    ("text", "said", "where"),
    [
        ("", "has no motifs", "motifs.txt"),
        ("# only a comment\n\n", "has no motifs", "motifs.txt"),
        ("MEME version 4\n", "has no motifs", "motifs.txt"),
        ("\n#\nchr1\t5\t9\n", "'chr1\t5\t9' begins no motif file", "motifs.txt line 3"),
        ("<html>404</html>", "'<html>404</html>' begins no motif file", "motifs.txt line 1"),
    ],
)
def test_what_is_no_motif_file_is_refused(tmp_path: Path, text: str, said: str, where: str) -> None:
    (tmp_path / "motifs.txt").write_text(text)
    with pytest.raises(GenebertError) as error:
        read_motifs(tmp_path / "motifs.txt")
    assert said in str(error.value)
    assert where in str(error.value)


def test_families_are_joined_by_the_whole_id(few_motifs: Path, tmp_path: Path) -> None:
    (tmp_path / "families.tsv").write_text(FAMILIES)
    motifs = read_motifs(few_motifs, tmp_path / "families.tsv")
    assert [(m.name, m.tf_class, m.tf_family) for m in motifs] == [
        ("GATA", "zinc", "GATA"),
        ("EBOX", "", ""),  # listed with another version
        ("TATA", "", ""),
    ]


def test_a_table_of_families_may_have_comments_and_further_columns(tmp_path: Path) -> None:
    (tmp_path / "families.tsv").write_text("#c\nfamily\tmatrix_id\tx\tclass\r\nf\tM1\t\tc\r\n\n")
    assert read_families(tmp_path / "families.tsv") == {"M1": ("c", "f")}


@pytest.mark.parametrize(
    ("old", "new", "said", "line"),
    [
        ("\tfamily\n", "\n", "no column 'family'", 1),
        ("zinc\t", "zinc ", "2 cells under 3 columns", 2),
        ("zip\t", "zip\t\t", "4 cells under 3 columns", 3),
        ("MA9002.2", "MA9001.1", "matrix_id 'MA9001.1' is empty or given twice", 3),
        ("MA9002.2", " ", "matrix_id '' is empty or given twice", 3),
        (FAMILIES[FAMILIES.index("MA9001") :], "", "has no motifs", None),
    ],
)
def test_a_bad_table_of_families_is_refused(
    tmp_path: Path, old: str, new: str, said: str, line: int | None
) -> None:
    assert old in FAMILIES
    (tmp_path / "families.tsv").write_text(FAMILIES.replace(old, new))
    with pytest.raises(GenebertError) as error:
        read_families(tmp_path / "families.tsv")
    assert said in str(error.value)
    assert "families.tsv" + (f" line {line})" if line else "") in str(error.value)


def test_the_families_of_jaspar_cover_its_motifs(jaspar_file: Path) -> None:
    motifs = read_motifs(jaspar_file, jaspar_file.with_suffix(".families.tsv"))
    without = [motif.matrix_id for motif in motifs if not (motif.tf_class or motif.tf_family)]
    assert len(without) == 1
    of = {motif.matrix_id: motif for motif in motifs}
    assert of["MA0139.2"].tf_class == "C2H2 zinc finger factors"
    assert of["MA0099.4"].tf_family == "Fos-related::Jun-related"


COUNTS = ">M1 first\nA [ 10 0 5 ]\nC [ 0 20 5 ]\nG [ 10 0 5 ]\nT [ 0 0 5 ]\n"
SHARES = COUNTS.replace("10", "0.5").replace("20", "1").replace(" 5", " 0.25")
TRANSFAC = "AC M1\nNA first\nPO A C G T\n1 .5 0 .5 0\n2 0 1 0 0\n3 .25 .25 .25 .25\n//\n"
MEME = (
    "MEME version 4\nALPHABET= ACGT\nMOTIF M1 first\nletter-probability matrix: alength= 4 w= 3\n"
    ".5 0 .5 0\n0 1 0 0\n.25 .25 .25 .25\n"
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SHARES, "1 of 1"),
        (SHARES.partition("\n")[2], "1 of 1"),
        (SHARES + COUNTS.replace("M1", "M2"), "1 of 2"),
        (TRANSFAC, "1 of 1"),
        (MEME, None),
        (MEME.replace("w= 3", "w= 3 nsites= 20"), None),
        (COUNTS, None),
    ],
    ids=["jaspar", "pfm", "one of two", "transfac", "meme", "meme of 20 sites", "counts"],
)
def test_frequencies_are_counts_of_twenty_sites_in_any_format(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str | None
) -> None:
    (tmp_path / "M1.txt").write_text(text)
    (tmp_path / "counts.txt").write_text(COUNTS)
    (expected,) = read_motifs(tmp_path / "counts.txt")
    for motif in read_motifs(tmp_path / "M1.txt"):
        np.testing.assert_allclose(motif.counts, expected.counts, rtol=1e-12)
    note = f"{tmp_path / 'M1.txt'}: {said} matrices hold frequencies: taken as those of 20 sites\n"
    assert capsys.readouterr().err == (note if said else "")


def test_rounded_frequencies_add_up_again_and_counts_of_one_site_in_meme_stay(tmp_path: Path) -> None:
    (tmp_path / "M1.txt").write_text(">M1\n.33 0\n.33 1\n.33 0\n0 0\n")
    (motif,) = read_motifs(tmp_path / "M1.txt")
    np.testing.assert_allclose(motif.counts.sum(axis=0), [20, 20])
    (tmp_path / "M1.txt").write_text(MEME.replace("w= 3", "w= 3 nsites= 1"))
    (motif,) = read_motifs(tmp_path / "M1.txt")
    np.testing.assert_allclose(motif.counts.sum(axis=0), [1, 1, 1])
