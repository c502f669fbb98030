"""One optimiser step: draw this process's share of a global batch, learn from it part by part."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from genebert.config import Pretrain, Variant
from genebert.corpus.sample import Views
from genebert.errors import GenebertError
from genebert.model.genebert import GeneBERT
from genebert.pretrain import parallel
from genebert.pretrain.objectives import (
    Knowledge,
    Outcome,
    Prepared,
    add,
    cut,
    numbers,
    prepare,
    run_objectives,
    weighted_loss,
)


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

    All parts have one size, the largest that is allowed. Processes take neighbouring parts, so that a
    matching group lies in one part or spans those of all processes.

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
    for size in range(min(most, batch // world), 0, -1):
        whole_groups = size % group == 0 or (group % size == 0 and size * world % group == 0)
        if batch % (size * world) == 0 and whole_groups:
            starts = range(rank * size, batch, size * world)
            return [range(start, start + size) for start in starts]
    raise GenebertError(
        f"{batch} views cannot be shared out among {world} device(s) of at most {most} views in whole "
        f"matching groups of {group}",
        f"lower pretrain.matching_group to {most} or less, raise compute.batch_per_device, or make the "
        "number of views a multiple of matching_group × compute.gpus",
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


def count(share: Prepared, variant: Variant, stop: bool) -> tuple[dict[str, torch.Tensor], bool]:
    """Count what each objective's loss is divided by, over the global batch.

    The processes agree in passing whether one of them was asked to ``stop``.
    """
    own = numbers(share, variant)
    if parallel.world() == 1:
        return own, stop
    asked = torch.full((), int(stop), device=share.focal.device)
    *agreed, stops = parallel.total(torch.stack([*own.values(), asked]))
    return dict(zip(own, agreed, strict=True)), bool(stops)


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
        Of :func:`count`.
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
