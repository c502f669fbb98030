"""Zero-shot readouts of variants against a walk over each of them in plain Python."""

import dataclasses
import itertools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from transformers import BertConfig, BertModel

from genebert.benchmarks.alleles import on_other_strand, with_alternatives
from genebert.benchmarks.answer import Question
from genebert.benchmarks.dataset import Dataset, Hits
from genebert.benchmarks.zero_shot import (
    allele_features,
    cosine_distance,
    effects,
    likelihood_ratios,
)
from genebert.config import Finetune, parse_model
from genebert.config import Model as ModelSettings
from genebert.corpus.read import Corpus
from genebert.embed import feature_width
from genebert.errors import GenebertError
from genebert.genome import reverse_complement
from genebert.model.checkpoint import Card, save_model
from genebert.model.genebert import GeneBERT
from genebert.sequence.codes import decode
from genebert.sequence.tokens import MASK, SPECIAL, KmerTokenizer

Save = Callable[[GeneBERT], Path]
WIDTH = 30


def hits_of(rows: list[list[int]]) -> Hits:
    """Return hits of full score of the motifs named."""
    motif = np.array([motif for row in rows for motif in sorted(row)], np.int64)
    return Hits(np.cumsum([0, *map(len, rows)]), motif, np.ones(len(motif), np.float32))


def variants(
    codes: np.ndarray, alternative: np.ndarray, corpus: Corpus, *, columns: bool = True
) -> Dataset:
    """Return variants that lose motif 3 in every second row, and change no other hit."""
    number = len(codes)
    rng = np.random.default_rng(2)
    beside = rng.integers(-1, corpus.regions, (number, 5)) if columns else np.full((number, 5), -1)
    beside[:, 2] = -1
    own = [[3, 5, int(rng.integers(6, 40))] for _ in range(number)]
    other = [row[1:] if at % 2 else row for at, row in enumerate(own)]
    return Dataset(
        table=pd.DataFrame({"example_id": range(number), "label": np.arange(number) % 2}),
        metadata={"task": "variants.toy", "indels": 0},
        codes=codes,
        hits=hits_of(own),
        columns=beside,
        alternative_codes=alternative,
        alternative_hits=hits_of(other),
    )


def changed(rng: np.random.Generator, codes: np.ndarray, at: int, bases: int = 1) -> np.ndarray:
    other = codes.copy()
    shift = rng.integers(1, 4, (len(codes), bases), dtype=np.uint8)
    other[:, at : at + bases] = (codes[:, at : at + bases] + shift) % 4
    return other


@pytest.fixture
def toy(synthetic_corpus: Corpus) -> Dataset:
    """300 variants of one base, in batches of unequal size."""
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 4, (300, WIDTH)).astype(np.uint8)
    return variants(codes, changed(rng, codes, WIDTH // 2), synthetic_corpus)


@pytest.fixture
def save(tmp_path: Path, synthetic_corpus: Corpus, tiny_settings: ModelSettings) -> Save:
    """Write a model's folder."""

    def one(model: GeneBERT) -> Path:
        card = Card(
            settings=model.settings,
            motifs=synthetic_corpus.metadata.motifs,
            motif_digest=synthetic_corpus.metadata.motif_digest,
            variant="multimodal",
            seed=1,
            steps=1,
        )
        save_model(model, card, tmp_path / "model")
        return tmp_path / "model"

    return one


@pytest.fixture
def corpus_folder(write_corpus: Callable[..., Path], synthetic_corpus: Corpus, tmp_path: Path) -> Path:
    return write_corpus(synthetic_corpus, tmp_path / "corpus")


def ask(
    dataset: Dataset, name: str, corpus: Corpus, weights: Path | None, folder: Path = Path("no corpus")
) -> Question:
    return Question(
        dataset=dataset,
        companion=None,
        corpus_folder=folder,
        corpus=corpus.metadata,
        model=parse_model(name),
        weights=weights,
        settings=Finetune(),
        seed=1,
        device="cpu",
    )


def settings_of(settings: ModelSettings, k: int) -> ModelSettings:
    return settings.model_copy(update={"sequence": settings.sequence.model_copy(update={"k": k})})


@torch.no_grad()
def walk(model: GeneBERT, reference: str, alternative: str) -> float:
    """Return log p(alternative) − log p(reference) of one strand, by letters and single examples."""
    k = model.tokenizer.k
    words = model.tokenizer.vocabulary
    kmers = [reference[i : i + k] for i in range(len(reference) - k + 1)]
    differ = [at for at in range(len(reference)) if reference[at] != alternative[at]]
    ids = [words.index(kmer) for kmer in kmers]
    for start in range(len(kmers)):
        if any(start <= at < start + k for at in differ):
            ids[start] = MASK
    shown = torch.tensor([[words.index("[CLS]"), *ids, words.index("[SEP]")]])
    hidden = model.sequence_encoder(shown)[0]
    total = 0.0
    for at in differ:
        start = min(max(at - (k - 1) // 2, 0), len(kmers) - 1)
        vector = hidden[start + 1][None]
        logits = model.masked_sequence_head(vector, model.sequence_encoder.token.weight)[0]
        share = logits[len(SPECIAL) :].double().softmax(0).tolist()
        of_base = dict.fromkeys("ACGT", 0.0)
        for word, own in zip(words[len(SPECIAL) :], share, strict=True):
            of_base[word[at - start]] += own
        total += math.log(of_base[alternative[at]]) - math.log(of_base[reference[at]])
    return total


@pytest.mark.parametrize("k", [1, 3, 4])
@pytest.mark.parametrize(("at", "bases"), [(15, 1), (14, 3), (0, 1), (WIDTH - 2, 2)])
def test_the_likelihood_ratio_is_that_of_a_walk_over_each_variant(
    tiny_settings: ModelSettings,
    synthetic_corpus: Corpus,
    randomise: Callable,
    k: int,
    at: int,
    bases: int,
) -> None:
    rng = np.random.default_rng(at)
    codes = rng.integers(0, 4, (6, WIDTH)).astype(np.uint8)
    dataset = variants(codes, changed(rng, codes, at, bases), synthetic_corpus)
    model = randomise(GeneBERT(settings_of(tiny_settings, k), 40), std=0.5)
    found = likelihood_ratios(model, dataset, "cpu")
    assert found.dtype == np.float64
    assert dataset.alternative_codes is not None
    pairs = zip(decode(codes), decode(dataset.alternative_codes), strict=True)
    expected = [
        -(walk(model, *pair) + walk(model, *map(reverse_complement, pair))) / 2 for pair in pairs
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(found).min() > 1e-3


def test_bases_between_those_that_differ_stay_as_they_are(
    tiny_settings: ModelSettings, synthetic_corpus: Corpus, randomise: Callable
) -> None:
    """Two bases of ten differ, far enough apart for tokens between them to be seen."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (5, WIDTH)).astype(np.uint8)
    other = changed(rng, changed(rng, codes, 10), 19)
    dataset = variants(codes, other, synthetic_corpus)
    model = randomise(GeneBERT(tiny_settings, 40), std=0.5)
    expected = [
        -(walk(model, *pair) + walk(model, *map(reverse_complement, pair))) / 2
        for pair in zip(decode(codes), decode(other), strict=True)
    ]
    np.testing.assert_allclose(likelihood_ratios(model, dataset, "cpu"), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["llr", "distance"])
def test_the_strand_does_not_matter(
    toy: Dataset,
    tiny_model: GeneBERT,
    randomise: Callable,
    save: Save,
    synthetic_corpus: Corpus,
    name: str,
) -> None:
    folder = save(randomise(tiny_model))
    turned = dataclasses.replace(
        on_other_strand(toy), alternative_codes=on_other_strand(with_alternatives(toy)).codes
    )
    model = f"multimodal.sequence.{name}"
    one, other = (effects(ask(own, model, synthetic_corpus, folder)) for own in (toy, turned))
    assert np.abs(one).max() > 1e-4
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-7)


def test_the_ratio_changes_its_sign_with_the_alleles(
    toy: Dataset, tiny_model: GeneBERT, randomise: Callable
) -> None:
    model = randomise(tiny_model)
    swapped = dataclasses.replace(
        toy,
        codes=toy.alternative_codes,
        alternative_codes=toy.codes,  # type: ignore[arg-type]
    )
    np.testing.assert_allclose(
        likelihood_ratios(model, toy, "cpu"), -likelihood_ratios(model, swapped, "cpu"), atol=1e-6
    )


@pytest.mark.parametrize("inputs", ["sequence", "region", "both"])
def test_distances_are_those_of_features_of_single_examples(
    toy: Dataset,
    tiny_model: GeneBERT,
    randomise: Callable,
    save: Save,
    synthetic_corpus: Corpus,
    corpus_folder: Path,
    inputs: str,
) -> None:
    model = randomise(tiny_model)
    question = ask(toy, f"multimodal.{inputs}.distance", synthetic_corpus, save(model), corpus_folder)
    found = effects(question)
    assert found.shape == (300,)
    motifs = synthetic_corpus.best.T / 128
    for row in range(0, 300, 37):
        cosines = []
        for strand in (1, -1):
            features = []
            for own in (toy, with_alternatives(toy)):
                codes = own.codes[row][::strand] if strand == 1 else 3 - own.codes[row][::-1]
                matrix = np.zeros((1, 40, 5), np.float32)
                for column, region in enumerate(toy.columns[row]):
                    if region >= 0:
                        matrix[0, :, column] = motifs[:, region]
                start, stop = own.hits.offsets[row : row + 2]
                matrix[0, own.hits.motif[start:stop], 2] = own.hits.score[start:stop]
                present = torch.from_numpy(toy.columns[row] >= 0)[None]
                present[0, 2] = True
                with torch.no_grad():
                    parts = [
                        model.sequence_features(torch.from_numpy(codes.copy())[None])[0],
                        model.region_features(torch.from_numpy(matrix), present)[0],
                    ]
                kept = {"sequence": parts[:1], "region": parts[1:], "both": parts}[inputs]
                features.append(torch.cat(kept).double())
            cosines.append(1 - F.cosine_similarity(*features, dim=0).item())
        assert found[row] == pytest.approx(np.mean(cosines), rel=1e-3, abs=1e-8)


@pytest.mark.parametrize("inputs", ["sequence", "region", "both"])
def test_equal_alleles_have_no_distance(
    toy: Dataset,
    tiny_model: GeneBERT,
    randomise: Callable,
    save: Save,
    synthetic_corpus: Corpus,
    corpus_folder: Path,
    inputs: str,
) -> None:
    folder = save(randomise(tiny_model))
    same = dataclasses.replace(toy, alternative_codes=toy.codes, alternative_hits=toy.hits)
    name = f"multimodal.{inputs}.distance"
    assert (effects(ask(same, name, synthetic_corpus, folder, corpus_folder)) == 0).all()
    found = effects(ask(toy, name, synthetic_corpus, folder, corpus_folder))
    # Every second variant changes a hit; all change a base.
    assert (found[1::2] > 0).all()
    assert (found[::2] > 0).all() == (inputs != "region")
    assert (found[::2] == 0).all() == (inputs == "region")


def test_without_columns_no_corpus_is_read(
    toy: Dataset, tiny_model: GeneBERT, randomise: Callable, save: Save, synthetic_corpus: Corpus
) -> None:
    alone = dataclasses.replace(toy, columns=np.full_like(toy.columns, -1))
    question = ask(alone, "multimodal.both.distance", synthetic_corpus, save(randomise(tiny_model)))
    reference, alternative = map(
        torch.cat,
        zip(
            *[[strands.mean(0) for strands in alleles] for alleles in allele_features(question)],
            strict=True,
        ),
    )
    assert reference.shape == alternative.shape == (300, feature_width(tiny_model, "both"))
    assert torch.isfinite(reference).all()


def test_cosine_distance_does_not_round_small_ones_away() -> None:
    left = torch.tensor([[1.0, 0, 0], [1, 1, 0], [2, 0, 0], [0, 0, 1]])
    right = torch.tensor([[1.0, 1e-6, 0], [1, 1, 0], [-1, 0, 0], [0, 3, 0]])
    found = cosine_distance(left, right)
    assert found.tolist() == pytest.approx([5e-13, 0, 2, 1], rel=1e-6)
    assert found[1] == 0


def test_variants_of_bases_that_a_model_has_learnt_are_found(
    tiny_settings: ModelSettings, synthetic_corpus: Corpus, save: Save
) -> None:
    """Half the places lie in repeats of one base, which training holds too; there a change matters."""
    rng = np.random.default_rng(8)

    def draw(number: int) -> tuple[np.ndarray, np.ndarray]:
        codes = rng.integers(0, 4, (number, WIDTH)).astype(np.uint8)
        repeated = np.arange(number) % 2 == 1
        return np.where(repeated[:, None], codes[:, :1], codes), repeated

    torch.manual_seed(0)
    model = GeneBERT(tiny_settings, 40)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(120):
        codes = torch.from_numpy(draw(64)[0])
        codes = torch.where(torch.rand(64, 1) < 0.5, codes, 3 - codes.flip(1))
        ids = model.tokenizer(codes)
        start = int(torch.randint(1, WIDTH - 6, ()))
        shown = ids.clone()
        shown[:, start : start + 4] = MASK
        hidden = model.sequence_encoder(shown)[:, start : start + 4]
        logits = model.masked_sequence_head(hidden.flatten(0, 1), model.sequence_encoder.token.weight)
        loss = F.cross_entropy(logits, ids[:, start : start + 4].flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    codes, repeated = draw(200)
    dataset = variants(codes, changed(rng, codes, WIDTH // 2), synthetic_corpus)
    question = ask(dataset, "multimodal.sequence.llr", synthetic_corpus, save(model))
    assert roc_auc_score(repeated, effects(question)) > 0.9
    for seed in range(3):
        shuffled = np.random.default_rng(seed).permutation(repeated)
        assert roc_auc_score(shuffled, effects(question)) == pytest.approx(0.5, abs=0.13)


@pytest.mark.parametrize("metadata", [{"indels": 2, "first_indel": "chr1:7 A>AT"}, {}])
def test_no_likelihood_is_given_of_indels(
    toy: Dataset, tiny_model: GeneBERT, save: Save, synthetic_corpus: Corpus, metadata: dict
) -> None:
    kept = dataclasses.replace(toy, metadata={"task": "variants.toy"} | metadata)
    folder = save(tiny_model)
    named = "has 2: chr1:7 A>AT" if metadata else "has some: not named"
    with pytest.raises(
        GenebertError, match=rf"insertion or deletion is not defined.* {named}"
    ) as caught:
        effects(ask(kept, "multimodal.sequence.llr", synthetic_corpus, folder))
    assert "`.distance` instead" in caught.value.fix
    assert len(effects(ask(kept, "multimodal.sequence.distance", synthetic_corpus, folder))) == 300


def test_weights_of_other_motifs_or_too_few_positions_are_refused(
    toy: Dataset, tiny_model: GeneBERT, save: Save, synthetic_corpus: Corpus
) -> None:
    folder = save(tiny_model)
    question = ask(toy, "multimodal.sequence.llr", synthetic_corpus, folder)
    other = synthetic_corpus.metadata.model_copy(update={"motif_digest": "another"})
    with pytest.raises(GenebertError, match="trained with other motifs"):
        effects(dataclasses.replace(question, corpus=other))
    wide = np.zeros((300, 90), np.uint8)
    long = dataclasses.replace(toy, codes=wide, alternative_codes=wide)
    with pytest.raises(GenebertError, match="90 bp, the model reads"):
        effects(dataclasses.replace(question, dataset=long))


def test_a_hugging_face_encoder_gives_distances(
    toy: Dataset, synthetic_corpus: Corpus, tmp_path: Path
) -> None:
    folder = tmp_path / "kmers"
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *map("".join, itertools.product("ATCG", repeat=3)),
    ]
    torch.manual_seed(0)
    network = BertModel(
        BertConfig(
            vocab_size=len(words),
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=64,
        )
    ).eval()
    network.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    found = effects(ask(toy, f"hf:{folder}.distance", synthetic_corpus, None))
    assert (found > 0).all()
    tokenizer = KmerTokenizer(3)
    for row in (0, 200, 299):
        cosines = []
        for turn in (lambda own: own, on_other_strand):
            with torch.no_grad():
                features = [
                    network(tokenizer(torch.from_numpy(turn(own).codes[row : row + 1])))[0][0].mean(0)
                    for own in (toy, with_alternatives(toy))
                ]
            cosines.append(1 - F.cosine_similarity(*(own.double() for own in features), dim=0).item())
        assert found[row] == pytest.approx(np.mean(cosines), rel=1e-3)
