"""Held-out figures: the same views for every variant, seed and step."""

from collections.abc import Callable, Iterator

import numpy as np
import torch

from genebert.config import Variant
from genebert.corpus.read import Corpus
from genebert.corpus.sample import Views
from genebert.corpus.scores import from_steps
from genebert.model.genebert import GeneBERT
from genebert.pretrain.matching_baseline import linear_top1
from genebert.pretrain.objectives import Outcome, add, figures_of, matching, run_objectives, total
from genebert.pretrain.prepare import Prepared, prepare
from genebert.pretrain.step import Recipe
from genebert.sequence.hidden_bases import hidden_base_accuracy, hidden_bases
from genebert.sequence.markov import fit_markov, predict_hidden
from genebert.sequence.tokens import SPECIAL

# Of the draws, whatever the seed of the run; and of the masks, whatever the variant's own strategy:
# figures of all variants can be compared.
SEED = 2**40
STRATEGY = "random_span"
# Training regions that the baselines are fitted on, at most.
LINEAR_REGIONS = 4000
MARKOV_REGIONS = 20_000


@torch.no_grad()
def evaluate(model: GeneBERT, views: Views, recipe: Recipe, parts: list[range]) -> dict[str, float]:
    """Return each objective's figures on held-out views; matching is judged on unmasked input.

    Parameters
    ----------
    model
        Is left in training mode.
    views
        Held out.
    recipe
        Of the pre-training.
    parts
        This process's share of the evaluation views.
    """
    model.eval()
    sums: dict[str, Outcome] = {}
    for judge in _judges(recipe.variant):
        for part in drawn(model, views, recipe, parts):
            device = part.focal.device.type
            with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
                outcomes = judge(model, part, recipe)
            for name, outcome in outcomes.items():
                sums[name] = add(outcome, sums.get(name))
    model.train()
    return figures_of(total(sums))


def _judges(variant: Variant) -> Iterator[Callable[[GeneBERT, Prepared, Recipe], dict[str, Outcome]]]:
    """Yield what is judged on masked input, then matching, which is judged on unmasked input."""
    if variant.weights().keys() - {"matching"}:
        yield _judge_predictions
    if variant.matching:
        yield _judge_matching


def _judge_predictions(model: GeneBERT, part: Prepared, recipe: Recipe) -> dict[str, Outcome]:
    variant = recipe.variant.model_copy(update={"matching": 0.0})
    outcomes = run_objectives(model, part, variant, recipe.knowledge, group=1)
    if variant.masked_sequence:
        outcomes["hidden_bases"] = _hidden_bases(model, part)
    return outcomes


def _judge_matching(model: GeneBERT, part: Prepared, recipe: Recipe) -> dict[str, Outcome]:
    """Judge matching as it is, and by the encoders alone: without direct paths to the shared space."""
    seen = torch.zeros_like(part.blocks) if part.blocks is not None else None
    encoded, valid = model.region_encoder(part.matrix, part.present, seen)
    focal = part.matrix[:, :, part.matrix.shape[2] // 2]
    region = model.pool_region(encoded, valid, focal)
    sequence = model.pool_sequence(model.sequence_encoder(part.ids), part.ids)
    group = recipe.settings.matching_group
    outcomes = {"matching": matching(model, sequence, region, part.focal, group)}
    direct = model.settings.projection
    sequence, region = (
        torch.cat([features[:, :-direct], torch.zeros_like(features[:, -direct:])], dim=1)
        for features in (sequence, region)
    )
    outcomes["matching_encoders"] = matching(model, sequence, region, part.focal, group)
    return outcomes


def drawn(model: GeneBERT, views: Views, recipe: Recipe, parts: list[range]) -> Iterator[Prepared]:
    """Yield the evaluation views, part by part."""
    for part in parts:
        indices = torch.arange(part.start, part.stop, device=views.region.device)
        shuffled = recipe.variant.matrices == "shuffled"
        batch = views.batch(SEED, 0, indices, augment=False, shuffled=shuffled)
        yield prepare(
            model,
            views,
            batch,
            recipe.variant,
            STRATEGY,
            recipe.knowledge,
            recipe.settings.region_mask,
        )


def _hidden_bases(model: GeneBERT, part: Prepared) -> Outcome:
    """Count the bases that no visible token shows, and how many of them the network gets right."""
    hidden = model.sequence_encoder(part.shown).flatten(0, 1)
    embedding = model.sequence_encoder.token.weight
    logits = model.masked_sequence_head(hidden.index_select(0, part.asked), embedding)
    chosen = torch.zeros_like(part.ids, dtype=torch.bool)
    chosen.view(-1)[part.asked] = True
    right, number = hidden_base_accuracy(logits, chosen, part.shown, part.codes, model.tokenizer.k)
    nothing = torch.zeros_like(right)
    return Outcome(nothing, number, right, nothing)


def baselines(model: GeneBERT, held_out: Views, recipe: Recipe) -> dict[str, float]:
    """Return what simple models reach on the evaluation views: the figures to beat."""
    figures = {}
    variant = recipe.variant
    if variant.masked_sequence:
        figures["masked_sequence_markov_base_accuracy"] = _markov_accuracy(model, held_out, recipe)
    if variant.next_segment:
        figures["next_segment_gc_accuracy"] = _gc_accuracy(model, held_out, recipe)
    if variant.matching:
        figures["matching_linear_top1"] = _linear_matching(model, held_out, recipe)
    return figures


def _markov_accuracy(model: GeneBERT, views: Views, recipe: Recipe) -> float:
    """Return the accuracy of a Markov chain on the bases that no visible token shows."""
    regions = _some_training_regions(views.corpus, MARKOV_REGIONS)
    blocks = (views.corpus.sequence[regions[i : i + 1024]] for i in range(0, len(regions), 1024))
    chain = fit_markov(blocks)
    variant = Variant(masked_sequence=1)
    right = number = 0
    for part in drawn(model, views, recipe._replace(variant=variant), _whole(recipe)):
        codes = part.codes.cpu().numpy()
        hidden = hidden_bases(part.shown, model.tokenizer.k).cpu().numpy()
        predicted = predict_hidden(chain, codes, hidden)
        right += int((predicted == codes)[hidden].sum())
        number += int(hidden.sum())
    return right / max(number, 1)


def _gc_accuracy(model: GeneBERT, views: Views, recipe: Recipe) -> float:
    """Return how often like GC content tells whether two segments are of one place."""
    variant = Variant(next_segment=1)
    difference, contiguous = [], []
    for part in drawn(model, views, recipe._replace(variant=variant), _whole(recipe)):
        assert part.segments is not None and part.contiguous is not None
        kmer = part.segments >= len(SPECIAL)
        # Tokens count A, T, C, G: the last base of a k-mer is its lowest digit.
        gc = kmer & ((part.segments - len(SPECIAL)) % 4 >= 2)
        half = part.codes.shape[1] // 2 - model.tokenizer.k + 3  # [CLS], k-mers, [SEP]
        shares = [gc[:, rows].sum(1) / kmer[:, rows].sum(1) for rows in (slice(half), slice(half, None))]
        difference.append((shares[0] - shares[1]).abs())
        contiguous.append(part.contiguous)
    distance = torch.cat(difference)
    return float(((distance < distance.median()) == torch.cat(contiguous)).double().mean())


def _linear_matching(model: GeneBERT, views: Views, recipe: Recipe) -> float:
    """Return the top-1 of a linear map from k-mer counts to the focal column."""
    corpus = views.corpus
    regions = _some_training_regions(corpus, LINEAR_REGIONS)
    mean, std = model.row_mean.cpu().numpy(), model.row_std.cpu().numpy()
    variant = Variant(matching=1, matrices=recipe.variant.matrices)
    parts = list(drawn(model, views, recipe._replace(variant=variant), _whole(recipe)))
    focal = torch.cat([part.focal for part in parts]).cpu().numpy()
    columns = torch.cat([part.matrix[:, :, part.matrix.shape[2] // 2] for part in parts])
    return linear_top1(
        corpus.sequence[regions],
        (from_steps(corpus.best[regions]) - mean) / std,
        corpus.sequence[focal],
        columns.cpu().numpy(),
        focal,
        group=recipe.settings.matching_group,
    )


def _some_training_regions(corpus: Corpus, most: int) -> np.ndarray:
    regions = np.flatnonzero(corpus.viewed("train"))
    return regions[:: -(-len(regions) // most)]


def _whole(recipe: Recipe) -> list[range]:
    """Return all evaluation views, as parts of one matching group."""
    group, views = recipe.settings.matching_group, recipe.settings.evaluation_views
    return [range(start, start + group) for start in range(0, views, group)]
