"""The region encoder against the transformers library's Swin and against plain attention."""

import itertools
from collections.abc import Callable

import pytest
import torch
from transformers import SwinConfig, SwinModel

from genebert.config import RegionEncoder as Settings
from genebert.model.region_encoder import RegionEncoder, Stage

# Image, patch, window and depths for which no window is padded or clamped on one axis only.
SIZES = [
    ((64, 64), 4, 4, (2, 2)),
    ((64, 32), 4, 2, (2, 2)),
    ((32, 96), 4, 4, (2, 1)),
    ((32, 32), 4, 4, (2, 2)),
    ((48, 48), 2, 3, (2, 2, 3)),
]
IDS = [f"{size[0]}x{size[1]}" for size, *_ in SIZES]


def reference(image: tuple[int, int], patch: int, window: int, depths: tuple[int, ...]) -> SwinModel:
    config = SwinConfig(
        image_size=image,
        patch_size=patch,
        num_channels=1,
        embed_dim=16,
        depths=list(depths),
        num_heads=[2, 4, 8][: len(depths)],
        window_size=window,
        use_absolute_embeddings=True,
        attn_implementation="eager",
    )
    return SwinModel(config, add_pooling_layer=False, use_mask_token=True)


def copied(swin: SwinModel, image: tuple[int, int]) -> RegionEncoder:
    """Return our encoder with Swin's weights, and set Swin's positions to our row and focal mark."""
    config = swin.config
    ours = RegionEncoder(
        Settings(
            patch=[config.patch_size] * 2,
            window=[config.window_size] * 2,
            width=config.embed_dim,
            depths=list(config.depths),
            heads=list(config.num_heads),
        ),
        image[0],
    )
    generator = torch.Generator().manual_seed(3)
    theirs = swin.state_dict()
    state = {
        "row": torch.randn(ours.row.shape, generator=generator),
        "focal_mark": torch.randn(ours.focal_mark.shape, generator=generator),
        "mask_token": theirs["embeddings.mask_token"].view(-1),
        "embed.weight": theirs["embeddings.patch_embeddings.projection.weight"].flatten(1),
        "embed.bias": theirs["embeddings.patch_embeddings.projection.bias"],
    }
    pairs = [
        ("embed_norm", "embeddings.norm"),
        ("norm", "layernorm"),
    ]
    for stage, depth in enumerate(config.depths):
        for index in range(depth):
            here = f"stages.{stage}.{index}"
            there = f"encoder.layers.{stage}.blocks.{index}"
            pairs += [
                (f"{here}.attention_norm", f"{there}.layernorm_before"),
                (f"{here}.feedforward_norm", f"{there}.layernorm_after"),
                (f"{here}.attention.out", f"{there}.attention.o_proj"),
                (f"{here}.expand", f"{there}.mlp.fc1"),
                (f"{here}.contract", f"{there}.mlp.fc2"),
            ]
            state[f"{here}.attention.bias"] = theirs[
                f"{there}.attention.relative_position_bias.relative_position_bias_table"
            ]
            for kind in ("weight", "bias"):
                state[f"{here}.attention.qkv.{kind}"] = torch.cat(
                    [theirs[f"{there}.attention.{n}_proj.{kind}"] for n in "qkv"]
                )
        if stage + 1 < len(config.depths):
            there = f"encoder.layers.{stage}.downsample"
            pairs.append((f"merges.{stage}.norm", f"{there}.norm"))
            state[f"merges.{stage}.reduce.weight"] = theirs[f"{there}.reduction.weight"]
    for mine, other in pairs:
        for kind in ("weight", "bias"):
            state[f"{mine}.{kind}"] = theirs[f"{other}.{kind}"]
    ours.load_state_dict(state, strict=True)

    rows, columns = (size // config.patch_size for size in image)
    position = state["row"].expand(rows, columns, -1).clone()
    position[:, image[1] // 2 // config.patch_size] += state["focal_mark"]
    with torch.no_grad():
        swin.embeddings.position_embeddings.copy_(position.reshape(1, rows * columns, -1))
    return ours.eval()


def encoder(randomise: Callable, motifs: int, **changes: list[int]) -> RegionEncoder:
    sizes = {"patch": [4, 2], "window": [3, 2], "depths": [2, 2], "heads": [2, 4]} | changes
    return randomise(RegionEncoder(Settings(width=16, **sizes), motifs))


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("image", "patch", "window", "depths"), SIZES, ids=IDS)
@pytest.mark.parametrize("masked", [False, True])
@torch.no_grad()
def test_equals_swin(
    image: tuple[int, int],
    patch: int,
    window: int,
    depths: tuple[int, ...],
    masked: bool,
    randomise: Callable,
) -> None:
    swin = randomise(reference(image, patch, window, depths))
    ours = copied(swin, image)
    matrix, present = noise(3, *image), torch.ones(3, image[1], dtype=torch.bool)
    grid = ours.grid(*image)
    blocks = noise(3, *grid, seed=1) > 0 if masked else None
    hidden = None
    if blocks is not None:
        scale = 2 ** (len(depths) - 1)
        patches = [size // patch for size in image]
        hidden = torch.zeros(3, *patches, dtype=torch.bool)
        for sample, row, column in itertools.product(range(3), *map(range, patches)):
            hidden[sample, row, column] = blocks[sample, row // scale, column // scale]
        hidden = hidden.flatten(1)
    expected = swin(matrix[:, None], bool_masked_pos=hidden).last_hidden_state
    found, valid = ours(matrix, present, blocks)
    assert valid.all()
    torch.testing.assert_close(found.flatten(1, 2), expected, atol=1e-5, rtol=1e-5)


def plain_block(stage: Stage, index: int, x: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Encode one image [H, W, C] cell by cell: who sees whom is asked of every pair."""
    block, window, shifted = stage[index], stage.window, index % 2
    rows, columns, channels = x.shape
    heads = block.attention.heads
    height, width = min(window[0], rows), min(window[1], columns)
    down = height // 2 if shifted and rows > height else 0
    right = width // 2 if shifted and columns > width else 0
    normed = block.attention_norm(x)
    out = torch.zeros_like(x)
    cells = list(itertools.product(range(rows), range(columns)))

    def window_of(row: int, column: int) -> tuple[int, int]:
        return (row - down) // height, (column - right) // width

    def qkv(cell: tuple[int, int]) -> torch.Tensor:
        return block.attention.qkv(normed[cell]).view(3, heads, channels // heads)

    for i in cells:
        seen = [j for j in cells if window_of(*i) == window_of(*j) and valid[j]]
        if not seen:
            continue
        query = qkv(i)[0]
        places = [
            (i[0] - j[0] + window[0] - 1) * (2 * window[1] - 1) + i[1] - j[1] + window[1] - 1
            for j in seen
        ]
        parts = []
        for head in range(heads):
            logits = torch.stack(
                [
                    query[head] @ qkv(j)[1][head] / (channels // heads) ** 0.5
                    + block.attention.bias[place, head]
                    for j, place in zip(seen, places, strict=True)
                ]
            )
            weights = torch.softmax(logits, 0)
            parts.append(sum(w * qkv(j)[2][head] for w, j in zip(weights, seen, strict=True)))
        out[i] = block.attention.out(torch.cat(parts))
    x = x + out
    return x + block.contract(torch.nn.functional.gelu(block.expand(block.feedforward_norm(x))))


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize(
    ("grid", "window"), [((4, 4), (2, 2)), ((5, 7), (3, 4)), ((7, 2), (4, 3)), ((2, 5), (4, 2))]
)
@torch.no_grad()
def test_blocks_equal_plain_attention_and_padding_does_not_leak(
    grid: tuple[int, int], window: tuple[int, int], depth: int, randomise: Callable
) -> None:
    stage = randomise(Stage(8, 2, window, depth))
    x, valid = noise(2, *grid, 8), torch.ones(2, *grid, dtype=torch.bool)
    valid[1, :, : grid[1] // 2] = False
    found = stage(x, valid)
    for sample in range(2):
        expected = x[sample]
        for index in range(depth):
            expected = plain_block(stage, index, expected, valid[sample])
        here = valid[sample]
        torch.testing.assert_close(found[sample][here], expected[here], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("patch", [1, 2])
@pytest.mark.parametrize(("motifs", "columns"), [(40, 12), (37, 11), (5, 7)])
@torch.no_grad()
def test_absent_columns_do_not_reach_valid_blocks(
    patch: int, motifs: int, columns: int, randomise: Callable
) -> None:
    ours = encoder(randomise, motifs, patch=[4, patch])
    present = torch.ones(3, columns, dtype=torch.bool)
    present[0, : 2 * patch] = False
    present[1, patch : 2 * patch] = False
    present[2, columns // patch * patch - patch :] = False
    matrix = noise(3, motifs, columns)
    clean, valid = ours(matrix * present[:, None], present)
    garbage = torch.where(present[:, None], matrix, 1e3 * noise(3, motifs, columns, seed=5))
    dirty, _ = ours(garbage, present)
    assert not valid.all()
    torch.testing.assert_close(dirty[valid], clean[valid], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("motifs", "columns"), [(1, 1), (3, 2), (37, 5), (41, 13), (40, 12), (17, 1)])
@torch.no_grad()
def test_any_size_gives_its_grid(motifs: int, columns: int, randomise: Callable) -> None:
    ours = encoder(randomise, motifs)
    present = torch.ones(2, columns, dtype=torch.bool)
    present[1, : columns // 2] = False
    encoded, valid = ours(noise(2, motifs, columns) * present[:, None], present)
    rows, width = -(-motifs // 8), -(-columns // 4)
    assert ours.grid(motifs, columns) == (rows, width)
    assert encoded.shape == (2, rows, width, 32)
    assert encoded.isfinite().all()
    for sample, row, column in itertools.product(range(2), range(rows), range(width)):
        assert valid[sample, row, column] == present[sample, 4 * column : 4 * column + 4].any()


@torch.no_grad()
def test_a_matrix_with_absent_ends_is_encoded_as_the_part_that_is_there(
    randomise: Callable,
) -> None:
    # Without shift and with windows of two patches, blocks 0 and 1 see nothing of blocks 2 and 3.
    ours = encoder(randomise, 16, patch=[4, 1], window=[2, 2], depths=[1, 1])
    ours.focal_mark.zero_()
    matrix = noise(1, 16, 8)
    present = torch.arange(8)[None] < 4
    whole, valid = ours(matrix * present[:, None], present)
    alone, _ = ours(matrix[:, :, :4], present[:, :4])
    assert valid[0, 0].tolist() == [True, True, False, False]
    torch.testing.assert_close(whole[:, :, :2], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("motifs", "columns"), [(40, 12), (37, 11)])
@torch.no_grad()
def test_values_under_hidden_blocks_are_not_seen(motifs: int, columns: int, randomise: Callable) -> None:
    ours = encoder(randomise, motifs)
    present = torch.ones(2, columns, dtype=torch.bool)
    blocks = noise(2, *ours.grid(motifs, columns), seed=2) > 0
    under = blocks.repeat_interleave(8, 1).repeat_interleave(4, 2)[:, :motifs, :columns]
    first, second = noise(2, motifs, columns), noise(2, motifs, columns, seed=9)
    changed = torch.where(under, second, first)
    assert under.any()
    torch.testing.assert_close(
        ours(changed, present, blocks)[0], ours(first, present, blocks)[0], rtol=0, atol=0
    )
    assert not torch.allclose(ours(changed, present)[0], ours(first, present)[0])


@torch.no_grad()
def test_rows_and_the_focal_column_are_told_apart(randomise: Callable) -> None:
    ours = encoder(randomise, 16, patch=[4, 1], window=[4, 8], depths=[1], heads=[2])
    encoded, _ = ours(torch.zeros(1, 16, 8), torch.ones(1, 8, dtype=torch.bool))
    assert not torch.allclose(encoded[0, 0], encoded[0, 1])
    ours.stages[0][0].attention.bias.zero_()  # without relative places, equal columns stay equal
    encoded, _ = ours(torch.zeros(1, 16, 8), torch.ones(1, 8, dtype=torch.bool))
    others = [column for column in range(8) if column != 4]
    for column in others:
        torch.testing.assert_close(encoded[0, :, column], encoded[0, :, 0], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(encoded[0, :, 4], encoded[0, :, 0])
