"""Finished pre-trainings: what they were told to do, and the figures that they reported."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
from pydantic import ValidationError

from genebert.config import Pretrain, Variant
from genebert.errors import GenebertError, first_line

# What held-out figures are compared under, and what trained variants must have in common besides.
_OF_EVALUATION = ("evaluation_views", "matching_group", "region_mask")
_OF_TRAINING = ("steps", "batch_size")


@dataclass(frozen=True)
class Run:
    """A pre-training of one variant with one seed.

    Attributes
    ----------
    variant, seed
        Which one.
    settings
        As it was told; of the variants only its own is sure to be there.
    history
        Columns step, split, metric, value.
    """

    variant: str
    seed: int
    settings: Pretrain
    history: pd.DataFrame

    @property
    def recipe(self) -> Variant:
        """The variant's recipe."""
        return self.settings.variants[self.variant]

    @property
    def is_control(self) -> bool:
        """Whether sequences and matrices do not belong together."""
        return self.recipe.matrices == "shuffled"

    def rows(self, split: str, metric: str) -> pd.Series:
        """Return values by step, in the order of steps."""
        history = self.history
        rows = history[(history["split"] == split) & (history["metric"] == metric)]
        return rows.set_index("step")["value"]

    @cached_property
    def final(self) -> dict[str, float]:
        """The last held-out value of each metric."""
        held_out = self.history[self.history["split"] == "validation"]
        last = held_out.drop_duplicates("metric", keep="last")
        return dict(zip(last["metric"], last["value"], strict=True))


def read_runs(histories: Sequence[str | Path]) -> list[Run]:
    """Read histories and the provenance of the models beside them.

    Parameters
    ----------
    histories
        Files ``…/{variant}/seed{n}/history.tsv``, each beside ``model/provenance.json``.

    Raises
    ------
    GenebertError
        If a file is missing or damaged, or the runs cannot be compared: other numbers of steps, another
        batch, other held-out views.
    """
    runs = [_read_run(Path(history)) for history in histories]
    _check_comparable(runs, _OF_EVALUATION)
    _check_comparable([run for run in runs if run.recipe.trained], _OF_TRAINING)
    return runs


def _read_run(path: Path) -> Run:
    variant = path.parent.parent.name
    provenance = path.parent / "model/provenance.json"
    again = "delete the folder and pre-train again"
    try:
        settings = Pretrain.model_validate(json.loads(provenance.read_text())["settings"]["pretrain"])
        history = pd.read_csv(path, sep="\t").astype({"step": int, "value": float})
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise GenebertError(
            f"no complete pre-training ({first_line(error)})", again, str(path.parent)
        ) from None
    if variant not in settings.variants or set(history) != {"step", "split", "metric", "value"}:
        raise GenebertError(
            f"history and provenance are not those of a pre-training of '{variant}'",
            again,
            str(path.parent),
        )
    return Run(variant, int(path.parent.name.removeprefix("seed")), settings, history)


def _check_comparable(runs: Sequence[Run], keys: Sequence[str]) -> None:
    for run in runs:
        for key in keys:
            own, first = getattr(run.settings, key), getattr(runs[0].settings, key)
            if own != first:
                raise GenebertError(
                    f"{run.variant}, seed {run.seed}, has {key} {own}, but {runs[0].variant}, seed "
                    f"{runs[0].seed}, has {first}: their figures cannot be compared",
                    "pre-train anew what was trained with older settings",
                    f"pretrain.{key}",
                )


def by_variant(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Return the runs of each variant, in the order in which variants come."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.variant, []).append(run)
    return groups
