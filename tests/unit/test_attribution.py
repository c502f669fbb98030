"""Attribution and attention at one place, against plain loops over bases, heads and tokens."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F

from genebert.attribution import (
    SCHEMA,
    attribution,
    densest_region,
    received_attention,
    write_attribution,
)
from genebert.config import Model as ModelSettings
from genebert.corpus.read import Corpus
from genebert.errors import GenebertError
from genebert.model.checkpoint import Card, save_model
from genebert.model.genebert import GeneBERT
from genebert.sequence.codes import encode

MOTIFS = 40


def model_of(settings: ModelSettings) -> GeneBERT:
    torch.manual_seed(3)
    model = GeneBERT(settings, MOTIFS)
    with torch.no_grad():  # larger weights: attention is then uneven, and layers matter
        for name, weight in model.sequence_encoder.named_parameters():
            if weight.dim() == 2:
                weight.mul_(8 if "qkv" in name else 4)
    return model.eval()


def card_of(settings: ModelSettings, digest: str) -> Card:
    names = [f"motif{number}" for number in range(MOTIFS)]
    return Card(settings=settings, motifs=names, motif_digest=digest, variant="toy", seed=7, steps=0)


def test_attribution_equals_changing_one_base_at_a_time(tiny_settings: ModelSettings) -> None:
    model = model_of(tiny_settings)
    sequence = "".join(np.random.default_rng(0).choice(list("ACGT"), 30))
    found = attribution(model, torch.from_numpy(encode(sequence))[None])
    assert found.shape == (30,) and found.dtype == np.float32

    def features(text: str) -> torch.Tensor:
        with torch.no_grad():
            return model.sequence_features(torch.from_numpy(encode(text))[None])[0].double()

    whole = features(sequence)
    for place, base in enumerate(sequence):
        moved = [
            float((features(sequence[:place] + other + sequence[place + 1 :]) - whole).norm())
            for other in "ACGT"
            if other != base
        ]
        assert found[place] == pytest.approx(sum(moved) / 3 / float(whole.norm()), rel=1e-4)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_attention_equals_a_softmax_written_out(tiny_settings: ModelSettings, norm: str) -> None:
    sequence_settings = tiny_settings.sequence.model_copy(update={"norm": norm})
    model = model_of(tiny_settings.model_copy(update={"sequence": sequence_settings}))
    codes = torch.from_numpy(encode("ACGTTGCAACGTAGGCTA"))[None]
    found = received_attention(model, codes)

    encoder, ids = model.sequence_encoder, model.tokenizer(codes)
    with torch.no_grad():
        x = encoder.token(ids) + encoder.position.weight[: ids.shape[1]]
        x = x if encoder.pre else encoder.norm(x)
        for block in encoder.blocks[:-1]:
            x = block(x, None)
        last = encoder.blocks[-1]
        x = last.attention_norm(x) if encoder.pre else x
        made = F.linear(x, last.qkv.weight, last.qkv.bias)[0]
    width = made.shape[1] // 3
    size, tokens = width // last.heads, ids.shape[1]
    received = [0.0] * tokens
    for head in range(last.heads):
        rows = slice(head * size, (head + 1) * size)
        queries, keys = made[:, :width][:, rows], made[:, width : 2 * width][:, rows]
        for query in queries:
            powers = [math.exp(float(query @ key) / math.sqrt(size)) for key in keys]
            for token, power in enumerate(powers):
                received[token] += power / sum(powers) / last.heads
    assert sum(received) == pytest.approx(tokens)
    k = model.tokenizer.k
    for base in range(codes.shape[1]):
        over = [
            received[1 + first] for first in range(base - k + 1, base + 1) if 0 <= first < tokens - 2
        ]
        assert found[base] == pytest.approx(sum(over) / len(over), rel=1e-4)
    assert found.max() / found.min() > 1.05  # or the comparison would show little


def test_no_hook_stays_behind(tiny_settings: ModelSettings) -> None:
    model = model_of(tiny_settings)
    codes = torch.from_numpy(encode("ACGTTGCAACGTAGGCTA"))[None]
    assert np.array_equal(received_attention(model, codes), received_attention(model, codes))
    assert not model.sequence_encoder.blocks[-1].qkv._forward_hooks


def with_hits(corpus: Corpus, number: dict[int, int]) -> Corpus:
    """Return the corpus with so many hits in some regions, and one in the others."""
    best = np.zeros_like(corpus.best)
    for region in range(corpus.regions):
        best[region, : number.get(region, 1)] = 100
    return Corpus(**{**vars(corpus), "best": best})


def test_the_place_is_the_densest_of_testing(
    make_corpus: Callable[..., Corpus], write_corpus: Callable[..., Path], tmp_path: Path
) -> None:
    corpus = make_corpus()
    first, second, third = np.flatnonzero(corpus.in_split("test"))[[3, 8, 12]]
    hits = {0: 30, int(first): 9, int(second): 9, int(third): 12}
    corpus.sequence[third, 5] = 4
    folder = write_corpus(with_hits(corpus, hits), tmp_path / "corpus")
    place = densest_region(folder)
    # Training has a denser one, a later one is equal, and the densest of testing holds an N.
    assert place["region_id"] == first and place["split"] == "test"
    assert len(place["motif"]) == 18  # every hit is written twice


def test_without_a_usable_test_region_another_split_serves(
    make_corpus: Callable[..., Corpus], write_corpus: Callable[..., Path], tmp_path: Path
) -> None:
    corpus = make_corpus()
    corpus.sequence[corpus.in_split("test")] = 4
    assert densest_region(write_corpus(corpus, tmp_path / "a"))["split"] == "validation"
    corpus.sequence[:] = 4
    with pytest.raises(GenebertError, match="holds an N"):
        densest_region(write_corpus(corpus, tmp_path / "b"))


def test_the_file_holds_place_bases_and_hits(
    tiny_settings: ModelSettings,
    make_corpus: Callable[..., Corpus],
    write_corpus: Callable[..., Path],
    tmp_path: Path,
) -> None:
    corpus = make_corpus(motifs=MOTIFS)
    folder = write_corpus(corpus, tmp_path / "corpus")
    save_model(
        model_of(tiny_settings), card_of(tiny_settings, corpus.metadata.motif_digest), tmp_path / "m"
    )
    files = [tmp_path / f"{name}.parquet" for name in "ab"]
    lines = [write_attribution(tmp_path / "m", folder, out, "cpu") for out in files]
    assert lines[0] == lines[1] and files[0].read_bytes() == files[1].read_bytes()
    table = pq.read_table(files[0])
    assert table.schema.remove_metadata().equals(SCHEMA)
    facts = json.loads(table.schema.metadata[b"genebert"])
    place = densest_region(folder)
    assert facts["variant"] == "toy" and facts["seed"] == 7 and facts["split"] == "test"
    assert "".join(table["base"].to_pylist()) == place["sequence"]
    assert table["position"].to_pylist() == list(range(corpus.metadata.width))
    for key, values in facts["hits"].items():
        assert values == place[key]
    codes = torch.from_numpy(encode(place["sequence"]))[None]
    assert np.array_equal(table["attribution"].to_numpy(), attribution(model_of(tiny_settings), codes))


def test_a_model_of_other_motifs_is_refused(
    tiny_settings: ModelSettings,
    make_corpus: Callable[..., Corpus],
    write_corpus: Callable[..., Path],
    tmp_path: Path,
) -> None:
    folder = write_corpus(make_corpus(motifs=MOTIFS), tmp_path / "corpus")
    save_model(model_of(tiny_settings), card_of(tiny_settings, "other"), tmp_path / "m")
    with pytest.raises(GenebertError, match="other motifs"):
        write_attribution(tmp_path / "m", folder, tmp_path / "out.parquet", "cpu")
    assert not (tmp_path / "out.parquet").exists()
