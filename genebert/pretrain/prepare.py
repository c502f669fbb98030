"""What is made of a batch before it is run: what the encoders are shown, and what they are asked."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from genebert import counter_random
from genebert.config import Variant
from genebert.corpus.hits import BatchHits, PlacedHits
from genebert.corpus.sample import Batch, Views, reverse_complement
from genebert.model.genebert import GeneBERT
from genebert.sequence.masking import Aids, mask_tokens

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
