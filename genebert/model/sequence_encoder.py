"""BERT over k-mer tokens (Devlin et al. 2019; DNABERT: Ji et al. 2021), without dropout."""

import torch
import torch.nn.functional as F
from torch import nn

from genebert.config import SequenceEncoder as Settings

EPSILON = 1e-12


class Block(nn.Module):
    """Self-attention and feed-forward, each with a residual; layer norm before or after them."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        width = settings.width
        self.heads, self.pre = settings.heads, settings.norm == "pre"
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width, eps=EPSILON)
        self.expand = nn.Linear(width, settings.feedforward)
        self.contract = nn.Linear(settings.feedforward, width)
        self.feedforward_norm = nn.LayerNorm(width, eps=EPSILON)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        if self.pre:
            x = x + self._attend(self.attention_norm(x), mask)
            return x + self._feedforward(self.feedforward_norm(x))
        x = self.attention_norm(x + self._attend(x, mask))
        return self.feedforward_norm(x + self._feedforward(x))

    def _attend(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        batch, length, width = x.shape
        # Split, not unbound: the gradients of the three are then joined by one copy.
        parts = self.qkv(x).split(width, dim=-1)
        q, k, v = (part.view(batch, length, self.heads, -1).transpose(1, 2) for part in parts)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(attended.transpose(1, 2).reshape(batch, length, width))

    def _feedforward(self, x: torch.Tensor) -> torch.Tensor:
        return self.contract(F.gelu(self.expand(x)))


class SequenceEncoder(nn.Module):
    """Token ids -> one vector a token.

    Parameters
    ----------
    settings
        Sizes; ``norm: post`` is BERT's own order, in which its checkpoints can be loaded.
    vocabulary
        Number of tokens.
    """

    def __init__(self, settings: Settings, vocabulary: int) -> None:
        super().__init__()
        self.token = nn.Embedding(vocabulary, settings.width)
        self.position = nn.Embedding(settings.positions, settings.width)
        self.blocks = nn.ModuleList(Block(settings) for _ in range(settings.layers))
        # After the embeddings in BERT's own order, after the last block with pre-norm.
        self.norm = nn.LayerNorm(settings.width, eps=EPSILON)
        self.pre = settings.norm == "pre"

    def forward(self, ids: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Encode.

        Parameters
        ----------
        ids
            int64 [B, L].
        mask
            bool [B, L], false at padding; None where there is no padding.

        Returns
        -------
        Tensor
            [B, L, width].
        """
        x = self.token(ids) + self.position.weight[: ids.shape[1]]
        attention_mask = None if mask is None else mask[:, None, None, :]
        if not self.pre:
            x = self.norm(x)
        for block in self.blocks:
            x = block(x, attention_mask)
        return self.norm(x) if self.pre else x
