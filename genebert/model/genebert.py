"""GeneBERT: a sequence encoder, a region encoder, and the heads of pre-training."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from genebert.config import Model as Settings
from genebert.model.heads import MaskedRegionHead, MaskedSequenceHead
from genebert.model.region_encoder import RegionEncoder
from genebert.model.sequence_encoder import SequenceEncoder
from genebert.sequence.tokens import SPECIAL, KmerTokenizer

INITIAL_TEMPERATURE = 0.07


class GeneBERT(nn.Module):
    """The two-modality model.

    Parameters
    ----------
    settings
        Sizes.
    motifs
        T, rows of a matrix.
    """

    row_mean: torch.Tensor
    row_std: torch.Tensor

    def __init__(self, settings: Settings, motifs: int) -> None:
        super().__init__()
        self.settings, self.motifs = settings, motifs
        self.tokenizer = KmerTokenizer(settings.sequence.k)
        width = settings.sequence.width
        self.sequence_encoder = SequenceEncoder(settings.sequence, self.tokenizer.size)
        self.region_encoder = RegionEncoder(settings.region, motifs)
        channels = self.region_encoder.norm.normalized_shape[0]
        # The direct path: what the focal region itself holds need not pass through the windows.
        self.focal_path = nn.Linear(motifs, channels)
        self.masked_sequence_head = MaskedSequenceHead(width, self.tokenizer.size)
        self.masked_region_head = MaskedRegionHead(channels, self.region_encoder.block)
        self.sequence_projection = nn.Linear(width, settings.projection)
        self.region_projection = nn.Linear(channels, settings.projection)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / INITIAL_TEMPERATURE)))
        self.register_buffer("row_mean", torch.zeros(motifs))
        self.register_buffer("row_std", torch.ones(motifs))
        self.apply(_initialise)

    @property
    def sequence_width(self) -> int:
        """Size of the pooled sequence features."""
        return self.settings.sequence.width

    @property
    def region_width(self) -> int:
        """Size of the pooled region features."""
        return self.focal_path.out_features

    def standardise(self, matrix: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """Return [B, T, R] in standard deviations of each motif; zero in absent columns."""
        scaled = (matrix - self.row_mean[:, None]) / self.row_std[:, None]
        return scaled * present[:, None]

    def pool_sequence(self, hidden: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Return the mean hidden vector of the k-mer tokens, [B, width]."""
        kmers = (ids >= len(SPECIAL)) | (ids == SPECIAL.index("[MASK]"))
        weight = kmers / kmers.sum(1, keepdim=True).clamp(min=1)
        return torch.einsum("bl,blw->bw", weight.to(hidden.dtype), hidden)

    def pool_region(
        self, encoded: torch.Tensor, valid: torch.Tensor, focal: torch.Tensor
    ) -> torch.Tensor:
        """Return the mean encoded block plus the direct path of the focal column, [B, channels].

        ``focal`` is the standardised focal column [B, T].
        """
        weight = valid / valid.sum((1, 2), keepdim=True).clamp(min=1)
        pooled = torch.einsum("bhw,bhwc->bc", weight.to(encoded.dtype), encoded)
        return pooled + self.focal_path(focal)

    def sequence_features(
        self, codes: torch.Tensor, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return pooled features [B, width] of base codes uint8 [B, length].

        ``mask``, bool [B, tokens], is false at padding; None where there is none.
        """
        ids = self.tokenizer(codes)
        return self.pool_sequence(self.sequence_encoder(ids, mask), ids)

    def region_features(self, matrix: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """Return pooled features [B, channels] of matrices [B, T, R] as scattered."""
        scaled = self.standardise(matrix, present)
        encoded, valid = self.region_encoder(scaled, present)
        return self.pool_region(encoded, valid, scaled[:, :, scaled.shape[2] // 2])

    def similarity(self, sequence: torch.Tensor, region: torch.Tensor) -> torch.Tensor:
        """Return scaled cosine similarities [..., B, B] of pooled features [..., B, ·]."""
        left = F.normalize(self.sequence_projection(sequence), dim=-1)
        right = F.normalize(self.region_projection(region), dim=-1)
        return left @ right.transpose(-1, -2) * self.log_scale.exp().clamp(max=100)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding | nn.Conv2d):
        nn.init.trunc_normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear | nn.Conv2d) and module.bias is not None:
        nn.init.zeros_(module.bias)
