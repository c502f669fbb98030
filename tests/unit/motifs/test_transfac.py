from pathlib import Path

import Bio.motifs
import Bio.motifs.transfac
import numpy as np
import pytest

from genebert.errors import GenebertError
from genebert.motifs.motif import Motif
from genebert.motifs.read import read_motifs

GOOD = """\
AC MA0004.1
XX
ID Arnt
XX
DE MA0004.1 Arnt ; From JASPAR
PO\tA\tC\tG\tT
01\t4.0\t16.0\t0.0\t0.0
02\t19.0\t0.0\t1.0\t0.0
XX
CC tax_group:vertebrates
CC tf_family:PAS domain factors
CC tf_class:Basic helix-loop-helix factors (bHLH)
CC pubmed_ids:7592839
XX
//
AC M00001
XX
ID V$MYOD_01
NA MyoD
P0      T      C      G      A
01      1      2      2      0      S
02      2      1      2      0      R
03      3      0      1      1      A
//
"""


def _read(folder: Path, text: str) -> list[Motif]:
    (folder / "motifs.transfac").write_text(text)
    return read_motifs(folder / "motifs.transfac")


def test_counts_names_and_families_are_read(tmp_path: Path) -> None:
    for text in (GOOD, GOOD.replace("\n", "\r\n"), "VV  TRANSFAC MATRIX TABLE\nXX\n//\n" + GOOD):
        first, second = _read(tmp_path, text)
        assert (first.matrix_id, first.name) == ("MA0004.1", "Arnt")
        assert (first.tf_class, first.tf_family) == (
            "Basic helix-loop-helix factors (bHLH)",
            "PAS domain factors",
        )
        assert first.counts.tolist() == [[4, 19], [16, 0], [0, 1], [0, 0]]
        assert (second.matrix_id, second.name) == ("M00001", "MyoD")
        assert (second.tf_class, second.tf_family) == ("", "")
        assert second.counts.tolist() == [[0, 0, 1], [2, 1, 0], [2, 2, 1], [1, 2, 3]]


@pytest.mark.parametrize(
    ("old", "new", "said", "line"),
    [
        ("02\t19.0", "03\t19.0", "position 3 where 2 is due", 8),
        ("02\t19.0", "02\tmany", "could not convert string to float: 'many'", 8),
        ("02\t19.0", "02\t-1", "a count is negative or not finite", 8),
        ("02\t19.0", "02", "3 counts where 4 are needed", 8),
        ("PO\tA\tC\tG\tT\n", "", "counts before the head of a matrix", 6),
        ("PO\tA\tC\tG\tT", "PO\tA\tC\tG\tU", "the matrix has columns", 6),
        ("AC MA0004.1\nXX\nID Arnt\n", "XX\n", "a motif has no id", 4),
        ("//\nAC M00001", "AC M00001", "'MA0004.1' has two AC lines", 15),
        ("02\t19.0\t0.0\t1.0", "02\t0\t0\t0", "column 2 of 'MA0004.1' has no counts", 1),
        (GOOD[GOOD.index("01      1") : -3], "", "'M00001' has no matrix", 16),
        ("AC M00001", "AC MA0004.1", "motif 'MA0004.1' is given twice", None),
    ],
)
def test_a_bad_file_is_refused_by_line(
    tmp_path: Path, old: str, new: str, said: str, line: int | None
) -> None:
    assert old in GOOD
    with pytest.raises(GenebertError) as error:
        _read(tmp_path, GOOD.replace(old, new))
    assert said in str(error.value)
    assert "motifs.transfac" + (f" line {line})" if line else "") in str(error.value)


def test_a_file_that_breaks_off_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GenebertError, match="the last motif does not end") as error:
        _read(tmp_path, GOOD.removesuffix("//\n"))
    assert "motifs.transfac line 16" in str(error.value)


def test_what_biopython_writes_of_jaspar_is_read(jaspar_file: Path, tmp_path: Path) -> None:
    with jaspar_file.open() as handle:
        originals = Bio.motifs.parse(handle, "jaspar")
    records = []
    for original in originals:
        record = Bio.motifs.transfac.Motif(alphabet="ACGT", counts=original.counts)
        record["AC"], record["ID"], record["NA"] = original.matrix_id, "an id", original.name
        records.append(record)
    found = _read(tmp_path, Bio.motifs.write(records, "transfac"))
    assert len(found) == 1019
    for motif, original in zip(found, originals, strict=True):
        assert (motif.matrix_id, motif.name) == (original.matrix_id, original.name)
        # Biopython writes six digits.
        exact = [list(original.counts[base]) for base in "ACGT"]
        np.testing.assert_allclose(motif.counts, exact, rtol=1e-5)
