"""Weights of a BERT in Hugging Face format, as DNABERT is published, for the sequence encoder.

The folder holds ``config.json``, ``model.safetensors`` or ``pytorch_model.bin``, and ``vocab.txt``;
where the last is missing, tokens are in DNABERT's order.
"""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from genebert.config import SequenceEncoder as Settings
from genebert.errors import GenebertError
from genebert.model.genebert import GeneBERT
from genebert.model.sequence_encoder import EPSILON
from genebert.sequence.tokens import KmerTokenizer

Tensors = dict[str, torch.Tensor]

# Keys of config.json, and ours that must agree.
_SIZES = {
    "num_hidden_layers": "layers",
    "hidden_size": "width",
    "num_attention_heads": "heads",
    "intermediate_size": "feedforward",
}
# What the sequence encoder is, and what an absent key means.
_FIXED = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "layer_norm_eps": EPSILON,
    "position_embedding_type": "absolute",
    "is_decoder": False,
}
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_KMER_LENGTHS = {KmerTokenizer(k).size: k for k in range(1, 9)}


def load_bert(model: GeneBERT, folder: str | Path) -> str:
    """Start the sequence encoder from a BERT's weights; return a line on what was taken.

    BERT's embedding of the first segment is a part of every position's here. Of positions beyond
    ``model.sequence.positions`` nothing is taken. Where the folder holds a BertForMaskedLM whose output
    layer is tied to the token embedding, the masked-sequence head starts from its weights too.

    Parameters
    ----------
    model
        With ``norm: post``, BERT's own order.
    folder
        In Hugging Face format.

    Raises
    ------
    GenebertError
        If files are missing or damaged, or sizes, vocabulary or kind of the network are not the model's.
    """
    folder = Path(folder)
    config = _read_config(folder)
    names = _read_vocabulary(folder, config)
    settings = model.settings.sequence
    _check_kind(folder, config)
    _check_sizes(folder, config, names, settings)
    rows = _rows_of_tokens(folder, names, model.tokenizer)
    path, weights = _read_weights(folder)
    prefix = "bert." if any(name.startswith("bert.") for name in weights) else ""
    try:
        word = weights[f"{prefix}embeddings.word_embeddings.weight"]
        if len(word) != config["vocab_size"]:
            _damaged(path, f"{len(word)} token embeddings, config.json says {config['vocab_size']}")
        state = _encoder_state(weights, prefix, settings.layers, settings.positions, rows)
        model.sequence_encoder.load_state_dict(state)
        head = _head_state(weights, word, rows)
        if head:
            model.masked_sequence_head.load_state_dict(head)
    except KeyError as error:
        _damaged(path, f"lacks {error}")
    except RuntimeError as error:
        _damaged(path, f"not what config.json says: {str(error).splitlines()[-1].strip()}")
    positions = f"{settings.positions} of {config['max_position_embeddings']} positions"
    layer = "output layer" if head else "no output layer"
    return f"{folder}: {settings.layers} layers, {len(rows)} tokens, {positions}, {layer}"


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        _damaged(path, str(error))
    keys = (*_SIZES, "vocab_size", "max_position_embeddings")
    for key in keys:
        if not isinstance(config, dict) or not isinstance(config.get(key), int):
            _damaged(path, f"'{key}' is no whole number")
    return config


def _read_vocabulary(folder: Path, config: Mapping[str, Any]) -> list[str]:
    """Return the names of the rows of the token embedding."""
    path = folder / "vocab.txt"
    if not path.exists():
        k = _KMER_LENGTHS.get(config["vocab_size"])
        if k is None:
            raise GenebertError(
                f"vocab_size {config['vocab_size']} is that of no k-mer vocabulary, without vocab.txt",
                "put the vocab.txt of the checkpoint beside config.json",
                str(folder / "config.json"),
            )
        return KmerTokenizer(k).vocabulary
    try:
        names = path.read_text().split()
    except (OSError, ValueError) as error:
        _damaged(path, str(error))
    if len(set(names)) < len(names) or len(names) > config["vocab_size"]:
        _damaged(
            path, f"{len(names)} tokens for {config['vocab_size']} embeddings, or one of them twice"
        )
    return names


def _check_kind(folder: Path, config: Mapping[str, Any]) -> None:
    for key, needed in _FIXED.items():
        if config.get(key, needed) != needed:
            raise GenebertError(
                f"{key} is {config[key]}; the sequence encoder has {needed}",
                f"init_from takes a BERT whose {key} is {needed}, such as DNABERT",
                str(folder / "config.json"),
            )


def _check_sizes(folder: Path, config: Mapping[str, Any], names: list[str], settings: Settings) -> None:
    """Refuse other sizes than the model's, all at once."""
    found: list[tuple[str, Any, str]] = [(key, config[key], name) for key, name in _SIZES.items()]
    found.append(("norm of BERT", "post", "norm"))
    if config["max_position_embeddings"] < settings.positions:
        found.append(("max_position_embeddings", config["max_position_embeddings"], "positions"))
    lengths = {len(name) for name in names if set(name) <= set("ACGT")}
    if len(lengths) != 1:
        raise GenebertError(
            "vocabulary is not one of k-mers of one length",
            "init_from takes a DNABERT-style BERT; byte-pair vocabularies do not fit",
            str(folder / "vocab.txt"),
        )
    found.append(("k-mer length of the vocabulary", lengths.pop(), "k"))
    other = [(key, theirs, name) for key, theirs, name in found if theirs != getattr(settings, name)]
    if other:
        said = ", ".join(
            f"{key} {theirs} (model.sequence.{name} is {getattr(settings, name)})"
            for key, theirs, name in other
        )
        lines = ", ".join(f"{name}: {theirs}" for _, theirs, name in other)
        raise GenebertError(
            f"weights of another network: {said}", f"set `model.sequence: {{{lines}}}`", str(folder)
        )


def _rows_of_tokens(folder: Path, names: list[str], tokenizer: KmerTokenizer) -> list[int]:
    """Return the row of their embedding for each of our tokens."""
    row_of = {name: row for row, name in enumerate(names)}
    if missing := [name for name in tokenizer.vocabulary if name not in row_of]:
        _damaged(folder / "vocab.txt", f"lacks '{missing[0]}' and {len(missing) - 1} more tokens")
    return [row_of[name] for name in tokenizer.vocabulary]


def _read_weights(folder: Path) -> tuple[Path, Tensors]:
    path = next((folder / name for name in _WEIGHTS if (folder / name).exists()), None)
    if path is None:
        raise GenebertError(
            f"{folder} holds neither {' nor '.join(_WEIGHTS)}",
            "give the folder of one BERT in Hugging Face format, its weights in one file",
        )
    try:
        if path.suffix == ".safetensors":
            return path, load_file(path)
        weights = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(weights, dict):
            raise ValueError("no weights by name")
        return path, weights
    except (
        OSError,
        RuntimeError,
        ValueError,
        EOFError,
        pickle.UnpicklingError,
        SafetensorError,
    ) as error:
        _damaged(path, str(error))


def _encoder_state(
    weights: Tensors, prefix: str, layers: int, positions: int, rows: list[int]
) -> Tensors:
    """Return BERT's weights by the names of the sequence encoder."""
    embeddings = f"{prefix}embeddings"
    state = {
        "token.weight": weights[f"{embeddings}.word_embeddings.weight"][rows],
        "position.weight": weights[f"{embeddings}.position_embeddings.weight"][:positions]
        + weights[f"{embeddings}.token_type_embeddings.weight"][0],
    }
    pairs = [("norm", f"{embeddings}.LayerNorm")]
    for layer in range(layers):
        ours, theirs = f"blocks.{layer}", f"{prefix}encoder.layer.{layer}"
        pairs += [
            (f"{ours}.out", f"{theirs}.attention.output.dense"),
            (f"{ours}.attention_norm", f"{theirs}.attention.output.LayerNorm"),
            (f"{ours}.expand", f"{theirs}.intermediate.dense"),
            (f"{ours}.contract", f"{theirs}.output.dense"),
            (f"{ours}.feedforward_norm", f"{theirs}.output.LayerNorm"),
        ]
        for kind in ("weight", "bias"):
            qkv = [weights[f"{theirs}.attention.self.{n}.{kind}"] for n in ("query", "key", "value")]
            state[f"{ours}.qkv.{kind}"] = torch.cat(qkv)
    return state | _renamed(weights, pairs)


def _head_state(weights: Tensors, word: torch.Tensor, rows: list[int]) -> Tensors:
    """Return BERT's output layer by the names of our head; empty where there is none that fits."""
    name = "cls.predictions"
    if f"{name}.bias" not in weights or not torch.equal(
        weights.get(f"{name}.decoder.weight", word), word
    ):
        return {}
    pairs = [("dense", f"{name}.transform.dense"), ("norm", f"{name}.transform.LayerNorm")]
    return {"bias": weights[f"{name}.bias"][rows]} | _renamed(weights, pairs)


def _renamed(weights: Tensors, pairs: list[tuple[str, str]]) -> Tensors:
    kinds = ("weight", "bias")
    return {f"{ours}.{kind}": weights[f"{theirs}.{kind}"] for ours, theirs in pairs for kind in kinds}


def _damaged(path: Path, why: str) -> NoReturn:
    raise GenebertError(
        f"{path}: missing, damaged or of another model ({(why.splitlines() or ['empty'])[0]})",
        "fetch the folder of the checkpoint again (variants.<name>.init_from)",
    ) from None
