"""Networks on one-hot sequence, without pre-training: A, C, G, T; N and padding are zeros."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from genebert.sequence.codes import PADDING

DROPOUT = 0.2

CNN_CHANNELS = (64, 96, 128)
CNN_KERNELS = (15, 7, 7)
CNN_POOL = 4  # places, after each layer but the last

DEEPROMOTER_KERNELS = (27, 14, 7)
DEEPROMOTER_CHANNELS = 32  # of each kernel
DEEPROMOTER_POOL = 6  # bp
DEEPROMOTER_LSTM = 32  # of each direction
DEEPROMOTER_DENSE = 128

CDIL_CHANNELS = 40
CDIL_KERNEL = 3


def one_hot(codes: torch.Tensor) -> torch.Tensor:
    """Return float32 [B, 4, length] of base codes uint8 [B, length]."""
    bases = torch.arange(4, device=codes.device, dtype=codes.dtype)
    return (codes[:, None] == bases[:, None]).float()


class Cnn(nn.Module):
    """Three convolutions with maxima between them and over the whole: motif finders and what joins them.

    Padding is zero after each layer and never the maximum: a padded sequence is judged as it is alone.

    Parameters
    ----------
    length
        Unused: any length will do.
    classes
        Number of classes.
    """

    def __init__(self, length: int, classes: int) -> None:
        super().__init__()
        widths = (4, *CNN_CHANNELS)
        self.layers = nn.ModuleList(
            nn.Conv1d(widths[place], widths[place + 1], kernel, padding="same")
            for place, kernel in enumerate(CNN_KERNELS)
        )
        self.out = nn.Linear(CNN_CHANNELS[-1], classes)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Return logits [B, classes] of base codes uint8 [B, length]."""
        inside = (codes != PADDING)[:, None].float()
        x = one_hot(codes)
        for number, layer in enumerate(self.layers):
            if number > 0:
                x, inside = (F.max_pool1d(own, CNN_POOL, ceil_mode=True) for own in (x, inside))
            # What follows a ReLU is at least 0, as padding is.
            x = F.relu(layer(x)) * inside
        return self.out(F.dropout(x.amax(-1), DROPOUT, self.training))


class DeePromoter(nn.Module):
    """DeePromoter (Oubounyt et al. 2019): convolutions side by side, a bidirectional LSTM, dense layers.

    Its architecture, not its code: the sizes (constants of this module), dropout, as many outputs as
    classes and the protocol by which it is trained are ours.

    Parameters
    ----------
    length
        Longest sequence in bp, to which shorter ones are padded: the dense layer sees every place.
    classes
        Number of classes.
    """

    def __init__(self, length: int, classes: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv1d(4, DEEPROMOTER_CHANNELS, kernel, padding=kernel // 2)
            for kernel in DEEPROMOTER_KERNELS
        )
        width = DEEPROMOTER_CHANNELS * len(DEEPROMOTER_KERNELS)
        self.lstm = nn.LSTM(width, DEEPROMOTER_LSTM, batch_first=True, bidirectional=True)
        places = math.ceil(length / DEEPROMOTER_POOL)
        self.dense = nn.Linear(places * 2 * DEEPROMOTER_LSTM, DEEPROMOTER_DENSE)
        self.out = nn.Linear(DEEPROMOTER_DENSE, classes)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Return logits [B, classes] of base codes uint8 [B, length]."""
        x = one_hot(codes)
        # Kernels of even length give one place more.
        found = [convolution(x)[..., : x.shape[-1]] for convolution in self.convolutions]
        x = F.relu(torch.cat(found, dim=1))
        x = F.max_pool1d(x, DEEPROMOTER_POOL, ceil_mode=True)
        x, _ = self.lstm(F.dropout(x, DROPOUT, self.training).transpose(1, 2))
        x = F.dropout(F.relu(self.dense(x.flatten(1))), DROPOUT, self.training)
        return self.out(x)


class Cdil(nn.Module):
    """Circular dilated convolutions with residuals (CDIL: Cheng et al. 2022), and a mean over places.

    Dilation doubles from layer to layer until one output sees the whole sequence; at 300 bp these are 8
    layers and 40,000 weights. Sequences are circular at the length to which they are padded.

    Parameters
    ----------
    length
        Longest sequence in bp.
    classes
        Number of classes.
    """

    def __init__(self, length: int, classes: int) -> None:
        super().__init__()
        # The field of n layers is 1 + 2 · (1 + 2 + … + 2^(n − 1)) = 2^(n + 1) − 1 bp.
        layers = max(1, math.ceil(math.log2(length + 1)) - 1)
        self.enter = nn.Conv1d(4, CDIL_CHANNELS, 1)
        self.layers = nn.ModuleList(
            nn.Conv1d(
                CDIL_CHANNELS,
                CDIL_CHANNELS,
                CDIL_KERNEL,
                padding="same",
                dilation=2**layer,
                padding_mode="circular",
            )
            for layer in range(layers)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(CDIL_CHANNELS) for _ in range(layers))
        self.out = nn.Linear(CDIL_CHANNELS, classes)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Return logits [B, classes] of base codes uint8 [B, length]."""
        inside = (codes != PADDING)[:, None]
        x = self.enter(one_hot(codes))
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = x + F.relu(layer(norm(x.transpose(1, 2)).transpose(1, 2)))
        weight = inside / inside.sum(-1, keepdim=True).clamp(min=1)
        return self.out((x * weight).sum(-1))


# Name of the baseline -> network of (longest sequence in bp, classes).
NETWORKS: dict[str, Callable[[int, int], nn.Module]] = {
    "cnn": Cnn,
    "deepromoter": DeePromoter,
    "cdil": Cdil,
}
