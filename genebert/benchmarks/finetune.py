"""Fine-tuning: one protocol for every network and task.

Each learning rate of the grid is a trial of the same budget, seed and shuffles; AdamW with warm-up and
cosine decay, weights that balance the classes, early stopping. The validation loss, and nothing else,
chooses epoch and trial; the test split is read once, after that.
"""

import copy
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from genebert.benchmarks.dataset import Dataset
from genebert.benchmarks.examples import EVALUATION_BATCH, Examples
from genebert.config import Finetune as Settings
from genebert.config import Inputs
from genebert.embed import feature_width, pooled_features
from genebert.errors import GenebertError
from genebert.model.genebert import GeneBERT
from genebert.model.heads import ClassHead
from genebert.pretrain.schedule import adamw, learning_rate, set_rate
from genebert.progress import Progress

WARMUP = 0.1


class Classifier(nn.Module):
    """Pooled features of one or both encoders, joined, and a class head.

    Parameters
    ----------
    backbone
        Pre-trained or not.
    inputs
        ``sequence``, ``region`` or ``both``.
    classes
        Number of classes.
    """

    def __init__(self, backbone: GeneBERT, inputs: Inputs, classes: int) -> None:
        super().__init__()
        self.backbone, self.inputs = backbone, inputs
        self.head = ClassHead(feature_width(backbone, inputs), classes)

    def forward(
        self,
        codes: torch.Tensor,
        matrix: torch.Tensor | None = None,
        present: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return logits [B, classes]; ``matrix`` and ``present`` are unused for ``sequence``."""
        return self.head(pooled_features(self.backbone, self.inputs, codes, matrix, present))


@dataclass(frozen=True)
class _Data:
    """What a trial learns from: examples; rows, labels and class weights of the splits it may see."""

    examples: Examples
    train: torch.Tensor
    train_labels: torch.Tensor
    validation: torch.Tensor
    validation_labels: torch.Tensor
    weights: torch.Tensor
    validation_weights: torch.Tensor


@dataclass(frozen=True)
class _Trial:
    """How a trial went; no state where its loss was not finite."""

    facts: dict[str, Any]
    loss: float
    state: dict[str, torch.Tensor] | None


def fit(
    make_network: Callable[[], nn.Module],
    examples: Examples,
    dataset: Dataset,
    settings: Settings,
    seed: int,
    device: str,
) -> tuple[nn.Module, dict[str, Any]]:
    """Fit a network by the protocol; return it with the best weights of all trials, and how it went.

    Parameters
    ----------
    make_network
        Makes the network anew, on the CPU, its random weights drawn by torch's global generator; its
        logits [B, classes] are of the arguments that ``examples`` give.
    examples
        What it sees of the dataset.
    dataset
        Of which only the rows of training and validation are used.
    settings
        Of the protocol.
    seed
        Of weights, dropout and shuffles, the same in each trial.
    device
        To compute on.

    Returns
    -------
    network
        In evaluation mode, on the device.
    facts
        ``learning_rate``, ``epochs`` run, the ``best_epoch``, its ``validation_loss``; and ``trials``,
        the same of each one. The loss of a trial that diverged is None.

    Raises
    ------
    GenebertError
        If the loss is finite in no trial.
    """
    data = _data_of(dataset, examples, device)
    trials: list[dict[str, Any]] = []
    best: _Trial | None = None
    network = None
    for rate in settings.learning_rates:
        torch.manual_seed(seed)
        network = make_network().to(device)
        trial = _run_trial(network, data, settings, rate, seed)
        trials.append(trial.facts)
        if trial.state is not None and (best is None or trial.loss < best.loss):
            best = trial
    if network is None or best is None or best.state is None:
        raise GenebertError(
            "the validation loss of fine-tuning is not finite at any learning rate",
            "lower benchmarks.finetune.learning_rates",
        )
    network.load_state_dict(best.state)
    return network.eval(), {**best.facts, "trials": trials}


def _data_of(dataset: Dataset, examples: Examples, device: str) -> _Data:
    train, validation = dataset.in_split("train"), dataset.in_split("validation")
    labels, held_out = (
        torch.from_numpy(dataset.labels[rows]).to(device) for rows in (train, validation)
    )
    return _Data(
        examples,
        train=torch.from_numpy(train).to(device),
        train_labels=labels,
        validation=torch.from_numpy(validation).to(device),
        validation_labels=held_out,
        weights=class_weights(labels, len(dataset.classes)),
        # Its own: class shares may differ between splits, and a choice lean to the commoner one.
        validation_weights=class_weights(held_out, len(dataset.classes)),
    )


def _run_trial(network: nn.Module, data: _Data, settings: Settings, peak: float, seed: int) -> _Trial:
    """Train, and keep the state of the epoch with the best validation loss.

    Validation is also read where ``max_steps`` ends an epoch before its time.
    """
    optimiser = adamw(network, peak, settings.weight_decay)
    batches = -(-len(data.train) // settings.batch_size)
    steps = min(settings.epochs * batches, settings.max_steps or sys.maxsize)
    shuffle = torch.Generator().manual_seed(seed)
    best_loss, best_epoch, best_state = float("inf"), 0, None
    progress = Progress(range(steps), f"fine-tuning at {peak:g}")
    numbers = iter(progress)
    for epoch in range(1, -(-steps // batches) + 1):
        network.train()
        order = torch.randperm(len(data.train), generator=shuffle).to(data.train.device)
        # The steps come first: where they end, no batch is taken from the iterator for nothing.
        for places, step in zip(order.split(settings.batch_size), numbers, strict=False):
            set_rate(optimiser, learning_rate(step, steps, int(WARMUP * steps), peak))
            logits = network(*data.examples.batch(data.train[places]))
            loss = F.cross_entropy(logits.float(), data.train_labels[places], weight=data.weights)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
        held_out = _validation_loss(network, data)
        progress.note(f"epoch {epoch}, validation loss {held_out:.4f}")
        if not np.isfinite(held_out):
            # Weights that are no numbers stay so.
            return _Trial(_facts(peak, epoch, None, None), held_out, None)
        if held_out < best_loss:
            best_loss, best_epoch = held_out, epoch
            best_state = copy.deepcopy(network.state_dict())
        elif epoch - best_epoch >= settings.patience:
            break
    return _Trial(_facts(peak, epoch, best_epoch, best_loss), best_loss, best_state)


def _facts(rate: float, epochs: int, best_epoch: int | None, loss: float | None) -> dict[str, Any]:
    return {
        "learning_rate": rate,
        "epochs": epochs,
        "best_epoch": best_epoch,
        "validation_loss": loss,
    }


@torch.no_grad()
def _validation_loss(network: nn.Module, data: _Data) -> float:
    network.eval()
    parts = data.validation.split(EVALUATION_BATCH)
    logits = torch.cat([network(*data.examples.batch(part)).float() for part in parts])
    return float(F.cross_entropy(logits, data.validation_labels, weight=data.validation_weights))


def class_weights(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Return float32 [classes], inverse to their frequency among labels of a split."""
    counts = torch.bincount(labels, minlength=classes).clamp(min=1)
    return len(labels) / (classes * counts.float())
