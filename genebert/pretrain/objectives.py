"""The objectives of pre-training, each as sums over a batch that can be added up and divided.

A part of a global batch is first prepared (what the encoders are shown, and what they are asked), then
run: what the losses are divided by is counted over the whole batch before the first part is run.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F

from genebert import counter_random
from genebert.config import Variant
from genebert.corpus.hits import BatchHits, PlacedHits
from genebert.corpus.sample import Batch, Views, reverse_complement
from genebert.model.genebert import GeneBERT
from genebert.pretrain import parallel
from genebert.pretrain.motif_target import motif_target
from genebert.sequence.masking import Aids, mask_tokens
from genebert.sequence.tokens import SPECIAL

_STREAM_REGION_MASK, _STREAM_SEGMENT = 32, 33


class Knowledge(NamedTuple):
    """What some strategies and objectives need to know beside the batch; None where not needed.

    Attributes
    ----------
    npmi
        float32 [vocabulary], see :class:`genebert.sequence.masking.Aids`.
    hits
        Motif hits of all regions.
    rate
        Probability of a hit to be masked (``motif``).
    pwm
        float32 [T, longest, 4], see :func:`genebert.pretrain.motif_target.motif_target`.
    """

    npmi: torch.Tensor | None = None
    hits: PlacedHits | None = None
    rate: float = 0.0
    pwm: torch.Tensor | None = None


class Prepared(NamedTuple):
    """A part of a batch, ready for the encoders.

    Attributes
    ----------
    focal
        int64 [B], region rows.
    codes
        uint8 [B, width], base codes.
    ids, shown
        int64 [B, L], tokens as they are and with spans hidden.
    asked
        int64 [N], places in the flattened tokens that are to be predicted.
    matrix
        float32 [B, T, R], standardised.
    present
        bool [B, R], columns that hold a region.
    blocks
        bool [B, *grid], blocks hidden from ``masked_region``; None where it is not pursued.
    hits
        Motif hits of the sequences; None where they are not needed.
    segments, contiguous
        int64 [B, L] and bool [B], pairs of segments and which are of one place (``next_segment``).
    """

    focal: torch.Tensor
    codes: torch.Tensor
    ids: torch.Tensor
    shown: torch.Tensor
    asked: torch.Tensor
    matrix: torch.Tensor
    present: torch.Tensor
    blocks: torch.Tensor | None
    hits: BatchHits | None
    segments: torch.Tensor | None
    contiguous: torch.Tensor | None


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


def prepare(
    model: GeneBERT,
    views: Views,
    batch: Batch,
    variant: Variant,
    strategy: str,
    knowledge: Knowledge,
    region_mask: float,
) -> Prepared:
    """Make of views what the encoders are shown and asked.

    Parameters
    ----------
    model
        Tokenises and standardises.
    views, batch
        Where more is drawn from, and what was drawn.
    variant
        Only what its objectives need is made.
    strategy
        Of masking, by name.
    knowledge
        What strategy and objectives need to know.
    region_mask
        Probability of a block of the matrix to be hidden from ``masked_region``.
    """
    ids = shown = model.tokenizer(batch.codes)
    asked = ids.new_empty(0)
    hits = None
    if knowledge.hits is not None:
        hits = knowledge.hits.of(batch.focal, batch.flipped, batch.codes.shape[1])
    if variant.masked_sequence:
        # Matching alone reads sequences as they are.
        spans = None if hits is None else (hits.start, hits.end)
        aids = Aids(knowledge.npmi, spans, knowledge.rate)
        shown, chosen = mask_tokens(strategy, ids, batch.keys, model.tokenizer.k, aids)
        asked = chosen.flatten().nonzero()[:, 0]
    segments = contiguous = None
    if variant.next_segment:
        segments, contiguous = pair_segments(model, views, batch)
    return Prepared(
        focal=batch.focal,
        codes=batch.codes,
        ids=ids,
        shown=shown,
        asked=asked,
        matrix=model.standardise(batch.matrix, batch.present),
        present=batch.present,
        blocks=hidden_blocks(model, batch, region_mask) if variant.masked_region else None,
        hits=hits,
        segments=segments,
        contiguous=contiguous,
    )


def cut(whole: Prepared, sizes: Sequence[int]) -> list[Prepared]:
    """Cut a prepared batch into parts of so many samples, in order."""
    length = whole.ids.shape[1]
    starts = torch.tensor([0, *sizes], device=whole.ids.device).cumsum(0)
    places = torch.searchsorted(whole.asked, starts * length).tolist()
    parts, first = [], 0
    for number, size in enumerate(sizes):
        rows = slice(first, first + size)
        hits, blocks, segments = whole.hits, whole.blocks, whole.segments
        parts.append(
            Prepared(
                focal=whole.focal[rows],
                codes=whole.codes[rows],
                ids=whole.ids[rows],
                shown=whole.shown[rows],
                asked=whole.asked[places[number] : places[number + 1]] - first * length,
                matrix=whole.matrix[rows],
                present=whole.present[rows],
                blocks=None if blocks is None else blocks[rows],
                hits=None if hits is None else BatchHits(*(values[rows] for values in hits)),
                segments=None if segments is None else segments[rows],
                contiguous=None if whole.contiguous is None else whole.contiguous[rows],
            )
        )
        first += size
    return parts


def hidden_blocks(model: GeneBERT, batch: Batch, fraction: float) -> torch.Tensor:
    """Draw which blocks of the matrices are hidden: bool [B, *grid]."""
    rows, columns = model.region_encoder.grid(*batch.matrix.shape[1:])
    draws = counter_random.uniform(batch.keys, _STREAM_REGION_MASK, rows * columns)
    return (draws < fraction).view(-1, rows, columns)


def pair_segments(model: GeneBERT, views: Views, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``[CLS] first half [SEP] second half [SEP]``; half of the second halves are a stranger's.

    Returns
    -------
    segments
        int64 [B, L].
    contiguous
        bool [B].
    """
    focal, codes = views.strangers(batch.keys)
    foreign = counter_random.uniform(batch.keys, _STREAM_SEGMENT, 1)[:, 0] < 0.5
    foreign &= focal != batch.focal
    # Both halves are read on one strand, or the strand would tell.
    codes = torch.where(batch.flipped[:, None], reverse_complement(codes), codes)
    half = batch.codes.shape[1] // 2
    first = model.tokenizer(batch.codes[:, :half])
    # One more special token than in a whole sequence: the last bases may have to go.
    room = model.settings.sequence.positions - first.shape[1] + model.tokenizer.k - 2
    second = torch.where(foreign[:, None], codes[:, half:], batch.codes[:, half:])[:, :room]
    return torch.cat([first, model.tokenizer(second)[:, 1:]], dim=1), ~foreign


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
        As :func:`prepare` got it.
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
