"""Fine-tuning: one protocol for every pre-trained model and task."""

import copy
import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from genebert.benchmarks.dataset import Dataset
from genebert.config import Finetune as Settings
from genebert.config import Inputs
from genebert.corpus.read import Corpus
from genebert.corpus.sample import Rows, matrices
from genebert.devices import use_threads
from genebert.errors import GenebertError
from genebert.model.genebert import GeneBERT
from genebert.model.heads import ClassHead
from genebert.pretrain.schedule import adamw, learning_rate, set_rate
from genebert.progress import Progress
from genebert.sequence.codes import PADDING

WARMUP = 0.1
EVALUATION_BATCH = 64


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
        width = 0
        if inputs != "region":
            width += backbone.sequence_width
        if inputs != "sequence":
            width += backbone.region_width
        self.head = ClassHead(width, classes)

    def forward(
        self, codes: torch.Tensor, matrix: torch.Tensor | None, present: torch.Tensor | None
    ) -> torch.Tensor:
        """Return logits [B, classes]; ``matrix`` and ``present`` are unused for ``sequence``."""
        features = []
        if self.inputs != "region":
            padded = bool((codes == PADDING).any())
            mask = self.backbone.tokenizer(codes) != 0 if padded else None
            features.append(self.backbone.sequence_features(codes, mask))
        if matrix is not None and present is not None:
            features.append(self.backbone.region_features(matrix, present))
        return self.head(torch.cat(features, dim=-1))


class Examples:
    """A dataset as tensors on a device, from which batches are cut: without a corpus, no matrices."""

    def __init__(self, dataset: Dataset, corpus: Corpus | None, device: str) -> None:
        self.device = device
        self.labels = torch.from_numpy(dataset.labels).to(device)
        self._codes = torch.from_numpy(dataset.codes).to(device)
        self._columns = torch.from_numpy(dataset.columns).to(device)
        self._rows: tuple[Rows, Rows] | None = None
        if corpus is not None:
            own = dataset.best(len(corpus.metadata.motifs))
            self._rows = Rows(corpus.best, device), Rows(own, device)

    def batch(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """Return codes, matrices and present columns of rows int64 [B].

        The focal column is made from the example's own sequence, the others are catalogue regions.
        """
        codes = self._codes[rows]
        if self._rows is None:
            return codes, None, None
        neighbours, own = self._rows
        columns = self._columns[rows]
        focal = columns.shape[1] // 2
        matrix = matrices(neighbours, columns)
        matrix[:, :, focal] = matrices(own, rows[:, None])[:, :, 0]
        present = columns >= 0
        present[:, focal] = True
        return codes, matrix, present


def finetune(
    backbone: GeneBERT,
    inputs: Inputs,
    dataset: Dataset,
    corpus: Corpus | None,
    settings: Settings,
    seed: int,
    device: str,
) -> tuple[np.ndarray, dict[str, float]]:
    """Fine-tune all weights, keep the epoch of the best validation loss, predict every example.

    The test split is read once, by the final prediction. The corpus is None for ``sequence``.

    Returns
    -------
    probability
        float64 [n, classes].
    facts
        Epochs run, the best one, its validation loss.
    """
    assert (corpus is None) == (inputs == "sequence")
    use_threads(settings.threads, device)
    examples = Examples(dataset, corpus, device)
    torch.manual_seed(seed)
    model = Classifier(backbone, inputs, len(dataset.classes)).to(device)
    train = torch.from_numpy(dataset.in_split("train")).to(device)
    validation = torch.from_numpy(dataset.in_split("validation")).to(device)
    weights = class_weights(examples.labels[train], len(dataset.classes))
    optimiser = adamw(model, settings.learning_rate, settings.weight_decay)
    batches = -(-len(train) // settings.batch_size)
    steps = settings.epochs * batches
    shuffle = torch.Generator().manual_seed(seed)

    best_loss, best_epoch, best_state = float("inf"), 0, copy.deepcopy(model.state_dict())
    progress = iter(Progress(range(steps), "fine-tuning"))
    for epoch in range(1, settings.epochs + 1):
        model.train()
        order = train[torch.randperm(len(train), generator=shuffle).to(device)]
        for rows, step in zip(order.split(settings.batch_size), progress, strict=False):
            rate = learning_rate(step, steps, int(WARMUP * steps), settings.learning_rate)
            set_rate(optimiser, rate)
            with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=device != "cpu"):
                logits = model(*examples.batch(rows))
            loss = F.cross_entropy(logits.float(), examples.labels[rows], weight=weights)
            _check_finite(loss, step)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
        logits = predict(model, examples, validation)
        loss = F.cross_entropy(logits, examples.labels[validation], weight=weights)
        _check_finite(loss, epoch * batches)
        held_out = float(loss)
        print(f"epoch {epoch}: validation loss {held_out:.4f}", file=sys.stderr, flush=True)
        if held_out < best_loss:
            best_loss, best_epoch, best_state = held_out, epoch, copy.deepcopy(model.state_dict())
        elif epoch - best_epoch >= settings.patience:
            break
    model.load_state_dict(best_state)
    everything = torch.arange(len(examples.labels), device=device)
    probability = predict(model, examples, everything).double().softmax(-1).cpu().numpy()
    return probability, {"epochs": epoch, "best_epoch": best_epoch, "validation_loss": best_loss}


def _check_finite(loss: torch.Tensor, step: int) -> None:
    if not torch.isfinite(loss):
        raise GenebertError(
            f"the loss of fine-tuning is not finite at step {step}",
            "lower benchmarks.finetune.learning_rate",
        )


@torch.no_grad()
def predict(model: Classifier, examples: Examples, rows: torch.Tensor) -> torch.Tensor:
    """Return logits float32 [len(rows), classes]."""
    model.eval()
    parts = [model(*examples.batch(part)).float() for part in rows.split(EVALUATION_BATCH)]
    return torch.cat(parts)


def class_weights(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Return float32 [classes], inverse to their frequency among training labels."""
    counts = torch.bincount(labels, minlength=classes).clamp(min=1)
    return len(labels) / (classes * counts.float())
