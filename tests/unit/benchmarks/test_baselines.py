"""What the simple baselines look at, and their answers."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from genebert.benchmarks import models, regressed
from genebert.benchmarks.answer import Question
from genebert.benchmarks.baselines.features import (
    LOGISTIC,
    SCORES,
    features_of,
    gc_features,
    kmer_features,
    score_of,
)
from genebert.benchmarks.dataset import Dataset
from genebert.config import Finetune, parse_model
from genebert.corpus.read import Corpus
from genebert.errors import GenebertError
from genebert.sequence.codes import encode_all

TEXTS = st.lists(st.text("ACGTACGTN", min_size=1, max_size=25), min_size=1, max_size=4)


def ask(dataset: Dataset, name: str, corpus: Corpus) -> Question:
    return Question(
        dataset=dataset,
        companion=None,
        corpus_folder=Path("no corpus"),
        corpus=corpus.metadata,
        model=parse_model(name),
        weights=None,
        settings=Finetune(),
        seed=1,
        device="cpu",
    )


def with_metadata(dataset: Dataset, **more: Any) -> Dataset:
    return dataclasses.replace(dataset, metadata=dataset.metadata | more)


def with_column(dataset: Dataset, name: str, values: np.ndarray) -> Dataset:
    return dataclasses.replace(dataset, table=dataset.table.assign(**{name: np.float32(values)}))


@pytest.fixture
def telling(toy_task: Dataset) -> Dataset:
    """The made-up task, in which the simplest features tell the classes too."""
    noise = np.random.default_rng(0).random(len(toy_task.table))
    dataset = with_metadata(toy_task, motif=11)
    dataset = with_column(dataset, "open_in_training", 0.5 * toy_task.labels + 0.6 * noise)
    dataset = with_column(dataset, "occupancy", 0.5 * toy_task.labels + 0.6 * noise)
    codes = toy_task.codes.copy()
    rows = np.flatnonzero(toy_task.labels)
    codes[rows, :16] = np.array([1, 1, 2, 2])[codes[rows, :16]]
    return dataclasses.replace(dataset, codes=codes)


@settings(max_examples=30, deadline=None)
@given(texts=TEXTS)
def test_kmer_features_equal_plain_counting(texts: list[str]) -> None:
    for row, text in zip(kmer_features(encode_all([*texts, "ACGTA"])), texts, strict=False):
        expected = np.zeros(1024)
        for start in range(len(text) - 4):
            if "N" not in text[start : start + 5]:
                index = int("".join(str("ACGT".index(b)) for b in text[start : start + 5]), 4)
                expected[index] += 1
        np.testing.assert_array_equal(row, expected)


@settings(max_examples=30, deadline=None)
@given(texts=TEXTS)
def test_gc_features_are_content_its_square_and_length(texts: list[str]) -> None:
    for (content, square, length), text in zip(gc_features(encode_all(texts)), texts, strict=True):
        known = len(text) - text.count("N")
        expected = (text.count("G") + text.count("C")) / known if known else 0
        assert (content, square, length) == pytest.approx((expected, expected**2, len(text)))


def test_motif_features_are_the_examples_hits(toy_task: Dataset) -> None:
    found, hits = features_of("motif_logistic", toy_task, 40), toy_task.hits
    for row in range(len(found)):
        expected = np.zeros(40, np.float32)
        for hit in range(*hits.offsets[row : row + 2]):
            expected[hits.motif[hit]] = hits.score[hit]
        np.testing.assert_array_equal(found[row], expected)


def test_pwm_best_is_the_hit_of_one_motif(toy_task: Dataset) -> None:
    for motif in (11, 0, 39):
        dataset = with_metadata(toy_task, motif=motif)
        expected = features_of("motif_logistic", toy_task, 40)[:, motif]
        np.testing.assert_array_equal(score_of("pwm_best", dataset), expected)


@pytest.mark.parametrize("name", [*LOGISTIC, *SCORES])
def test_the_planted_answer_is_found(telling: Dataset, synthetic_corpus: Corpus, name: str) -> None:
    answer = models.answer(ask(telling, name, synthetic_corpus))
    assert answer.table is not None
    assert set(answer.table["split"]) == {"validation", "test"}
    assert len(answer.scores) == len(answer.table) == (telling.table["split"] != "train").sum()
    test = (answer.table["split"] == "test").to_numpy()
    np.testing.assert_allclose(answer.scores.sum(1), 1)
    assert roc_auc_score(answer.table["label"][test], answer.scores[test, 1]) > 0.85


@pytest.mark.parametrize("name", [*LOGISTIC, *SCORES])
def test_shuffled_labels_teach_nothing(toy_task: Dataset, synthetic_corpus: Corpus, name: str) -> None:
    """Class 1 has no word, hit or place of its own among these labels, in no split."""
    found = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        table = toy_task.table.assign(label=rng.permutation(toy_task.labels))
        dataset = with_metadata(dataclasses.replace(toy_task, table=table), motif=11)
        dataset = with_column(dataset, "open_in_training", rng.random(len(table)))
        answer = models.answer(ask(dataset, name, synthetic_corpus))
        assert answer.table is not None
        score = answer.scores if answer.scores.ndim == 1 else answer.scores[:, 1]
        found.append(roc_auc_score(answer.table["label"], score))
    assert np.mean(found) == pytest.approx(0.5, abs=0.12)


@pytest.mark.parametrize("name", SCORES)
def test_a_score_ranks_as_it_does_alone(telling: Dataset, synthetic_corpus: Corpus, name: str) -> None:
    """Also where training labels say that it falls: it is then no probability, but never turned over."""
    rows = regressed.held_out(telling)
    own = score_of(name, telling)[rows]
    upside_down = dataclasses.replace(telling, table=telling.table.assign(label=1 - telling.labels))
    for dataset, calibrated in ((telling, True), (upside_down, False)):
        answer = models.answer(ask(dataset, name, synthetic_corpus))
        assert answer.facts["calibrated"] == calibrated
        assert answer.scores.ndim == (2 if calibrated else 1)
        score = answer.scores[:, 1] if calibrated else answer.scores
        ranks = [np.unique(values.astype(np.float32), return_inverse=True)[1] for values in (own, score)]
        np.testing.assert_array_equal(*ranks)


def test_what_the_examples_lack_is_named(toy_task: Dataset, synthetic_corpus: Corpus) -> None:
    nowhere = with_column(toy_task, "occupancy", np.full(len(toy_task.table), np.nan))
    for dataset, name, said in (
        (toy_task, "pwm_best", "motif:"),
        (toy_task, "mean_of_training_cell_types", "leave mean_of_training_cell_types out"),
        (nowhere, "occupancy_only", "leave occupancy_only out"),
    ):
        with pytest.raises(GenebertError) as caught:
            models.answer(ask(dataset, name, synthetic_corpus))
        assert said in caught.value.fix
        assert caught.value.where == "benchmarks.tasks.toy"


@pytest.mark.parametrize("name", ["kmer_logistic", "gc_only"])
def test_a_sequence_baseline_scores_other_sequences(
    telling: Dataset, synthetic_corpus: Corpus, name: str
) -> None:
    answer = models.answer(ask(telling, name, synthetic_corpus))
    assert answer.of_sequences is not None
    rows = regressed.held_out(telling)
    np.testing.assert_allclose(answer.of_sequences(telling.codes[rows]), answer.scores)
    assert models.answer(ask(telling, "motif_logistic", synthetic_corpus)).of_sequences is None
