"""Fine-tuning on a made-up task whose answer is planted in both modalities."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from genebert.benchmarks.dataset import Dataset
from genebert.benchmarks.finetune import Classifier, Examples, class_weights, finetune, predict
from genebert.config import Finetune
from genebert.config import Model as ModelSettings
from genebert.corpus.read import Corpus
from genebert.errors import GenebertError
from genebert.model.genebert import GeneBERT
from genebert.sequence.codes import PADDING, encode_all

INPUTS = ("sequence", "region", "both")


def backbone(settings: ModelSettings, seed: int = 0) -> GeneBERT:
    torch.manual_seed(seed)
    return GeneBERT(settings, 40)


def fit(
    settings: ModelSettings, inputs: str, dataset: Dataset, corpus: Corpus, **changes: object
) -> tuple[np.ndarray, dict[str, float]]:
    content = {"epochs": 8, "patience": 8, "batch_size": 16, "learning_rate": 5e-3} | changes
    seen = None if inputs == "sequence" else corpus
    return finetune(backbone(settings), inputs, dataset, seen, Finetune(**content), 1, "cpu")


def auroc(dataset: Dataset, probability: np.ndarray, split: str = "test") -> float:
    rows = dataset.in_split(split)
    return roc_auc_score(dataset.labels[rows], probability[rows, 1])


def relabelled(dataset: Dataset, labels: np.ndarray, splits: tuple[str, ...]) -> Dataset:
    table = dataset.table.copy()
    kept = ~table["split"].isin(splits).to_numpy()
    table["label"] = np.where(kept, dataset.labels, labels)
    return dataclasses.replace(dataset, table=table)


@pytest.mark.parametrize("inputs", INPUTS)
def test_the_planted_answer_is_learnt(
    tiny_settings: ModelSettings, toy_task: Dataset, synthetic_corpus: Corpus, inputs: str
) -> None:
    probability, facts = fit(tiny_settings, inputs, toy_task, synthetic_corpus)
    assert probability.shape == (len(toy_task.labels), 2)
    np.testing.assert_allclose(probability.sum(1), 1)
    assert auroc(toy_task, probability) > 0.9
    assert 1 <= facts["best_epoch"] <= facts["epochs"] <= 8


@pytest.mark.parametrize("inputs", INPUTS)
def test_shuffled_labels_teach_nothing(
    tiny_settings: ModelSettings, toy_task: Dataset, synthetic_corpus: Corpus, inputs: str
) -> None:
    found = []
    for seed in range(3, 6):
        labels = np.random.default_rng(seed).permutation(toy_task.labels)
        shuffled = relabelled(toy_task, labels, ("train", "validation"))
        probability, _ = fit(tiny_settings, inputs, shuffled, synthetic_corpus, epochs=3)
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
    beside = dataclasses.replace(
        toy_task,
        columns=regions,
        hit_offsets=np.zeros(number + 1, np.int64),
        hit_motif=np.zeros(0, np.int64),
        hit_score=np.zeros(0, np.float32),
    )
    probability, _ = fit(tiny_settings, "region", beside, synthetic_corpus)
    assert auroc(beside, probability) > 0.9


def test_test_examples_change_no_other_prediction(
    tiny_settings: ModelSettings, toy_task: Dataset, synthetic_corpus: Corpus
) -> None:
    table = toy_task.table.copy()
    test = toy_task.in_split("test")
    table.loc[test, "label"] = 1 - table.loc[test, "label"]
    codes = toy_task.codes.copy()
    codes[test] = 0
    other = dataclasses.replace(toy_task, table=table, codes=codes)
    first, _ = fit(tiny_settings, "both", toy_task, synthetic_corpus, epochs=1)
    second, _ = fit(tiny_settings, "both", other, synthetic_corpus, epochs=1)
    rest = np.setdiff1d(np.arange(len(codes)), test)
    # Batches of the last prediction differ in content, so that sums may round differently.
    np.testing.assert_allclose(first[rest], second[rest], atol=1e-6)
    assert not np.allclose(first[test], second[test])


def test_training_that_diverges_gives_no_result(
    toy_task: Dataset, synthetic_corpus: Corpus, tiny_settings: ModelSettings
) -> None:
    with pytest.raises(GenebertError, match="fine-tuning is not finite at step"):
        fit(tiny_settings, "sequence", toy_task, synthetic_corpus, learning_rate=1e30)


def test_the_same_seed_gives_the_same_predictions(
    tiny_settings: ModelSettings, toy_task: Dataset, synthetic_corpus: Corpus
) -> None:
    first, second = (
        fit(tiny_settings, "both", toy_task, synthetic_corpus, epochs=1)[0] for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


def test_patience_ends_training_and_the_best_epoch_is_kept(
    tiny_settings: ModelSettings, toy_task: Dataset, synthetic_corpus: Corpus
) -> None:
    # What is learnt in training is wrong in validation: the loss there rises from the start.
    wrong = relabelled(toy_task, 1 - toy_task.labels, ("validation",))
    changes = {"epochs": 8, "patience": 1}
    probability, facts = fit(tiny_settings, "sequence", wrong, synthetic_corpus, **changes)
    assert facts["epochs"] < 8
    assert facts["best_epoch"] == facts["epochs"] - 1
    rows = wrong.in_split("validation")
    training = wrong.labels[wrong.in_split("train")]
    weight = len(training) / (2 * np.bincount(training))[wrong.labels[rows]]
    loss = -np.log(probability[rows, wrong.labels[rows]])
    assert facts["validation_loss"] == pytest.approx(np.average(loss, weights=weight), rel=1e-4)


def test_the_focal_column_is_made_of_the_examples_own_hits(
    toy_task: Dataset, synthetic_corpus: Corpus
) -> None:
    examples = Examples(toy_task, synthetic_corpus, "cpu")
    rows = torch.tensor([5, 0, 77])
    codes, matrix, present = examples.batch(rows)
    assert matrix is not None
    assert present is not None
    assert np.array_equal(codes.numpy(), toy_task.codes[rows.numpy()])
    for place, row in enumerate(rows.tolist()):
        expected = np.zeros((40, 5), np.float32)
        for hit in range(*toy_task.hit_offsets[row : row + 2]):
            expected[toy_task.hit_motif[hit], 2] = toy_task.hit_score[hit]
        for column, region in enumerate(toy_task.columns[row]):
            if region >= 0:
                expected[:, column] = synthetic_corpus.best[region] / 128
        np.testing.assert_array_equal(matrix[place].numpy(), expected)
        there = [region >= 0 or column == 2 for column, region in enumerate(toy_task.columns[row])]
        assert present[place].tolist() == there


def test_a_sequence_model_is_given_no_matrix(toy_task: Dataset, synthetic_corpus: Corpus) -> None:
    _, matrix, present = Examples(toy_task, None, "cpu").batch(torch.arange(3))
    assert matrix is None
    assert present is None


@torch.no_grad()
def test_each_input_reads_its_own_modality(
    tiny_settings: ModelSettings, toy_task: Dataset, synthetic_corpus: Corpus
) -> None:
    codes, matrix, present = Examples(toy_task, synthetic_corpus, "cpu").batch(torch.arange(8))
    assert matrix is not None
    for inputs in INPUTS:
        torch.manual_seed(0)
        model = Classifier(backbone(tiny_settings), inputs, 2).eval()
        given = (None, None) if inputs == "sequence" else (matrix, present)
        logits = model(codes, *given)
        other_codes = model(3 - codes.flip(1).roll(3, 1), *given)
        assert torch.allclose(logits, other_codes) == (inputs == "region")
        if inputs != "sequence":
            assert not torch.allclose(logits, model(codes, matrix * 0.5, present))


@torch.no_grad()
@pytest.mark.parametrize("inputs", ["sequence", "both"])
def test_a_padded_sequence_is_judged_as_it_is_alone(
    tiny_settings: ModelSettings,
    synthetic_corpus: Corpus,
    randomise: Callable,
    inputs: str,
) -> None:
    texts = ["ACGTTGCATGCCAT", "ACGTACNTTGCATCGATCGATTGCAAGCT", "TTT", "GATTACAGATTACA"]
    codes = torch.from_numpy(encode_all(texts))
    assert (codes == PADDING).any()
    model = randomise(Classifier(backbone(tiny_settings), inputs, 2))
    matrix, present = torch.rand(4, 40, 5), torch.ones(4, 5, dtype=torch.bool)
    given = (None, None) if inputs == "sequence" else (matrix, present)
    together = model(codes, *given)
    for row, text in enumerate(texts):
        own = [None if part is None else part[row : row + 1] for part in given]
        alone = model(torch.from_numpy(encode_all([text])), *own)
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_predictions_do_not_depend_on_the_order_of_examples(
    tiny_settings: ModelSettings, toy_task: Dataset, synthetic_corpus: Corpus, randomise: Callable
) -> None:
    model = randomise(Classifier(backbone(tiny_settings), "both", 2))
    examples = Examples(toy_task, synthetic_corpus, "cpu")
    order = torch.randperm(150, generator=torch.Generator().manual_seed(0))
    straight = predict(model, examples, torch.arange(150))
    torch.testing.assert_close(predict(model, examples, order), straight[order], atol=1e-4, rtol=1e-4)


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
