"""Histories with chosen figures, written as pre-training writes them."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from genebert.config import Pretrain, Variant
from genebert.pretrain.history import History
from genebert.report.histories import Run, read_runs

Figures = Mapping[str, float]
NOTHING: Figures = {}
STEPS = 40


def _write(
    folder: Path,
    variant: str,
    recipe: Variant,
    seed: int,
    final: Figures,
    baselines: Figures = NOTHING,
    train: Figures = NOTHING,
    **settings: Any,
) -> Path:
    """Write a run of 40 steps that reports at 20 and 40, and reaches ``final`` at the end."""
    history = History()
    if recipe.trained:
        history.add(0, "validation", baselines)
        for step in (STEPS // 2, STEPS):
            history.add(step, "train", train)
            share = step / STEPS
            history.add(step, "validation", {name: share * value for name, value in final.items()})
    else:
        history.add(0, "validation", final)
    out = folder / variant / f"seed{seed}"
    (out / "model").mkdir(parents=True)
    history.write(out / "history.tsv")
    told = Pretrain(
        **{"steps": STEPS, "batch_size": 64, "warmup_steps": 1, "evaluation_views": 1024, **settings},
        variants={variant: recipe},
    )
    (out / "model/provenance.json").write_text(json.dumps({"settings": told.model_dump()}))
    return out / "history.tsv"


@pytest.fixture
def write_run(tmp_path: Path) -> Callable[..., Path]:
    """Write one run; return its history's file."""
    return lambda *args, **changes: _write(tmp_path / "pretrain", *args, **changes)


@pytest.fixture
def make_runs(write_run: Callable[..., Path]) -> Callable[..., list[Run]]:
    """Write and read the seeds of some variants: (variant, recipe, finals, baselines) each."""

    def make(
        *variants: tuple[str, Variant, Sequence[Figures], Figures], train: Figures = NOTHING
    ) -> list[Run]:
        return read_runs(
            [
                write_run(variant, recipe, seed, final, baselines, train)
                for variant, recipe, finals, baselines in variants
                for seed, final in enumerate(finals, 1)
            ]
        )

    return make
