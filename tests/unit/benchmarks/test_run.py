"""Runs from files to files: every type of task, built by its own module, by every model that applies."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from genebert.benchmarks.dataset import Dataset, read_dataset
from genebert.benchmarks.genes import ACCEPTOR, DONOR, read_genes_to_score
from genebert.benchmarks.individuals import read_individuals
from genebert.benchmarks.metrics import metrics_by_subset
from genebert.benchmarks.run import PREDICTION_COLUMNS, run
from genebert.config import BASELINES, DETERMINISTIC, Finetune, TaskType, parse_model
from genebert.files import sha256
from genebert.model.checkpoint import load_model, save_model

MODELS = (
    *BASELINES,
    *(f"scratch.{inputs}" for inputs in ("sequence", "region", "both")),
    *(f"scratch.{inputs}.probe" for inputs in ("sequence", "both")),
    *(f"scratch.{inputs}.distance" for inputs in ("sequence", "region", "both")),
    "scratch.sequence.llr",
    *(f"hf:ENCODER{readout}" for readout in ("", ".probe", ".distance")),
)
PAIRS: list[tuple[TaskType, str]] = [
    (kind, name) for kind in get_args(TaskType) for name in MODELS if parse_model(name).applies_to(kind)
]
NETWORKS = (
    "cnn",
    "deepromoter",
    "cdil",
    "scratch.sequence",
    "scratch.region",
    "scratch.both",
    "hf:ENCODER",
)
SEQUENCE_ONLY = {"kmer_logistic", "gc_only", *NETWORKS, "scratch.sequence.probe", "hf:ENCODER.probe"}
SEQUENCE_ONLY -= {"scratch.region", "scratch.both"}
QUICK = Finetune(epochs=1, patience=1, max_steps=2, learning_rates=[1e-2], batch_size=16)


@pytest.fixture(scope="module")
def do(bench: Any) -> Callable[..., tuple[pd.DataFrame, dict[str, Any]]]:
    """Run a model on a task, or on another dataset of it; return what it wrote."""

    def done(
        kind: str,
        name: str,
        out: Path,
        dataset: Path | None = None,
        seed: int = 1,
        device: str = "cpu",
    ) -> tuple[pd.DataFrame, dict[str, Any]]:
        own, companion = bench.task(kind)
        weights = bench.weights if name.startswith(("scratch", "untrained")) else None
        text = name.replace("ENCODER", str(bench.encoder))
        told = run(
            dataset or own, companion, bench.corpus, text, weights, QUICK, kind, seed, device, out
        )
        assert told.startswith(f"{kind}, ")
        assert sorted(path.name for path in out.iterdir()) == ["metrics.json", "predictions.parquet"]
        result = json.loads((out / "metrics.json").read_text())
        assert (result["model"], result["seed"]) == (parse_model(text).name, seed)
        return pd.read_parquet(out / "predictions.parquet"), result

    return done


def scores(predictions: pd.DataFrame) -> np.ndarray:
    return predictions.filter(regex=r"^score").to_numpy()


def expected_rows(bench: Any, kind: str, name: str) -> tuple[pd.DataFrame, int]:
    """Return the rows that are predicted of examples or individuals, and how many positions are."""
    path, companion = bench.task(kind)
    dataset = read_dataset(path)
    if kind == "cohort":
        return read_individuals(companion).table[["label"]].assign(split="test", chrom=""), 0
    own = dataset.table[dataset.table["split"] != "train"]
    if kind != "splicing" or name not in SEQUENCE_ONLY:
        return own, 0
    genes, _ = read_genes_to_score(companion)
    return own, int((genes["end"] - genes["start"]).sum())


@pytest.mark.parametrize(("kind", "name"), PAIRS)
def test_a_run_is_complete_and_blind_to_the_labels_of_the_test_split(
    bench: Any, do: Callable, rewrite: Callable, tmp_path: Path, kind: TaskType, name: str
) -> None:
    """The second run sees other test labels; where folds predict one another, the same ones."""
    predictions, result = do(kind, name, tmp_path / "first")
    expected, positions = expected_rows(bench, kind, name)
    of_examples = predictions[predictions["split"] != "positions"]
    assert len(predictions) - len(of_examples) == positions
    assert set(of_examples["split"]) >= {"test"}
    shared = [column for column in PREDICTION_COLUMNS if column in expected]
    pd.testing.assert_frame_equal(
        of_examples[shared].reset_index(drop=True),
        expected[shared].reset_index(drop=True),
        check_dtype=False,
    )
    assert predictions["example_id"].is_unique
    assert np.isfinite(scores(predictions)).all()
    if predictions["is_probability"].all():
        assert ((scores(predictions) >= 0) & (scores(predictions) <= 1)).all()

    dataset = read_dataset(bench.task(kind)[0])
    assert (result["task"], result["type"], result["classes"]) == (kind, kind, dataset.classes)
    assert result["simulated"] is (kind == "cohort")
    assert result["dataset_sha256"] == sha256(bench.task(kind)[0])
    if name in ("kmer_logistic", "allele_count"):  # of the others it takes as long as the run
        assert result["metrics"] == metrics_by_subset(predictions, kind, dataset.classes)
    assert ("positions" in result["metrics"]) == bool(positions)
    test = predictions[predictions["split"] == "test"]
    if len(dataset.classes) == 2:
        assert result["metrics"]["test"]["auroc"] == roc_auc_score(test["label"], test["score"])

    if kind == "cohort" or (kind == "variants" and not name.endswith(("llr", "distance"))):
        again, other = do(kind, name, tmp_path / "second")
        for path in (tmp_path / "first").iterdir():
            assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes()
        return
    again, other = do(kind, name, tmp_path / "second", poisoned(dataset, rewrite, tmp_path))
    tested = of_examples["split"].isin(["test", "across"])
    assert ((again["label"] != of_examples["label"]) == tested).all()
    np.testing.assert_array_equal(scores(again), scores(of_examples))
    assert result["facts"] == other["facts"]


def poisoned(dataset: Dataset, rewrite: Callable[..., Path], folder: Path) -> Path:
    """Write a dataset with other labels in the test splits, and no genes to score."""
    tested = dataset.table["split"].isin(["test", "across"])
    wrong = np.where(tested, (dataset.labels + 1) % len(dataset.classes), dataset.labels)
    return rewrite(
        dataset,
        folder / "poisoned.parquet",
        table=dataset.table.assign(label=wrong),
        metadata=dataset.metadata | {"score_genes": False},
    )


@pytest.mark.parametrize("name", [*NETWORKS, "kmer_logistic", "scratch.both.probe"])
def test_the_seed_decides_what_a_network_says_and_nothing_else(
    do: Callable, tmp_path: Path, name: str
) -> None:
    found, again, other = (
        do("tfbs", name, tmp_path / str(number), seed=seed)[0] for number, seed in enumerate((1, 1, 2))
    )
    for file in ("predictions.parquet", "metrics.json"):
        assert (tmp_path / "0" / file).read_bytes() == (tmp_path / "1" / file).read_bytes()
    assert np.array_equal(scores(found), scores(again))
    assert np.array_equal(scores(found), scores(other)) == (name not in NETWORKS)


def test_positions_are_those_of_the_held_out_genes(bench: Any, do: Callable, tmp_path: Path) -> None:
    predictions, _ = do("splicing", "kmer_logistic", tmp_path / "run")
    genes, _ = read_genes_to_score(bench.task("splicing")[1])
    found = predictions[predictions["split"] == "positions"]
    for gene, rows in found.groupby("subset"):
        own = genes[genes["gene"] == gene].iloc[0]
        assert sorted(rows["start"]) == list(range(own["start"], own["end"]))
        assert ((rows["chrom"] == own["chrom"]) & (rows["strand"] == own["strand"])).all()
        assert (rows["label"] == DONOR).sum() == len(own["donors"])
        assert (rows["label"] == ACCEPTOR).sum() == len(own["acceptors"])
    # A site that is an example too has the same scores there.
    test = predictions[(predictions["split"] == "test") & (predictions["label"] != 0)]
    offset = (80 - 1) // 2
    middle = np.where(test["strand"] == "+", test["start"] + offset, test["end"] - 1 - offset)
    joined = test.assign(start=middle).merge(found, on=["chrom", "start", "strand"])
    assert len(joined) == len(test) > 5
    for score in ("score_0", "score_1", "score_2"):
        np.testing.assert_allclose(joined[f"{score}_x"], joined[f"{score}_y"], rtol=1e-5)
    assert (joined["label_x"] == joined["label_y"]).all()


def test_without_genes_to_score_there_are_no_positions(bench: Any, tmp_path: Path) -> None:
    """The companion is there and empty; so it is where none of the genes is held out for testing."""
    dataset, companion = bench.build("splicing", tmp_path / "task", score_genes=False)
    assert companion is not None
    genes, _ = read_genes_to_score(companion)
    assert genes.empty
    for path, own in ((dataset, companion), (bench.task("splicing")[0], companion)):
        out = tmp_path / f"run{own == path}{path == dataset}"
        run(path, own, bench.corpus, "gc_only", None, QUICK, "splicing", 1, "cpu", out)
        found = pd.read_parquet(out / "predictions.parquet")
        assert set(found["split"]) == {"validation", "test"}


@pytest.fixture
def told(run_cli: Callable[..., SimpleNamespace], bench: Any, tmp_path: Path) -> Callable[..., str]:
    """Run a model by the command line, which must refuse it readably; return the message."""

    def refused(kind: str, name: str, **changes: Any) -> str:
        dataset, companion = bench.task(kind)
        options = {
            "task": kind,
            "dataset": dataset,
            "companion": companion,
            "corpus": bench.corpus,
            "model": name,
            "weights": bench.weights,
            "settings": QUICK.model_dump_json(),
            "compute": '{"gpus": 0}',
            "seed": 1,
            "out": tmp_path / "out",
        } | changes
        given = [(f"--{key}", value) for key, value in options.items() if value is not None]
        result = run_cli("benchmark", *(word for pair in given for word in pair))
        lines = result.err.splitlines()
        assert result.code == 1, result.err
        assert [line.split(": ")[0] for line in lines if line.startswith(("error", "fix"))] == [
            "error",
            "fix",
        ]
        assert "internal error" not in result.err
        assert "Traceback" not in result.err
        assert not (tmp_path / "out").exists()
        return result.err

    return refused


def test_what_is_missing_is_named(told: Callable[..., str], bench: Any, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    assert "is missing or damaged" in told("promoter", "gc_only", dataset=nowhere)
    assert "manifest.json does not exist" in told("promoter", "gc_only", corpus=nowhere)
    assert "needs the weights of its variant" in told("promoter", "scratch.both", weights=None)
    assert "holds no complete model" in told("promoter", "scratch.both", weights=nowhere)
    assert "cannot be loaded" in told("promoter", f"hf:{nowhere}")
    assert "cannot be loaded" in told("variants", f"hf:{nowhere}.distance")
    for kind in ("cohort", "splicing"):
        name = "allele_count" if kind == "cohort" else "gc_only"
        assert "has a second file beside its examples" in told(kind, name, companion=None)
        assert "is missing or damaged" in told(kind, name, companion=nowhere)


def test_what_does_not_belong_together_is_refused(
    told: Callable[..., str], bench: Any, tmp_path: Path
) -> None:
    assert "the dataset is of task 'tfbs', not 'promoter'" in told(
        "promoter", "gc_only", dataset=bench.task("tfbs")[0]
    )
    manifest = json.loads((bench.corpus / "manifest.json").read_text())
    for key, what in (("catalogue", "regions"), ("motif_digest", "motifs")):
        (tmp_path / key).mkdir()
        metadata = manifest["metadata"] | {key: "another"}
        text = json.dumps(manifest | {"metadata": metadata})
        (tmp_path / key / "manifest.json").write_text(text)
        found = told("promoter", "gc_only", corpus=tmp_path / key)
        assert f"dataset and corpus have other {what}" in found
    model, card = load_model(bench.weights)
    other = card.model_copy(update={"motif_digest": "another"})
    save_model(model, other, tmp_path / "weights")
    for kind, name in (
        ("promoter", "scratch.both"),
        ("promoter", "untrained_probe"),
        ("variants", "scratch.sequence.llr"),
        ("cohort", "scratch.region.distance"),
    ):
        found = told(kind, name, weights=tmp_path / "weights")
        assert "the model was trained with other motifs" in found
    # Of other settings, with fewer variants.
    _, others = bench.build("cohort", tmp_path / "some", max_frequency=0.3)
    assert "the individuals have genotypes of" in told("cohort", "allele_count", companion=others)
    genes = bench.task("splicing")[1]
    assert "is no cohort of this version" in told("cohort", "allele_count", companion=genes)


def test_models_that_cannot_do_a_task_are_refused(told: Callable[..., str]) -> None:
    assert "'nonsense' is no baseline" in told("promoter", "nonsense")
    assert "names a readout 'probes'" in told("promoter", "scratch.both.probes")
    for kind, name in (
        ("promoter", "pwm_best"),
        ("promoter", "scratch.sequence.llr"),
        ("variants", "scratch.both"),
        ("variants", "allele_count"),
        ("cohort", "kmer_logistic"),
        ("labelled", "occupancy_only"),
    ):
        assert f"model '{name}' is not for tasks of type {kind}" in told(kind, name)


def test_sequences_longer_than_a_model_reads_are_refused(
    told: Callable[..., str], bench: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "long"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for name in ("train", "dev", "test"):
        rows = ["".join(rng.choice(list("ACGT"), 516)) + f",{number % 2}" for number in range(8)]
        (folder / f"{name}.csv").write_text("\n".join(["sequence,label", *rows]) + "\n")
    dataset, _ = bench.build("labelled", tmp_path / "task", folder=str(folder), crop=None)
    for name in ("scratch.sequence", "scratch.both.probe", "untrained_probe"):
        found = told("labelled", name, dataset=dataset)
        assert "sequences have 516 bp, the model reads 515" in found
        assert "`crop`" in found
    for name in (f"hf:{bench.encoder}", f"hf:{bench.encoder}.probe"):
        assert "a sequence has 516 tokens" in told("labelled", name, dataset=dataset)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", [name for name in MODELS if name not in DETERMINISTIC])
def test_on_a_gpu_every_network_runs_and_variants_are_told_as_exactly(
    bench: Any, do: Callable, tmp_path: Path, name: str
) -> None:
    """Of networks that are fitted only that they run: their dropout is another."""
    for kind in (kind for kind, own in PAIRS if own == name):
        on_cpu, _ = do(kind, name, tmp_path / f"{kind} on the CPU")
        on_gpu, _ = do(kind, name, tmp_path / f"{kind} on a GPU", device="cuda")
        rows = list(PREDICTION_COLUMNS)
        pd.testing.assert_frame_equal(on_cpu[rows], on_gpu[rows], check_dtype=False)
        if kind == "variants" and name.endswith(("llr", "distance")):
            np.testing.assert_allclose(scores(on_cpu), scores(on_gpu), rtol=1e-3, atol=1e-9)
