"""Heads: what objectives and benchmarks read from the encoders."""

import torch
import torch.nn.functional as F
from torch import nn

from genebert.sequence.hidden_bases import central_token


class MaskedSequenceHead(nn.Module):
    """Hidden vectors -> token logits; the decoder is tied to the token embedding."""

    def __init__(self, width: int, vocabulary: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, hidden: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """Return [N, vocabulary] of the N vectors to predict, [N, width]."""
        return F.linear(self.norm(F.gelu(self.dense(hidden))), embedding, self.bias)


class MaskedRegionHead(nn.Module):
    """Encoded blocks -> the matrix cells they span."""

    def __init__(self, channels: int, block: tuple[int, int]) -> None:
        super().__init__()
        self.block = block
        self.cells = nn.Linear(channels, block[0] * block[1])

    def forward(self, encoded: torch.Tensor, motifs: int, columns: int) -> torch.Tensor:
        """Return [B, T, R] of blocks [B, rows, columns, channels]."""
        batch, rows, width, _ = encoded.shape
        cells = self.cells(encoded).view(batch, rows, width, *self.block)
        matrix = cells.transpose(2, 3).reshape(batch, rows * self.block[0], width * self.block[1])
        return matrix[:, :motifs, :columns]


class MotifTargetHead(nn.Module):
    """Hidden vectors -> logits of bases, and of the presence of motifs.

    Parameters
    ----------
    width
        Of a hidden vector.
    motifs
        T.
    """

    def __init__(self, width: int, motifs: int) -> None:
        super().__init__()
        self.base = nn.Linear(width, 4)
        self.presence = nn.Linear(width, motifs)

    def base_logits(self, hidden: torch.Tensor, k: int) -> torch.Tensor:
        """Return [B, L + k − 3, 4], bases A, C, G, T of vectors [B, L, width] of whole sequences.

        The token in whose middle a base stands speaks for it.
        """
        tokens = hidden.shape[1] - 2
        place, _ = central_token(torch.arange(tokens + k - 1, device=hidden.device), tokens, k)
        return self.base(hidden)[:, place]

    def presence_logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return [B, T] of vectors [B, L, width], from the mean of those of the k-mers."""
        return self.presence(hidden[:, 1:-1].mean(1))


class ClassHead(nn.Module):
    """Pooled features -> class logits, by one hidden layer."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.dense = nn.Linear(width, width)
        self.out = nn.Linear(width, classes)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return [B, classes] of [B, width]."""
        return self.out(F.gelu(self.dense(self.norm(features))))
