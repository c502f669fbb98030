"""Checks of the evaluation itself, on every type of task: chance, planted signals, planted leaks."""

import csv
import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from genebert.benchmarks.answer import Question
from genebert.benchmarks.dataset import Dataset, read_dataset
from genebert.benchmarks.individuals import read_individuals, write_individuals
from genebert.benchmarks.leakage import rounds_of, write_leakage
from genebert.benchmarks.nested_cv import stratified_folds
from genebert.benchmarks.run import run
from genebert.benchmarks.variants import answer
from genebert.config import BASELINES, DETERMINISTIC, TASKS, Finetune, Inputs, TaskType, parse_model
from genebert.corpus.manifest import read_manifest
from genebert.corpus.schema import Metadata
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
SETTINGS = Finetune(epochs=20, patience=20, max_steps=40, learning_rates=[1e-2], batch_size=16)


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
        kind: str, name: str, dataset: Path, companion: Path | None, seed: int = 1, **changes: int
    ) -> float:
        weights = bench.weights if name.startswith(("scratch", "untrained")) else None
        text = name.replace("ENCODER", str(bench.encoder))
        settings, out = SETTINGS.model_copy(update=changes), tmp_path / "run"
        run(dataset, companion, bench.corpus, text, weights, settings, kind, seed, "cpu", out)
        found = json.loads((out / "metrics.json").read_text())["metrics"]["test"]["auroc"]
        assert isinstance(found, float)
        return found

    return run_of


def shuffled(dataset: Dataset, rng: np.random.Generator) -> Iterator[Dataset]:
    """Shuffle the labels that may be learnt from, and then reverse them; of folds all, twice.

    All labels reversed give the same AUROC again.
    """
    labels, split = dataset.labels, dataset.table["split"].to_numpy()
    known = np.isin(split, ["train", "validation"]) if (split == "train").any() else split == "test"
    drawn = rng.permutation(labels[known])
    learnt = (split == "train").any()
    for own in (drawn, len(dataset.classes) - 1 - drawn if learnt else rng.permutation(drawn)):
        labels[known] = own
        yield dataclasses.replace(dataset, table=dataset.table.assign(label=labels))


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *((kind, "kmer_logistic") for kind in TASKS if kind != "cohort"),
        *((kind, "gc_only") for kind in TASKS if kind not in ("cohort", "variants")),
        *((kind, "scratch.both") for kind in ("promoter", "tfbs", "splicing", "labelled")),
        ("accessibility", "scratch.region"),
        ("variants", "scratch.both.probe"),
        ("cohort", "allele_count"),
        ("cohort", "scratch.both.distance"),
    ],
)
def test_shuffled_labels_teach_nothing(
    tasks: Callable, rewrite: Callable, auroc: Callable[..., float], tmp_path: Path, kind: str, name: str
) -> None:
    """A mean of shuffles and their reverses: what a shuffle shares with the truth evens out."""
    path, companion = tasks(kind)
    rng = np.random.default_rng(list(TASKS).index(kind))
    found = []
    for seed in range(3 if name in DETERMINISTIC else 2):
        if kind == "cohort":
            companion = shuffled_individuals(companion, rng, tmp_path / "individuals.parquet")
            found.append(auroc(kind, name, path, companion, seed=seed))
            continue
        for own in shuffled(read_dataset(tasks(kind)[0]), rng):
            path = rewrite(own, tmp_path / "dataset.parquet")
            found.append(auroc(kind, name, path, companion, seed=seed))
    assert abs(np.mean(found) - 0.5) < 0.1


@pytest.mark.parametrize("matched", [True, False])
def test_many_shuffles_of_variants_give_chance(
    bench: Any, repository: Path, tmp_path: Path, matched: bool
) -> None:
    """Labels drawn within matched sets, or freely: chance within folds, to three standard errors.

    Pooled it is a little less: of two variants in different folds, each is predicted by what was learnt
    from the other's label.
    """
    more = {"group": "matched_to"} if matched else {}
    path, _ = bench.build("variants", tmp_path, max_examples=None, **more)
    dataset = read_dataset(path)
    given = pd.read_csv(repository / "resources/demo/hdl_variants.tsv.gz", sep="\t")
    names = dict(zip(given["pos"] - 1 - 60 // 2, given["matched_to"], strict=True))
    sets = dataset.table["start"].map(names) if matched else pd.Series(0, dataset.table.index)
    assert sets.notna().all()
    folds, rng, found = dataset.table["fold"].to_numpy(), np.random.default_rng(8), []
    corpus = Metadata(**read_manifest(bench.corpus)["metadata"])
    for _ in range(60):
        drawn = pd.Series(dataset.labels).groupby(sets).transform(lambda own: rng.permutation(own.array))
        labels = drawn.to_numpy()
        own = dataclasses.replace(dataset, table=dataset.table.assign(label=labels))
        question = Question(
            own, None, bench.corpus, corpus, parse_model("gc_only"), None, SETTINGS, 1, "cpu"
        )
        scores = answer(question).scores[:, 1]
        cases = np.bincount(folds, labels)
        each = [roc_auc_score(labels[folds == fold], scores[folds == fold]) for fold in np.unique(folds)]
        found.append((np.average(each, weights=cases), roc_auc_score(labels, scores)))
    within, pooled = np.mean(found, axis=0)
    error, _ = np.std(found, axis=0, ddof=1) / np.sqrt(len(found))
    assert error < 0.012
    assert abs(within - 0.5) < 3 * error
    assert 0.45 < pooled < 0.5 + 3 * error


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
FINDERS: dict[TaskType, list[str]] = {
    "tfbs": [
        *(name for name in BASELINES if name != "gc_only"),
        *(f"scratch.{inputs}{end}" for inputs in get_args(Inputs) for end in ("", ".probe")),
        "hf:ENCODER",
        "hf:ENCODER.probe",
    ],
    "promoter": ["kmer_logistic", "motif_logistic", "occupancy_only", "scratch.both"],
    "splicing": ["kmer_logistic", "motif_logistic", "cnn", "scratch.both"],
    "accessibility": ["mean_of_training_cell_types", "motif_logistic", "scratch.region"],
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
    path, companion = tasks(kind)
    path = rewrite(planted(read_dataset(path)), tmp_path / "dataset.parquet")
    # Regions of 515 bp have a few hits of every motif: what sees no more than these needs longer.
    steps = 300 if name == "scratch.region" else 40
    assert auroc(kind, name, path, companion, max_steps=steps, epochs=steps) > 0.75


def leakage(bench: Any, dataset: Path, out: Path, companion: Path | None = None) -> dict[str, float]:
    """Return what is flagged, and how much of it there is."""
    line = write_leakage(dataset, bench.corpus, out, companion)
    with out.open(newline="") as text:
        rows = list(csv.DictReader(text, delimiter="\t"))
    found = {row["check"]: float(row["value"]) for row in rows if row["flagged"] == "yes"}
    assert line == f"{len(rows)} checks; flagged: {', '.join(found) or 'none'}"
    return found


# What a task of the demo's data is flagged for as it is: promoters lie in catalogue regions more often
# than places drawn, and decoys of splice sites are not matched by GC content.
KNOWN = {"promoter": {"occupancy_alone"}, "splicing": {"gc_of_classes"}}


@pytest.mark.parametrize("kind", TASKS)
def test_a_task_is_flagged_for_nothing_but_what_is_known(
    bench: Any, tasks: Callable, tmp_path: Path, kind: str
) -> None:
    dataset, companion = tasks(kind)
    found = leakage(bench, dataset, tmp_path / "leakage.tsv", companion)
    assert found.keys() == KNOWN.get(kind, set())


@pytest.mark.parametrize("reverse", [False, True], ids=["as it is", "other strand"])
@pytest.mark.parametrize("kind", [kind for kind in TASKS if kind != "cohort"])
def test_copies_across_splits_or_folds_are_flagged(
    bench: Any, tasks: Callable, rewrite: Callable, tmp_path: Path, kind: str, reverse: bool
) -> None:
    """Three held-out examples have the sequence, and the label, of one that is learnt from."""
    dataset = read_dataset(tasks(kind)[0])
    held, learnt = rounds_of(dataset.table)[0]
    rng, number = np.random.default_rng(2), 3
    into, of = rng.choice(held, number, replace=False), rng.choice(learnt, number, replace=False)
    codes, table = dataset.codes.copy(), dataset.table.copy()
    codes[into] = 3 - codes[of, ::-1] if reverse else codes[of]
    table["sequence"] = decode(codes)
    table.loc[into, "label"] = table.loc[of, "label"].to_numpy()
    path = rewrite(dataset, tmp_path / "dataset.parquet", table=table, codes=codes)
    found = leakage(bench, path, tmp_path / "leakage.tsv")
    assert found["copies"] == pytest.approx(
        (number if kind != "variants" else 2 * number)
        / (len(table) if kind == "variants" else (table["split"] != "train").sum()),
        rel=1e-3,
    )
    assert found.keys() - {"related_to_training"} == {"copies"} | KNOWN.get(kind, set())


def test_individuals_copied_across_folds_are_flagged(
    bench: Any, repository: Path, tmp_path: Path
) -> None:
    """Of all variants of the demo: in the few of a small task chance does it."""
    everything = str(repository / "resources/demo/cohort.vcf.gz")
    dataset, companion = bench.build("cohort", tmp_path, genotypes=everything)
    assert leakage(bench, dataset, tmp_path / "leakage.tsv", companion) == {}
    cohort = read_individuals(companion)
    dosage, fold = cohort.dosage.copy(), cohort.folds.outer
    dosage[np.flatnonzero(fold == 1)[:3]] = dosage[np.flatnonzero(fold == 0)[:3]]
    path = tmp_path / "individuals.parquet"
    write_individuals(dataclasses.replace(cohort, dosage=dosage), path)
    found = leakage(bench, dataset, tmp_path / "leakage.tsv", path)
    assert found == {"copies_of_individuals": pytest.approx(6 / len(fold), rel=1e-3)}


def test_rows_copied_with_their_places_overlap_training(
    bench: Any, tasks: Callable, rewrite: Callable, tmp_path: Path
) -> None:
    dataset = read_dataset(tasks("tfbs")[0])
    rows = np.concatenate([np.arange(len(dataset.table)), dataset.in_split("train")[:5]])
    table = dataset.table.iloc[rows].reset_index(drop=True)
    table.loc[len(dataset.table) :, "split"] = "test"
    path = rewrite(
        dataset,
        tmp_path / "dataset.parquet",
        table=table,
        codes=dataset.codes[rows],
        columns=np.where(np.arange(len(rows))[:, None] < len(dataset.table), dataset.columns[rows], -1),
    )
    found = leakage(bench, path, tmp_path / "leakage.tsv")
    assert found.keys() == {"copies", "overlap_with_training", "overlap_with_pretraining"}


@pytest.mark.parametrize(
    "leak",
    ["focal_column", "own_region", "columns_of_other_splits", "occupancy_alone", "columns_alone"],
)
def test_shortcuts_are_flagged(
    bench: Any, tasks: Callable, rewrite: Callable, tmp_path: Path, leak: str
) -> None:
    """One at a time, in a task that has none: both classes lie in open regions."""
    dataset = read_dataset(tasks("tfbs")[0])
    table, columns, labels = dataset.table.copy(), dataset.columns.copy(), dataset.labels
    focal, row = columns.shape[1] // 2, int(dataset.in_split("test")[0])
    regions = pq.read_table(bench.material.regions).to_pandas()
    place = table.loc[row]
    own = regions[(regions["start"] < place["end"]) & (place["start"] < regions["end"])]
    if leak == "focal_column":
        columns[row, focal] = regions.index[regions["split"] == "test"][-1]
    elif leak == "own_region":
        columns[row, 0] = own["region_id"].iloc[0]
    elif leak == "columns_of_other_splits":
        columns[row, 0] = regions.index[regions["split"] == "train"][0]
    elif leak == "columns_alone":
        columns[labels == 1, :focal] = -1
    else:
        # Of places that hold a summit more lies in regions, if negatives are drawn from anywhere.
        table.loc[labels == 0, "occupancy"] *= np.float32(0.5)
    path = rewrite(dataset, tmp_path / "dataset.parquet", table=table, columns=columns)
    assert leakage(bench, path, tmp_path / "leakage.tsv").keys() == {leak}
