"""Bases that no visible token shows: what a network says of them, and how often it is right.

Overlapping k-mers give a masked token away through its neighbours; only a base that every token covering
it hides has to be predicted. Tokens are those of :class:`genebert.sequence.tokens.KmerTokenizer`.
"""

import torch
import torch.nn.functional as F

from genebert.sequence.tokens import MASK, PAD, SEP, SPECIAL, KmerTokenizer


def hidden_bases(shown: torch.Tensor, k: int) -> torch.Tensor:
    """Return bool [B, L + k − 3]: bases that every token covering them shows as ``[MASK]``.

    At the ends of a sequence fewer than k tokens cover a base; padding is covered by none, and not
    hidden.

    Parameters
    ----------
    shown
        int64 [B, L], token ids as the network sees them.
    k
        k-mer length in bp.
    """
    masked = shown[:, 1:-1] == MASK
    return _covered(masked, k) & ~_covered(_windows(shown) & ~masked, k)


def _windows(shown: torch.Tensor) -> torch.Tensor:
    """Return bool [B, L − 2]: which tokens, but the first and the last, stand for a window of bases."""
    tokens = shown[:, 1:-1]
    return (tokens != SEP) & (tokens != PAD)


def _covered(tokens: torch.Tensor, k: int) -> torch.Tensor:
    """Return bool [B, n + k − 1]: bases in any of the tokens bool [B, n]."""
    return F.pad(tokens, (k - 1, k - 1)).unfold(1, k, 1).any(-1)


def central_token(
    base: torch.Tensor, tokens: torch.Tensor | int, k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return which token speaks for a base, and where in that token the base stands.

    It is the token in whose middle the base stands, starting (k − 1) // 2 bases before it; at the ends
    of a sequence, the token nearest to that one.

    Parameters
    ----------
    base
        int64 of any shape, bp from the first base.
    tokens
        Number of k-mers in the sequence, broadcast to ``base``.
    k
        k-mer length in bp.

    Returns
    -------
    place
        int64, index of the token in the sequence's ids, where ``[CLS]`` is 0.
    offset
        int64 in [0, k), bp from the token's first base.
    """
    first = (base - (k - 1) // 2).clamp(min=0).clamp(max=tokens - 1)
    return first + 1, base - first


def base_probability(logits: torch.Tensor, offset: torch.Tensor, k: int) -> torch.Tensor:
    """Return float32 [N, 4], the probability of A, C, G, T at a place in each token.

    That of a base is the sum over the k-mers that have it there; special tokens are left out.

    Parameters
    ----------
    logits
        [N, vocabulary].
    offset
        int64 [N], bp from the token's first base.
    k
        k-mer length in bp.
    """
    number = len(logits)
    probability = logits[:, len(SPECIAL) :].float().softmax(1)
    # Sums over all bases but the one at each offset; k-mers are counted by their first base first.
    at_offset = [probability.view(number, 4**o, 4, 4 ** (k - 1 - o)).sum((1, 3)) for o in range(k)]
    of_digit = torch.stack(at_offset, 1)[torch.arange(number, device=logits.device), offset]
    bases = torch.arange(4, dtype=torch.uint8, device=logits.device)
    digit = KmerTokenizer(1)(bases[None])[0, 1:-1] - len(SPECIAL)
    return of_digit[:, digit]


def predicted_base(logits: torch.Tensor, offset: torch.Tensor, k: int) -> torch.Tensor:
    """Return int64 [N], the most probable base by :func:`base_probability`: 0 A, 1 C, 2 G, 3 T."""
    return base_probability(logits, offset, k).argmax(1)


def hidden_base_accuracy(
    logits: torch.Tensor, chosen: torch.Tensor, shown: torch.Tensor, codes: torch.Tensor, k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return how many fully hidden bases a network predicts right, and their number: int64 sums.

    For evaluation: the host waits to learn how many bases are hidden.

    Parameters
    ----------
    logits
        [N, vocabulary] of the N chosen tokens, row by row.
    chosen
        bool [B, L], tokens to predict: all that ``shown`` hides are among them.
    shown
        int64 [B, L], token ids as the network sees them.
    codes
        uint8 [B, L + k − 3], base codes.
    k
        k-mer length in bp.
    """
    sample, base = hidden_bases(shown, k).nonzero(as_tuple=True)
    place, offset = central_token(base, _windows(shown).sum(1)[sample], k)
    row = (chosen.flatten().cumsum(0) - 1).view_as(chosen)[sample, place]
    predicted = predicted_base(logits[row], offset, k)
    return (predicted == codes[sample, base]).sum(), torch.full((), len(sample), device=codes.device)
