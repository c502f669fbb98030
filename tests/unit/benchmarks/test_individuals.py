import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from genebert.benchmarks.individuals import Individuals, read_individuals, write_individuals
from genebert.errors import GenebertError

COHORT = Individuals(
    table=pd.DataFrame(
        {
            "sample": ["a", "b", "c"],
            "label": np.array([0, 1, 1], np.int32),
            "fold": np.array([0, 1, 0], np.int32),
            "inner_fold": np.array([2, 0, 1], np.int32),
            "covariate_sex": [0.0, 1, 1],
            "covariate_pc1": [0.5, -0.25, 3],
        }
    ),
    dosage=np.array([[0, 1, 2, -1], [2, 2, 0, 0], [1, -1, 0, 0]], np.int8),
    region=np.array([7, 7, 3, 3]),
    places={3: "chr2:0-5", 7: "chr1:10-20"},
)


def test_a_cohort_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_individuals(COHORT, tmp_path / "i.parquet")
    found = read_individuals(tmp_path / "i.parquet")
    pd.testing.assert_frame_equal(
        found.table, COHORT.table[["sample", "label", "fold", "inner_fold", *COHORT.table.columns[4:]]]
    )
    np.testing.assert_array_equal(found.dosage, COHORT.dosage)
    assert found.dosage.dtype == np.int8
    np.testing.assert_array_equal(found.region, COHORT.region)
    assert found.places == COHORT.places
    assert found.labels.tolist() == [0, 1, 1]
    assert found.covariates.tolist() == [[0, 0.5], [1, -0.25], [1, 3]]
    assert (found.folds.outer.tolist(), found.folds.inner.tolist()) == ([0, 1, 0], [2, 0, 1])
    write_individuals(found, tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "i.parquet").read_bytes()


def test_the_file_says_what_it_holds(tmp_path: Path) -> None:
    write_individuals(COHORT, tmp_path / "i.parquet")
    arrow = pq.read_table(tmp_path / "i.parquet")
    assert {field.name: str(field.type) for field in arrow.schema} == {
        "sample": "string",
        "label": "int32",
        "fold": "int32",
        "inner_fold": "int32",
        "covariate_sex": "double",
        "covariate_pc1": "double",
        "dosage": "list<element: int8>",
    }
    assert arrow["dosage"].to_pylist()[2] == [1, -1, 0, 0]
    assert json.loads(arrow.schema.metadata[b"genebert"])["region"] == [7, 7, 3, 3]


def test_other_files_are_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.parquet"
    pd.DataFrame({"sample": ["a"]}).to_parquet(other)
    with pytest.raises(GenebertError, match="is no cohort of this version"):
        read_individuals(other)
    with pytest.raises(GenebertError, match="is missing or damaged"):
        read_individuals(tmp_path / "none.parquet")
