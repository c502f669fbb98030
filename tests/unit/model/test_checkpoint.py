"""A model's folder: what is in it, and what is refused."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from genebert.config import Model as ModelSettings
from genebert.errors import GenebertError
from genebert.model.checkpoint import Card, load_model, save_model
from genebert.model.genebert import GeneBERT

DIGEST = "0123456789abcdef"


@pytest.fixture
def model(tiny_settings: ModelSettings, randomise: Callable) -> GeneBERT:
    model = randomise(GeneBERT(tiny_settings, 40))
    model.row_mean.fill_(0.25)
    model.row_std.fill_(2.0)
    return model


@pytest.fixture
def card(tiny_settings: ModelSettings) -> Card:
    return Card(
        settings=tiny_settings,
        motifs=[f"motif{m}" for m in range(40)],
        motif_digest=DIGEST,
        variant="multimodal",
        seed=3,
        steps=7,
    )


@pytest.fixture
def folder(model: GeneBERT, card: Card, tmp_path: Path) -> Path:
    save_model(model, card, tmp_path / "model")
    return tmp_path / "model"


@torch.no_grad()
def test_a_model_reads_back_with_the_same_outputs(model: GeneBERT, card: Card, folder: Path) -> None:
    loaded, read = load_model(folder, DIGEST)
    assert read == card
    assert not loaded.training
    codes = torch.arange(90, dtype=torch.uint8).view(2, 45) % 4
    matrix, present = torch.rand(2, 40, 5), torch.ones(2, 5, dtype=torch.bool)
    assert torch.equal(loaded.sequence_features(codes), model.sequence_features(codes))
    assert torch.equal(loaded.region_features(matrix, present), model.region_features(matrix, present))


def test_statistics_of_the_corpus_travel_with_the_model(folder: Path) -> None:
    loaded, _ = load_model(folder)
    assert loaded.row_mean.unique().tolist() == [0.25]
    assert loaded.row_std.unique().tolist() == [2.0]


def test_equal_models_make_equal_bytes(model: GeneBERT, card: Card, tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_model(model, card, tmp_path / name)
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_weights_carry_one_key_of_metadata(folder: Path) -> None:
    raw = (folder / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    assert header["__metadata__"] == {"format": "pt"}


@pytest.mark.parametrize("size", [0, 5, 200, -1])
def test_truncated_weights_are_refused(folder: Path, size: int) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:size])
    with pytest.raises(GenebertError, match="no complete model"):
        load_model(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_folder_that_lacks_a_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(GenebertError, match="no complete model"):
        load_model(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"seed": 1}'])
def test_a_damaged_config_is_refused(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(GenebertError, match="no complete model"):
        load_model(folder)


def test_weights_of_another_size_are_refused(folder: Path) -> None:
    path = folder / "config.json"
    content = json.loads(path.read_text())
    content["settings"]["projection"] *= 2
    path.write_text(json.dumps(content))
    with pytest.raises(GenebertError):
        load_model(folder)


def test_another_order_of_motifs_is_refused(folder: Path) -> None:
    with pytest.raises(GenebertError, match="other motifs"):
        load_model(folder, "fedcba9876543210")
