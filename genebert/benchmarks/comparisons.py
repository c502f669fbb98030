"""Paired differences between models, and what they allow to say."""

from collections.abc import Container, Mapping
from dataclasses import dataclass

import numpy as np

from genebert.benchmarks.intervals import percentiles
from genebert.config import BASELINES


@dataclass(frozen=True)
class Figure:
    """A model's headline metric on a part of a task.

    Attributes
    ----------
    mean
        Over seeds; None where it is undefined.
    draws
        float64 [draws], the same of every draw of blocks, which models share; None below 20 blocks.
    """

    mean: float | None
    draws: np.ndarray | None


@dataclass(frozen=True)
class Difference:
    """One model's figure less another's, with its 95 % interval; None below 20 blocks."""

    mean: float
    interval: tuple[float, float] | None

    @property
    def verdict(self) -> str:
        """``helped``, ``hurt``, ``no difference shown`` or ``too few blocks to say``."""
        if self.interval is None:
            return "too few blocks to say"
        low, high = self.interval
        return "helped" if low > 0 else "hurt" if high < 0 else "no difference shown"

    def __str__(self) -> str:
        if self.interval is None:
            return f"{self.mean:+.3f}"
        return f"{self.mean:+.3f} ({self.interval[0]:+.3f} to {self.interval[1]:+.3f})"


def difference(own: Figure | None, other: Figure | None) -> Difference | None:
    """Return the difference, paired by draw; None where either figure is missing or undefined."""
    if own is None or other is None or own.mean is None or other.mean is None:
        return None
    if own.draws is None or other.draws is None:
        return Difference(own.mean - other.mean, None)
    return Difference(own.mean - other.mean, percentiles(own.draws - other.draws))


def untrained_twin(model: str, untrained: str, models: Container[str]) -> str | None:
    """Return which of the models is the same network on the same inputs, without pre-training."""
    _, *rest = model.split(".")
    if not is_pretrained(model, untrained) or _is_encoder(model):
        return None
    names = [".".join([untrained, *rest])]
    # The baseline is the same thing by another name.
    names += ["untrained_probe"] if rest == ["both", "probe"] else []
    return next((name for name in names if name in models), None)


def sequence_twin(model: str, untrained: str, sequence_only: str, models: Container[str]) -> str | None:
    """Return which of the models has seen sequences only, and is read out alike."""
    variant, _, *readout = [*model.split("."), ""]
    if not is_pretrained(model, untrained) or _is_encoder(model) or variant == sequence_only:
        return None
    name = ".".join([sequence_only, "sequence", *filter(None, readout)])
    return name if name in models else None


def is_pretrained(model: str, untrained: str) -> bool:
    """Return whether a model's weights saw anything but the task."""
    return model not in BASELINES and model.partition(".")[0] != untrained


def sentences(
    figures: Mapping[str, Figure], metric: str, untrained: str, sequence_only: str
) -> list[str]:
    """Return what the figures of a task say of pre-training, of the second modality and of baselines.

    Parameters
    ----------
    figures
        By model.
    metric
        Their name.
    untrained, sequence_only
        Names of the variants without pre-training, and pre-trained on sequences only.
    """
    found = []
    for model in figures:
        for what, twin in (
            ("pre-training", untrained_twin(model, untrained, figures)),
            (second_modality(model), sequence_twin(model, untrained, sequence_only, figures)),
        ):
            compared = difference(figures[model], figures.get(twin or ""))
            if what and compared is not None:
                found.append(f"{what}: {compared.verdict}; `{model}` less `{twin}`: {metric} {compared}")
    return [*found, *_against_baselines(figures, metric, untrained)]


# What a model of these inputs has that the one pre-trained on sequences alone has not.
SECOND_MODALITY = {
    "both": "the second modality",
    "sequence": "the second modality, seen in pre-training only",
}


def second_modality(model: str) -> str:
    """Return how to call what ``vs_sequence_only`` says of a model; empty where it says nothing."""
    _, inputs, *_ = [*model.split("."), ""]
    return SECOND_MODALITY.get(inputs, "")


def _against_baselines(figures: Mapping[str, Figure], metric: str, untrained: str) -> list[str]:
    """Return a sentence on the best pre-trained model and the best baseline."""
    defined = {name: figure.mean for name, figure in figures.items() if figure.mean is not None}
    trained = {name: mean for name, mean in defined.items() if is_pretrained(name, untrained)}
    simple = {name: mean for name, mean in defined.items() if name in BASELINES}
    if not trained or not simple:
        return []
    best, rival = max(trained, key=trained.__getitem__), max(simple, key=simple.__getitem__)
    compared = difference(figures[best], figures[rival])
    assert compared is not None
    says = {
        "helped": "beats",
        "hurt": "is worse than",
        "no difference shown": "does not beat",
        "too few blocks to say": "cannot be told (too few blocks) from",
    }[compared.verdict]
    return [
        f"the best pre-trained model, `{best}`, {says} the best baseline, `{rival}`: "
        f"{metric} {trained[best]:.3f} and {simple[rival]:.3f}, {compared}"
    ]


def _is_encoder(model: str) -> bool:
    """Return whether a model is a Hugging Face encoder, which has no twins here."""
    return model.startswith("hf.")
