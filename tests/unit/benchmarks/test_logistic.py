"""The logistic baselines, their features and their run."""

import dataclasses
import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from genebert.benchmarks.baselines.logistic import fit_predict, kmer_features, motif_features
from genebert.benchmarks.dataset import Dataset, write_dataset
from genebert.benchmarks.run import run
from genebert.config import Finetune
from genebert.config import Model as ModelSettings
from genebert.corpus.read import Corpus
from genebert.errors import GenebertError
from genebert.model.checkpoint import Card, save_model
from genebert.model.genebert import GeneBERT
from genebert.sequence.codes import encode_all

FEATURES = {"kmer": kmer_features, "motif": lambda dataset: motif_features(dataset, 40)}


def auroc(dataset: Dataset, probability: np.ndarray) -> float:
    rows = dataset.in_split("test")
    return roc_auc_score(dataset.labels[rows], probability[rows])


@settings(max_examples=30, deadline=None)
@given(texts=st.lists(st.text("ACGTACGTN", min_size=5, max_size=25), min_size=1, max_size=4))
def test_kmer_features_equal_plain_counting(texts: list[str]) -> None:
    number = len(texts)
    dataset = Dataset(
        table=pd.DataFrame({"label": [0] * number}),
        classes=["no", "yes"],
        motif_digest="",
        catalogue="",
        codes=encode_all(texts),
        hit_offsets=np.zeros(number + 1, np.int64),
        hit_motif=np.zeros(0, np.int64),
        hit_score=np.zeros(0, np.float32),
        columns=np.full((number, 1), -1),
    )
    found = kmer_features(dataset)
    for row, text in zip(found, texts, strict=True):
        expected = np.zeros(1024)
        for start in range(len(text) - 4):
            if "N" not in text[start : start + 5]:
                index = int("".join(str("ACGT".index(b)) for b in text[start : start + 5]), 4)
                expected[index] += 1
        np.testing.assert_array_equal(row, expected)


def test_motif_features_are_the_examples_hits(toy_task: Dataset) -> None:
    found = motif_features(toy_task, 40)
    for row in range(len(found)):
        expected = np.zeros(40, np.float32)
        for hit in range(*toy_task.hit_offsets[row : row + 2]):
            expected[toy_task.hit_motif[hit]] = toy_task.hit_score[hit]
        np.testing.assert_array_equal(found[row], expected)


@pytest.mark.parametrize("name", FEATURES)
def test_the_planted_answer_is_learnt(toy_task: Dataset, name: str) -> None:
    probability = fit_predict(FEATURES[name](toy_task), toy_task, seed=0)
    assert ((probability >= 0) & (probability <= 1)).all()
    assert auroc(toy_task, probability) > 0.9


@pytest.mark.parametrize("name", FEATURES)
def test_shuffled_labels_teach_nothing(toy_task: Dataset, name: str) -> None:
    found = []
    for seed in range(3):
        labels = np.random.default_rng(seed).permutation(toy_task.labels)
        table = toy_task.table.assign(
            label=np.where(toy_task.table["split"] == "test", toy_task.labels, labels)
        )
        shuffled = dataclasses.replace(toy_task, table=table)
        found.append(auroc(toy_task, fit_predict(FEATURES[name](toy_task), shuffled, seed=0)))
    assert np.mean(found) == pytest.approx(0.5, abs=0.2)


def test_test_examples_do_not_change_the_fit(toy_task: Dataset) -> None:
    test = toy_task.in_split("test")
    rest = np.setdiff1d(np.arange(len(toy_task.labels)), test)
    features = kmer_features(toy_task)
    other = features.copy()
    other[test] = 9
    table = toy_task.table.copy()
    table.loc[test, "label"] = 0
    first = fit_predict(features, toy_task, seed=0)
    second = fit_predict(other, dataclasses.replace(toy_task, table=table), seed=0)
    np.testing.assert_array_equal(first[rest], second[rest])


@pytest.fixture
def files(
    toy_task: Dataset, synthetic_corpus: Corpus, write_corpus: Callable, tmp_path: Path
) -> tuple[Path, Path]:
    """The task and its corpus as files."""
    offsets = toy_task.hit_offsets

    def lists(values: np.ndarray, kind: type) -> list[np.ndarray]:
        pairs = itertools.pairwise(offsets)
        return [values[first:last].astype(kind) for first, last in pairs]

    metadata = {name: getattr(toy_task, name) for name in ("classes", "motif_digest", "catalogue")}
    write_dataset(
        toy_task.table,
        lists(toy_task.hit_motif, np.uint16),
        lists(toy_task.hit_score, np.float16),
        toy_task.columns,
        metadata,
        tmp_path / "dataset.parquet",
    )
    return tmp_path / "dataset.parquet", write_corpus(synthetic_corpus, tmp_path / "corpus")


@pytest.mark.parametrize("name", ["kmer_logistic", "motif_logistic"])
def test_a_baselines_run_writes_predictions_and_the_metrics_they_give(
    files: tuple[Path, Path], toy_task: Dataset, tmp_path: Path, name: str
) -> None:
    run(*files, name, None, Finetune(), "toy", 3, "cpu", tmp_path / "out")
    predictions = pd.read_parquet(tmp_path / "out" / "predictions.parquet")
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert predictions["label"].tolist() == toy_task.labels.tolist()
    assert (metrics["task"], metrics["model"], metrics["seed"]) == ("toy", name, 3)
    for split in ("validation", "test"):
        rows = predictions[predictions["split"] == split]
        expected = roc_auc_score(rows["label"], rows["score"])
        assert metrics[split]["auroc"] == pytest.approx(expected)
        assert metrics[split]["examples"] == len(rows)
    assert metrics["test"]["auroc"] > 0.9


def test_a_network_without_weights_is_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(GenebertError, match="weights"):
        run(*files, "scratch.both", None, Finetune(), "toy", 3, "cpu", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_corpus_of_other_regions_or_motifs_is_refused(
    files: tuple[Path, Path],
    synthetic_corpus: Corpus,
    write_corpus: Callable,
    tmp_path: Path,
) -> None:
    """As many regions, with ids that are row numbers too: nothing else would tell them apart."""
    for field, said in (("catalogue", "regions"), ("motif_digest", "motifs")):
        metadata = synthetic_corpus.metadata.model_copy(update={field: "another"})
        other = write_corpus(dataclasses.replace(synthetic_corpus, metadata=metadata), tmp_path / field)
        with pytest.raises(GenebertError, match=f"dataset and corpus have other {said}"):
            run(files[0], other, "kmer_logistic", None, Finetune(), "toy", 3, "cpu", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_baseline_and_a_sequence_model_read_no_part(
    files: tuple[Path, Path],
    synthetic_corpus: Corpus,
    tiny_model: GeneBERT,
    tiny_settings: ModelSettings,
    tmp_path: Path,
) -> None:
    facts = synthetic_corpus.metadata
    card = Card(
        settings=tiny_settings,
        motifs=facts.motifs,
        motif_digest=facts.motif_digest,
        variant="scratch",
        seed=0,
        steps=0,
    )
    save_model(tiny_model, card, {}, tmp_path / "model")

    def runs(name: str) -> str:
        quick = Finetune(epochs=1, patience=1)
        return run(*files, name, tmp_path / "model", quick, "toy", 3, "cpu", tmp_path / name)

    assert "scratch.both" in runs("scratch.both")
    for part in files[1].glob("part-*"):
        part.unlink()
    for name in ("kmer_logistic", "motif_logistic", "scratch.sequence"):
        assert name in runs(name)
    with pytest.raises(GenebertError, match="missing or damaged"):
        runs("scratch.region")
