"""Pairs of segments against plain text: what is shown, and whether it is one place."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch

from genebert.config import Model as ModelSettings
from genebert.config import Pretrain, Variant
from genebert.corpus.read import Corpus
from genebert.corpus.sample import Batch, Views, place_corpus
from genebert.model.genebert import GeneBERT
from genebert.pretrain.evaluation import SEED, baselines
from genebert.pretrain.objectives import run_objectives
from genebert.pretrain.prepare import pair_segments, prepare
from genebert.pretrain.step import Recipe
from genebert.sequence.tokens import CLS, SEP

SIZES = (1, 3, 6)
SAMPLES = 200
ONLY = Variant(next_segment=1)


def text_of(codes: np.ndarray | torch.Tensor) -> str:
    return "".join("ACGTN"[code] for code in codes)


def other_strand(text: str) -> str:
    return text[::-1].translate(str.maketrans("ACGT", "TGCA"))


def bases(model: GeneBERT, tokens: list[int]) -> str:
    """Return what overlapping k-mers spell."""
    kmers = [model.tokenizer.vocabulary[token] for token in tokens]
    assert all(one[1:] == two[:-1] for one, two in itertools.pairwise(kmers))
    return kmers[0] + "".join(kmer[-1] for kmer in kmers[1:])


def halves(model: GeneBERT, segments: list[int]) -> tuple[str, str]:
    """Return the bases of both segments of [CLS] … [SEP] … [SEP]."""
    assert segments[0] == CLS and segments[-1] == SEP and segments.count(SEP) == 2
    middle = segments.index(SEP)
    return bases(model, segments[1:middle]), bases(model, segments[middle + 1 : -1])


@pytest.fixture
def model_of(tiny_settings: ModelSettings) -> Callable[..., GeneBERT]:
    """Make a network of a k whose positions fit whole regions of a width, and no token more."""

    def make(k: int, width: int = 60) -> GeneBERT:
        torch.manual_seed(0)
        sequence = tiny_settings.sequence.model_copy(update={"k": k, "positions": width - k + 3})
        return GeneBERT(tiny_settings.model_copy(update={"sequence": sequence}), 40)

    return make


def views_of(corpus: Corpus, split: str = "train") -> Views:
    return Views(place_corpus(corpus), split, 5)


@pytest.mark.parametrize("width", [60, 61])
@pytest.mark.parametrize("k", SIZES)
@pytest.mark.parametrize("augment", [True, False])
def test_segments_are_a_sequences_halves_or_a_half_of_another_region(
    make_corpus: Callable, model_of: Callable[..., GeneBERT], k: int, width: int, augment: bool
) -> None:
    corpus = make_corpus(width=width)
    model, views = model_of(k, width), views_of(corpus)
    batch = views.batch(1, 2, torch.arange(SAMPLES), augment=augment)
    segments, contiguous = pair_segments(model, views, batch)
    assert segments.shape[1] <= model.settings.sequence.positions
    half, training = width // 2, np.flatnonzero(corpus.in_split("train"))
    regions = {region: text_of(corpus.sequence[region]) for region in training}
    strangers = set()
    for sample, tokens in enumerate(segments.tolist()):
        first, second = halves(model, tokens)
        own = text_of(batch.codes[sample])
        # With k = 1 a separator more is a base too many.
        assert len(second) == width - half - (k == 1)
        assert first == own[:half]
        assert bool(contiguous[sample]) == own[half:].startswith(second)
        if not contiguous[sample]:
            turn = other_strand if batch.flipped[sample] else str
            (region,) = (r for r, text in regions.items() if turn(text)[half:].startswith(second))
            assert region != batch.focal[sample]
            strangers.add(int(region))
    assert batch.flipped.any() == augment
    assert float((~contiguous).float().mean()) == pytest.approx(0.5, abs=0.1)
    assert len(strangers) > 0.5 * len(training)


def test_segments_of_a_sample_do_not_depend_on_its_batch(
    synthetic_corpus: Corpus, model_of: Callable[..., GeneBERT]
) -> None:
    model, views = model_of(3), views_of(synthetic_corpus)
    batch = views.batch(1, 2, torch.arange(32), augment=True)
    whole = pair_segments(model, views, batch)
    for rows in (slice(0, 5), slice(5, 32)):
        part = pair_segments(model, views, Batch(*(values[rows] for values in batch)))
        for found, expected in zip(part, whole, strict=True):
            assert torch.equal(found, expected[rows])


@pytest.mark.parametrize("split", ["train", "validation"])
def test_strangers_are_drawn_from_all_views_of_the_split_and_from_nothing_else(
    synthetic_corpus: Corpus, model_of: Callable[..., GeneBERT], split: str
) -> None:
    views = views_of(synthetic_corpus, split)
    batch = views.batch(5, 0, torch.arange(20_000), augment=True)
    focal, codes = views.strangers(batch.keys)
    np.testing.assert_array_equal(codes, synthetic_corpus.sequence[focal])  # as in the genome
    open_in = np.diff(synthetic_corpus.open_offsets) * synthetic_corpus.in_split(split)
    share = open_in / open_in.sum()
    # Which samples are shown theirs says nothing of who they are.
    _, contiguous = pair_segments(model_of(3), views, batch)
    for drawn in (focal, focal[~contiguous]):
        found, expected = np.bincount(drawn, minlength=synthetic_corpus.regions), len(drawn) * share
        assert not found[share == 0].any()
        kinds = (share > 0).sum()
        chi_square = ((found - expected)[share > 0] ** 2 / expected[share > 0]).sum()
        assert chi_square < kinds + 5 * (2 * kinds) ** 0.5
    # Nor do they say anything of the sample's own region.
    same = float((focal == batch.focal).float().mean())
    assert same == pytest.approx(float((share**2).sum()), abs=0.005)


def test_the_baseline_by_gc_content_is_a_plain_count(
    synthetic_corpus: Corpus, model_of: Callable[..., GeneBERT]
) -> None:
    model, views = model_of(3), views_of(synthetic_corpus, "validation")
    settings = Pretrain(matching_group=8, evaluation_views=64, batch_size=8)
    figures = baselines(model, views, Recipe(settings, ONLY, 1))
    batch = views.batch(SEED, 0, torch.arange(64), augment=False)
    part = prepare(model, views, batch, ONLY, "random_span", Recipe(settings, ONLY, 1).knowledge, 0.5)
    assert part.segments is not None and part.contiguous is not None
    distances = []
    for tokens in part.segments.tolist():
        # A k-mer counts by its last base.
        ends = [text[2:] for text in halves(model, tokens)]
        # In float32: there, too, rounding decides between equal distances.
        shares = [
            np.float32(sum(base in "GC" for base in text)) / np.float32(len(text)) for text in ends
        ]
        distances.append(abs(shares[0] - shares[1]))
    middle = sorted(distances)[31]  # torch's median is the lower of the two in the middle
    said = [distance < middle for distance in distances]
    right = [one == two for one, two in zip(said, part.contiguous.tolist(), strict=True)]
    assert figures == {"next_segment_gc_accuracy": pytest.approx(sum(right) / 64)}


@torch.no_grad()
def test_the_loss_is_that_of_the_label_and_read_from_the_first_token(
    synthetic_corpus: Corpus, model_of: Callable[..., GeneBERT], randomise: Callable
) -> None:
    model, views = randomise(model_of(3)), views_of(synthetic_corpus)
    batch = views.batch(1, 2, torch.arange(16), augment=True)
    nothing = Recipe(Pretrain(), ONLY, 1).knowledge
    part = prepare(model, views, batch, ONLY, "random_span", nothing, 0.5)
    found = run_objectives(model, part, ONLY, nothing, 8)["next_segment"]
    segments, contiguous = pair_segments(model, views, batch)
    logit = model.next_segment_head(model.sequence_encoder(segments)[:, 0])[:, 0].double()
    sign = torch.where(contiguous, 1.0, -1.0)
    assert float(found.loss) == pytest.approx(float((1 + (-sign * logit).exp()).log().sum()), rel=1e-5)
    assert int(found.score) == int((logit * sign > 0).sum())
    assert (int(found.number), float(found.reference)) == (16, 8)
