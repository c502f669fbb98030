"""The contract of ``individuals.parquet``: who the individuals of a cohort are, and their genotypes."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from genebert.benchmarks.dataset import Dataset
from genebert.benchmarks.nested_cv import Folds
from genebert.benchmarks.table_file import read_table_file
from genebert.errors import GenebertError
from genebert.files import complete_or_absent
from genebert.inputs.phenotypes import COVARIATE

# Followed by the covariates, float64, and `dosage`.
FIELDS = [
    pa.field("sample", pa.string(), nullable=False),
    pa.field("label", pa.int32(), nullable=False),  # 1 case, 0 control
    pa.field("fold", pa.int32(), nullable=False),  # held out together by the outer cross-validation
    pa.field("inner_fold", pa.int32(), nullable=False),  # and by the one that chooses the penalty
]
# Copies of the alternate allele of each variant of the dataset, by example_id; −1 where unknown.
DOSAGE = pa.field("dosage", pa.list_(pa.int8()), nullable=False)


@dataclass(frozen=True)
class Individuals:
    """A cohort.

    Attributes
    ----------
    table
        DataFrame [individuals] of ``sample``, ``label``, ``fold``, ``inner_fold`` and the covariates
        (``covariate_<name>``, float64).
    dosage
        int8 [individuals, variants], copies of the alternate allele, −1 where the call is missing.
        Variants are in the order of the dataset (``example_id``).
    region
        int64 [variants], the region that each lies in.
    places
        ``chrom:start-end`` (0-based half-open) of those regions, by their id.
    """

    table: pd.DataFrame
    dosage: np.ndarray
    region: np.ndarray
    places: dict[int, str]

    @property
    def labels(self) -> np.ndarray:
        """int64 [individuals], 1 for a case."""
        return self.table["label"].to_numpy().astype(np.int64)

    @property
    def covariates(self) -> np.ndarray:
        """float64 [individuals, covariates]."""
        names = [name for name in self.table if str(name).startswith(COVARIATE)]
        return self.table[names].to_numpy(np.float64)

    @property
    def folds(self) -> Folds:
        """Where each is held out."""
        return Folds(self.table["fold"].to_numpy(), self.table["inner_fold"].to_numpy())


def write_individuals(individuals: Individuals, out: str | Path) -> None:
    """Write a cohort, complete or absent."""
    table, dosage = individuals.table, individuals.dosage
    number, variants = dosage.shape
    assert len(table) == number
    assert len(individuals.region) == variants
    assert set(individuals.region.tolist()) == set(individuals.places)
    covariates = [str(name) for name in table if str(name).startswith(COVARIATE)]
    schema = pa.schema(
        [*FIELDS, *(pa.field(name, pa.float64(), nullable=False) for name in covariates), DOSAGE]
    )
    offsets = np.arange(number + 1, dtype=np.int64) * variants
    assert offsets[-1] <= np.iinfo(np.int32).max, "more genotypes than a file of this contract holds"
    arrays: list[Any] = [pa.array(table[field.name], field.type) for field in schema if field != DOSAGE]
    arrays.append(pa.ListArray.from_arrays(offsets.astype(np.int32), pa.array(dosage.ravel())))
    metadata = {
        "region": individuals.region.tolist(),
        "places": {str(region): place for region, place in individuals.places.items()},
    }
    schema = schema.with_metadata({"genebert": json.dumps(metadata, sort_keys=True)})
    with complete_or_absent(out) as temporary:
        pq.write_table(pa.table(arrays, schema=schema), temporary, compression="zstd")


def read_individuals(path: str | Path) -> Individuals:
    """Read a cohort.

    Raises
    ------
    GenebertError
        If the file is missing, damaged or of another contract.
    """
    arrow, metadata = read_table_file(path)
    if metadata.keys() != {"region", "places"} or not {field.name for field in FIELDS} < set(
        arrow.column_names
    ):
        raise GenebertError(f"{path} is no cohort of this version", "rebuild the task")
    region = np.array(metadata["region"], dtype=np.int64)
    dosage = arrow["dosage"].combine_chunks().flatten().to_numpy().reshape(len(arrow), len(region))
    return Individuals(
        table=arrow.drop_columns(["dosage"]).to_pandas(),
        dosage=dosage,
        region=region,
        places={int(number): place for number, place in metadata["places"].items()},
    )


def read_individuals_of(dataset: Dataset, path: str | Path) -> Individuals:
    """Read the cohort of a dataset.

    Raises
    ------
    GenebertError
        If the file was written with another dataset, or as :func:`read_individuals`.
    """
    individuals = read_individuals(path)
    if len(individuals.region) != len(dataset.table):
        raise GenebertError(
            f"the individuals have genotypes of {len(individuals.region)} variants, "
            f"the dataset has {len(dataset.table)}",
            "give the individuals that were written with the dataset, or rebuild the task",
            str(path),
        )
    return individuals
