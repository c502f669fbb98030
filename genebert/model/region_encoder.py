"""Swin Transformer (Liu et al. 2021, v1) over a TF × region matrix seen as a one-channel image.

Any number of motifs T and regions R: what is padded to fill patches and windows, and columns that hold
no region, are masked out of attention. Two additions to Swin: motif rows are not interchangeable, so
each row of patches has a learned embedding; and the patches of the focal column carry a learned mark.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from genebert.config import RegionEncoder as Settings
from genebert.model.windows import ceil_to, filled_up

EPSILON = 1e-5
_HIDDEN = -1e4  # added to the logits of masked keys: exp() of it is exactly 0


def _pad(x: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Pad [B, H, W, C] with zeros to ``rows`` × ``columns``."""
    return F.pad(x, (0, 0, 0, columns - x.shape[2], 0, rows - x.shape[1]))


def _windows(x: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Cut [B, H, W, C] into windows: [B, windows, height · width, C]."""
    batch, rows, columns, channels = x.shape
    x = x.view(batch, rows // height, height, columns // width, width, channels)
    return x.transpose(2, 3).reshape(batch, -1, height * width, channels)


def _unwindows(x: torch.Tensor, height: int, width: int, rows: int, columns: int) -> torch.Tensor:
    """Undo :func:`_windows`."""
    batch, _, _, channels = x.shape
    x = x.view(batch, rows // height, columns // width, height, width, channels)
    return x.transpose(2, 3).reshape(batch, rows, columns, channels)


class WindowAttention(nn.Module):
    """Self-attention within windows, with a learned bias for each relative place."""

    place: torch.Tensor

    def __init__(self, channels: int, heads: int, window: tuple[int, int]) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        self.bias = nn.Parameter(torch.zeros((2 * window[0] - 1) * (2 * window[1] - 1), heads))
        self.register_buffer("place", _relative_places(*window), persistent=False)

    def relative_bias(self, height: int, width: int) -> torch.Tensor:
        """Return [heads, height · width, height · width] of a window of this size or smaller."""
        size = height * width
        place = self.place[:height, :width, :height, :width].reshape(size, size)
        return self.bias[place].permute(2, 0, 1)

    def forward(self, x: torch.Tensor, height: int, width: int, hidden: torch.Tensor) -> torch.Tensor:
        """Attend within windows [B, N, height · width, C].

        ``hidden`` [B | 1, N, S | 1, S] is added to the logits: 0 or a large negative number.
        """
        batch, number, size, channels = x.shape
        # The fused kernels take four dimensions only: windows are a part of the batch.
        parts = self.qkv(x).view(batch * number, size, -1).split(channels, dim=-1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        bias = self.relative_bias(height, width).to(q.dtype) + hidden[:, :, None].to(q.dtype)
        bias = bias.expand(batch, -1, -1, -1, -1).reshape(batch * number, self.heads, size, size)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.out(attended.transpose(1, 2).reshape(batch, number, size, channels))


def _relative_places(height: int, width: int) -> torch.Tensor:
    """Return int64 [height, width, height, width]: the row of the bias table for a query and a key."""
    rows, columns = torch.arange(height), torch.arange(width)
    down = rows[:, None] - rows + height - 1
    right = columns[:, None] - columns + width - 1
    return down[:, None, :, None] * (2 * width - 1) + right[:, None, :]


class Tiling(NamedTuple):
    """How a grid is cut into windows.

    Attributes
    ----------
    rows, columns
        Of the grid, filled up to whole windows.
    height, width
        Of a window.
    down, right
        How far windows are shifted; an axis that fits in one window is not shifted.
    """

    rows: int
    columns: int
    height: int
    width: int
    down: int
    right: int

    @classmethod
    def of(cls, rows: int, columns: int, window: tuple[int, int], shifted: bool) -> "Tiling":
        """Return the tiling of a grid of so many rows and columns."""
        whole_rows, whole_columns, height, width = filled_up(rows, columns, window)
        return cls(
            rows=whole_rows,
            columns=whole_columns,
            height=height,
            width=width,
            down=height // 2 if shifted and rows > height else 0,
            right=width // 2 if shifted and columns > width else 0,
        )

    def cut(self, x: torch.Tensor) -> torch.Tensor:
        """Return the windows [B, N, height · width, C] of [B, H, W, C], filled up with zeros."""
        x = _pad(x, self.rows, self.columns)
        if self.down or self.right:
            x = x.roll((-self.down, -self.right), (1, 2))
        return _windows(x, self.height, self.width)

    def join(self, x: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
        """Undo :meth:`cut`, down to the first ``rows`` × ``columns``."""
        x = _unwindows(x, self.height, self.width, self.rows, self.columns)
        if self.down or self.right:
            x = x.roll((self.down, self.right), (1, 2))
        return x[:, :rows, :columns]

    def hidden(self, valid: torch.Tensor) -> torch.Tensor:
        """Return float [B, N, S | 1, S] for the logits: who may not see whom; ``valid`` bool [B, H, W].

        Parts of the image that only rolling brought together do not see one another.
        """
        visible = self.cut(valid[..., None]).transpose(2, 3)
        if self.down or self.right:
            row = torch.arange(self.rows, device=valid.device)
            column = torch.arange(self.columns, device=valid.device)
            # The last shifted places came from the other end.
            area = 2 * (row >= self.rows - self.down)[:, None] + (column >= self.columns - self.right)
            area = _windows(area[None, :, :, None], self.height, self.width)
            visible = visible & (area == area.transpose(2, 3))
        return ~visible * _HIDDEN


class Block(nn.Module):
    """Window attention and feed-forward with pre-norm residuals."""

    def __init__(self, channels: int, heads: int, window: tuple[int, int]) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(channels, eps=EPSILON)
        self.attention = WindowAttention(channels, heads, window)
        self.feedforward_norm = nn.LayerNorm(channels, eps=EPSILON)
        self.expand = nn.Linear(channels, 4 * channels)
        self.contract = nn.Linear(4 * channels, channels)

    def forward(self, x: torch.Tensor, tiling: Tiling, hidden: torch.Tensor) -> torch.Tensor:
        """Encode [B, H, W, C]; ``hidden`` as :meth:`Tiling.hidden` returns it."""
        windows = tiling.cut(self.attention_norm(x))
        windows = self.attention(windows, tiling.height, tiling.width, hidden)
        x = x + tiling.join(windows, x.shape[1], x.shape[2])
        return x + self.contract(F.gelu(self.expand(self.feedforward_norm(x))))


class Stage(nn.ModuleList):
    """Blocks of one size; every other one is shifted."""

    def __init__(self, channels: int, heads: int, window: tuple[int, int], depth: int) -> None:
        super().__init__(Block(channels, heads, window) for _ in range(depth))
        self.window = window

    def forward(self, x: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Encode [B, H, W, C]; ``valid`` bool [B, H, W]."""
        rows, columns = x.shape[1:3]
        shifts = (False, True)[: len(self)]
        tilings = [Tiling.of(rows, columns, self.window, shifted) for shifted in shifts]
        hidden = [tiling.hidden(valid) for tiling in tilings]
        for index, block in enumerate(self):
            x = block(x, tilings[index % 2], hidden[index % 2])
        return x


class Merge(nn.Module):
    """Join 2 × 2 neighbours: half the rows and columns, twice the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * channels, eps=EPSILON)
        self.reduce = nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, x: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rows, columns = ceil_to(x.shape[1], 2), ceil_to(x.shape[2], 2)
        # A place without a region contributes zero, whatever stands there.
        x = _pad(x * valid[..., None], rows, columns)
        valid = _pad(valid[..., None], rows, columns)[..., 0]
        corners = [(0, 0), (1, 0), (0, 1), (1, 1)]
        joined = torch.cat([x[:, i::2, j::2] for i, j in corners], dim=-1)
        seen = torch.stack([valid[:, i::2, j::2] for i, j in corners]).any(0)
        return self.reduce(self.norm(joined)), seen


class RegionEncoder(nn.Module):
    """TF × region matrix -> one vector for each block of motifs × regions.

    Parameters
    ----------
    settings
        Sizes.
    motifs
        T, rows of the matrix.
    """

    def __init__(self, settings: Settings, motifs: int) -> None:
        super().__init__()
        self.patch = (settings.patch[0], settings.patch[1])
        window = (settings.window[0], settings.window[1])
        width = settings.width
        self.embed = nn.Linear(self.patch[0] * self.patch[1], width)
        self.embed_norm = nn.LayerNorm(width, eps=EPSILON)
        self.mask_token = nn.Parameter(torch.zeros(width))
        self.row = nn.Parameter(torch.zeros(-(-motifs // self.patch[0]), 1, width))
        self.focal_mark = nn.Parameter(torch.zeros(width))
        self.stages = nn.ModuleList(
            Stage(width * 2**stage, heads, window, depth)
            for stage, (depth, heads) in enumerate(zip(settings.depths, settings.heads, strict=True))
        )
        self.merges = nn.ModuleList(Merge(width * 2**stage) for stage in range(len(settings.depths) - 1))
        self.norm = nn.LayerNorm(width * 2 ** (len(settings.depths) - 1), eps=EPSILON)

    @property
    def scale(self) -> int:
        """Patches that one output vector spans along each axis."""
        return 2 ** len(self.merges)

    @property
    def block(self) -> tuple[int, int]:
        """Motifs × regions that one output vector spans."""
        return self.patch[0] * self.scale, self.patch[1] * self.scale

    def grid(self, motifs: int, columns: int) -> tuple[int, int]:
        """Return rows × columns of the output for a T × R matrix."""
        return -(-motifs // self.block[0]), -(-columns // self.block[1])

    def forward(
        self, matrix: torch.Tensor, present: torch.Tensor, masked: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode.

        Parameters
        ----------
        matrix
            [B, T, R], standardised; zero in absent columns.
        present
            bool [B, R].
        masked
            bool [B, *grid], blocks replaced by the mask token.

        Returns
        -------
        encoded
            [B, *grid, channels].
        valid
            bool [B, *grid], false where a block holds no region.
        """
        _, motifs, columns = matrix.shape
        down, right = self.patch
        matrix = F.pad(matrix, (0, -columns % right, 0, -motifs % down))
        x = self.embed_norm(self.embed(_windows(matrix[..., None], down, right)[..., 0]))
        rows, width = -(-motifs // down), -(-columns // right)
        x = x.unflatten(1, (rows, width))
        valid = F.pad(present, (0, -columns % right)).view(len(x), 1, width, right).any(-1)
        valid = valid.expand(-1, rows, -1)
        if masked is not None:
            hidden = masked.repeat_interleave(self.scale, 1).repeat_interleave(self.scale, 2)
            x = torch.where(hidden[:, :rows, :width, None], self.mask_token.to(x.dtype), x)
        focal = torch.arange(width, device=x.device) == columns // 2 // right
        x = x + self.row + focal[:, None] * self.focal_mark
        for index, stage in enumerate(self.stages):
            x = stage(x, valid)
            if index < len(self.merges):
                x, valid = self.merges[index](x, valid)
        return self.norm(x), valid
