"""The kinds of values that keys have."""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from genebert.inputs.source import parse_source

Inputs = Literal["sequence", "region", "both"]
Baseline = Literal[
    "kmer_logistic",
    "motif_logistic",
    "gc_only",
    "occupancy_only",
    "pwm_best",
    "mean_of_training_cell_types",
    "covariates_only",
    "allele_count",
    "cnn",
    "deepromoter",
    "cdil",
    "untrained_probe",
]
Masking = Literal["random_span", "genemask", "global_pmi", "motif", "cm_gems", "cm_step"]
ContigStyle = Literal["as_is", "ucsc", "ensembl"]

# The shortest example that every model can read: one k-mer of the largest k.
MIN_EXAMPLE_BP = 6
NAME = r"[A-Za-z0-9_]+"
# Folders that a project keeps, beside its results.
_OF_THE_PROJECT = {".git", ".snakemake", "config", "envs", "genebert", "resources", "tests", "workflow"}
_INTERVAL = re.compile(r"[^\s:-][^\s:]*(:[0-9]+-[0-9]+)?")


def _yaml_number(value: Any) -> Any:
    # YAML 1.1 reads 1e-4 as text: it asks for a dot and a signed exponent (1.0e-4).
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value):
        return float(value)
    return value


def _interval(value: str) -> str:
    chrom, colon, span = value.rpartition(":")
    value = f"{chrom}{colon}{span.replace(',', '').replace('_', '')}" if colon else value
    if not _INTERVAL.fullmatch(value):
        raise ValueError("write `chrom` or `chrom:start-end` (bp, 0-based half-open)")
    if ":" in value:
        start, end = value.rsplit(":", 1)[1].split("-")
        if int(start) >= int(end):
            raise ValueError("start must be smaller than end")
    return value


def _no_option(value: str) -> str:
    if value.startswith("-") or not value.isprintable():
        raise ValueError("begins with '-', or holds what cannot be seen; programs take it for an option")
    return value


def _address(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError("no address; write http://… or https://…")
    return value


def _source(value: str) -> str:
    parse_source(value)
    return value


def source_of_key(key: str, text: str) -> None:
    """Raise ValueError where the text of a key is no source; for those that are made of several keys."""
    try:
        parse_source(text)
    except ValueError as error:
        raise ValueError(f"{key} '{text}' {error}") from None


def _plain_path(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_./][A-Za-z0-9_./-]*", value):
        raise ValueError("no plain path; use letters, digits, '_', '.', '-' and '/', no spaces")
    return value


def _results_folder(value: str) -> str:
    """Return the path in its shortest form; each run sweeps it of what is half-written."""
    path = re.sub("/+", "/", os.path.normpath(value))
    if Path.cwd().resolve().is_relative_to(Path(path).resolve()):
        raise ValueError("holds the folder in which you work; name one below it, such as results")
    if path.split("/")[0] in _OF_THE_PROJECT:
        raise ValueError("is a folder of the project itself; choose another, such as results")
    return path


Number = Annotated[float, Field(allow_inf_nan=False), BeforeValidator(_yaml_number)]
Positive = Annotated[Number, Field(gt=0)]
Fraction = Annotated[Number, Field(ge=0, lt=1)]
Weight = Annotated[Number, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
IntervalText = Annotated[str, AfterValidator(_interval)]
Text = Annotated[str, Field(min_length=1)]
# What rules hand on as the value of an option.
Given = Annotated[Text, AfterValidator(_no_option)]
Address = Annotated[Text, AfterValidator(_address)]
PlainPath = Annotated[str, AfterValidator(_plain_path)]
ResultsFolder = Annotated[PlainPath, AfterValidator(_results_folder)]
Source = Annotated[Text, AfterValidator(_source)]


class Section(BaseModel):
    """A group of keys: unknown keys and wrong types are refused, values cannot change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
