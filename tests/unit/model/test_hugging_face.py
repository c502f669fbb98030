"""Checkpoints that transformers itself writes, read into our network."""

import itertools
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, BertModel, PreTrainedModel

from genebert.config import Model as ModelSettings
from genebert.errors import GenebertError
from genebert.model.genebert import GeneBERT
from genebert.model.hugging_face import load_bert
from genebert.sequence.tokens import KmerTokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
DNABERT = SPECIAL + ["".join(kmer) for kmer in itertools.product("ATCG", repeat=3)]


def bert_config(**changes: Any) -> BertConfig:
    sizes: dict[str, Any] = {
        "vocab_size": len(DNABERT),
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "intermediate_size": 40,
        "max_position_embeddings": 32,
    }
    return BertConfig(**(sizes | changes))


@pytest.fixture
def settings(tiny_settings: ModelSettings) -> ModelSettings:
    sizes = {"layers": 2, "width": 24, "heads": 3, "feedforward": 40, "positions": 32, "norm": "post"}
    sequence = tiny_settings.sequence.model_copy(update=sizes)
    return tiny_settings.model_copy(update={"sequence": sequence})


def with_sequence(settings: ModelSettings, **changes: Any) -> GeneBERT:
    sequence = settings.sequence.model_copy(update=changes)
    return GeneBERT(settings.model_copy(update={"sequence": sequence}), 40).eval()


def write(bert: PreTrainedModel, folder: Path, names: list[str] | None = DNABERT) -> Path:
    bert.save_pretrained(folder)
    if names is not None:
        (folder / "vocab.txt").write_text("\n".join(names) + "\n")
    return folder


@pytest.fixture
def bert(randomise: Callable) -> BertForMaskedLM:
    return randomise(BertForMaskedLM(bert_config()))


@pytest.fixture
def folder(bert: BertForMaskedLM, tmp_path: Path) -> Path:
    return write(bert, tmp_path / "bert")


def some_sequences(length: int = 30) -> list[str]:
    rng = random.Random(0)
    return ["".join(rng.choices("ACGT", k=length)) for _ in range(4)]


def ids_by_name(sequences: list[str], names: list[str]) -> torch.Tensor:
    """Return the ids by a vocabulary's own order, found by name."""
    texts = [["[CLS]", *(text[i : i + 3] for i in range(len(text) - 2)), "[SEP]"] for text in sequences]
    return torch.tensor([[names.index(name) for name in text] for text in texts])


def our_ids(sequences: list[str]) -> torch.Tensor:
    codes = torch.tensor([["ACGT".index(base) for base in text] for text in sequences])
    return KmerTokenizer(3)(codes.to(torch.uint8))


@torch.no_grad()
def assert_equal(model: GeneBERT, bert: BertForMaskedLM, names: list[str]) -> None:
    """Compare hidden vectors and logits on the same sequences."""
    sequences = some_sequences()
    theirs = bert(ids_by_name(sequences, names), output_hidden_states=True)
    hidden = model.sequence_encoder(our_ids(sequences))
    torch.testing.assert_close(hidden, theirs.hidden_states[-1], atol=1e-5, rtol=1e-5)
    logits = model.masked_sequence_head(hidden, model.sequence_encoder.token.weight)
    columns = [names.index(name) for name in model.tokenizer.vocabulary]
    torch.testing.assert_close(logits, theirs.logits[..., columns], atol=1e-5, rtol=1e-5)


def test_hidden_vectors_and_logits_are_berts(
    bert: BertForMaskedLM, folder: Path, settings: ModelSettings
) -> None:
    model = with_sequence(settings)
    line = load_bert(model, folder)
    assert_equal(model, bert, DNABERT)
    assert line.endswith("2 layers, 69 tokens, 32 of 32 positions, output layer")


def test_rows_of_tokens_are_found_by_name(
    randomise: Callable, tmp_path: Path, settings: ModelSettings
) -> None:
    names = [*DNABERT, "[unused1]"]
    random.Random(1).shuffle(names)
    # Rows beyond the names fill the table up.
    bert = randomise(BertForMaskedLM(bert_config(vocab_size=72)))
    model = with_sequence(settings)
    load_bert(model, write(bert, tmp_path / "bert", names))
    assert_equal(model, bert, names)


def test_without_names_the_order_is_dnaberts(
    bert: BertForMaskedLM, tmp_path: Path, settings: ModelSettings
) -> None:
    model = with_sequence(settings)
    load_bert(model, write(bert, tmp_path / "bert", None))
    assert_equal(model, bert, DNABERT)


def test_weights_as_dnabert_has_them_are_read_too(
    bert: BertForMaskedLM, folder: Path, settings: ModelSettings
) -> None:
    (folder / "model.safetensors").unlink()
    # The decoder is written beside the embedding that it is tied to.
    torch.save(bert.state_dict(), folder / "pytorch_model.bin")
    model = with_sequence(settings)
    assert load_bert(model, folder).endswith(", output layer")
    assert_equal(model, bert, DNABERT)


@torch.no_grad()
def test_an_encoder_alone_leaves_the_head_as_it_is(
    randomise: Callable, tmp_path: Path, settings: ModelSettings
) -> None:
    bert = randomise(BertModel(bert_config(), add_pooling_layer=False))
    model = with_sequence(settings)
    head = {name: value.clone() for name, value in model.masked_sequence_head.state_dict().items()}
    assert load_bert(model, write(bert, tmp_path / "bert")).endswith("no output layer")
    ids = our_ids(some_sequences())
    expected = bert(ids).last_hidden_state
    torch.testing.assert_close(model.sequence_encoder(ids), expected, atol=1e-5, rtol=1e-5)
    assert all(torch.equal(head[name], v) for name, v in model.masked_sequence_head.state_dict().items())


def test_a_decoder_of_its_own_is_not_taken(
    randomise: Callable, tmp_path: Path, settings: ModelSettings
) -> None:
    bert = randomise(BertForMaskedLM(bert_config(tie_word_embeddings=False)))
    folder = write(bert, tmp_path / "bert")
    assert load_bert(with_sequence(settings), folder).endswith("no output layer")


def test_the_first_positions_of_a_longer_table_are_taken(
    bert: BertForMaskedLM, folder: Path, settings: ModelSettings
) -> None:
    model = with_sequence(settings, positions=30)
    assert "30 of 32 positions" in load_bert(model, folder)
    assert_equal(model, bert, DNABERT)


def refusal(model: GeneBERT, folder: Path) -> str:
    """Return the message, of two lines, with which a folder is refused."""
    with pytest.raises(GenebertError) as caught:
        load_bert(model, folder)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("fix: ")
    assert str(folder) in lines[0]
    return str(caught.value)


@pytest.mark.parametrize(
    ("ours", "said", "fix"),
    [
        ({"layers": 1}, "num_hidden_layers 2 (model.sequence.layers is 1)", "{layers: 2}"),
        ({"width": 48}, "hidden_size 24 (model.sequence.width is 48)", "{width: 24}"),
        ({"heads": 2}, "num_attention_heads 3 (model.sequence.heads is 2)", "{heads: 3}"),
        (
            {"feedforward": 8},
            "intermediate_size 40 (model.sequence.feedforward is 8)",
            "{feedforward: 40}",
        ),
        (
            {"positions": 64},
            "max_position_embeddings 32 (model.sequence.positions is 64)",
            "{positions: 32}",
        ),
        ({"norm": "pre"}, "post (model.sequence.norm is pre)", "{norm: post}"),
        ({"k": 4}, "vocabulary 3 (model.sequence.k is 4)", "{k: 3}"),
        ({"k": 6, "norm": "pre"}, "model.sequence.k is 6", "{norm: post, k: 3}"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("named", [True, False])
def test_other_sizes_are_refused_with_the_line_to_write(
    folder: Path, settings: ModelSettings, ours: dict[str, Any], said: str, fix: str, named: bool
) -> None:
    if not named:
        (folder / "vocab.txt").unlink()
    message = refusal(with_sequence(settings, **ours), folder)
    assert said in message
    assert f"set `model.sequence: {fix}`" in message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_act", "gelu_new"),
        ("layer_norm_eps", 1e-5),
        ("model_type", "roberta"),
        ("position_embedding_type", "relative_key"),
        ("is_decoder", True),
    ],
)
def test_other_kinds_of_network_are_refused(
    folder: Path, settings: ModelSettings, key: str, value: Any
) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    assert f"{key} is {value}" in refusal(with_sequence(settings), folder)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([*SPECIAL, "AC", "ACG", "TT"], "not one of k-mers of one length"),
        ([*SPECIAL, "the", "cat"], "not one of k-mers of one length"),
        (DNABERT[:-2], "lacks 'GGC' and 1 more"),
        (DNABERT[1:], "lacks '[PAD]'"),
        ([*DNABERT[:-1], "AAA"], "69 tokens for 69 embeddings, or one of them twice"),
        ([*DNABERT, "[unused1]"], "70 tokens for 69 embeddings"),
    ],
)
def test_other_vocabularies_are_refused(
    folder: Path, settings: ModelSettings, names: list[str], said: str
) -> None:
    (folder / "vocab.txt").write_text("\n".join(names))
    assert said in refusal(with_sequence(settings), folder)


def test_a_vocabulary_without_names_must_be_of_kmers(folder: Path, settings: ModelSettings) -> None:
    (folder / "vocab.txt").unlink()
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"vocab_size": 4096}))
    assert "vocab_size 4096" in refusal(with_sequence(settings), folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(folder: Path, settings: ModelSettings, name: str) -> None:
    (folder / name).unlink()
    assert name in refusal(with_sequence(settings), folder)


@pytest.mark.parametrize("size", [0, 7, 300, -1])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "pytorch_model.bin"])
def test_a_truncated_file_is_refused(
    bert: BertForMaskedLM, folder: Path, settings: ModelSettings, name: str, size: int
) -> None:
    if name == "pytorch_model.bin":
        (folder / "model.safetensors").unlink()
        torch.save(bert.state_dict(), folder / name)
    path = folder / name
    whole = path.read_bytes().rstrip()
    path.write_bytes(whole[:size])
    assert name in refusal(with_sequence(settings), folder)


def test_a_file_of_something_else_is_refused(folder: Path, settings: ModelSettings) -> None:
    (folder / "model.safetensors").unlink()
    torch.save([torch.zeros(3)], folder / "pytorch_model.bin")
    assert "no weights by name" in refusal(with_sequence(settings), folder)


def test_weights_that_config_json_does_not_describe_are_refused(
    folder: Path, settings: ModelSettings
) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"num_hidden_layers": 3}))
    assert "lacks 'bert.encoder.layer.2" in refusal(with_sequence(settings, layers=3), folder)
    path.write_text(json.dumps(config | {"intermediate_size": 48}))
    assert "size mismatch" in refusal(with_sequence(settings, feedforward=48), folder)
    path.write_text(json.dumps(config | {"vocab_size": 70}))
    assert "69 token embeddings, config.json says 70" in refusal(with_sequence(settings), folder)
    for wrong in ({"hidden_size": None}, {"vocab_size": "69"}):
        path.write_text(json.dumps(config | wrong))
        assert f"'{next(iter(wrong))}' is no whole number" in refusal(with_sequence(settings), folder)
