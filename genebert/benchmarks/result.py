"""Reading what a run wrote: ``metrics.json`` and ``predictions.parquet``, checked against each other."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from genebert.benchmarks.metrics import HEADLINE, SITES, parts_of, scores_of
from genebert.config import TaskType
from genebert.errors import GenebertError
from genebert.files import read_json_object
from genebert.parquet import read_parquet

_MEND = "delete the run's folder and run again"
_TEXT = pa.dictionary(pa.int32(), pa.string())
_PREDICTIONS = {
    "example_id": pa.uint32(),
    "chrom": _TEXT,
    "start": pa.int64(),
    "end": pa.int64(),
    "cell_type": _TEXT,
    "split": _TEXT,
    "subset": _TEXT,
    "label": pa.int32(),
    "is_probability": pa.bool_(),
}


class _Part(BaseModel):
    """The figures of a part: numbers of examples, and metrics."""

    model_config = ConfigDict(extra="allow", strict=True)
    __pydantic_extra__: dict[str, float | None]

    examples: int
    positives: int | None = None


class _Facts(BaseModel):
    """What every ``metrics.json`` holds; runs keep more."""

    model_config = ConfigDict(extra="allow", strict=True)

    task: str
    type: TaskType
    classes: list[str] = Field(min_length=2)
    model: str
    seed: int
    simulated: bool
    dataset_sha256: str
    metrics: dict[str, _Part]


def read_facts(run: str | Path) -> dict[str, Any]:
    """Read the ``metrics.json`` of a run's folder.

    Raises
    ------
    GenebertError
        If the file is missing, damaged or of something else.
    """
    path = Path(run) / "metrics.json"
    facts = read_json_object(path, _MEND)
    try:
        _Facts.model_validate(facts)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise GenebertError(f"{path}: '{key}': {first['msg']}", _MEND) from None
    if facts["type"] == "splicing" and not set(SITES) <= set(facts["classes"]):
        raise GenebertError(f"{path}: no class is {' or '.join(SITES)}", _MEND)
    return facts


def read_predictions(run: str | Path, facts: dict[str, Any]) -> pd.DataFrame:
    """Read the ``predictions.parquet`` of a run's folder.

    Parameters
    ----------
    run
        The folder.
    facts
        Of the same run (:func:`read_facts`).

    Returns
    -------
    DataFrame
        As :func:`genebert.benchmarks.run.as_table` made it, without strands.

    Raises
    ------
    GenebertError
        If the file is missing or damaged, a score is not finite, a label none of the classes, or the
        parts are not those that the metrics are of.
    """
    path, classes = Path(run) / "predictions.parquet", len(facts["classes"])
    several = classes > 2 and facts["type"] != "cohort"
    names = [f"score_{label}" for label in range(classes)] if several else ["score"]
    contract = pa.schema(_PREDICTIONS | dict.fromkeys(names, pa.float32()))
    rows: pd.DataFrame = read_parquet(path, contract, _MEND).to_pandas()
    if not np.isfinite(scores_of(rows)).all():
        raise GenebertError(f"{path}: a score is not finite", _MEND)
    if not rows["label"].between(0, classes - 1).all() or not rows["example_id"].is_unique:
        raise GenebertError(
            f"{path}: a label is none of {classes} classes, or an id is twice there", _MEND
        )
    if (rows["start"] < 0).any() or (rows["start"] > rows["end"]).any():
        raise GenebertError(f"{path}: a place is none", _MEND)
    metrics, headline = facts["metrics"], HEADLINE[facts["type"]]
    found = {name: len(part) for name, part in parts_of(rows).items()}
    said = {name: part.get("examples") for name, part in metrics.items() if headline in part}
    if found != said or "test" not in found:
        raise GenebertError(f"{path} and metrics.json tell of other examples: {found}, {said}", _MEND)
    return rows
