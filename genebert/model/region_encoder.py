"""Swin Transformer (Liu et al. 2021, v1) over a TF × region matrix seen as a one-channel image.

Any number of motifs T and regions R: what is padded to fill patches and windows, and columns that hold
no region, are masked out of attention. Two additions to Swin: motif rows are not interchangeable, so
each row of patches has a learned embedding; and the patches of the focal column carry a learned mark.
"""

import torch
import torch.nn.functional as F
from torch import nn

from genebert.config import RegionEncoder as Settings

EPSILON = 1e-5
_HIDDEN = -1e4  # added to the logits of masked keys: exp() of it is exactly 0


def _ceil_to(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


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

    def __init__(self, channels: int, heads: int, window: tuple[int, int]) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        self.bias = nn.Parameter(torch.zeros((2 * window[0] - 1) * (2 * window[1] - 1), heads))

    def relative_bias(self, height: int, width: int) -> torch.Tensor:
        """Return [heads, height · width, height · width] of a window of this size or smaller."""
        rows = torch.arange(height, device=self.bias.device).repeat_interleave(width)
        columns = torch.arange(width, device=self.bias.device).repeat(height)
        down = rows[:, None] - rows + self.window[0] - 1
        right = columns[:, None] - columns + self.window[1] - 1
        return self.bias[down * (2 * self.window[1] - 1) + right].permute(2, 0, 1)

    def forward(self, x: torch.Tensor, height: int, width: int, visible: torch.Tensor) -> torch.Tensor:
        """Attend within windows [B, N, height · width, C]; ``visible`` bool [B | 1, N, S | 1, S]."""
        batch, number, size, channels = x.shape
        q, k, v = self.qkv(x).view(batch, number, size, 3, self.heads, -1).permute(3, 0, 1, 4, 2, 5)
        logits = self.relative_bias(height, width) + torch.where(visible, 0.0, _HIDDEN)[:, :, None]
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=logits.to(q.dtype))
        return self.out(attended.transpose(2, 3).reshape(batch, number, size, channels))


class Block(nn.Module):
    """Window attention and feed-forward with pre-norm residuals; every other block is shifted."""

    def __init__(self, channels: int, heads: int, window: tuple[int, int], shifted: bool) -> None:
        super().__init__()
        self.window, self.shifted = window, shifted
        self.attention_norm = nn.LayerNorm(channels, eps=EPSILON)
        self.attention = WindowAttention(channels, heads, window)
        self.feedforward_norm = nn.LayerNorm(channels, eps=EPSILON)
        self.expand = nn.Linear(channels, 4 * channels)
        self.contract = nn.Linear(4 * channels, channels)

    def forward(self, x: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Encode [B, H, W, C]; ``valid`` bool [B, H, W]."""
        x = x + self._attend(self.attention_norm(x), valid)
        return x + self.contract(F.gelu(self.expand(self.feedforward_norm(x))))

    def _attend(self, x: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        _, rows, columns, _ = x.shape
        # An axis that fits in one window is not shifted.
        height, width = min(self.window[0], rows), min(self.window[1], columns)
        down = height // 2 if self.shifted and rows > height else 0
        right = width // 2 if self.shifted and columns > width else 0
        padded_rows, padded_columns = _ceil_to(rows, height), _ceil_to(columns, width)
        x = _pad(x, padded_rows, padded_columns)
        keys = _pad(valid[..., None], padded_rows, padded_columns)
        if down or right:
            x = x.roll((-down, -right), (1, 2))
            keys = keys.roll((-down, -right), (1, 2))
        visible = _windows(keys, height, width).transpose(2, 3)
        if down or right:
            area = _areas(padded_rows, padded_columns, height, width, down, right).to(x.device)
            area = _windows(area[None, :, :, None], height, width)
            visible = visible & (area == area.transpose(2, 3))
        x = self.attention(_windows(x, height, width), height, width, visible)
        x = _unwindows(x, height, width, padded_rows, padded_columns)
        if down or right:
            x = x.roll((down, right), (1, 2))
        return x[:, :rows, :columns]


def _areas(rows: int, columns: int, height: int, width: int, down: int, right: int) -> torch.Tensor:
    """Number the parts of a rolled image that were apart before: they may not see one another."""
    row, column = torch.zeros(rows, dtype=torch.long), torch.zeros(columns, dtype=torch.long)
    for axis, size, window, shift in ((row, rows, height, down), (column, columns, width, right)):
        if shift:
            axis[size - window : size - shift] = 1
            axis[size - shift :] = 2
    return row[:, None] * 3 + column


class Merge(nn.Module):
    """Join 2 × 2 neighbours: half the rows and columns, twice the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * channels, eps=EPSILON)
        self.reduce = nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, x: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rows, columns = _ceil_to(x.shape[1], 2), _ceil_to(x.shape[2], 2)
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
        self.embed = nn.Conv2d(1, width, self.patch, self.patch)
        self.embed_norm = nn.LayerNorm(width, eps=EPSILON)
        self.mask_token = nn.Parameter(torch.zeros(width))
        self.row = nn.Parameter(torch.zeros(-(-motifs // self.patch[0]), 1, width))
        self.focal_mark = nn.Parameter(torch.zeros(width))
        self.stages = nn.ModuleList(
            nn.ModuleList(
                Block(width * 2**stage, heads, window, shifted=bool(index % 2)) for index in range(depth)
            )
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
        x = self.embed_norm(self.embed(matrix[:, None]).permute(0, 2, 3, 1))
        rows, width = x.shape[1:3]
        valid = F.pad(present, (0, -columns % right)).view(len(x), 1, width, right).any(-1)
        valid = valid.expand(-1, rows, -1)
        if masked is not None:
            hidden = masked.repeat_interleave(self.scale, 1).repeat_interleave(self.scale, 2)
            x = torch.where(hidden[:, :rows, :width, None], self.mask_token.to(x.dtype), x)
        focal = torch.arange(width, device=x.device) == columns // 2 // right
        x = x + self.row + focal[:, None] * self.focal_mark
        for index, stage in enumerate(self.stages):
            for block in stage:  # type: ignore[attr-defined]
                x = block(x, valid)
            if index < len(self.merges):
                x, valid = self.merges[index](x, valid)
        return self.norm(x), valid
