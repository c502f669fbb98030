"""Encoders of the transformers library, made on the spot: DNABERT's k-mers, and byte pairs."""

import dataclasses
import itertools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertModel,
    BertTokenizer,
    PreTrainedTokenizerFast,
    dynamic_module_utils,
)

from genebert.benchmarks import hugging_face
from genebert.benchmarks.answer import Answer, Question
from genebert.benchmarks.dataset import Dataset
from genebert.benchmarks.hugging_face import Tokens, embed, load, tokenise
from genebert.benchmarks.models import answer
from genebert.config import Finetune, parse_model
from genebert.corpus.read import Corpus
from genebert.errors import GenebertError
from genebert.sequence.codes import encode_all

K = 3
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TEXTS = ["ACGTTGCATGCCATGATTACA", "ACGNACGT", "TTTGA", "GATTACAGATTACAGATTACAG", "ACGTN"]


def save_bert(folder: Path, words: int, **changes: Any) -> None:
    content = {
        "vocab_size": words,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 64,
    }
    torch.manual_seed(0)
    BertModel(BertConfig(**(content | changes))).save_pretrained(folder)


@pytest.fixture(scope="module")
def kmers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT over overlapping 3-mers, as DNABERT is published: weights, sizes and a list of words."""
    folder = tmp_path_factory.mktemp("kmers")
    words = SPECIAL + ["".join(word) for word in itertools.product("ATCG", repeat=K)]
    save_bert(folder, len(words))
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    return folder


@pytest.fixture(scope="module")
def byte_pairs(tmp_path_factory: pytest.TempPathFactory, toy_task: Dataset) -> Path:
    """A BERT over byte pairs learnt from the task's sequences, as DNABERT-2's are."""
    folder = tmp_path_factory.mktemp("byte_pairs")
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(vocab_size=60, special_tokens=SPECIAL, initial_alphabet=list("ACGTN"))
    tokenizer.train_from_iterator(toy_task.table["sequence"], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(folder)
    save_bert(folder, tokenizer.get_vocab_size())
    return folder


@pytest.fixture(scope="module", params=["kmers", "byte_pairs"])
def folder(request: pytest.FixtureRequest) -> Path:
    """Each of the two."""
    return request.getfixturevalue(request.param)


def as_its_tokenizer_takes_it(folder: Path, text: str) -> str:
    spaced = folder.name.startswith("kmers")
    return " ".join(text[i : i + K] for i in range(len(text) - K + 1)) if spaced else text


def test_a_kmer_vocabulary_is_known_as_one(kmers: Path, byte_pairs: Path) -> None:
    assert load(str(kmers)).k == K
    assert load(str(byte_pairs)).k is None


def test_tokens_are_the_tokenizers_own(folder: Path) -> None:
    """Sequence by sequence, by a tokenizer that reads words as they are written."""
    own = (
        BertTokenizer.from_pretrained(folder, do_lower_case=False)
        if (folder / "vocab.txt").exists()
        else AutoTokenizer.from_pretrained(folder)
    )
    ids, lengths = tokenise(load(str(folder)), encode_all(TEXTS))
    for row, length, text in zip(ids, lengths, TEXTS, strict=True):
        assert row[:length].tolist() == own(as_its_tokenizer_takes_it(folder, text))["input_ids"]
        assert (row[length:] == 0).all()


def test_features_are_the_mean_of_the_last_hidden_vectors(folder: Path) -> None:
    encoder = load(str(folder))
    network = AutoModel.from_pretrained(folder).eval()
    ids, lengths = tokenise(encoder, encode_all(TEXTS))
    found = embed(encoder, encode_all(TEXTS), "cpu")
    assert found.dtype == np.float32
    for row, length, features in zip(ids, lengths, found, strict=True):
        alone = torch.from_numpy(row[None, :length].astype(np.int64))
        with torch.no_grad():
            expected = network(input_ids=alone).last_hidden_state[0].mean(0)
        np.testing.assert_allclose(features, expected.numpy(), atol=1e-5)


def test_a_batch_is_no_wider_than_its_longest_row(folder: Path) -> None:
    encoder = load(str(folder))
    _, lengths = tokenise(encoder, encode_all(TEXTS))
    ids, mask = Tokens(encoder, encode_all(TEXTS), "cpu").batch(torch.tensor([2, 4]))
    assert ids.shape == mask.shape == (2, max(lengths[[2, 4]]))
    assert mask.sum(1).tolist() == lengths[[2, 4]].tolist()


def ask(dataset: Dataset, name: str, corpus: Corpus, **changes: Any) -> Answer:
    content = {"epochs": 8, "patience": 8, "batch_size": 16, "learning_rates": [5e-3]} | changes
    return answer(
        Question(
            dataset=dataset,
            companion=None,
            corpus_folder=Path("no corpus"),
            corpus=corpus.metadata,
            model=parse_model(name),
            weights=None,
            settings=Finetune(**content),
            seed=1,
            device="cpu",
        )
    )


def auroc(found: Answer) -> float:
    assert found.table is not None
    test = (found.table["split"] == "test").to_numpy()
    return roc_auc_score(found.table["label"][test], found.scores[test, 1])


def test_the_planted_word_is_found_by_fine_tuning(
    folder: Path, toy_task: Dataset, synthetic_corpus: Corpus
) -> None:
    found = ask(toy_task, f"hf:{folder}", synthetic_corpus)
    assert auroc(found) > 0.75
    assert found.facts["source"] == str(folder)
    assert found.of_sequences is not None
    rows = np.flatnonzero(toy_task.table["split"] != "train")
    np.testing.assert_allclose(found.of_sequences(toy_task.codes[rows]), found.scores, atol=1e-6)


def test_the_planted_word_is_found_by_a_probe(
    kmers: Path, toy_task: Dataset, synthetic_corpus: Corpus
) -> None:
    """Of k-mers, whose mean even random weights pass on; byte pairs cut the word anyhow."""
    found = ask(toy_task, f"hf:{kmers}.probe", synthetic_corpus)
    assert auroc(found) > 0.65
    assert found.of_sequences is not None
    rows = np.flatnonzero(toy_task.table["split"] != "train")
    np.testing.assert_allclose(found.of_sequences(toy_task.codes[rows]), found.scores, atol=1e-5)


@pytest.mark.parametrize("readout", ["", ".probe"])
def test_shuffled_labels_teach_nothing(
    folder: Path, toy_task: Dataset, synthetic_corpus: Corpus, readout: str
) -> None:
    found = []
    for seed in range(3):
        labels = np.random.default_rng(seed).permutation(toy_task.labels)
        kept = toy_task.table["split"] == "test"
        table = toy_task.table.assign(label=np.where(kept, toy_task.labels, labels))
        shuffled = dataclasses.replace(toy_task, table=table)
        found.append(auroc(ask(shuffled, f"hf:{folder}{readout}", synthetic_corpus, epochs=1)))
    assert np.mean(found) == pytest.approx(0.5, abs=0.2)


def test_nothing_is_cut_in_silence(
    kmers: Path, toy_task: Dataset, synthetic_corpus: Corpus, tmp_path: Path
) -> None:
    (tmp_path / "vocab.txt").write_text((kmers / "vocab.txt").read_text())
    save_bert(tmp_path, 69, max_position_embeddings=39)
    for readout in ("", ".probe"):
        with pytest.raises(GenebertError, match=r"40 tokens, .* reads 39") as caught:
            ask(toy_task, f"hf:{tmp_path}{readout}", synthetic_corpus)
        assert "crop" in caught.value.fix


def test_weights_of_another_network_are_refused(kmers: Path, tmp_path: Path) -> None:
    """As of DNABERT-2, which calls itself a BERT and is one only by its repository's code."""
    save_bert(tmp_path, 69)
    (tmp_path / "vocab.txt").write_text((kmers / "vocab.txt").read_text())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 2}))
    with pytest.raises(GenebertError, match=r"\d+ weights of the network .* missing") as caught:
        load(str(tmp_path))
    assert hugging_face.TRUST in caught.value.fix


def test_code_of_a_repository_is_run_only_where_it_is_trusted(
    kmers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in kmers.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    own = {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModel": "own.OwnModel"}}
    config = json.loads((kmers / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | own))
    (tmp_path / "own.py").write_text(
        "from transformers import BertConfig, BertModel\n"
        "class Own(BertConfig):\n    model_type = 'own'\n"
        "class OwnModel(BertModel):\n    config_class = Own\n"
    )
    # The code is copied there before it is run.
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.delenv(hugging_face.TRUST, raising=False)
    with pytest.raises(GenebertError, match="needs code of its own repository") as caught:
        load(str(tmp_path))
    assert f"{hugging_face.TRUST}=1" in caught.value.fix
    monkeypatch.setenv(hugging_face.TRUST, "1")
    codes = encode_all(TEXTS)
    np.testing.assert_array_equal(
        embed(load(str(tmp_path)), codes, "cpu"), embed(load(str(kmers)), codes, "cpu")
    )


def test_a_tokenizer_that_knows_no_dna_is_refused(tmp_path: Path) -> None:
    words = [*SPECIAL, "the", "quick", "brown", "fox"]
    save_bert(tmp_path, len(words))
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n")
    with pytest.raises(GenebertError, match="does not know plain DNA"):
        load(str(tmp_path))


def test_an_encoder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(GenebertError, match="cannot be loaded"):
        load(str(tmp_path / "nothing"))
