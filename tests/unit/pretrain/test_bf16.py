"""Steps and evaluations in bf16 autocast, as they run on CUDA, here on the CPU."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch

from genebert.config import OBJECTIVES, Pretrain, Variant
from genebert.config import Model as ModelSettings
from genebert.corpus.sample import Views, place_corpus
from genebert.model.genebert import GeneBERT
from genebert.pretrain.evaluation import evaluate
from genebert.pretrain.objectives import Outcome, matching, run_objectives
from genebert.pretrain.schedule import adamw
from genebert.pretrain.setup import Sources, gather_knowledge, initial_model
from genebert.pretrain.step import Recipe, agree, draw, learn, parts_of

VIEWS, GROUP = 16, 8
SETTINGS = Pretrain(batch_size=VIEWS, matching_group=GROUP, evaluation_views=VIEWS)


@contextmanager
def bf16_asked_for(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Turn on what is turned on for CUDA alone: autocast that names a type."""
    original = torch.autocast

    def autocast(device: str, dtype: torch.dtype | None = None, enabled: bool = True) -> Any:
        return original(device, dtype, enabled=enabled or dtype is not None)

    with monkeypatch.context() as patched:
        patched.setattr(torch, "autocast", autocast)
        yield


class Trained(NamedTuple):
    """What a step and an evaluation gave, and the kinds of numbers that linear layers made in them."""

    outcomes: dict[str, Outcome]
    gradients: dict[str, torch.Tensor]
    figures: dict[str, float]
    in_step: set[torch.dtype]
    in_evaluation: set[torch.dtype]


@pytest.fixture
def train(
    scanned: SimpleNamespace, tiny_settings: ModelSettings, randomise: Callable
) -> Callable[[Variant], Trained]:
    """Take a step and evaluate."""

    def go(variant: Variant) -> Trained:
        model = randomise(initial_model(tiny_settings, variant, 0, scanned.corpus)).train()
        kinds: set[torch.dtype] = set()
        for module in model.modules():
            if isinstance(module, torch.nn.Linear):
                module.register_forward_hook(lambda *given: kinds.add(given[-1].dtype))
        sources = Sources(scanned.motifs, scanned.npmi)
        knowledge = gather_knowledge(scanned.corpus, scanned.folder, sources, variant, model, "cpu")
        recipe, placed = Recipe(SETTINGS, variant, 1, knowledge), place_corpus(scanned.corpus)
        parts = parts_of(VIEWS, VIEWS, GROUP)
        share = draw(model, Views(placed, "train", 5), recipe, 0, parts, variant.masking)
        counts, _, _ = agree(share, variant, False, False)
        outcomes = learn(model, share, parts, counts, recipe)
        in_step = kinds.copy()
        gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        kinds.clear()
        figures = evaluate(model, Views(placed, "validation", 5), recipe, parts)
        in_evaluation = kinds.copy()
        with torch.autocast("cpu", torch.bfloat16):
            losses = run_objectives(model, share, variant, knowledge, GROUP).values()
        assert {outcome.loss.dtype for outcome in losses} == {torch.float32}
        adamw(model, 1e-3, 0.01).step()
        assert all(p.dtype == torch.float32 and p.isfinite().all() for p in model.parameters())
        return Trained(outcomes, gradients, figures, in_step, in_evaluation)

    return go


MASKINGS = [{"masked_sequence": 1.0, "masking": name} for name in ("motif", "genemask", "global_pmi")]


@pytest.mark.parametrize(
    "recipe",
    [*({name: 1.0} for name in OBJECTIVES), *MASKINGS, dict.fromkeys(OBJECTIVES, 1.0)],
    ids=[*OBJECTIVES, "motif masking", "genemask", "global_pmi", "all"],
)
def test_a_step_in_bf16_is_one_in_float32_but_for_rounding(
    train: Callable[[Variant], Trained], monkeypatch: pytest.MonkeyPatch, recipe: dict[str, Any]
) -> None:
    variant = Variant(**recipe)
    exact = train(variant)
    with bf16_asked_for(monkeypatch):
        rough = train(variant)
    for kinds in (rough.in_step, rough.in_evaluation):
        assert torch.bfloat16 in kinds
    assert exact.in_step == exact.in_evaluation == {torch.float32}
    for name, outcome in exact.outcomes.items():
        found = rough.outcomes[name]
        assert float(found.number) == float(outcome.number)
        assert float(found.loss) == pytest.approx(float(outcome.loss), rel=0.05), name
    assert rough.gradients.keys() == exact.gradients.keys()
    alignment = {}
    for name, gradient in exact.gradients.items():
        found = rough.gradients[name]
        assert found.dtype == torch.float32 and found.isfinite().all(), name
        alignment[name] = float((found * gradient).sum()), float(gradient.norm() * found.norm())
    along, lengths = map(sum, zip(*alignment.values(), strict=True))
    assert along > 0.9 * lengths
    for name, figure in exact.figures.items():
        if name.endswith("_loss"):
            assert rough.figures[name] == pytest.approx(figure, rel=0.05), name


@torch.no_grad()
def test_pairs_that_bf16_would_take_for_equal_are_told_apart(tiny_model: GeneBERT) -> None:
    """Pairs are alike but for a ten-thousandth; a scale of 100 leaves bf16 steps of a half."""
    samples, width = 32, tiny_model.settings.projection
    tiny_model.log_scale.fill_(5.0)  # clamped to 100
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(width, generator=generator)
    direct = shared + 0.02 * torch.randn(samples, width, generator=generator)
    features = [
        torch.cat([torch.zeros(samples, whole - width), direct], dim=1)
        for whole in (tiny_model.sequence_width, tiny_model.region_width)
    ]
    with torch.autocast("cpu", torch.bfloat16):
        similarity = tiny_model.similarity(*features)
        found = matching(tiny_model, *features, torch.arange(samples), samples)
    assert similarity.dtype == found.loss.dtype == torch.float32
    assert len(similarity.bfloat16().unique()) == 1
    assert int(found.score) == samples
    expected = matching(tiny_model, *features, torch.arange(samples), samples)
    torch.testing.assert_close(found.loss, expected.loss, rtol=1e-6, atol=0)
