"""One optimiser step: draw this process's share of a global batch, learn from it part by part."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from genebert.config import Pretrain, Variant
from genebert.config.batches import part_size
from genebert.corpus.sample import PlacedCorpus, Views
from genebert.errors import GenebertError
from genebert.model.genebert import GeneBERT
from genebert.pretrain import parallel
from genebert.pretrain.objectives import Outcome, add, numbers, run_objectives, weighted_loss
from genebert.pretrain.prepare import Knowledge, Prepared, cut, prepare


class Recipe(NamedTuple):
    """What decides a pre-training beside the corpus and the sizes of the network.

    Attributes
    ----------
    settings
        Steps, batch, rates.
    variant
        Objectives and masking.
    seed
        Decides every draw.
    knowledge
        What masking and objectives need to know.
    """

    settings: Pretrain
    variant: Variant
    seed: int
    knowledge: Knowledge = Knowledge()


def parts_of(batch: int, most: int, group: int) -> list[range]:
    """Share out the samples of a global batch: the parts that this process computes on, in turn.

    See :func:`genebert.config.batches.part_size`.

    Parameters
    ----------
    batch
        Samples of the global batch.
    most
        Samples that a process can hold at a time.
    group
        Consecutive samples that matching compares, 1 without matching.

    Raises
    ------
    GenebertError
        If no size fits.
    """
    world, rank = parallel.world(), parallel.rank()
    size = part_size(batch, most, group, world)
    if size is None:
        raise GenebertError(
            f"{batch} views cannot be shared out among {world} device(s) of at most {most} views"
            + (f" in whole matching groups of {group}" if group > 1 else ""),
            "raise compute.batch_per_device, lower pretrain.matching_group, or make batch_size and "
            "evaluation_views multiples of matching_group × compute.gpus × compute.nodes",
        )
    starts = range(rank * size, batch, size * world)
    return [range(start, start + size) for start in starts]


class Plan(NamedTuple):
    """What a training draws from, and which samples of each batch this process computes on.

    Attributes
    ----------
    train, held_out
        Views of the training and the validation split.
    parts, held_out_parts
        Of a step's batch, and of the evaluation views (:func:`parts_of`).
    """

    train: Views
    held_out: Views
    parts: list[range]
    held_out_parts: list[range]


def plan_training(placed: PlacedCorpus, columns: int, recipe: Recipe, most: int) -> Plan:
    """Return the plan of a training on devices that hold ``most`` views of ``columns`` regions.

    Raises
    ------
    GenebertError
        If a split has no view, or batches cannot be shared out.
    """
    settings = recipe.settings
    group = settings.matching_group if recipe.variant.matching else 1
    return Plan(
        Views(placed, "train", columns),
        Views(placed, "validation", columns),
        parts_of(settings.batch_size, most, group),
        parts_of(settings.evaluation_views, most, group),
    )


def draw(
    model: GeneBERT,
    views: Views,
    recipe: Recipe,
    step: int,
    parts: Sequence[range],
    strategy: str,
) -> Prepared:
    """Return this process's share of a step's global batch, on the device of the views.

    All parts are drawn at once: a GPU does many small operations as fast on a thousand views as on one.

    Parameters
    ----------
    model
        Tokenises and standardises.
    views
        What is drawn from.
    recipe
        Of the pre-training.
    step
        From 0.
    parts
        Samples of the global batch, of :func:`parts_of`.
    strategy
        Of masking in this step.
    """
    device = views.region.device
    indices = torch.cat([torch.arange(part.start, part.stop, device=device) for part in parts])
    batch = views.batch(
        recipe.seed,
        step,
        indices,
        augment=True,
        shuffled=recipe.variant.matrices == "shuffled",
    )
    return prepare(
        model,
        views,
        batch,
        recipe.variant,
        strategy,
        recipe.knowledge,
        recipe.settings.region_mask,
    )


def agree(
    share: Prepared, variant: Variant, stop: bool, save: bool
) -> tuple[dict[str, torch.Tensor], bool, bool]:
    """Count what each objective's loss is divided by, over the global batch.

    The processes agree in passing whether one of them was asked to ``stop`` or wants to ``save``.
    """
    own = numbers(share, variant)
    if parallel.world() == 1:
        return own, stop, save
    asked = [torch.full((), int(wish), device=share.focal.device) for wish in (stop, save)]
    *counts, stops, saves = parallel.total(torch.stack([*own.values(), *asked]))
    return dict(zip(own, counts, strict=True)), bool(stops), bool(saves)


def learn(
    model: GeneBERT,
    share: Prepared,
    parts: Sequence[range],
    counts: dict[str, torch.Tensor],
    recipe: Recipe,
) -> dict[str, Outcome]:
    """Find the gradients of the weighted mean losses over the global batch; return this process's sums.

    Parameters
    ----------
    model
        Its gradients are replaced by the sum over all parts and processes.
    share
        This process's share of the batch, of :func:`draw`.
    parts
        Samples that the device holds at a time, of :func:`parts_of`.
    counts
        Of :func:`agree`.
    recipe
        Of the pre-training.
    """
    model.zero_grad(set_to_none=True)
    sums: dict[str, Outcome] = {}
    device = share.focal.device.type
    for part in cut(share, [len(part) for part in parts]):
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            outcomes = run_objectives(
                model, part, recipe.variant, recipe.knowledge, recipe.settings.matching_group
            )
        weighted_loss(outcomes, counts, recipe.variant).backward()
        for name, outcome in outcomes.items():
            sums[name] = add(outcome, sums.get(name))
    parallel.sum_gradients(model.parameters())
    return sums
