"""The names of models: what a row of ``benchmarks.models`` asks for, and which tasks it applies to."""

import re
from dataclasses import dataclass
from typing import Literal, get_args

from genebert.config.kinds import Baseline, Inputs

Readout = Literal["fine_tuned", "probe", "llr", "distance"]
TaskType = Literal["promoter", "tfbs", "splicing", "accessibility", "labelled", "variants", "cohort"]

BASELINES: tuple[Baseline, ...] = get_args(Baseline)
# They draw nothing: one run stands for every seed.
DETERMINISTIC: frozenset[str] = frozenset(BASELINES) - {
    "cnn",
    "deepromoter",
    "cdil",
    "untrained_probe",
}
HUGGING_FACE = "hf:"

_CLASSIFICATION: tuple[TaskType, ...] = (
    "promoter",
    "tfbs",
    "splicing",
    "accessibility",
    "labelled",
)
_VARIANT: tuple[TaskType, ...] = ("variants", "cohort")
_TASKS_OF_READOUT: dict[Readout, tuple[TaskType, ...]] = {
    "fine_tuned": _CLASSIFICATION,
    "probe": (*_CLASSIFICATION, "variants"),
    "llr": _VARIANT,
    "distance": _VARIANT,
}
_TASKS_OF_BASELINE: dict[str, tuple[TaskType, ...]] = {
    "kmer_logistic": (*_CLASSIFICATION, "variants"),
    "motif_logistic": (*_CLASSIFICATION, "variants"),
    "gc_only": (*_CLASSIFICATION, "variants"),
    "occupancy_only": ("promoter", "tfbs", "splicing", "variants"),
    "pwm_best": ("tfbs",),
    "mean_of_training_cell_types": ("accessibility",),
    "covariates_only": ("cohort",),
    "allele_count": ("cohort",),
    "cnn": _CLASSIFICATION,
    "deepromoter": _CLASSIFICATION,
    "cdil": _CLASSIFICATION,
    "untrained_probe": (*_CLASSIFICATION, "variants"),
}
# What a task's table is worth nothing without.
MANDATORY: dict[TaskType, tuple[str, ...]] = {
    "accessibility": ("mean_of_training_cell_types",),
    "cohort": ("covariates_only",),
}


@dataclass(frozen=True)
class ModelName:
    """What a model's name says.

    Attributes
    ----------
    name
        As in paths and tables: letters, digits, ``_``, ``.`` and ``-``.
    variant, inputs
        Of a pre-training; None for a baseline and for a Hugging Face encoder.
    readout
        How predictions are made; None for a baseline.
    source
        Hub id or folder of a Hugging Face encoder.
    """

    name: str
    variant: str | None = None
    inputs: Inputs | None = None
    readout: Readout | None = None
    source: str | None = None

    @property
    def draws_nothing(self) -> bool:
        """Whether one run stands for every seed."""
        return self.name in DETERMINISTIC or (
            self.source is not None and self.readout in ("probe", "distance")
        )

    def applies_to(self, task: TaskType) -> bool:
        """Return whether the model can do a task of this type."""
        if self.readout is None:
            return task in _TASKS_OF_BASELINE[self.name]
        return task in _TASKS_OF_READOUT[self.readout]


def parse_model(text: str) -> ModelName:
    """Read ``variant.inputs[.readout]``, ``hf:<id or folder>[.readout]`` or the name of a baseline.

    Raises
    ------
    ValueError
        If it is none of them; the message holds a fix after a semicolon.
    """
    if text in BASELINES:
        return ModelName(text)
    if text.startswith(HUGGING_FACE):
        return _parse_hugging_face(text)
    variant, *rest = text.split(".")
    if not rest:
        raise ValueError(
            f"'{text}' is no baseline; write `variant.inputs` or one of {', '.join(BASELINES)}"
        )
    inputs, readout = rest[0], ".".join(rest[1:]) or "fine_tuned"
    if inputs not in get_args(Inputs):
        raise ValueError(f"'{text}' names inputs '{inputs}'; use one of {', '.join(get_args(Inputs))}")
    if readout not in get_args(Readout) or text.endswith(".fine_tuned"):
        raise ValueError(
            f"'{text}' names a readout '{readout}'; use probe, llr or distance, or none to fine-tune"
        )
    if readout == "llr" and inputs != "sequence":
        raise ValueError(
            f"'{text}' asks for the likelihood of bases from {inputs}; write `{variant}.sequence.llr`"
        )
    return ModelName(text, variant, inputs, readout)  # type: ignore[arg-type]


def _parse_hugging_face(text: str) -> ModelName:
    source, readout = text.removeprefix(HUGGING_FACE), "fine_tuned"
    for ending in ("probe", "distance"):
        if source.endswith(f".{ending}"):
            source, readout = source.removesuffix(f".{ending}"), ending
    if source.endswith(".llr"):
        raise ValueError(f"'{text}' asks for a likelihood of bases; use `.distance`, or a variant's llr")
    if not source.strip("/."):
        raise ValueError(f"'{text}' names no encoder; write `hf:<id or folder>`")
    safe = "hf." + re.sub(r"[^A-Za-z0-9_.-]+", "_", source).strip("_.")
    name = safe if readout == "fine_tuned" else f"{safe}.{readout}"
    return ModelName(name, readout=readout, source=source)  # type: ignore[arg-type]
