"""The sequence encoder against the transformers library's BERT on shared weights."""

from collections.abc import Callable

import pytest
import torch
from transformers import BertConfig, BertModel

from genebert.config import SequenceEncoder as Settings
from genebert.model.sequence_encoder import SequenceEncoder

VOCABULARY = 69


def settings(heads: int = 2, norm: str = "post", layers: int = 3) -> Settings:
    return Settings(k=3, layers=layers, width=24, heads=heads, feedforward=40, positions=32, norm=norm)


def reference(ours: Settings) -> BertModel:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=ours.width,
        num_hidden_layers=ours.layers,
        num_attention_heads=ours.heads,
        intermediate_size=ours.feedforward,
        max_position_embeddings=ours.positions,
        attn_implementation="eager",
    )
    return BertModel(config, add_pooling_layer=False)


def copied(bert: BertModel, ours: Settings) -> SequenceEncoder:
    """Return our encoder with BERT's weights."""
    theirs = bert.state_dict()
    state = {
        "token.weight": theirs["embeddings.word_embeddings.weight"],
        # Every token is of type 0: its embedding is a part of each position's.
        "position.weight": theirs["embeddings.position_embeddings.weight"]
        + theirs["embeddings.token_type_embeddings.weight"][0],
    }
    pairs = [("norm", "embeddings.LayerNorm")]
    for layer in range(ours.layers):
        here, there = f"blocks.{layer}", f"encoder.layer.{layer}"
        pairs += [
            (f"{here}.out", f"{there}.attention.output.dense"),
            (f"{here}.attention_norm", f"{there}.attention.output.LayerNorm"),
            (f"{here}.expand", f"{there}.intermediate.dense"),
            (f"{here}.contract", f"{there}.output.dense"),
            (f"{here}.feedforward_norm", f"{there}.output.LayerNorm"),
        ]
        for kind in ("weight", "bias"):
            state[f"{here}.qkv.{kind}"] = torch.cat(
                [theirs[f"{there}.attention.self.{n}.{kind}"] for n in ("query", "key", "value")]
            )
    for mine, other in pairs:
        for kind in ("weight", "bias"):
            state[f"{mine}.{kind}"] = theirs[f"{other}.{kind}"]
    encoder = SequenceEncoder(ours, VOCABULARY)
    encoder.load_state_dict(state, strict=True)
    return encoder.eval()


def some_ids(batch: int = 4, length: int = 20) -> torch.Tensor:
    return torch.randint(5, VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("heads", [2, 6])
@pytest.mark.parametrize("length", [1, 20, 32])
@torch.no_grad()
def test_post_norm_equals_bert(heads: int, length: int, randomise: Callable) -> None:
    bert = randomise(reference(settings(heads)))
    ids = some_ids(length=length)
    expected = bert(ids).last_hidden_state
    torch.testing.assert_close(copied(bert, settings(heads))(ids), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("heads", [2, 6])
@torch.no_grad()
def test_post_norm_equals_bert_with_padding(heads: int, randomise: Callable) -> None:
    bert = randomise(reference(settings(heads)))
    ids = some_ids()
    mask = torch.arange(20) < torch.tensor([[20], [13], [4], [1]])
    expected = bert(ids, attention_mask=mask.long()).last_hidden_state
    found = copied(bert, settings(heads))(ids, mask)
    torch.testing.assert_close(found[mask], expected[mask], atol=1e-5, rtol=1e-5)
    without = copied(bert, settings(heads))(ids)
    assert (without - expected)[1:].abs().max() > 1e-3  # the mask matters


@pytest.mark.parametrize("norm", ["pre", "post"])
@torch.no_grad()
def test_a_padded_sequence_is_encoded_as_it_is_alone(norm: str, randomise: Callable) -> None:
    encoder = randomise(SequenceEncoder(settings(norm=norm), VOCABULARY))
    ids = some_ids()
    mask = torch.arange(20).expand(4, -1) < 9
    torch.testing.assert_close(encoder(ids, mask)[:, :9], encoder(ids[:, :9]), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_pre_norm_equals_a_plain_computation(randomise: Callable) -> None:
    encoder = randomise(SequenceEncoder(settings(norm="pre", layers=1), VOCABULARY))
    block, ids = encoder.blocks[0], some_ids(batch=1, length=7)

    def normalise(x: torch.Tensor, norm: torch.nn.LayerNorm) -> torch.Tensor:
        spread = (x.var(-1, unbiased=False, keepdim=True) + 1e-12).sqrt()
        return (x - x.mean(-1, keepdim=True)) / spread * norm.weight + norm.bias

    x = torch.stack([encoder.token.weight[i] for i in ids[0]]) + encoder.position.weight[:7]
    q, k, v = (normalise(x, block.attention_norm) @ block.qkv.weight.T + block.qkv.bias).split(24, 1)
    heads = []
    for head in range(2):
        part = slice(12 * head, 12 * head + 12)
        weights = torch.softmax(q[:, part] @ k[:, part].T / 12**0.5, dim=1)
        heads.append(weights @ v[:, part])
    x = x + torch.cat(heads, 1) @ block.out.weight.T + block.out.bias
    inner = normalise(x, block.feedforward_norm) @ block.expand.weight.T + block.expand.bias
    inner = 0.5 * inner * (1 + torch.erf(inner / 2**0.5))
    x = x + inner @ block.contract.weight.T + block.contract.bias
    torch.testing.assert_close(encoder(ids)[0], normalise(x, encoder.norm), atol=1e-5, rtol=1e-5)
