"""The contract of ``individuals.parquet``: who the individuals of a cohort are, and their genotypes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError

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


class _Facts(BaseModel):
    """What the file keeps beside its columns, as in :class:`Individuals`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    region: list[NonNegativeInt]
    places: dict[str, str]


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


def _schema(covariates: Sequence[str]) -> pa.Schema:
    own = (pa.field(name, pa.float64(), nullable=False) for name in covariates)
    return pa.schema([*FIELDS, *own, DOSAGE])


def write_individuals(individuals: Individuals, out: str | Path) -> None:
    """Write a cohort, complete or absent."""
    table, dosage = individuals.table, individuals.dosage
    number, variants = dosage.shape
    assert len(table) == number
    assert len(individuals.region) == variants
    assert set(individuals.region.tolist()) == set(individuals.places)
    covariates = [str(name) for name in table if str(name).startswith(COVARIATE)]
    schema = _schema(covariates)
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
    covariates = [name for name in arrow.column_names if name.startswith(COVARIATE)]
    try:
        facts = _Facts.model_validate(metadata)
    except ValidationError:
        facts = None
    if facts is None or not arrow.schema.remove_metadata().equals(_schema(covariates)):
        raise GenebertError(f"{path} is no cohort of this version", "rebuild the task")
    region = np.array(facts.region, dtype=np.int64)
    table, genotypes = arrow.drop_columns(["dosage"]).to_pandas(), arrow["dosage"].combine_chunks()
    dosage = genotypes.flatten().to_numpy(zero_copy_only=False)
    if (
        {str(number) for number in facts.region} != facts.places.keys()
        or not (genotypes.value_lengths().to_numpy() == len(region)).all()
        or not np.isin(dosage, [-1, 0, 1, 2]).all()
        or not table["label"].isin([0, 1]).all()
        or not np.isfinite(table[covariates].to_numpy(np.float64)).all()
    ):
        raise GenebertError(f"{path}: genotypes, labels or covariates are damaged", "rebuild the task")
    dosage = dosage.reshape(len(arrow), len(region))
    return Individuals(
        table=table,
        dosage=dosage,
        region=region,
        places={int(number): place for number, place in facts.places.items()},
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
