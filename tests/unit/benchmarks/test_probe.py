"""Frozen features and the regression on them."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from genebert.benchmarks import probe
from genebert.benchmarks.answer import Question
from genebert.benchmarks.dataset import Dataset
from genebert.benchmarks.examples import Matrices
from genebert.config import Finetune, parse_model
from genebert.config import Model as ModelSettings
from genebert.corpus.read import Corpus
from genebert.errors import GenebertError
from genebert.model.checkpoint import Card, load_model, save_model
from genebert.model.genebert import GeneBERT

INPUTS = ("sequence", "region", "both")


@pytest.fixture(scope="module")
def question(
    toy_task: Dataset,
    tiny_settings: ModelSettings,
    synthetic_corpus: Corpus,
    write_corpus: Callable,
    tmp_path_factory: pytest.TempPathFactory,
) -> Question:
    """The made-up task, a model with random weights, and the corpus as files."""
    folder, facts = tmp_path_factory.mktemp("probe"), synthetic_corpus.metadata
    torch.manual_seed(0)
    card = Card(
        settings=tiny_settings,
        motifs=facts.motifs,
        motif_digest=facts.motif_digest,
        variant="untrained",
        seed=0,
        steps=0,
    )
    save_model(GeneBERT(tiny_settings, 40), card, folder / "model")
    return Question(
        dataset=toy_task,
        companion=None,
        corpus_folder=write_corpus(synthetic_corpus, folder / "corpus"),
        corpus=facts,
        model=parse_model("toy.both.probe"),
        weights=folder / "model",
        settings=Finetune(),
        seed=1,
        device="cpu",
    )


def of(question: Question, name: str, dataset: Dataset | None = None) -> Question:
    dataset = question.dataset if dataset is None else dataset
    return dataclasses.replace(question, model=parse_model(name), dataset=dataset)


@torch.no_grad()
@pytest.mark.parametrize("inputs", INPUTS)
def test_features_are_the_encoders_own_in_the_order_of_examples(
    question: Question, synthetic_corpus: Corpus, inputs: str
) -> None:
    found = probe.encoder(of(question, f"toy.{inputs}.probe"))(question.dataset)
    assert question.weights is not None
    model, _ = load_model(question.weights)
    rows = torch.tensor([0, 128, 299])
    codes, matrix, present = Matrices(question.dataset, 40, synthetic_corpus, "cpu").batch(rows)
    parts = {
        "sequence": model.sequence_features(codes),
        "region": model.region_features(matrix, present),
    }
    expected = torch.cat([part for name, part in parts.items() if inputs in (name, "both")], dim=1)
    assert found.dtype == np.float32
    assert len(found) == 300
    np.testing.assert_allclose(found[rows.numpy()], expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("name", ["toy.sequence.probe", "toy.region.probe", "untrained_probe"])
def test_the_planted_answer_is_found(question: Question, name: str) -> None:
    """By random weights too: direct paths hand composition and focal column on."""
    answer = probe.answer(of(question, name))
    assert answer.table is not None
    test = (answer.table["split"] == "test").to_numpy()
    auroc = roc_auc_score(answer.table["label"][test], answer.scores[test, 1])
    assert auroc > (0.65 if name == "toy.sequence.probe" else 0.9)


@pytest.mark.parametrize("name", ["toy.sequence.probe", "untrained_probe"])
def test_shuffled_labels_teach_nothing(question: Question, name: str) -> None:
    task, found = question.dataset, []
    for seed in range(4):
        labels = np.random.default_rng(seed).permutation(task.labels)
        kept = task.table["split"] == "test"
        table = task.table.assign(label=np.where(kept, task.labels, labels))
        answer = probe.answer(of(question, name, dataclasses.replace(task, table=table)))
        assert answer.table is not None
        test = (answer.table["split"] == "test").to_numpy()
        found.append(roc_auc_score(answer.table["label"][test], answer.scores[test, 1]))
    assert np.mean(found) == pytest.approx(0.5, abs=0.15)


def test_untrained_weights_see_both_inputs(question: Question) -> None:
    untrained, both = (
        probe.encoder(of(question, name))(question.dataset)
        for name in ("untrained_probe", "toy.both.probe")
    )
    np.testing.assert_array_equal(untrained, both)


def test_other_examples_with_the_same_columns_can_be_embedded(question: Question) -> None:
    """As variants embed the alternatives of their examples."""
    encode = probe.encoder(question)
    codes = question.dataset.codes.copy()
    codes[::2] = 3 - codes[::2]
    features, other = (
        encode(question.dataset),
        encode(dataclasses.replace(question.dataset, codes=codes)),
    )
    same = np.isclose(features, other, atol=1e-6).all(1)
    assert same[1::2].all()
    assert not same[::2].any()


def test_weights_of_other_motifs_are_refused(question: Question, tmp_path: Path) -> None:
    other = question.corpus.model_copy(update={"motif_digest": "another"})
    with pytest.raises(GenebertError, match="other motifs"):
        probe.answer(dataclasses.replace(question, corpus=other))
    with pytest.raises(GenebertError, match="no complete model"):
        probe.answer(dataclasses.replace(question, weights=tmp_path))
