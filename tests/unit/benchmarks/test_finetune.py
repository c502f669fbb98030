"""The protocol of fine-tuning, on a made-up task whose answer is planted in both modalities."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from genebert.benchmarks.dataset import Dataset, Hits
from genebert.benchmarks.examples import Examples, Matrices, Sequences, probabilities
from genebert.benchmarks.finetune import Classifier, class_weights, fit
from genebert.config import Finetune
from genebert.config import Model as ModelSettings
from genebert.corpus.read import Corpus
from genebert.errors import GenebertError
from genebert.model.genebert import GeneBERT
from genebert.sequence.codes import PADDING, encode_all

INPUTS = ("sequence", "region", "both")


def backbone(settings: ModelSettings) -> GeneBERT:
    torch.manual_seed(0)
    return GeneBERT(settings, 40)


def seen(inputs: str, dataset: Dataset, corpus: Corpus | None) -> Examples:
    return (
        Sequences(dataset.codes, "cpu") if inputs == "sequence" else Matrices(dataset, 40, corpus, "cpu")
    )


def finetune(
    settings: ModelSettings, inputs: str, dataset: Dataset, corpus: Corpus | None, **changes: object
) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the probabilities of every example, those of training too, and the facts."""
    content = {"epochs": 8, "patience": 8, "batch_size": 16, "learning_rates": [5e-3]} | changes
    examples = seen(inputs, dataset, corpus)

    def make() -> nn.Module:
        return Classifier(backbone(settings), inputs, 2)

    network, facts = fit(make, examples, dataset, Finetune(**content), 1, "cpu")
    return probabilities(network, examples, np.arange(len(dataset.table)), "cpu"), facts


def auroc(dataset: Dataset, probability: np.ndarray, split: str = "test") -> float:
    rows = dataset.in_split(split)
    return roc_auc_score(dataset.labels[rows], probability[rows, 1])


def relabelled(dataset: Dataset, labels: np.ndarray, splits: tuple[str, ...]) -> Dataset:
    table = dataset.table.copy()
    kept = ~table["split"].isin(splits).to_numpy()
    table["label"] = np.where(kept, dataset.labels, labels)
    return dataclasses.replace(dataset, table=table)


def validation_loss(dataset: Dataset, probability: np.ndarray) -> float:
    """Return the loss by hand, in which the classes of validation weigh alike."""
    rows = dataset.in_split("validation")
    own = dataset.labels[rows]
    each = -np.log(probability[rows, own])
    return float(np.mean([each[own == label].mean() for label in np.unique(own)]))


@pytest.mark.parametrize("inputs", INPUTS)
def test_the_planted_answer_is_learnt(
    tiny_settings: ModelSettings, toy_task: Dataset, synthetic_corpus: Corpus, inputs: str
) -> None:
    probability, facts = finetune(tiny_settings, inputs, toy_task, synthetic_corpus)
    np.testing.assert_allclose(probability.sum(1), 1)
    assert auroc(toy_task, probability) > 0.9
    assert 1 <= facts["best_epoch"] <= facts["epochs"] <= 8
    assert facts["validation_loss"] == pytest.approx(validation_loss(toy_task, probability), rel=1e-4)


@pytest.mark.parametrize("inputs", INPUTS)
def test_shuffled_labels_teach_nothing(
    tiny_settings: ModelSettings, toy_task: Dataset, synthetic_corpus: Corpus, inputs: str
) -> None:
    found = []
    for seed in range(3, 5):
        labels = np.random.default_rng(seed).permutation(toy_task.labels)
        shuffled = relabelled(toy_task, labels, ("train", "validation"))
        probability, _ = finetune(tiny_settings, inputs, shuffled, synthetic_corpus, epochs=2)
        found.append(auroc(toy_task, probability))
    assert np.mean(found) == pytest.approx(0.5, abs=0.2)


def test_the_answer_is_learnt_from_neighbour_columns_too(
    tiny_settings: ModelSettings, toy_task: Dataset, synthetic_corpus: Corpus
) -> None:
    """Own hits are gone; the columns of class 1 are other regions than those of class 0."""
    number = len(toy_task.labels)
    rng = np.random.default_rng(0)
    regions = np.where(
        toy_task.labels[:, None] == 1,
        rng.integers(0, 4, (number, 5)),
        5 + rng.integers(0, 4, (number, 5)),
    )
    regions[:, 2] = -1
    none = Hits(np.zeros(number + 1, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
    beside = dataclasses.replace(toy_task, columns=regions, hits=none)
    probability, _ = finetune(tiny_settings, "region", beside, synthetic_corpus)
    assert auroc(beside, probability) > 0.9


def test_nothing_of_the_test_split_reaches_the_fit(
    tiny_settings: ModelSettings, toy_task: Dataset, synthetic_corpus: Corpus
) -> None:
    """Neither labels, which are poisoned, nor sequences, which are gone."""
    test = toy_task.in_split("test")
    rest = np.setdiff1d(np.arange(len(toy_task.table)), test)
    poisoned = relabelled(toy_task, 1 - toy_task.labels, ("test",))
    codes = toy_task.codes.copy()
    codes[test] = 0
    bare = dataclasses.replace(toy_task, codes=codes)
    first, second, third = (
        finetune(tiny_settings, "both", dataset, synthetic_corpus, epochs=1)[0]
        for dataset in (toy_task, poisoned, bare)
    )
    np.testing.assert_array_equal(first, second)
    # Batches of the last prediction differ in content, so that sums may round differently.
    np.testing.assert_allclose(first[rest], third[rest], atol=1e-6)
    assert not np.allclose(first[test], third[test])


def test_the_validation_loss_chooses_the_learning_rate(
    tiny_settings: ModelSettings, toy_task: Dataset
) -> None:
    rates = [1e-6, 5e-3, 1e30]
    probability, facts = finetune(
        tiny_settings, "sequence", toy_task, None, learning_rates=rates, epochs=4
    )
    alone, own = finetune(tiny_settings, "sequence", toy_task, None, epochs=4)
    assert [trial["learning_rate"] for trial in facts["trials"]] == rates
    slow, good, diverged = (trial["validation_loss"] for trial in facts["trials"])
    assert good < slow
    assert diverged is None
    assert facts["learning_rate"] == 5e-3
    assert facts["validation_loss"] == good
    # A trial is what it is alone: same weights and shuffles, whatever ran before.
    np.testing.assert_array_equal(probability, alone)
    assert facts["trials"][1] == own["trials"][0]


def test_training_that_diverges_at_every_rate_gives_no_result(
    toy_task: Dataset, tiny_settings: ModelSettings
) -> None:
    with pytest.raises(GenebertError, match="fine-tuning is not finite") as caught:
        finetune(tiny_settings, "sequence", toy_task, None, learning_rates=[1e30, 1e31], epochs=1)
    assert "learning_rates" in caught.value.fix


def test_the_same_seed_gives_the_same_predictions(
    tiny_settings: ModelSettings, toy_task: Dataset, synthetic_corpus: Corpus
) -> None:
    first, second = (
        finetune(tiny_settings, "both", toy_task, synthetic_corpus, epochs=1)[0] for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


def test_patience_ends_training_and_the_best_epoch_is_kept(
    tiny_settings: ModelSettings, toy_task: Dataset
) -> None:
    # What is learnt in training is wrong in validation: the loss there rises from the start.
    wrong = relabelled(toy_task, 1 - toy_task.labels, ("validation",))
    probability, facts = finetune(tiny_settings, "sequence", wrong, None, epochs=8, patience=1)
    assert facts["epochs"] < 8
    assert facts["best_epoch"] == facts["epochs"] - 1
    assert facts["validation_loss"] == pytest.approx(validation_loss(wrong, probability), rel=1e-4)


class Counting(nn.Module):
    """Two numbers learnt from nothing, and how many batches were trained and judged on."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(2))
        self.steps, self.passes = 0, 0

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.steps += 1
        else:
            self.passes += 1
        return self.logits.expand(len(codes), 2)


@pytest.mark.parametrize(
    ("max_steps", "steps", "epochs"), [(7, 7, 1), (25, 25, 3), (None, 44, 4), (99, 44, 4)]
)
def test_steps_are_capped_and_a_cut_epoch_is_judged(
    toy_task: Dataset, max_steps: int | None, steps: int, epochs: int
) -> None:
    batches = -(-len(toy_task.in_split("train")) // 16)
    assert batches == 11
    settings = Finetune(epochs=4, patience=4, batch_size=16, learning_rates=[1e-3], max_steps=max_steps)
    network, facts = fit(Counting, Sequences(toy_task.codes, "cpu"), toy_task, settings, 1, "cpu")
    assert (network.steps, network.passes, facts["epochs"]) == (steps, epochs, epochs)


def test_the_focal_column_is_made_of_the_examples_own_hits(
    toy_task: Dataset, synthetic_corpus: Corpus
) -> None:
    examples = Matrices(toy_task, 40, synthetic_corpus, "cpu")
    rows = torch.tensor([5, 0, 77])
    codes, matrix, present = examples.batch(rows)
    assert np.array_equal(codes.numpy(), toy_task.codes[rows.numpy()])
    hits = toy_task.hits
    for place, row in enumerate(rows.tolist()):
        expected = np.zeros((40, 5), np.float32)
        for hit in range(*hits.offsets[row : row + 2]):
            expected[hits.motif[hit], 2] = hits.score[hit]
        for column, region in enumerate(toy_task.columns[row]):
            if region >= 0:
                expected[:, column] = synthetic_corpus.best[region] / 128
        np.testing.assert_array_equal(matrix[place].numpy(), expected)
        there = [region >= 0 or column == 2 for column, region in enumerate(toy_task.columns[row])]
        assert present[place].tolist() == there


def test_examples_without_columns_need_no_corpus(toy_task: Dataset, synthetic_corpus: Corpus) -> None:
    lone = dataclasses.replace(toy_task, columns=np.full_like(toy_task.columns, -1))
    rows = torch.arange(9)
    for with_corpus, without in zip(
        Matrices(lone, 40, synthetic_corpus, "cpu").batch(rows),
        Matrices(lone, 40, None, "cpu").batch(rows),
        strict=True,
    ):
        assert torch.equal(with_corpus, without)


@torch.no_grad()
def test_each_input_reads_its_own_modality(
    tiny_settings: ModelSettings, toy_task: Dataset, synthetic_corpus: Corpus
) -> None:
    codes, matrix, present = Matrices(toy_task, 40, synthetic_corpus, "cpu").batch(torch.arange(8))
    for inputs in INPUTS:
        torch.manual_seed(0)
        model = Classifier(backbone(tiny_settings), inputs, 2).eval()
        given = () if inputs == "sequence" else (matrix, present)
        logits = model(codes, *given)
        other_codes = model(3 - codes.flip(1).roll(3, 1), *given)
        assert torch.allclose(logits, other_codes) == (inputs == "region")
        if inputs != "sequence":
            assert not torch.allclose(logits, model(codes, matrix * 0.5, present))


@torch.no_grad()
@pytest.mark.parametrize("inputs", ["sequence", "both"])
def test_a_padded_sequence_is_judged_as_it_is_alone(
    tiny_settings: ModelSettings, randomise: Callable, inputs: str
) -> None:
    texts = ["ACGTTGCATGCCAT", "ACGTACNTTGCATCGATCGATTGCAAGCT", "TTT", "GATTACAGATTACA"]
    codes = torch.from_numpy(encode_all(texts))
    assert (codes == PADDING).any()
    model = randomise(Classifier(backbone(tiny_settings), inputs, 2))
    given = () if inputs == "sequence" else (torch.rand(4, 40, 5), torch.ones(4, 5, dtype=torch.bool))
    together = model(codes, *given)
    for row, text in enumerate(texts):
        own = [part[row : row + 1] for part in given]
        alone = model(torch.from_numpy(encode_all([text])), *own)
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_predictions_do_not_depend_on_the_order_of_examples(
    tiny_settings: ModelSettings, toy_task: Dataset, synthetic_corpus: Corpus, randomise: Callable
) -> None:
    model = randomise(Classifier(backbone(tiny_settings), "both", 2))
    examples = Matrices(toy_task, 40, synthetic_corpus, "cpu")
    order = np.random.default_rng(0).permutation(150)
    straight = probabilities(model, examples, np.arange(150), "cpu")
    np.testing.assert_allclose(probabilities(model, examples, order, "cpu"), straight[order], atol=1e-4)


def test_class_weights_balance_the_classes() -> None:
    labels = torch.tensor([0] * 6 + [1] * 2)
    weights = class_weights(labels, 2)
    assert weights.tolist() == pytest.approx([8 / 12, 2.0])
    assert (weights[labels][:6].sum() / weights[labels][6:].sum()).item() == pytest.approx(1)


def test_a_class_without_examples_gets_a_finite_weight() -> None:
    assert class_weights(torch.tensor([0, 0, 2]), 3).isfinite().all()


def test_the_made_up_task_is_balanced_in_every_split(toy_task: Dataset) -> None:
    shares = pd.Series(toy_task.labels).groupby(toy_task.table["split"]).mean()
    assert set(shares.index) == {"train", "validation", "test"}
    assert shares.between(0.4, 0.6).all()
