"""The whole network: standardised rows, pooled features, the shared space."""

from collections.abc import Callable

import pytest
import torch

from genebert.config import Model as ModelSettings
from genebert.model.genebert import GeneBERT
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
