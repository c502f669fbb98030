"""Answers to tasks of variants: planted signals, folds that are kept apart, labels that mean nothing."""

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from genebert.benchmarks.answer import Answer, Question
from genebert.benchmarks.baselines.logistic import PENALTIES
from genebert.benchmarks.cross_validation import out_of_fold
from genebert.benchmarks.dataset import Dataset, Hits
from genebert.benchmarks.run import as_table
from genebert.benchmarks.variants import answer
from genebert.config import Finetune, parse_model
from genebert.config import Model as ModelSettings
from genebert.corpus.read import Corpus
from genebert.errors import GenebertError
from genebert.genome import reverse_complement
from genebert.model.checkpoint import Card, save_model
from genebert.model.genebert import GeneBERT
from genebert.sequence.codes import decode

WIDTH, FOLDS, NUMBER = 40, 4, 320
BASELINES = ("kmer_logistic", "motif_logistic", "gc_only", "occupancy_only")


def hits_of(rows: list[list[int]]) -> Hits:
    motif = np.array([motif for row in rows for motif in sorted(row)], np.int64)
    return Hits(np.cumsum([0, *map(len, rows)]), motif, np.ones(len(motif), np.float32))


@pytest.fixture(scope="module")
def toy(synthetic_corpus: Corpus) -> Dataset:
    """Effects turn an A into a G within GATTACA, lose motif 11 and lie in regions; controls do neither.

    A fifth of them are swapped, so that no baseline can be perfect.
    """
    rng = np.random.default_rng(4)
    labels = np.arange(NUMBER) % 2
    planted = np.where(rng.random(NUMBER) < 0.1, 1 - labels, labels).astype(bool)
    codes = rng.integers(0, 4, (NUMBER, WIDTH)).astype(np.uint8)
    codes[:, WIDTH // 2] = 0
    codes[planted, WIDTH // 2 - 4 : WIDTH // 2 + 3] = [2, 0, 3, 3, 0, 1, 0]
    alternative = codes.copy()
    alternative[:, WIDTH // 2] = np.where(planted, 2, 3)
    own = [[*(rng.choice(10, 3, replace=False)), *([11] if effect else [])] for effect in planted]
    other = [row[:3] for row in own]
    start = np.arange(NUMBER) // 8 * 1000
    columns = np.full((NUMBER, 5), -1)
    columns[:, 1] = rng.integers(0, synthetic_corpus.regions, NUMBER)
    table = pd.DataFrame(
        {
            "example_id": np.arange(NUMBER, dtype=np.uint32),
            "chrom": [f"chr{place % 8}" for place in start // 1000],
            "start": start,
            "end": start + WIDTH,
            "strand": "+",
            "sequence": decode(codes),
            "alternative": decode(alternative),
            "label": labels,
            "cell_type": "any",
            "split": "test",
            "subset": np.where(np.arange(NUMBER) % 5 == 0, "held_out", "pretraining"),
            "fold": start // 1000 % 8 % FOLDS,
            "occupancy": (0.5 * planted + 0.3 * rng.random(NUMBER)).astype(np.float32),
            "open_in_training": np.float32("nan"),
        }
    )
    return Dataset(
        table=table,
        metadata={
            "task": "variants.toy",
            "type": "variants",
            "classes": ["control", "effect"],
            "indels": 0,
        },
        codes=codes,
        hits=hits_of(own),
        columns=columns,
        alternative_codes=alternative,
        alternative_hits=hits_of(other),
    )


@pytest.fixture(scope="module")
def weights(
    tmp_path_factory: pytest.TempPathFactory,
    synthetic_corpus: Corpus,
    tiny_settings: ModelSettings,
    randomise: Callable,
) -> Path:
    """A model of random weights."""
    torch.manual_seed(0)
    card = Card(
        settings=tiny_settings,
        motifs=synthetic_corpus.metadata.motifs,
        motif_digest=synthetic_corpus.metadata.motif_digest,
        variant="scratch",
        seed=1,
        steps=0,
    )
    folder = tmp_path_factory.mktemp("weights")
    save_model(randomise(GeneBERT(tiny_settings, 40)), card, folder)
    return folder


@pytest.fixture(scope="module")
def ask(
    write_corpus: Callable[..., Path],
    synthetic_corpus: Corpus,
    weights: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[Dataset, str], Answer]:
    """Ask a model for its answer."""
    folder = write_corpus(synthetic_corpus, tmp_path_factory.mktemp("toy") / "corpus")

    def one(dataset: Dataset, name: str) -> Answer:
        model = parse_model(name)
        return answer(
            Question(
                dataset=dataset,
                companion=None,
                corpus_folder=folder,
                corpus=synthetic_corpus.metadata,
                model=model,
                weights=None if name in BASELINES else weights,
                settings=Finetune(),
                seed=1,
                device="cpu",
            )
        )

    return one


def relabelled(dataset: Dataset, labels: np.ndarray) -> Dataset:
    return dataclasses.replace(dataset, table=dataset.table.assign(label=labels))


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("kmer_logistic", 0.85),
        ("motif_logistic", 0.85),
        ("gc_only", 0.85),
        ("occupancy_only", 0.85),
        ("multimodal.both.probe", 0.8),
        ("multimodal.sequence.probe", 0.7),
        ("multimodal.region.probe", 0.8),
        ("untrained_probe", 0.8),
        ("multimodal.region.distance", 0.8),
    ],
)
def test_what_is_planted_is_found(toy: Dataset, ask: Callable, name: str, least: float) -> None:
    found = ask(toy, name)
    score = found.scores if found.scores.ndim == 1 else found.scores[:, 1]
    assert roc_auc_score(toy.labels, score) > least
    predictions = as_table(found, toy)
    assert predictions["is_probability"].eq("distance" not in name).all()
    assert found.facts["in_pretraining"] == NUMBER * 4 // 5
    assert found.facts["in_pretraining_fraction"] == 0.8
    if found.scores.ndim == 2:
        assert len(found.facts["penalties"]) == FOLDS
    else:
        assert found.facts["readout"] == "distance"
        assert found.facts["mean"] == pytest.approx(score.mean())


def test_kmers_are_those_of_the_reference_and_what_changes_on_both_strands(
    toy: Dataset, ask: Callable
) -> None:
    words = {"".join(word): at for at, word in enumerate(itertools.product("ACGT", repeat=5))}

    def counts(texts: pd.Series) -> np.ndarray:
        found = np.zeros((NUMBER, len(words)), np.float32)
        for row, text in enumerate(texts):
            for strand in (text, reverse_complement(text)):
                for start in range(WIDTH - 4):
                    found[row, words[strand[start : start + 5]]] += 0.5
        return found

    reference, alternative = counts(toy.table["sequence"]), counts(toy.table["alternative"])
    features = np.concatenate([reference, alternative - reference], axis=1)
    expected, _ = out_of_fold(features, toy.labels, toy.table["fold"].to_numpy(), "here")
    np.testing.assert_array_equal(ask(toy, "kmer_logistic").scores, expected)


@pytest.mark.parametrize("name", ["kmer_logistic", "motif_logistic", "multimodal.both.probe"])
def test_labels_without_meaning_give_chance(toy: Dataset, ask: Callable, name: str) -> None:
    found = []
    for seed in range(3):
        labels = np.random.default_rng(seed).permutation(toy.labels)
        found.append(roc_auc_score(labels, ask(relabelled(toy, labels), name).scores[:, 1]))
    assert np.mean(found) == pytest.approx(0.5, abs=0.1)


def test_a_fold_s_own_labels_change_none_of_its_predictions(toy: Dataset, ask: Callable) -> None:
    """The rest of them do."""
    fold = toy.table["fold"].to_numpy() == 2
    labels = np.where(fold, 1 - toy.labels, toy.labels)
    one, other = (ask(own, "kmer_logistic").scores for own in (toy, relabelled(toy, labels)))
    np.testing.assert_array_equal(one[fold], other[fold])
    assert (one[~fold] != other[~fold]).any(1).all()


def test_strands_and_the_order_of_hits_do_not_matter(toy: Dataset, ask: Callable) -> None:
    turned = dataclasses.replace(
        toy,
        codes=np.ascontiguousarray(3 - toy.codes[:, ::-1]),
        alternative_codes=np.ascontiguousarray(3 - toy.alternative_codes[:, ::-1]),  # type: ignore[index]
    )
    for name in ("kmer_logistic", "multimodal.sequence.probe"):
        one, other = (ask(own, name).scores for own in (toy, turned))
        np.testing.assert_allclose(one, other, atol=1e-3)


def test_the_same_question_gets_the_same_answer(toy: Dataset, ask: Callable) -> None:
    for name in ("untrained_probe", "multimodal.sequence.llr"):
        np.testing.assert_array_equal(ask(toy, name).scores, ask(toy, name).scores)


def test_a_class_that_lies_in_one_fold_is_refused(toy: Dataset, ask: Callable) -> None:
    labels = (toy.table["fold"] == 1).to_numpy().astype(int)
    with pytest.raises(GenebertError, match="without fold 1 there is nothing of class 1 to learn from"):
        ask(relabelled(toy, labels), "gc_only")
    with pytest.raises(GenebertError, match="without fold 1 there is nothing of class 0 to learn from"):
        ask(relabelled(toy, 1 - labels), "gc_only")


def data(number: int = 120, folds: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = (rng.random(number) < 0.3).astype(np.int64)
    features = rng.normal(size=(number, 6)).astype(np.float32) * [1, 10, 0.1, 1, 1, 0] + labels[:, None]
    return features, labels, np.arange(number) % folds


@threadpool_limits.wrap(limits=1)
def by_hand(features: np.ndarray, labels: np.ndarray, train: np.ndarray, penalty: float) -> object:
    scaler = StandardScaler().fit(features[train])
    solver = LogisticRegression(C=1 / (penalty * len(train)), class_weight="balanced", tol=1e-8)
    solver.fit(scaler.transform(features[train]), labels[train])
    return lambda rows: solver.predict_proba(scaler.transform(features[rows]))[:, 1]


def test_probabilities_are_those_of_scikit_learn_by_hand() -> None:
    features, labels, folds = data()
    probability, facts = out_of_fold(features, labels, folds, "here")
    np.testing.assert_allclose(probability.sum(1), 1)
    for fold, penalty in zip(range(4), facts["penalties"], strict=True):
        train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        losses = dict.fromkeys(PENALTIES, 0.0)
        weight = np.where(labels == 1, 0.5 / labels[train].mean(), 0.5 / (1 - labels[train].mean()))
        for inner in set(range(4)) - {fold}:
            learn, held = train[folds[train] != inner], train[folds[train] == inner]
            for tried in PENALTIES:
                chance = by_hand(features, labels, learn, tried)(held)
                right = np.where(labels[held] == 1, chance, 1 - chance)
                losses[tried] -= (weight[held] * np.log(right)).sum()
        tried = list(losses.values())
        best = next((at for at in range(len(tried) - 1) if tried[at + 1] >= tried[at]), len(tried) - 1)
        assert penalty == PENALTIES[best]
        np.testing.assert_allclose(
            probability[test, 1], by_hand(features, labels, train, penalty)(test), atol=2e-3
        )


def test_two_folds_leave_nothing_to_choose_by() -> None:
    features, labels, folds = data(folds=2)
    probability, facts = out_of_fold(features, labels, folds, "here")
    assert facts["penalties"] == [PENALTIES[0]] * 2
    assert roc_auc_score(labels, probability[:, 1]) > 0.7
