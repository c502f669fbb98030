"""Held-out figures and baselines: what they are made of, and what leaves them alone."""

import copy
import dataclasses
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from genebert.config import Model as ModelSettings
from genebert.config import Pretrain, Variant
from genebert.corpus.read import Corpus
from genebert.corpus.sample import Views, place_corpus
from genebert.model.genebert import GeneBERT
from genebert.motifs.table import motif_probabilities
from genebert.pretrain.evaluation import SEED, baselines, drawn, evaluate
from genebert.pretrain.npmi_table import read_npmi
from genebert.pretrain.objectives import matching, readable
from genebert.pretrain.prepare import Knowledge
from genebert.pretrain.step import Recipe
from genebert.sequence.tokens import MASK

GROUP, VIEWS = 8, 64
SETTINGS = Pretrain(batch_size=GROUP, matching_group=GROUP, evaluation_views=VIEWS)
NOTHING = Knowledge()
MAIN = {"masked_sequence": 1.0, "masked_region": 1.0, "matching": 1.0, "next_segment": 1.0}


def recipe_of(seed: int = 1, knowledge: Knowledge = NOTHING, **variant: Any) -> Recipe:
    return Recipe(SETTINGS, Variant(**variant), seed, knowledge)


def held_out(corpus: Corpus) -> Views:
    return Views(place_corpus(corpus), "validation", 5)


def parts(size: int = 16, views: int = VIEWS) -> list[range]:
    return [range(start, start + size) for start in range(0, views, size)]


def figures(
    model: GeneBERT, corpus: Corpus, recipe: Recipe, size: int = 16, views: int = VIEWS
) -> dict[str, float]:
    return evaluate(model, held_out(corpus), recipe, parts(size, views))


@pytest.fixture(scope="module")
def corpus(make_corpus: Callable) -> Corpus:
    """Most of 300 held-out regions are in no or in one view of an evaluation."""
    segments = [
        ("chr1", "train", 60),
        ("chr1", "validation", 300),
        ("chr2", "test", 60),
        ("chr2", "train", 60),
    ]
    return make_corpus(segments, seed=3)


@pytest.fixture
def model(tiny_model: GeneBERT, randomise: Callable) -> GeneBERT:
    """Weights that make much of small differences; no direct path decides alone."""
    model = randomise(tiny_model)
    model.row_mean.fill_(0.1)
    model.row_std.fill_(0.3)
    return model


def test_the_truth_under_masks_moves_no_prediction(model: GeneBERT, corpus: Corpus) -> None:
    recipe, k = recipe_of(**MAIN, motif_target=0), model.tokenizer.k
    shown_of: dict[int, list[torch.Tensor]] = {}
    for part in drawn(model, held_out(corpus), recipe, parts()):
        for region, shown in zip(part.focal.tolist(), part.shown, strict=True):
            shown_of.setdefault(region, []).append(shown)
    sequence, changed = corpus.sequence.copy(), 0
    for region, (shown, *others) in shown_of.items():
        if others:
            continue
        seen = torch.zeros(sequence.shape[1], dtype=torch.bool)
        for token in (shown[1:-1] != MASK).nonzero()[:, 0].tolist():
            seen[token : token + k] = True
        sequence[region, ~seen] = (sequence[region, ~seen] + 1) % 4
        changed += int((~seen).sum())
    assert changed > 30

    given: list[torch.Tensor] = []
    model.masked_sequence_head.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    before = figures(model, corpus, recipe)
    number = len(given)
    after = figures(model, dataclasses.replace(corpus, sequence=sequence), recipe)
    assert number >= 2 * len(parts())  # of tokens, and of bases
    for one, two in zip(given[:number], given[number:], strict=True):
        assert torch.equal(one, two)
    for name in ("masked_sequence_loss", "masked_sequence_base_accuracy"):
        assert after[name] != before[name]  # the truth did change


def test_bases_that_the_network_is_sure_of_are_counted_where_they_are_right(
    model: GeneBERT, corpus: Corpus
) -> None:
    """A head that says AAA to everything is right where a hidden base is an A."""
    with torch.no_grad():
        model.masked_sequence_head.bias[model.tokenizer.vocabulary.index("AAA")] = 1e4
    right = number = 0
    recipe = recipe_of(masked_sequence=1)
    for part in drawn(model, held_out(corpus), recipe, parts()):
        for shown, codes in zip(part.shown.tolist(), part.codes.tolist(), strict=True):
            for place, code in enumerate(codes):
                over = shown[1:-1][max(0, place - model.tokenizer.k + 1) : place + 1]
                if all(token == MASK for token in over):
                    number += 1
                    right += code == 0
    assert number > 150
    found = figures(model, corpus, recipe)["masked_sequence_base_accuracy"]
    assert found == pytest.approx(right / number)


def every_masking(scanned: SimpleNamespace) -> Knowledge:
    pwm, _ = motif_probabilities(scanned.table)
    npmi = read_npmi(scanned.npmi, 3, scanned.corpus.metadata.catalogue)
    return Knowledge(torch.from_numpy(npmi), scanned.hits, 0.5, torch.from_numpy(pwm))


def test_held_out_figures_depend_neither_on_seed_nor_on_masking_nor_on_other_objectives(
    scanned: SimpleNamespace, tiny_settings: ModelSettings, randomise: Callable
) -> None:
    model = randomise(GeneBERT(tiny_settings, len(scanned.table.motifs)))
    knowledge = every_masking(scanned)
    everything = {**MAIN, "motif_target": 1.0}
    first = figures(model, scanned.corpus, recipe_of(1, knowledge, **everything))
    assert len(first) > 10
    for masking in ("genemask", "global_pmi", "motif", "cm_gems", "cm_step"):
        recipe = recipe_of(2, knowledge, masking=masking, **everything)
        assert figures(model, scanned.corpus, recipe) == first, masking
    for name in everything:
        # What motif_target reads is masked where masked_sequence is pursued too.
        pursued = {name: 7.0} | ({"masked_sequence": 1.0} if name == "motif_target" else {})
        few = figures(model, scanned.corpus, recipe_of(3, knowledge, **pursued))
        assert few.items() <= first.items(), name
        assert any(figure.startswith(name) for figure in few)


@pytest.mark.parametrize("matrices", ["own", "shuffled"])
def test_held_out_views_are_the_same_for_every_seed_and_read_as_in_the_genome(
    model: GeneBERT, corpus: Corpus, matrices: str
) -> None:
    recipes = [recipe_of(seed, **MAIN, matrices=matrices) for seed in (1, 2)]
    views = [next(iter(drawn(model, held_out(corpus), recipe, parts(VIEWS)))) for recipe in recipes]
    for name, one, two in zip(views[0]._fields, *views, strict=True):
        assert (one is None and two is None) or torch.equal(one, two), name
    np.testing.assert_array_equal(views[0].codes, corpus.sequence[views[0].focal])
    # Nor are they those that a run of some seed would train on, were they its own.
    for seed in (0, 1, 2):
        batch = held_out(corpus).batch(seed, 0, torch.arange(VIEWS), augment=False)
        assert not torch.equal(batch.focal, views[0].focal)
    batch = held_out(corpus).batch(
        SEED, 0, torch.arange(VIEWS), augment=False, shuffled=matrices == "shuffled"
    )
    torch.testing.assert_close(views[0].matrix, model.standardise(batch.matrix, batch.present))


def test_the_size_of_parts_changes_figures_by_rounding_only(model: GeneBERT, corpus: Corpus) -> None:
    recipe = recipe_of(**MAIN)
    assert figures(model, corpus, recipe, 8) == pytest.approx(
        figures(model, corpus, recipe, VIEWS), 1e-5
    )


def test_an_evaluation_teaches_nothing(model: GeneBERT, corpus: Corpus) -> None:
    before = copy.deepcopy(model.state_dict())
    taught: list[bool] = []
    for encoder in (model.sequence_encoder, model.region_encoder.norm):
        encoder.register_forward_hook(lambda *given: taught.append(given[-1].requires_grad))
    figures(model.train(), corpus, recipe_of(**MAIN))
    assert model.training
    assert taught and not any(taught)
    assert all(parameter.grad is None for parameter in model.parameters())
    for name, values in model.state_dict().items():
        assert torch.equal(values, before[name]), name


@torch.no_grad()
@pytest.mark.parametrize("others", [{}, {"masked_sequence": 1, "masked_region": 1}])
def test_matching_is_judged_on_unmasked_input(model: GeneBERT, corpus: Corpus, others: dict) -> None:
    batch = held_out(corpus).batch(SEED, 0, torch.arange(VIEWS), augment=False)
    expected = matching(
        model,
        model.sequence_features(batch.codes),
        model.region_features(batch.matrix, batch.present),
        batch.focal,
        GROUP,
    )
    found = figures(model, corpus, recipe_of(matching=1, **others))
    for name, value in readable("matching", expected).items():
        assert found[name] == pytest.approx(value, rel=1e-5), name


@pytest.mark.parametrize("others", [{}, {"masked_sequence": 1, "masked_region": 1}])
def test_matching_by_the_encoders_is_that_of_a_model_without_direct_paths(
    model: GeneBERT, corpus: Corpus, others: dict
) -> None:
    recipe = recipe_of(matching=1, **others)
    found = figures(model, corpus, recipe, views=512)
    without = []
    for paths in (
        ("composition_path.weight",),
        ("focal_path.weight", "focal_path.bias"),
        ("composition_path.weight", "focal_path.weight", "focal_path.bias"),
    ):
        other = copy.deepcopy(model)
        with torch.no_grad():
            for name in paths:
                assert other.get_parameter(name).any()
                other.get_parameter(name).zero_()
        without.append(figures(other, corpus, recipe, views=512)["matching_top1"])
    by_composition, by_focal, by_neither = without
    assert found["matching_encoders_top1"] == by_neither
    assert len({found["matching_top1"], by_composition, by_focal, by_neither}) == 4


def replaced(corpus: Corpus, rows: np.ndarray) -> Corpus:
    """Give regions sequences and scores that nothing else has."""
    sequence, best = corpus.sequence.copy(), corpus.best.copy()
    sequence[rows] = np.where(np.arange(sequence.shape[1]) % 7, 0, 2)  # AAAAAAGAAAAAAG…
    best[rows] = 128 * (np.arange(best.shape[1]) % 2)
    return dataclasses.replace(corpus, sequence=sequence, best=best)


@pytest.fixture
def undrawn(model: GeneBERT, corpus: Corpus) -> np.ndarray:
    """Held-out regions that an evaluation does not see."""
    views = held_out(corpus)
    batch = views.batch(SEED, 0, torch.arange(VIEWS), augment=False)
    seen = torch.cat([batch.focal, views.strangers(batch.keys)[0]])
    return np.setdiff1d(np.flatnonzero(corpus.in_split("validation")), seen)


@pytest.mark.parametrize("name", ["masked_sequence", "next_segment", "matching"])
def test_baselines_are_fitted_to_training_regions_alone(
    model: GeneBERT, corpus: Corpus, undrawn: np.ndarray, name: str
) -> None:
    def baseline(corpus: Corpus) -> float:
        (figure,) = baselines(model, held_out(corpus), recipe_of(**{name: 1.0})).values()
        return figure

    before = baseline(corpus)
    assert len(undrawn) > 150
    assert baseline(replaced(corpus, undrawn)) == before
    assert baseline(replaced(corpus, np.flatnonzero(corpus.in_split("test")))) == before
    if name != "next_segment":  # has nothing to fit
        assert baseline(replaced(corpus, np.flatnonzero(corpus.in_split("train")))) != before
