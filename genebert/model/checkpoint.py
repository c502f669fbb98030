"""A model as a folder: ``config.json`` and ``model.safetensors``."""

import contextlib
from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from genebert.config import Model as Settings
from genebert.errors import GenebertError, first_line
from genebert.files import complete_or_absent, write_json
from genebert.model.genebert import GeneBERT


class Card(BaseModel):
    """What ``config.json`` holds.

    Attributes
    ----------
    settings
        Sizes of the network.
    motifs, motif_digest
        Names of the matrix rows and the hash of what they mean.
    variant, seed, steps
        The pre-training recipe's name, its seed, and the optimiser steps taken.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    settings: Settings
    motifs: list[str]
    motif_digest: str
    variant: str
    seed: int
    steps: int


def save_model(model: GeneBERT, card: Card, folder: str | Path) -> None:
    """Write the model's folder; the weights come last, so that a folder with weights is complete."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", card.model_dump())
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    with complete_or_absent(folder / "model.safetensors") as temporary:
        # Not save_file, which has temporary files of its own that a killed run leaves behind.
        temporary.write_bytes(save(tensors, metadata={"format": "pt"}))


def load_model(folder: str | Path, motif_digest: str | None = None) -> tuple[GeneBERT, Card]:
    """Read a model's folder, on the CPU.

    Parameters
    ----------
    folder
        As :func:`save_model` wrote it.
    motif_digest
        Of the corpus it is to be used with; None to skip the check.

    Raises
    ------
    GenebertError
        If files are missing or damaged, or the corpus has other motifs.
    """
    folder = Path(folder)
    try:
        card = Card.model_validate_json((folder / "config.json").read_text())
        tensors = load_file(folder / "model.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise GenebertError(
            f"{folder} holds no complete model ({first_line(error)})",
            "delete the folder and pre-train again",
        ) from None
    if motif_digest is not None and motif_digest != card.motif_digest:
        raise GenebertError(
            f"the model was trained with other motifs or another order ({len(card.motifs)} motifs)",
            "use the corpus it was trained with, or pre-train on this one",
            str(folder),
        )
    _check_sizes(card, tensors, folder)
    model = GeneBERT(card.settings, len(card.motifs))
    model.load_state_dict(tensors)
    return model.eval(), card


def _check_sizes(card: Card, tensors: Mapping[str, torch.Tensor], folder: Path) -> None:
    """Refuse weights of another network before one is made: config.json may ask for any size."""
    layers = card.settings.sequence.layers + sum(card.settings.region.depths)
    expected = {}
    if layers <= len(tensors):
        # Sizes beyond what any tensor has are a RuntimeError even where nothing is allocated.
        with contextlib.suppress(RuntimeError), torch.device("meta"):
            network = GeneBERT(card.settings, len(card.motifs))
            expected = {name: tensor.shape for name, tensor in network.state_dict().items()}
    found = {name: tensor.shape for name, tensor in tensors.items()}
    if found != expected:
        other = sorted(name for name in found.keys() | expected if found.get(name) != expected.get(name))
        raise GenebertError(
            f"{folder}: weights and config.json disagree ({', '.join(other[:3])})",
            "delete the folder and pre-train again",
        )
