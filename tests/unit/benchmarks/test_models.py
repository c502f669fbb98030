"""Every model by its name, from files to predictions."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from genebert.benchmarks.answer import Answer, Question
from genebert.benchmarks.dataset import Dataset, write_dataset
from genebert.benchmarks.models import answer
from genebert.benchmarks.run import run
from genebert.config import Finetune, parse_model
from genebert.config import Model as ModelSettings
from genebert.corpus.read import Corpus
from genebert.errors import GenebertError
from genebert.model.checkpoint import Card, save_model
from genebert.model.genebert import GeneBERT

BASELINES = ("kmer_logistic", "motif_logistic", "gc_only", "occupancy_only")
NETWORKS = ("cnn", "deepromoter", "cdil")
OF_WEIGHTS = (
    "toy.sequence",
    "toy.region",
    "toy.both",
    "toy.sequence.probe",
    "toy.both.probe",
    "untrained_probe",
)
SEQUENCE_ONLY = {"kmer_logistic", "gc_only", *NETWORKS, "toy.sequence", "toy.sequence.probe"}
QUICK = Finetune(epochs=1, patience=1, learning_rates=[1e-3], batch_size=32)


@pytest.fixture(scope="module")
def weights(
    tiny_settings: ModelSettings, synthetic_corpus: Corpus, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder, facts = tmp_path_factory.mktemp("model"), synthetic_corpus.metadata
    torch.manual_seed(0)
    card = Card(
        settings=tiny_settings,
        motifs=facts.motifs,
        motif_digest=facts.motif_digest,
        variant="toy",
        seed=0,
        steps=0,
    )
    save_model(GeneBERT(tiny_settings, 40), card, folder)
    return folder


@pytest.fixture(scope="module")
def corpus_folder(
    synthetic_corpus: Corpus, write_corpus: Callable, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return write_corpus(synthetic_corpus, tmp_path_factory.mktemp("files") / "corpus")


@pytest.fixture(scope="module")
def ask(
    toy_task: Dataset, synthetic_corpus: Corpus, corpus_folder: Path, weights: Path
) -> Callable[..., Answer]:
    """Ask a model by name; anything of the question may be another."""

    def asked(name: str, **changes: Any) -> Answer:
        question = Question(
            dataset=toy_task,
            companion=None,
            corpus_folder=corpus_folder,
            corpus=synthetic_corpus.metadata,
            model=parse_model(name),
            weights=weights if name in OF_WEIGHTS else None,
            settings=QUICK,
            seed=1,
            device="cpu",
        )
        return answer(dataclasses.replace(question, **changes))

    return asked


@pytest.mark.parametrize("name", [*BASELINES, *NETWORKS, *OF_WEIGHTS])
def test_an_answer_is_of_the_held_out_examples(
    ask: Callable[..., Answer], toy_task: Dataset, name: str
) -> None:
    """In their order, the same bits each time, and whatever the labels of the test split are."""
    found, again = ask(name), ask(name)
    expected = toy_task.table[toy_task.table["split"] != "train"]
    assert found.table is not None
    pd.testing.assert_frame_equal(found.table, expected)
    assert found.scores.shape == (len(expected), 2)
    np.testing.assert_allclose(found.scores.sum(1), 1)
    np.testing.assert_array_equal(found.scores, again.scores)
    json.dumps(found.facts, allow_nan=False)
    assert found.facts == again.facts

    test = toy_task.table["split"] == "test"
    table = toy_task.table.assign(label=np.where(test, 1 - toy_task.labels, toy_task.labels))
    poisoned = ask(name, dataset=dataclasses.replace(toy_task, table=table))
    np.testing.assert_array_equal(found.scores, poisoned.scores)


@pytest.mark.parametrize("name", [*BASELINES, *NETWORKS, *OF_WEIGHTS])
def test_what_sees_sequence_alone_scores_other_sequences(
    ask: Callable[..., Answer], toy_task: Dataset, name: str
) -> None:
    found = ask(name)
    assert (found.of_sequences is not None) == (name in SEQUENCE_ONLY)
    if found.of_sequences is not None:
        rows = np.flatnonzero(toy_task.table["split"] != "train")[::-1]
        other = found.of_sequences(np.ascontiguousarray(toy_task.codes[rows]))
        np.testing.assert_allclose(other, found.scores[::-1], atol=1e-5)


@pytest.mark.parametrize("name", ["kmer_logistic", "cnn", "toy.both", "toy.both.probe"])
def test_more_than_two_classes(ask: Callable[..., Answer], toy_task: Dataset, name: str) -> None:
    """Of class 1 a third is called class 2, which nothing tells apart."""
    labels = toy_task.labels.copy()
    labels[np.flatnonzero(labels)[::3]] = 2
    dataset = dataclasses.replace(
        toy_task,
        table=toy_task.table.assign(label=labels),
        metadata=toy_task.metadata | {"classes": ["none", "some", "more"]},
    )
    settings = Finetune(epochs=6, patience=6, learning_rates=[5e-3], batch_size=16)
    found = ask(name, dataset=dataset, settings=settings)
    assert found.table is not None
    assert found.scores.shape == (len(found.table), 3)
    np.testing.assert_allclose(found.scores.sum(1), 1)
    if name != "cnn":  # which needs more examples than these
        assert roc_auc_score(found.table["label"] == 0, found.scores[:, 0]) > 0.7


def test_a_task_without_columns_reads_no_corpus(
    ask: Callable[..., Answer], toy_task: Dataset, tmp_path: Path
) -> None:
    lone = dataclasses.replace(toy_task, columns=np.full_like(toy_task.columns, -1))
    for name in ("toy.both", "toy.both.probe"):
        without = ask(name, dataset=lone, corpus_folder=tmp_path / "none")
        np.testing.assert_array_equal(without.scores, ask(name, dataset=lone).scores)
        with pytest.raises(GenebertError):
            ask(name, corpus_folder=tmp_path / "none")


def test_sequences_longer_than_the_model_reads_are_refused(
    ask: Callable[..., Answer], toy_task: Dataset
) -> None:
    codes = np.concatenate([toy_task.codes, toy_task.codes[:, :25]], axis=1)
    longer = dataclasses.replace(toy_task, codes=codes)
    for name in ("toy.sequence", "toy.both", "untrained_probe"):
        with pytest.raises(GenebertError, match="65 bp, the model reads 64") as caught:
            ask(name, dataset=longer)
        assert "`crop`" in caught.value.fix
    ask("toy.region", dataset=longer)


@pytest.fixture
def files(toy_task: Dataset, corpus_folder: Path, tmp_path: Path) -> tuple[Path, None, Path]:
    """The task and its corpus as files, and no companion."""
    hits = toy_task.hits
    motif, score = (np.split(values, hits.offsets[1:-1]) for values in (hits.motif, hits.score))
    out = tmp_path / "dataset.parquet"
    write_dataset(toy_task.table, (motif, score), toy_task.columns, toy_task.metadata, out)
    return out, None, corpus_folder


@pytest.mark.parametrize("name", ["kmer_logistic", "motif_logistic"])
def test_a_run_writes_predictions_and_the_metrics_they_give(
    files: tuple[Path, None, Path], toy_task: Dataset, tmp_path: Path, name: str
) -> None:
    run(*files, name, None, Finetune(), "toy", 3, "cpu", tmp_path / "out")
    predictions = pd.read_parquet(tmp_path / "out" / "predictions.parquet")
    result = json.loads((tmp_path / "out" / "metrics.json").read_text())
    expected = toy_task.table[toy_task.table["split"] != "train"]
    assert predictions["example_id"].tolist() == expected["example_id"].tolist()
    assert predictions["label"].tolist() == expected["label"].tolist()
    assert (result["task"], result["model"], result["seed"]) == ("toy", name, 3)
    for split in ("validation", "test"):
        rows = predictions[predictions["split"] == split]
        auroc = roc_auc_score(rows["label"], rows["score"])
        assert result["metrics"][split]["auroc"] == pytest.approx(auroc)
    assert result["metrics"]["test"]["auroc"] > 0.9


def test_a_network_without_weights_is_refused(files: tuple[Path, None, Path], tmp_path: Path) -> None:
    for name in ("scratch.both", "scratch.both.probe", "untrained_probe"):
        with pytest.raises(GenebertError, match="weights"):
            run(*files, name, None, Finetune(), "toy", 3, "cpu", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_corpus_of_other_regions_or_motifs_is_refused(
    files: tuple[Path, None, Path],
    synthetic_corpus: Corpus,
    write_corpus: Callable,
    tmp_path: Path,
) -> None:
    """As many regions, with ids that are row numbers too: nothing else would tell them apart."""
    for field, said in (("catalogue", "regions"), ("motif_digest", "motifs")):
        metadata = synthetic_corpus.metadata.model_copy(update={field: "another"})
        other = write_corpus(dataclasses.replace(synthetic_corpus, metadata=metadata), tmp_path / field)
        with pytest.raises(GenebertError, match=f"dataset and corpus have other {said}"):
            run(files[0], None, other, "gc_only", None, QUICK, "toy", 3, "cpu", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_baseline_and_a_sequence_model_read_no_part(
    files: tuple[Path, None, Path],
    synthetic_corpus: Corpus,
    write_corpus: Callable,
    weights: Path,
    tmp_path: Path,
) -> None:
    corpus = write_corpus(synthetic_corpus, tmp_path / "corpus")

    def runs(name: str) -> str:
        return run(files[0], None, corpus, name, weights, QUICK, "toy", 3, "cpu", tmp_path / name)

    assert "scratch.both" in runs("scratch.both")
    for part in corpus.glob("part-*"):
        part.unlink()
    for name in ("kmer_logistic", "motif_logistic", "scratch.sequence"):
        assert name in runs(name)
    with pytest.raises(GenebertError, match="missing or damaged"):
        runs("scratch.region")
