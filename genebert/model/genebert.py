"""GeneBERT: a sequence encoder, a region encoder, and the heads of pre-training."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from genebert.config import Model as Settings
from genebert.model.heads import MaskedRegionHead, MaskedSequenceHead, MotifTargetHead
from genebert.model.region_encoder import RegionEncoder
from genebert.model.sequence_encoder import SequenceEncoder
from genebert.sequence.tokens import SPECIAL, KmerTokenizer

INITIAL_TEMPERATURE = 0.2


class GeneBERT(nn.Module):
    """The two-modality model.

    Parameters
    ----------
    settings
        Sizes.
    motifs
        T, rows of a matrix.
    """

    composition_mean: torch.Tensor
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
        # Direct paths into the shared space: what a linear model would use (k-mer composition, the focal
        # column) need not pass through layers that have first to learn to hand it on.
        self.composition_path = nn.Linear(4**self.tokenizer.k, settings.projection, bias=False)
        self.focal_path = nn.Linear(motifs, settings.projection)
        self.masked_sequence_head = MaskedSequenceHead(width, self.tokenizer.size)
        self.masked_region_head = MaskedRegionHead(channels, self.region_encoder.block)
        self.sequence_projection = nn.Linear(width, settings.projection)
        self.region_projection = nn.Linear(channels, settings.projection)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / INITIAL_TEMPERATURE)))
        self.next_segment_head = nn.Linear(width, 1)
        self.motif_target_head = MotifTargetHead(width, motifs)
        self.register_buffer("composition_mean", torch.zeros(4**self.tokenizer.k))
        self.register_buffer("row_mean", torch.zeros(motifs))
        self.register_buffer("row_std", torch.ones(motifs))
        self.apply(_initialise)

    @property
    def sequence_width(self) -> int:
        """Size of the sequence features."""
        return self.settings.sequence.width + self.settings.projection

    @property
    def region_width(self) -> int:
        """Size of the region features."""
        return self.region_projection.in_features + self.settings.projection

    def standardise(self, matrix: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """Return [B, T, R] in standard deviations of each motif; zero in absent columns."""
        scaled = (matrix - self.row_mean[:, None]) / self.row_std[:, None]
        return scaled * present[:, None]

    def pool_sequence(self, hidden: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Return the mean hidden vector of the k-mers and their composition's path, [B, width].

        ``ids`` are those before masking: the composition never reaches the prediction of a token.
        """
        kmers = ids >= len(SPECIAL)
        weight = kmers / kmers.sum(1, keepdim=True).clamp(min=1)
        pooled = torch.einsum("bl,blw->bw", weight.to(hidden.dtype), hidden)
        composition = self.tokenizer.composition(ids) - self.composition_mean
        return torch.cat([pooled, self.composition_path(composition)], dim=-1)

    def pool_region(
        self, encoded: torch.Tensor, valid: torch.Tensor, focal: torch.Tensor
    ) -> torch.Tensor:
        """Return the mean encoded block and the focal column's path, [B, width].

        ``focal`` is the standardised focal column [B, T] before masking: it never reaches the
        reconstruction of a block.
        """
        weight = valid / valid.sum((1, 2), keepdim=True).clamp(min=1)
        pooled = torch.einsum("bhw,bhwc->bc", weight.to(encoded.dtype), encoded)
        return torch.cat([pooled, self.focal_path(focal)], dim=-1)

    def sequence_features(self, codes: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Return features [B, sequence_width] of base codes uint8 [B, length].

        ``mask``, bool [B, tokens], is false at padding; None where there is none.
        """
        ids = self.tokenizer(codes)
        return self.pool_sequence(self.sequence_encoder(ids, mask), ids)

    def region_features(self, matrix: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """Return features [B, region_width] of matrices [B, T, R] as scattered."""
        scaled = self.standardise(matrix, present)
        encoded, valid = self.region_encoder(scaled, present)
        return self.pool_region(encoded, valid, scaled[:, :, scaled.shape[2] // 2])

    def similarity(self, sequence: torch.Tensor, region: torch.Tensor) -> torch.Tensor:
        """Return scaled cosine similarities [..., B, B] of features [..., B, width]."""
        # In bf16 a scale of 100 leaves steps of a half between similarities.
        with torch.autocast(sequence.device.type, enabled=False):
            left = _shared(sequence.float(), self.sequence_projection)
            right = _shared(region.float(), self.region_projection)
            return left @ right.transpose(-1, -2) * self.log_scale.exp().clamp(max=100)


def compile_encoders(model: GeneBERT) -> None:
    """Compile both encoders in place: the first call of each shape takes a minute or two, names stay."""
    for encoder in (model.sequence_encoder, model.region_encoder):
        encoder.compile(dynamic=False)


def _shared(features: torch.Tensor, projection: nn.Linear) -> torch.Tensor:
    encoded, direct = features.split(
        [projection.in_features, features.shape[-1] - projection.in_features], dim=-1
    )
    # A wide floor: what is exactly zero, as when all matrices are alike, has a gradient then.
    return F.normalize(projection(encoded) + direct, dim=-1, eps=1e-6)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding | nn.Conv2d):
        nn.init.trunc_normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear | nn.Conv2d) and module.bias is not None:
        nn.init.zeros_(module.bias)
