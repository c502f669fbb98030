"""Networks from scratch: what they see, and that they learn a planted word by the protocol."""

import dataclasses
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from genebert.benchmarks.baselines.networks import NETWORKS, Cdil, Cnn, DeePromoter, one_hot
from genebert.benchmarks.dataset import Dataset
from genebert.benchmarks.examples import Sequences, probabilities
from genebert.benchmarks.finetune import fit
from genebert.config import Finetune
from genebert.sequence.codes import encode_all

NAMES = tuple(NETWORKS)


@pytest.fixture(scope="module")
def word_task(toy_task: Dataset) -> Dataset:
    """480 examples of the made-up task's kind, the word twice: from scratch much is needed."""
    rng = np.random.default_rng(3)
    number, width = 480, 40
    labels = rng.permutation(np.arange(number) % 2)
    codes = rng.integers(0, 4, (number, width)).astype(np.uint8)
    for row in np.flatnonzero(labels):
        for place in (rng.integers(0, 13), rng.integers(20, 33)):
            codes[row, place : place + 7] = [2, 0, 3, 3, 0, 1, 0]
    table = toy_task.table.iloc[np.arange(number) % len(toy_task.table)].reset_index(drop=True)
    split = np.repeat(["train", "validation", "test"], [320, 40, 120])
    return dataclasses.replace(toy_task, table=table.assign(label=labels, split=split), codes=codes)


def fit_and_score(name: str, dataset: Dataset, **changes: object) -> float:
    content = {"epochs": 5, "patience": 5, "batch_size": 20, "learning_rates": [4e-3]} | changes
    examples = Sequences(dataset.codes, "cpu")
    make = partial(NETWORKS[name], dataset.codes.shape[1], 2)
    network, _ = fit(make, examples, dataset, Finetune(**content), 1, "cpu")
    rows = dataset.in_split("test")
    return roc_auc_score(dataset.labels[rows], probabilities(network, examples, rows, "cpu")[:, 1])


def test_one_hot_is_one_row_a_base_and_zeros_for_the_rest() -> None:
    found = one_hot(torch.from_numpy(encode_all(["ACGTN", "TT"])))
    expected = torch.zeros(2, 4, 5)
    for base in range(4):
        expected[0, base, base] = 1
    expected[1, 3, :2] = 1
    assert torch.equal(found, expected)


@pytest.mark.parametrize("name", NAMES)
def test_a_planted_word_is_found(word_task: Dataset, name: str) -> None:
    assert fit_and_score(name, word_task) > 0.9


@pytest.mark.parametrize("name", NAMES)
def test_shuffled_labels_teach_nothing(word_task: Dataset, name: str) -> None:
    """In all splits: only who sees the labels of the test split could rank its examples."""
    labels = np.random.default_rng(0).permutation(word_task.labels)
    shuffled = dataclasses.replace(word_task, table=word_task.table.assign(label=labels))
    assert fit_and_score(name, shuffled, epochs=2) == pytest.approx(0.5, abs=0.15)


@torch.no_grad()
@pytest.mark.parametrize("length", [6, 31, 32, 100, 300])
@pytest.mark.parametrize("name", NAMES)
def test_any_length_and_number_of_classes_will_do(name: str, length: int) -> None:
    codes = torch.randint(0, 6, (3, length), dtype=torch.uint8)
    logits = NETWORKS[name](length, 5).eval()(codes)
    assert logits.shape == (3, 5)
    assert logits.isfinite().all()


@torch.no_grad()
def test_a_convolution_judges_a_padded_sequence_as_it_is_alone(randomise: Callable) -> None:
    texts = ["ACGTTGCATGCCAT", "ACGTACNTTGCATCGATCGATTGCAAGCT", "TTT"]
    model = randomise(Cnn(29, 2))
    together = model(torch.from_numpy(encode_all(texts)))
    for row, text in enumerate(texts):
        alone = model(torch.from_numpy(encode_all([text])))
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("length", [7, 8, 40, 255, 256, 300])
def test_one_output_of_cdil_sees_the_whole_sequence(length: int) -> None:
    """By the gradient of one place's output, with signs such that nothing cancels."""
    model = Cdil(length, 2)
    with torch.no_grad():
        for layer in model.layers:
            layer.weight.abs_()
    seen = torch.zeros(1, model.enter.out_channels, length, requires_grad=True)
    x = seen
    for layer in model.layers:
        x = x + layer(x)
    x[0, :, length // 3].sum().backward()
    assert seen.grad is not None
    assert (seen.grad[0].abs().sum(0) > 0).all()


@torch.no_grad()
def test_cdil_is_circular(randomise: Callable) -> None:
    model = randomise(Cdil(50, 2))
    codes = torch.randint(0, 4, (4, 50), dtype=torch.uint8)
    torch.testing.assert_close(model(codes.roll(17, 1)), model(codes), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_deepromoter_sees_places_and_a_convolution_does_not(randomise: Callable) -> None:
    codes = torch.full((1, 480), 4, dtype=torch.uint8)
    codes[0, 200:207] = torch.tensor([2, 0, 3, 3, 0, 1, 0])
    moved = codes.roll(16, 1)
    for make, same in ((Cnn, True), (DeePromoter, False)):
        model = randomise(make(480, 2))
        assert torch.allclose(model(codes), model(moved), atol=1e-4) == same


def test_sizes_are_as_documented() -> None:
    def weights(model: nn.Module) -> int:
        return sum(own.numel() for own in model.parameters())

    model = Cdil(300, 2)
    assert len(model.layers) == 8
    assert weights(model) == pytest.approx(40_000, rel=0.05)
