"""The objectives of pre-training, each as sums over a batch that can be added up and divided.

What the losses are divided by is counted over the whole batch before the first prepared part is run.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F

from genebert.config import Variant
from genebert.model.genebert import GeneBERT
from genebert.pretrain import parallel
from genebert.pretrain.motif_target import motif_target
from genebert.pretrain.prepare import Knowledge, Prepared
from genebert.sequence.tokens import SPECIAL


class Outcome(NamedTuple):
    """What one objective made of a batch; sums, so that outcomes of batches can be added.

    Attributes
    ----------
    loss
        Summed loss, with gradients.
    number
        What the loss is divided by: tokens, cells or samples.
    score
        Tokens, sequences or segments right; 0 for ``masked_region``.
    reference
        What figures are held against: tokens that could have been hidden (``masked_sequence``), squared
        deviation of the targets from the mean of their motif (``masked_region``), else the expected
        score of guessing.
    """

    loss: torch.Tensor
    number: torch.Tensor
    score: torch.Tensor
    reference: torch.Tensor


def numbers(part: Prepared, variant: Variant) -> dict[str, torch.Tensor]:
    """Return what the summed loss of each objective is divided by: known before anything is run."""
    device = part.focal.device
    number = dict.fromkeys(variant.weights(), _on(device, len(part.focal)))
    if variant.masked_sequence:
        number["masked_sequence"] = _on(device, len(part.asked))
    if part.blocks is not None:
        number["masked_region"] = _cells(part).sum()
    return number


def _on(device: torch.device, number: int) -> torch.Tensor:
    # Filled there: a copy from the host would wait for all that the device has to do.
    return torch.full((), number, device=device)


def _cells(part: Prepared) -> torch.Tensor:
    """Return bool [B, T, R], cells of present columns in hidden blocks."""
    assert part.blocks is not None
    _, motifs, columns = part.matrix.shape
    rows, width = part.blocks.shape[1:]
    down, right = -(-motifs // rows), -(-columns // width)
    cells = part.blocks.repeat_interleave(down, 1)[:, :motifs]
    return cells.repeat_interleave(right, 2)[:, :, :columns] & part.present[:, None]


def run_objectives(
    model: GeneBERT, part: Prepared, variant: Variant, knowledge: Knowledge, group: int
) -> dict[str, Outcome]:
    """Run each objective that the variant weighs, each encoder once (``next_segment`` reads anew).

    Parameters
    ----------
    model
        In its current mode.
    part
        Views; there are a multiple of ``group``, in this process or in all of them together.
    variant
        Objectives with a weight above zero are run.
    knowledge
        As :func:`genebert.pretrain.prepare.prepare` got it.
    group
        Consecutive samples among which ``matching`` finds the right pair.
    """
    outcomes: dict[str, Outcome] = {}
    if variant.masked_sequence or variant.motif_target or variant.matching:
        hidden = model.sequence_encoder(part.shown)
        if variant.masked_sequence:
            outcomes["masked_sequence"] = masked_sequence(model, hidden, part)
        if variant.motif_target:
            assert part.hits is not None and knowledge.pwm is not None
            outcomes["motif_target"] = Outcome(
                *motif_target(
                    model.motif_target_head, hidden, part.hits, knowledge.pwm, model.tokenizer.k
                )
            )
    if variant.masked_region or variant.matching:
        encoded, valid = model.region_encoder(part.matrix, part.present, part.blocks)
        if variant.masked_region:
            outcomes["masked_region"] = masked_region(model, encoded, part)
    if variant.matching:
        sequence = model.pool_sequence(hidden, part.ids)
        region = model.pool_region(encoded, valid, part.matrix[:, :, part.matrix.shape[2] // 2])
        outcomes["matching"] = matching(model, sequence, region, part.focal, group)
    if variant.next_segment:
        outcomes["next_segment"] = next_segment(model, part)
    return outcomes


def masked_sequence(model: GeneBERT, hidden: torch.Tensor, part: Prepared) -> Outcome:
    """Cross-entropy of the hidden tokens; logits are made for those only."""
    truth = part.ids.flatten()[part.asked]
    logits = model.masked_sequence_head(
        hidden.flatten(0, 1).index_select(0, part.asked), model.sequence_encoder.token.weight
    )
    loss = F.cross_entropy(logits.float(), truth, reduction="sum")
    right = (logits.argmax(-1) == truth).sum()
    possible = (part.ids >= len(SPECIAL)).sum()
    return Outcome(loss, _on(truth.device, len(truth)), right, possible)


def masked_region(model: GeneBERT, encoded: torch.Tensor, part: Prepared) -> Outcome:
    """Squared error over the hidden cells of present columns, in standard deviations of the motif."""
    predicted = model.masked_region_head(encoded, *part.matrix.shape[1:]).float()
    cells = _cells(part)
    loss = ((predicted - part.matrix) ** 2 * cells).sum()
    spread = (part.matrix**2 * cells).sum()
    return Outcome(loss, cells.sum(), torch.zeros_like(spread), spread)


def matching(
    model: GeneBERT,
    sequence: torch.Tensor,
    region: torch.Tensor,
    focal: torch.Tensor,
    group: int,
) -> Outcome:
    """Symmetric InfoNCE within groups; other samples of the same focal region are no negatives.

    Regions of a catalogue do not overlap: focal regions overlap only where they are the same. A group
    that is larger than the part spans the parts of all processes: each counts its own samples.
    """
    own = slice(0, len(focal))
    if group > len(focal):
        own = slice(parallel.rank() * len(focal), (parallel.rank() + 1) * len(focal))
        sequence, region = parallel.gather(sequence), parallel.gather(region)
        focal = parallel.gather(focal)
    focal = focal.view(-1, group)
    similarity = model.similarity(
        sequence.view(-1, group, sequence.shape[1]), region.view(-1, group, region.shape[1])
    ).float()
    diagonal = torch.eye(group, dtype=torch.bool, device=focal.device)
    same = (focal[:, :, None] == focal[:, None, :]) & ~diagonal
    similarity = similarity.masked_fill(same, float("-inf"))
    truth = torch.arange(group, device=focal.device).expand(len(focal), -1)
    loss = 0.5 * (
        F.cross_entropy(similarity.transpose(1, 2), truth, reduction="none")
        + F.cross_entropy(similarity, truth, reduction="none")
    )
    right = similarity.argmax(2) == truth
    chance = 1.0 / (~same).sum(2)
    number = _on(focal.device, own.stop - own.start)
    return Outcome(
        loss.flatten()[own].sum(), number, right.flatten()[own].sum(), chance.flatten()[own].sum()
    )


def next_segment(model: GeneBERT, part: Prepared) -> Outcome:
    """Binary cross-entropy of whether two segments are of one place, read from ``[CLS]``."""
    assert part.segments is not None and part.contiguous is not None
    hidden = model.sequence_encoder(part.segments)[:, 0]
    logits = model.next_segment_head(hidden)[:, 0].float()
    loss = F.binary_cross_entropy_with_logits(logits, part.contiguous.float(), reduction="sum")
    right = ((logits > 0) == part.contiguous).sum()
    number = _on(logits.device, len(logits))
    return Outcome(loss, number, right, number / 2)


def weighted_loss(
    outcomes: dict[str, Outcome], counts: dict[str, torch.Tensor], variant: Variant
) -> torch.Tensor:
    """Return the weighted sum of the losses, each divided by its count over the global batch."""
    weights = variant.weights()
    return torch.stack(
        [weights[name] * out.loss / counts[name].clamp(min=1) for name, out in outcomes.items()]
    ).sum()


def readable(name: str, outcome: Outcome) -> dict[str, float]:
    """Return what a person can judge an objective by."""
    loss, number = float(outcome.loss), max(float(outcome.number), 1.0)
    score, reference = float(outcome.score), float(outcome.reference)
    figures = {f"{name}_loss": loss / number}
    if name == "masked_sequence":
        figures["masked_sequence_accuracy"] = score / number
        figures["masked_sequence_perplexity"] = _exp(loss / number)
        figures["masked_sequence_fraction"] = number / max(reference, 1.0)
    elif name == "masked_region":
        figures["masked_region_r2"] = 1 - loss / reference if reference > 0 else float("nan")
    elif name == "hidden_bases":
        return {"masked_sequence_base_accuracy": score / number}
    elif name == "matching_encoders":
        return {"matching_encoders_top1": score / number}
    elif name == "matching":
        figures["matching_top1"] = score / number
        figures["matching_chance"] = reference / number
    else:
        figures[f"{name}_accuracy"] = score / number
        figures[f"{name}_chance"] = reference / number
    return figures


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


def figures_of(outcomes: dict[str, Outcome]) -> dict[str, float]:
    """Return the readable figures of all objectives."""
    figures: dict[str, float] = {}
    for name, outcome in outcomes.items():
        figures |= readable(name, outcome)
    return figures


def add(outcome: Outcome, sums: Outcome | None) -> Outcome:
    """Return a batch's sums, in float64 and without gradients, added to those so far."""
    own = [value.detach().double() for value in outcome]
    if sums is None:
        return Outcome(*own)
    return Outcome(*(a + b for a, b in zip(own, sums, strict=True)))


def total(sums: dict[str, Outcome]) -> dict[str, Outcome]:
    """Return the sums of all processes."""
    if not sums:
        return {}
    flat = torch.stack([value for outcome in sums.values() for value in outcome])
    rows = parallel.total(flat).view(len(sums), -1)
    return {name: Outcome(*row) for name, row in zip(sums, rows, strict=True)}
