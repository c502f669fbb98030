"""The objective `motif_target`: which bases a motif would have at its hits, and which motifs are there.

After MoDNA (An et al. 2022): from the vectors of a sequence a small head predicts, at every base of
every motif hit, the motif's base probabilities; a head of its own predicts which motifs have a hit.
"""

import torch
import torch.nn.functional as F

from genebert.corpus.hits import BatchHits
from genebert.model.heads import MotifTargetHead

# Of the four bases, a guess has one right.
_CHANCE = 0.25


def motif_target(
    head: MotifTargetHead, hidden: torch.Tensor, hits: BatchHits, pwm: torch.Tensor, k: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return loss, number, score, chance of a batch: sums over its samples, that can be added up.

    A sample's loss is the mean Kullback-Leibler divergence of the head's bases from the motif's, over
    the bases of all its hits (none: zero), plus the mean binary cross-entropy over all motifs of their
    presence.

    Parameters
    ----------
    head
        In its current mode.
    hidden
        [B, L, width] of sequences without padding.
    hits
        Of these sequences, as read.
    pwm
        float32 [T, longest, 4], of :func:`genebert.motifs.table.motif_probabilities`.
    k
        k-mer length in bp.

    Returns
    -------
    loss
        Float32 sum, with gradients.
    number
        int64, samples.
    score
        Sum of the samples' fractions of hit bases at which the head's likeliest base is the motif's.
    chance
        What guessing would score: 1/4 a sample with hits.
    """
    log_base = head.base_logits(hidden, k).float().log_softmax(-1)
    wanted, consensus, entropy, pairs = _base_targets(hits, pwm, log_base.shape[1])
    any_hit, pairs = pairs > 0, pairs.clamp(min=1)
    divergence = (-(wanted * log_base).sum((1, 2)) - entropy) / pairs

    logits = head.presence_logits(hidden).float()
    presence = F.binary_cross_entropy_with_logits(logits, _present(hits, logits), reduction="none")

    right = consensus.gather(2, log_base.argmax(-1, keepdim=True)).sum((1, 2)) / pairs
    return (
        divergence.sum() + presence.mean(1).sum(),
        torch.full((), len(hidden), device=hidden.device),
        right.sum(),
        _CHANCE * any_hit.sum(),
    )


def _base_targets(
    hits: BatchHits, pwm: torch.Tensor, bases: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Add up, over all hits, what motifs would have at each base of the sequences.

    The divergence at a base is linear in what is wanted there: the sum serves all hits at once.

    Returns
    -------
    wanted
        float32 [B, bases, 4], summed probabilities.
    consensus
        float32 [B, bases, 4], hits whose motif has this as its likeliest base.
    entropy
        float32 [B], in nat, summed over the bases of all hits.
    pairs
        int64 [B], bases of all hits.
    """
    samples, longest = len(hits.motif), pwm.shape[1]
    place = torch.arange(longest, device=pwm.device)
    width = (hits.end - hits.start)[..., None]
    inside = place < width  # [B, H, longest]; a hit that is none has no width
    minus = (hits.strand < 0)[..., None]
    column = torch.where(minus, width - 1 - place, place).clamp(min=0)
    wanted = pwm[hits.motif.clamp(min=0)[..., None], column]
    wanted = torch.where(minus[..., None], wanted.flip(-1), wanted) * inside[..., None]
    base = torch.where(inside, hits.start[..., None] + place, 0)
    base = base + bases * torch.arange(samples, device=pwm.device)[:, None, None]
    likeliest = base * 4 + wanted.argmax(-1)
    at_base = torch.zeros(samples * bases, 4, device=pwm.device)
    votes = torch.zeros(samples * bases * 4, device=pwm.device)
    return (
        at_base.index_add_(0, base.flatten(), wanted.reshape(-1, 4)).view(samples, bases, 4),
        votes.index_add_(0, likeliest.flatten(), inside.float().flatten()).view(samples, bases, 4),
        -torch.xlogy(wanted, wanted).sum((1, 2, 3)),
        inside.sum((1, 2)),
    )


def _present(hits: BatchHits, like: torch.Tensor) -> torch.Tensor:
    """Return [B, T] as ``like`` is: 1 for motifs that have a hit."""
    motifs = like.shape[1]
    present = like.new_zeros(len(like), motifs + 1)  # the last one is of hits that are none
    motif = torch.where(hits.motif < 0, motifs, hits.motif)
    return present.scatter_(1, motif, 1.0)[:, :motifs]
