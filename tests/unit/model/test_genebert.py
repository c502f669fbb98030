"""The whole network: standardised rows, pooled features, the shared space."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from genebert.config import Model as ModelSettings
from genebert.model.genebert import GeneBERT, compile_encoders
from genebert.sequence.codes import PADDING

MOTIFS = 40


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def some_codes(batch: int = 6, length: int = 50) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randint(0, 4, (batch, length), generator=generator).to(torch.uint8)


@pytest.fixture
def model(tiny_settings: ModelSettings, randomise: Callable) -> GeneBERT:
    model = randomise(GeneBERT(tiny_settings, MOTIFS))
    model.row_mean.copy_(noise(MOTIFS, seed=3).abs())
    model.row_std.copy_(noise(MOTIFS, seed=4).abs() + 0.5)
    model.composition_mean.copy_(noise(64, seed=5).abs())
    return model


def test_rows_are_standardised_and_absent_columns_zero(model: GeneBERT) -> None:
    matrix = noise(2, MOTIFS, 5)
    present = torch.tensor([[True] * 5, [False, True, True, True, False]])
    found = model.standardise(matrix, present)
    for sample in range(2):
        for motif in range(MOTIFS):
            for column in range(5):
                scaled = (matrix[sample, motif, column] - model.row_mean[motif]) / model.row_std[motif]
                expected = scaled if present[sample, column] else torch.tensor(0.0)
                assert found[sample, motif, column].item() == pytest.approx(expected.item(), abs=1e-6)


@torch.no_grad()
def test_sequence_features_are_the_mean_of_kmers_and_their_composition(model: GeneBERT) -> None:
    codes = some_codes()
    codes[0, 10] = 4  # three k-mers hold this N
    found = model.sequence_features(codes)
    ids = model.tokenizer(codes)
    hidden = model.sequence_encoder(ids)
    composition = model.tokenizer.composition(ids) - model.composition_mean
    for row in range(len(codes)):
        own = [hidden[row, place] for place, token in enumerate(ids[row].tolist()) if token >= 5]
        assert len(own) == (45 if row == 0 else 48)
        expected = torch.cat([torch.stack(own).mean(0), model.composition_path(composition[row])])
        torch.testing.assert_close(found[row], expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_region_features_are_the_mean_of_valid_blocks_and_the_focal_column(
    model: GeneBERT,
) -> None:
    matrix = noise(2, MOTIFS, 5)
    present = torch.tensor([[True] * 5, [False, False, True, True, True]])
    found = model.region_features(matrix, present)
    scaled = model.standardise(matrix, present)
    encoded, valid = model.region_encoder(scaled, present)
    assert not valid.all()
    for sample in range(2):
        expected = torch.cat(
            [encoded[sample][valid[sample]].mean(0), model.focal_path(scaled[sample, :, 2])]
        )
        torch.testing.assert_close(found[sample], expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_what_stands_in_absent_columns_does_not_matter(model: GeneBERT) -> None:
    matrix = noise(3, MOTIFS, 5)
    present = torch.tensor([[False, True, True, True, True], [False, False, True, True, False]])
    present = torch.cat([present, torch.tensor([[False, False, True, False, False]])])
    garbage = torch.where(present[:, None], matrix, 1e4)
    torch.testing.assert_close(
        model.region_features(garbage, present), model.region_features(matrix, present)
    )


@torch.no_grad()
def test_feature_widths_are_those_announced(model: GeneBERT) -> None:
    present = torch.ones(2, 5, dtype=torch.bool)
    assert model.sequence_features(some_codes(2)).shape == (2, model.sequence_width)
    assert model.region_features(noise(2, MOTIFS, 5), present).shape == (2, model.region_width)


@torch.no_grad()
def test_padding_changes_no_sequence_feature(model: GeneBERT) -> None:
    codes = some_codes(3)
    padded = torch.cat([codes, torch.full((3, 8), PADDING, dtype=torch.uint8)], 1)
    mask = model.tokenizer(padded) != 0
    torch.testing.assert_close(
        model.sequence_features(padded, mask), model.sequence_features(codes), atol=1e-5, rtol=1e-5
    )


@torch.no_grad()
def test_similarity_is_the_scaled_cosine_of_the_sums_of_both_paths(model: GeneBERT) -> None:
    sequence, region = noise(4, model.sequence_width), noise(4, model.region_width, seed=1)
    found = model.similarity(sequence, region)

    def shared(features: torch.Tensor, projection: torch.nn.Linear) -> torch.Tensor:
        inner = projection.in_features
        return projection.weight @ features[:inner] + projection.bias + features[inner:]

    for i in range(4):
        for j in range(4):
            left = shared(sequence[i], model.sequence_projection)
            right = shared(region[j], model.region_projection)
            cosine = torch.dot(left, right) / (left.norm() * right.norm())
            expected = cosine * model.log_scale.exp()
            assert found[i, j].item() == pytest.approx(expected.item(), abs=1e-4)


@torch.no_grad()
def test_the_scale_of_similarities_is_bounded(model: GeneBERT) -> None:
    model.log_scale.fill_(50.0)
    found = model.similarity(noise(4, model.sequence_width), noise(4, model.region_width, seed=1))
    assert found.abs().max() <= 100.001


@torch.no_grad()
def test_the_direct_path_of_sequences_is_the_same_for_both_strands(model: GeneBERT) -> None:
    codes = some_codes()
    other = 3 - codes.flip(1)
    direct = slice(model.settings.sequence.width, None)
    torch.testing.assert_close(
        model.sequence_features(codes)[:, direct], model.sequence_features(other)[:, direct]
    )


def test_equal_seeds_give_equal_weights(tiny_settings: ModelSettings) -> None:
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(GeneBERT(tiny_settings, MOTIFS).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["focal_path.weight"], states[2]["focal_path.weight"])


def features_and_gradients(model: GeneBERT) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return what both encoders make of a batch with absent columns and hidden blocks, and gradients."""
    matrix, present = noise(4, MOTIFS, 5), torch.ones(4, 5, dtype=torch.bool)
    present[0, :2] = False
    scaled = model.standardise(matrix, present)
    blocks = noise(4, *model.region_encoder.grid(MOTIFS, 5), seed=1) > 0
    encoded, valid = model.region_encoder(scaled, present, blocks)
    features = [
        model.sequence_features(some_codes(4)),
        model.pool_region(encoded, valid, scaled[:, :, 2]),
    ]
    found = torch.cat(features, 1)
    model.zero_grad()
    (found * noise(*found.shape, seed=7)).sum().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return found.detach(), gradients


def assert_same_when_compiled(model: GeneBERT, compile_both: Callable[[], None]) -> None:
    features, gradients = features_and_gradients(model)
    names = list(model.state_dict())
    compile_both()
    found, found_gradients = features_and_gradients(model)
    assert list(model.state_dict()) == names
    torch.testing.assert_close(found, features, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found_gradients, gradients, atol=1e-4, rtol=1e-4)


def test_each_encoder_is_one_graph(model: GeneBERT) -> None:
    def compile_both() -> None:
        for encoder in (model.sequence_encoder, model.region_encoder):
            encoder.compile(backend="eager", fullgraph=True, dynamic=False)

    assert_same_when_compiled(model, compile_both)


@pytest.mark.slow
def test_compiled_encoders_compute_the_same(model: GeneBERT) -> None:
    assert_same_when_compiled(model, lambda: compile_encoders(model))


def test_features_in_bfloat16_are_close(tiny_settings: ModelSettings) -> None:
    torch.manual_seed(0)
    model = GeneBERT(tiny_settings, MOTIFS)
    exact, exact_gradients = features_and_gradients(model)
    with torch.autocast("cpu", torch.bfloat16):
        found, gradients = features_and_gradients(model)
    assert not torch.equal(found, exact)
    for name, expected in [("features", exact), *exact_gradients.items()]:
        rough = found if name == "features" else gradients[name]
        assert (rough - expected).norm() <= 0.1 * expected.norm(), name


class OnOneDevice(TorchDispatchMode):
    """Refuses operations that make or move a tensor elsewhere: on a GPU each would cost a copy."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in (*tree_leaves(args), *tree_leaves(out)):
            assert not isinstance(tensor, torch.Tensor) or tensor.device.type == "meta", func
        return out


def test_a_pass_copies_nothing_from_the_host_and_asks_nothing_back(model: GeneBERT) -> None:
    model.tokenizer.composition(torch.zeros(1, 20, dtype=torch.long, device="meta"))  # fills its cache
    model.to("meta")
    codes = some_codes().to("meta")
    matrix, present = noise(6, MOTIFS, 5).to("meta"), torch.ones(6, 5, dtype=torch.bool, device="meta")
    blocks = torch.ones(6, *model.region_encoder.grid(MOTIFS, 5), dtype=torch.bool, device="meta")
    with OnOneDevice():
        sequence = model.sequence_features(codes)
        scaled = model.standardise(matrix, present)
        encoded, valid = model.region_encoder(scaled, present, blocks)
        region = model.pool_region(encoded, valid, scaled[:, :, 2])
        # Not through similarity: the meta device has no autocast to switch off.
        (sequence.sum() + region.sum()).backward()
