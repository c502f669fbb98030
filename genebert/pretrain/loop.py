"""Pre-training, from a corpus to a model's folder. It reads from top to bottom."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import torch

from genebert.config import Compute, Variant
from genebert.config import Model as ModelSettings
from genebert.config import Pretrain as Settings
from genebert.corpus.held_out import without_cell_types
from genebert.corpus.place import open_corpus
from genebert.corpus.sample import PlacedCorpus, Views, place_corpus
from genebert.devices import use_threads
from genebert.model.checkpoint import Card, save_model
from genebert.model.genebert import GeneBERT, compile_encoders
from genebert.pretrain import parallel
from genebert.pretrain.checkpoints import Checkpoints
from genebert.pretrain.evaluation import baselines, evaluate
from genebert.pretrain.history import History
from genebert.pretrain.record import Outputs, Record
from genebert.pretrain.schedule import adamw, learning_rate, set_rate
from genebert.pretrain.setup import (
    Sources,
    check_corpus,
    files_read,
    gather_knowledge,
    identity_of,
    initial_model,
)
from genebert.pretrain.step import Plan, Recipe, agree, draw, learn, parts_of, plan_training
from genebert.pretrain.stopping import StopRequest
from genebert.progress import Progress
from genebert.provenance import recorded, revision

# What the figures of a network without training are: those of the main objectives.
UNTRAINED = Variant(masked_sequence=1, masked_region=1, matching=1)


def pretrain(
    corpus_folder: str | Path,
    sources: Sources,
    model_settings: ModelSettings,
    settings: Settings,
    compute: Compute,
    variant_name: str,
    seed: int,
    device: str,
    outputs: Outputs,
    held_out: Sequence[str] = (),
) -> str:
    """Train one variant with one seed, or go on where a stopped run was; return a line on the result.

    Parameters
    ----------
    corpus_folder
        Holds the parts and ``manifest.json``.
    sources
        Files that some strategies and objectives need.
    model_settings, settings, compute
        Sizes of the network; steps, batch and variants; what affects speed only.
    variant_name
        Key of ``settings.variants``.
    seed
        Decides the initial weights and every draw.
    device
        ``cpu`` or ``cuda``, of this process. One that torchrun started takes part in the common work.
    outputs
        Where to write.
    held_out
        Cell types that nothing is learnt from: neither weights nor statistics, nor held-out figures.

    Raises
    ------
    GenebertError
        If corpus, tables and settings do not fit together, a held-out cell type is in no sample, or
        training diverges.
    """
    outputs.check()
    revision()  # of the code that runs: it may be changed while training is under way
    use_threads(settings.threads, device)
    variant = settings.variants[variant_name]
    corpus = without_cell_types(open_corpus(corpus_folder, device), held_out)
    check_corpus(corpus, model_settings)
    model = initial_model(model_settings, variant, seed, corpus).to(device)
    knowledge = gather_knowledge(corpus, corpus_folder, sources, variant, model, device)
    recipe = Recipe(settings, variant if variant.trained else UNTRAINED, seed, knowledge)
    placed = place_corpus(corpus, device)

    with ExitStack() as until_saved:
        until_saved.enter_context(parallel.joined(device))
        checkpoints = None
        if variant.trained:
            plan = plan_training(placed, model_settings.columns, recipe, compute.batch_per_device)
            if parallel.rank() == 0:
                identity = identity_of(
                    model_settings, settings, variant_name, seed, corpus_folder, sources, held_out
                )
                checkpoints = Checkpoints(outputs.checkpoints, identity, compute.checkpoints_kept)
                until_saved.enter_context(checkpoints)
            history = _train(model, plan, recipe, compute, checkpoints, outputs)
        else:
            history = _judge_untrained(model, placed, recipe, compute)
        steps = settings.steps if variant.trained else 0
        if parallel.rank() == 0:
            card = Card(
                settings=model.settings,
                motifs=corpus.metadata.motifs,
                motif_digest=corpus.metadata.motif_digest,
                variant=variant_name,
                seed=seed,
                steps=steps,
            )
            record = recorded(
                "pretrain",
                [
                    *(outputs.model / name for name in ("model.safetensors", "config.json")),
                    outputs.history,
                ],
                files_read(corpus_folder, sources, variant),
                {
                    "model": model_settings.model_dump(),
                    "pretrain": settings.model_dump(),
                    "variant": variant_name,
                    "held_out_cell_types": list(corpus.held_out),
                },
                seed,
                inputs_of_corpus=corpus.metadata.inputs,
                compute=compute.model_dump(),
                processes=parallel.world(),
            )
            with record:
                history.write(outputs.history)
                save_model(model.cpu(), card, outputs.model)
        if checkpoints is not None:
            checkpoints.remove()
    return f"{variant_name}, seed {seed}: {steps} steps"


def _train(
    model: GeneBERT,
    plan: Plan,
    recipe: Recipe,
    compute: Compute,
    checkpoints: Checkpoints | None,
    outputs: Outputs,
) -> History:
    """Train to the last step; only the process that has ``checkpoints`` writes and talks."""
    settings, variant = recipe.settings, recipe.variant
    optimiser = adamw(model, settings.learning_rate, settings.weight_decay)
    record = Record(model, optimiser, checkpoints, compute, outputs)
    if not record.history.rows and checkpoints is not None:
        record.history.add(0, "validation", baselines(model, plan.held_out, recipe))
    if settings.compile:
        compile_encoders(model)
    model.train()

    log_every = max(10, settings.steps // 1000)
    steps = range(record.step, settings.steps)
    progress = Progress(steps, "pre-training", record.step)
    with StopRequest(quiet=checkpoints is None) as stop:
        for step in steps if checkpoints is None else progress:
            strategy = record.strategy(recipe)
            share = draw(model, plan.train, recipe, step, plan.parts, strategy)
            counts, stops, saves = agree(share, variant, stop.requested, record.due())
            if stops or saves:
                saved = record.save()
            if stops:
                parallel.wait()
                stop.leave(step, saved)

            rate = learning_rate(step, settings.steps, settings.warmup_steps, settings.learning_rate)
            set_rate(optimiser, rate)
            outcomes = learn(model, share, plan.parts, counts, recipe)
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_clip)
            if not torch.isfinite(norm):
                record.refuse(outcomes)
            optimiser.step()

            record.add(strategy, outcomes)
            last = record.step == settings.steps
            if record.step % log_every == 0 or last:
                progress.note(record.report(variant))
            if record.step % settings.evaluate_every == 0 or last:
                record.held_out(evaluate(model, plan.held_out, recipe, plan.held_out_parts))
    return record.history


def _judge_untrained(model: GeneBERT, placed: PlacedCorpus, recipe: Recipe, compute: Compute) -> History:
    """Return the held-out figures of a network that is not trained."""
    held_out = Views(placed, "validation", model.settings.columns)
    settings = recipe.settings
    parts = parts_of(settings.evaluation_views, compute.batch_per_device, settings.matching_group)
    history = History()
    history.add(0, "validation", evaluate(model, held_out, recipe, parts))
    return history
