"""Histories with chosen figures, runs with chosen predictions, as their stages write them."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from genebert.benchmarks.answer import Answer
from genebert.benchmarks.dataset import Dataset, read_dataset, write_dataset
from genebert.benchmarks.metrics import metrics_by_subset
from genebert.benchmarks.run import as_table
from genebert.config import TASKS, Pretrain, Variant
from genebert.files import sha256, write_json
from genebert.pretrain.history import History
from genebert.regions import write_table
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
    (out / "model/provenance.json").write_text(json.dumps({"settings": {"pretrain": told.model_dump()}}))
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


@dataclass(frozen=True)
class MadeUpTask:
    """A task whose predictions are drawn: labels plus noise, for each model of a strength of its own.

    Attributes
    ----------
    name, settings
        As in the configuration.
    classes
        Names of the labels.
    models
        Strength of the signal in each model's scores; below zero, scores are no probabilities.
    seeds, examples, blocks
        How many: test examples, and blocks of 1 Mb that they lie in (0: no places).
    subsets, across
        Names of parts of the test split, and of cell types that are tested besides.
    facts, more
        Of each run, and of the dataset.
    """

    name: str
    settings: dict[str, Any]
    classes: Sequence[str]
    models: Mapping[str, float]
    seeds: int = 2
    examples: int = 120
    blocks: int = 6
    subsets: Sequence[str] = ()
    across: Sequence[str] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)


def _dataset(task: MadeUpTask, catalogue: str, out: Path) -> Dataset:
    rng = np.random.default_rng(1)
    parts = [
        ("train", task.examples),
        ("test", task.examples),
        *(("across", task.examples // 2) for _ in task.across),
    ]
    split = np.repeat([name for name, _ in parts], [number for _, number in parts])
    number = len(split)
    start = np.arange(number) * 200 % 1_000_000
    if task.blocks:
        start = start + np.arange(number) % task.blocks * 1_000_000
    other = [name for name in task.across for _ in range(task.examples // 2)]
    table = pd.DataFrame(
        {
            "chrom": np.where(split == "train", "chr3", "chr1") if task.blocks else "",
            "start": start if task.blocks else 0,
            "end": start + 60 if task.blocks else 0,
            "strand": "+",
            "sequence": ["".join(rng.choice(list("ACGT"), 60)) for _ in range(number)],
            "label": np.arange(number) % len(task.classes),
            "cell_type": ["cell0"] * (number - len(other)) + other,
            "split": split,
            "subset": "",
        }
    )
    if task.subsets:
        # In turns that do not go with those of labels.
        names = np.array(task.subsets)[np.arange(number) // len(task.classes) % len(task.subsets)]
        table["subset"] = np.where(split == "test", names, "")
    kind = task.settings["type"]
    settings = TASKS[kind].model_validate(task.settings)
    nothing = [np.empty(0)] * number
    write_dataset(
        table,
        (nothing, nothing),
        np.full((number, 5), -1),
        {
            "type": kind,
            "task": task.name,
            "classes": list(task.classes),
            "motif_digest": "0123456789abcdef",
            "catalogue": catalogue,
            "settings": settings.model_dump(exclude={"models"}),
            **task.more,
        },
        out,
    )
    return read_dataset(out)


def _scores(task: MadeUpTask, dataset: Dataset, model: str, seed: int) -> np.ndarray:
    """Return probabilities of the logits of labels and noise, or the logits."""
    rng = np.random.default_rng([seed, *model.encode()])
    truth = np.eye(len(task.classes))[dataset.labels]
    logits = abs(task.models[model]) * truth + rng.normal(size=truth.shape)
    if task.models[model] < 0:
        return logits[:, 1] - logits[:, 0]
    powers = np.exp(logits)
    return powers / powers.sum(1, keepdims=True)


def write_task(task: MadeUpTask, results: Path, catalogue: str = "made up") -> list[Path]:
    """Write a task's dataset and runs into a results folder; return the folders of the runs."""
    folder = results / "benchmarks" / task.name
    folder.mkdir(parents=True)
    dataset = _dataset(task, catalogue, folder / "dataset.parquet")
    kind = task.settings["type"]
    runs = []
    for model in task.models:
        for seed in range(1, task.seeds + 1):
            run = folder / model / f"seed{seed}"
            run.mkdir(parents=True)
            predictions = as_table(Answer(_scores(task, dataset, model, seed)), dataset)
            write_table(predictions, run / "predictions.parquet")
            result = {
                "task": task.name,
                "type": kind,
                "classes": list(task.classes),
                "model": model,
                "seed": seed,
                "simulated": bool(task.settings.get("simulated", False)),
                "dataset_sha256": sha256(folder / "dataset.parquet"),
                "facts": dict(task.facts),
                "metrics": metrics_by_subset(predictions, kind, task.classes),
            }
            write_json(run / "metrics.json", result)
            runs.append(run)
    return runs


@pytest.fixture(scope="session")
def make_task() -> Callable[..., list[Path]]:
    """Write a made-up task: :func:`write_task` with the fields of :class:`MadeUpTask` by name."""
    return lambda results, catalogue="made up", **fields: write_task(
        MadeUpTask(**fields), results, catalogue
    )
