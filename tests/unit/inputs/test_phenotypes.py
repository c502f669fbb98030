import gzip
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from genebert.errors import GenebertError
from genebert.inputs.phenotypes import read_phenotypes

ROWS = ["sample\tage\tpc1\tsick", "b\t40\t-0.5\t1", "a\t31.5\t1e-2\t0"]


def _read(
    folder: Path, rows: Sequence[str], phenotype: str = "sick", covariates: Sequence[str] = ()
) -> pd.DataFrame:
    path = folder / "phenotypes.tsv"
    path.write_text("\n".join(rows) + "\n")
    return read_phenotypes(path, phenotype, covariates, "benchmarks.tasks.c")


def test_labels_and_covariates_are_those_of_the_file(tmp_path: Path) -> None:
    table = _read(tmp_path, [*ROWS, "", "c\t7\t0\t1.0"], covariates=["pc1", "age"])
    assert list(table) == ["sample", "label", "covariate_pc1", "covariate_age"]
    assert table.values.tolist() == [["b", 1, -0.5, 40.0], ["a", 0, 0.01, 31.5], ["c", 1, 0.0, 7.0]]
    assert [str(kind) for kind in table.dtypes[1:]] == ["int32", "float64", "float64"]


def test_columns_not_asked_for_may_hold_anything(tmp_path: Path) -> None:
    table = _read(tmp_path, ["sample\tage\tpc1\tsick", "a\t\tNA\t0", "b\tx\t?\t1"])
    assert table.values.tolist() == [["a", 0], ["b", 1]]


def test_a_gzip_is_read_alike(tmp_path: Path) -> None:
    plain = _read(tmp_path, ROWS, covariates=["age"])
    path = tmp_path / "p.tsv.gz"
    path.write_bytes(gzip.compress("\r\n".join(ROWS).encode()))
    pd.testing.assert_frame_equal(plain, read_phenotypes(path, "sick", ["age"], "t"))


def test_the_demos_phenotype_is_read(repository: Path) -> None:
    path = repository / "resources/demo/cohort_phenotypes.tsv"
    table = read_phenotypes(path, "simulated_phenotype", ["pc1", "pc2", "pc3"], "t")
    assert len(table) == 503
    assert table["label"].sum() == 251


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("c\t1\t\t1", r"column 'pc1' has no value \(''\) .*line 4"),
        ("c\t1\tNA\t1", r"column 'pc1' has no value \('NA'\) .*line 4"),
        ("c\t1\t0\t", r"column 'sick' has no value"),
        ("\t1\t0\t1", r"column 'sample' has no value"),
        ("c\t1\t0\t2", "sick '2' is neither 1 nor 0 .*line 4"),
        ("c\t1\t0\tyes", "sick 'yes' is no number"),
        ("c\t1\tinf\t1", "pc1 'inf' is no number"),
        ("c\t1\tlow\t1", "pc1 'low' is no number"),
        ("a\t1\t0\t1", r"sample 'a' is named twice \(line 3\) .*line 4"),
        ("c\t1\t0", "the row has 3 columns, the header 4 .*line 4"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: str, said: str) -> None:
    with pytest.raises(GenebertError, match=said):
        _read(tmp_path, [*ROWS, row], covariates=["pc1"])


@pytest.mark.parametrize(
    ("rows", "phenotype", "covariates", "said"),
    [
        (ROWS, "sic", [], r"column 'sic' is missing \(there is 'sick'\)"),
        (ROWS, "sick", ["pc9"], "column 'pc9' is missing"),
        (ROWS, "sick", ["sick"], "column 'sick' is asked for twice"),
        (ROWS, "sick", ["age", "age"], "column 'age' is asked for twice"),
        (["sample\tsick\tsick", "a\t0\t1"], "sick", [], "column 'sick' is there twice"),
        (["sample sick", "a 0"], "sick", [], "column 'sample' is missing"),
        (ROWS[:1], "sick", [], "has no individuals"),
        ([], "sick", [], "has no individuals"),
    ],
)
def test_a_bad_header_is_named(
    tmp_path: Path, rows: Sequence[str], phenotype: str, covariates: Sequence[str], said: str
) -> None:
    with pytest.raises(GenebertError, match=said):
        _read(tmp_path, rows, phenotype, covariates)
