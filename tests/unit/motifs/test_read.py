import gzip
from pathlib import Path

import Bio.motifs
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
