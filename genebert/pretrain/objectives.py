"""The objectives of pre-training, each as sums over a batch that can be added up and divided."""

from typing import NamedTuple

import torch
import torch.nn.functional as F

from genebert import counter_random
from genebert.config import Variant
from genebert.corpus.sample import Batch
from genebert.model.genebert import GeneBERT
from genebert.sequence.masking import random_span

OBJECTIVES = ("masked_sequence", "masked_region", "matching")
_STREAM_REGION_MASK = 32


class Outcome(NamedTuple):
    """What one objective made of a batch; sums, so that outcomes of batches can be added.

    Attributes
    ----------
    loss
        Summed loss, with gradients.
    number
        What the loss is divided by: tokens, cells or samples.
    score
        Sum whose meaning differs: tokens right, squared deviation of the targets from the mean of
        their motif, sequences matched right.
    chance
        Expected ``score`` of guessing (matching only).
    """

    loss: torch.Tensor
    number: torch.Tensor
    score: torch.Tensor
    chance: torch.Tensor


def run_objectives(
    model: GeneBERT, batch: Batch, variant: Variant, region_mask: float, group: int
) -> dict[str, Outcome]:
    """Run each objective that the variant weighs, each encoder once.

    Parameters
    ----------
    model
        In its current mode.
    batch
        Views; its size is a multiple of ``group``.
    variant
        Objectives with a weight above zero are run.
    region_mask
        Probability of a block of the matrix to be hidden from ``masked_region``.
    group
        Consecutive samples among which ``matching`` finds the right pair.
    """
    outcomes: dict[str, Outcome] = {}
    if variant.masked_sequence or variant.matching:
        ids = model.tokenizer(batch.codes)
        # Matching alone reads sequences as they are.
        masked = random_span(ids, batch.keys, model.tokenizer.k)
        shown = masked.ids if variant.masked_sequence else ids
        hidden = model.sequence_encoder(shown)
        if variant.masked_sequence:
            outcomes["masked_sequence"] = masked_sequence(model, hidden, ids, masked.chosen)
    if variant.masked_region or variant.matching:
        matrix = model.standardise(batch.matrix, batch.present)
        blocks = hidden_blocks(model, batch, region_mask) if variant.masked_region else None
        encoded, valid = model.region_encoder(matrix, batch.present, blocks)
        if blocks is not None:
            outcomes["masked_region"] = masked_region(model, encoded, matrix, batch.present, blocks)
    if variant.matching:
        sequence = model.pool_sequence(hidden, ids)
        region = model.pool_region(encoded, valid, matrix[:, :, matrix.shape[2] // 2])
        outcomes["matching"] = matching(model, sequence, region, batch.focal, group)
    return outcomes


def masked_sequence(
    model: GeneBERT, hidden: torch.Tensor, ids: torch.Tensor, chosen: torch.Tensor
) -> Outcome:
    """Cross-entropy of the hidden tokens; logits are made for those only."""
    truth = ids[chosen]
    logits = model.masked_sequence_head(hidden[chosen], model.sequence_encoder.token.weight)
    loss = F.cross_entropy(logits.float(), truth, reduction="sum")
    right = (logits.argmax(-1) == truth).sum()
    return Outcome(loss, chosen.sum(), right, torch.zeros_like(right))


def hidden_blocks(model: GeneBERT, batch: Batch, fraction: float) -> torch.Tensor:
    """Draw which blocks of the matrices are hidden: bool [B, *grid]."""
    rows, columns = model.region_encoder.grid(*batch.matrix.shape[1:])
    draws = counter_random.uniform(batch.keys, _STREAM_REGION_MASK, rows * columns)
    return (draws < fraction).view(-1, rows, columns)


def masked_region(
    model: GeneBERT,
    encoded: torch.Tensor,
    matrix: torch.Tensor,
    present: torch.Tensor,
    blocks: torch.Tensor,
) -> Outcome:
    """Squared error over the hidden cells of present columns, in standard deviations of the motif."""
    _, motifs, columns = matrix.shape
    predicted = model.masked_region_head(encoded, motifs, columns).float()
    down, right = model.region_encoder.block
    cells = blocks.repeat_interleave(down, 1)[:, :motifs]
    cells = cells.repeat_interleave(right, 2)[:, :, :columns] & present[:, None]
    loss = ((predicted - matrix) ** 2 * cells).sum()
    spread = (matrix**2 * cells).sum()
    return Outcome(loss, cells.sum(), spread, torch.zeros_like(spread))


def matching(
    model: GeneBERT,
    sequence: torch.Tensor,
    region: torch.Tensor,
    focal: torch.Tensor,
    group: int,
) -> Outcome:
    """Symmetric InfoNCE within groups; other samples of the same focal region are no negatives.

    Regions of a catalogue do not overlap: focal regions overlap only where they are the same.
    """
    focal = focal.view(-1, group)
    similarity = model.similarity(
        sequence.view(-1, group, sequence.shape[1]), region.view(-1, group, region.shape[1])
    ).float()
    diagonal = torch.eye(group, dtype=torch.bool, device=focal.device)
    same = (focal[:, :, None] == focal[:, None, :]) & ~diagonal
    similarity = similarity.masked_fill(same, float("-inf"))
    truth = torch.arange(group, device=focal.device).expand(len(focal), -1)
    loss = 0.5 * (
        F.cross_entropy(similarity.transpose(1, 2), truth, reduction="sum")
        + F.cross_entropy(similarity, truth, reduction="sum")
    )
    right = (similarity.argmax(2) == truth).sum()
    chance = (1.0 / (~same).sum(2)).sum()
    return Outcome(loss, torch.tensor(focal.numel(), device=focal.device), right, chance)


def total_loss(outcomes: dict[str, Outcome], variant: Variant) -> torch.Tensor:
    """Return the weighted sum of the mean losses."""
    terms = [
        getattr(variant, name) * outcome.loss / outcome.number.clamp(min=1)
        for name, outcome in outcomes.items()
    ]
    return torch.stack(terms).sum()


def readable(name: str, outcome: Outcome) -> dict[str, float]:
    """Return what a person can judge an objective by."""
    loss, number = float(outcome.loss), max(float(outcome.number), 1.0)
    score, chance = float(outcome.score), float(outcome.chance)
    figures = {f"{name}_loss": loss / number}
    if name == "masked_sequence":
        figures["masked_sequence_accuracy"] = score / number
        figures["masked_sequence_perplexity"] = float(torch.tensor(loss / number).exp())
    elif name == "masked_region":
        figures["masked_region_r2"] = 1 - loss / score if score > 0 else float("nan")
    else:
        figures["matching_top1"] = score / number
        figures["matching_chance"] = chance / number
    return figures


def add(outcome: Outcome, sums: Outcome | None) -> Outcome:
    """Return a batch's sums, without gradients, added to those so far."""
    if sums is None:
        return Outcome(*(value.detach() for value in outcome))
    return Outcome(*(a.detach() + b for a, b in zip(outcome, sums, strict=True)))
