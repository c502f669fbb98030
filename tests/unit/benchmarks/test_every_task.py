"""Checks of the evaluation itself, on every type of task: chance, planted signals, planted leaks."""

import csv
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from genebert.benchmarks.dataset import Dataset, read_dataset
from genebert.benchmarks.individuals import read_individuals, write_individuals
from genebert.benchmarks.leakage import write_leakage
from genebert.benchmarks.nested_cv import stratified_folds
from genebert.benchmarks.run import run
from genebert.config import BASELINES, TASKS, Finetune, Inputs, parse_model
from genebert.sequence.codes import decode, encode_all

EXAMPLES: dict[str, dict[str, Any]] = {
    "promoter": {"max_examples": 60},
    "tfbs": {"max_examples": None},
    "splicing": {"annotation": "exons.tsv.gz", "max_examples": 50, "score_genes": False},
    "accessibility": {"max_examples": 24},
    "labelled": {"max_examples": 50},
    "variants": {"max_examples": 150},
    "cohort": {},
}
# What each class but the first has; the first stands for its motif in three tasks.
WORDS = ("", "TGGCCACCAGGGGGCGCTA", "GCTATAAAAGG", "CCACGTGCGG")
COPIES = 3
SETTINGS = Finetune(epochs=20, patience=20, max_steps=60, learning_rates=[1e-2], batch_size=16)


@pytest.fixture(scope="module")
def tasks(bench: Any) -> Callable[[str], tuple[Path, Path | None]]:
    """Build a task with more examples, once."""
    made: dict[str, tuple[Path, Path | None]] = {}

    def task(kind: str) -> tuple[Path, Path | None]:
        if kind not in made:
            made[kind] = bench.build(kind, bench.out / f"more_{kind}", **EXAMPLES[kind])
        return made[kind]

    return task


@pytest.fixture
def auroc(bench: Any, tmp_path: Path) -> Callable[..., float]:
    """Run a model on a dataset; return its AUROC in the test split."""

    def run_of(
        kind: str, name: str, dataset: Path, companion: Path | None, seed: int = 1
    ) -> float:
        weights = bench.weights if name.startswith(("scratch", "untrained")) else None
        text = name.replace("ENCODER", str(bench.encoder))
        out = tmp_path / "run"
        run(dataset, companion, bench.corpus, text, weights, SETTINGS, kind, seed, "cpu", out)
        found = json.loads((out / "metrics.json").read_text())["metrics"]["test"]["auroc"]
        assert isinstance(found, float)
        return found

    return run_of


def shuffled(dataset: Dataset, rng: np.random.Generator) -> Dataset:
    """Shuffle the labels that a model may learn from: all of them in a cross-validation."""
    labels, split = dataset.labels, dataset.table["split"].to_numpy()
    known = np.isin(split, ["train", "validation"]) if (split == "train").any() else split == "test"
    labels[known] = rng.permutation(labels[known])
    return dataclasses.replace(dataset, table=dataset.table.assign(label=labels))


@pytest.mark.parametrize(
    ("kind", "name", "times"),
    [
        *((kind, name, 6) for kind in TASKS if kind != "cohort" for name in ("kmer_logistic", "gc_only")),
        *((kind, "scratch.both", 4) for kind in TASKS if kind not in ("cohort", "variants")),
        ("variants", "scratch.both.probe", 4),
        ("cohort", "allele_count", 6),
        ("cohort", "scratch.both.distance", 4),
    ],
)
def test_shuffled_labels_teach_nothing(
    tasks: Callable,
    rewrite: Callable,
    auroc: Callable[..., float],
    tmp_path: Path,
    kind: str,
    name: str,
    times: int,
) -> None:
    path, companion = tasks(kind)
    rng = np.random.default_rng(list(TASKS).index(kind))
    found = []
    for seed in range(times):
        if kind == "cohort":
            companion = shuffled_individuals(companion, rng, tmp_path / "individuals.parquet")
        else:
            path = rewrite(shuffled(read_dataset(tasks(kind)[0]), rng), tmp_path / "dataset.parquet")
        found.append(auroc(kind, name, path, companion, seed))
    print("CHANCE", kind, name, np.round(found, 2), np.mean(found).round(3))
    assert abs(np.mean(found) - 0.5) < 0.1


def shuffled_individuals(path: Path, rng: np.random.Generator, out: Path) -> Path:
    """Shuffle the phenotype, and draw folds for it."""
    cohort = read_individuals(path)
    labels = rng.permutation(cohort.labels)
    folds = stratified_folds(labels, 3, 1)
    table = cohort.table.assign(label=labels, fold=folds.outer, inner_fold=folds.inner)
    write_individuals(dataclasses.replace(cohort, table=table), out)
    return out


def planted(dataset: Dataset) -> Dataset:
    """Write each class its word into its sequences, at places drawn; say the class in other columns too.

    The alternate allele of a variant that matters lacks the words: it changes the more.
    """
    rng = np.random.default_rng(5)
    labels, codes = dataset.labels, dataset.codes.copy()
    words = [encode_all([word])[0] if word else np.empty(0, np.uint8) for word in WORDS]
    lengths = (codes < 5).sum(1)
    for row, label in enumerate(labels):
        word = words[label]
        if not len(word):
            continue
        slots = rng.choice(lengths[row] // len(word), COPIES, replace=False)
        for start in slots * len(word):
            codes[row, start : start + len(word)] = word
    noise = rng.random(len(labels)).astype(np.float32) / 2
    known = {"occupancy": noise + labels / 3, "open_in_training": noise + labels / 3}
    known = {name: np.minimum(values, 1) for name, values in known.items()}
    table = dataset.table.assign(sequence=decode(codes))
    table = table.assign(**{name: own for name, own in known.items() if table[name].notna().all()})
    return dataclasses.replace(dataset, codes=codes, table=table)


# On one task every model but `gc_only`, against which its classes are matched.
FINDERS = {
    "tfbs": [
        *(name for name in BASELINES if name != "gc_only"),
        *(f"scratch.{inputs}{end}" for inputs in get_args(Inputs) for end in ("", ".probe")),
        "hf:ENCODER",
        "hf:ENCODER.probe",
    ],
    "promoter": ["kmer_logistic", "motif_logistic", "occupancy_only", "scratch.both"],
    "splicing": ["kmer_logistic", "motif_logistic", "cnn", "scratch.both"],
    "accessibility": ["mean_of_training_cell_types", "motif_logistic", "scratch.both"],
    "labelled": ["kmer_logistic", "gc_only", "cnn", "scratch.both"],
    "variants": [
        *BASELINES,
        "scratch.both.probe",
        "hf:ENCODER.probe",
        *(f"scratch.{inputs}.distance" for inputs in get_args(Inputs)),
        "hf:ENCODER.distance",
    ],
}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (kind, name)
        for kind, names in FINDERS.items()
        for name in names
        if parse_model(name).applies_to(kind)
    ],
)
def test_a_planted_signal_is_found(
    tasks: Callable, rewrite: Callable, auroc: Callable[..., float], tmp_path: Path, kind: str, name: str
) -> None:
    import time
    path, companion = tasks(kind)
    path = rewrite(planted(read_dataset(path)), tmp_path / "dataset.parquet")
    t = time.time()
    found = auroc(kind, name, path, companion)
    print("PLANTED", kind, name, round(found, 3), round(time.time() - t, 2))
    assert found > 0.75
