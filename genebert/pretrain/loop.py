"""Pre-training, from a corpus to a model's folder. It reads from top to bottom."""

import math
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, NoReturn

import torch

from genebert.config import Compute, Variant
from genebert.config import Model as ModelSettings
from genebert.config import Pretrain as Settings
from genebert.corpus.manifest import read_manifest
from genebert.corpus.place import open_corpus
from genebert.corpus.sample import Views, place_corpus
from genebert.devices import use_threads
from genebert.errors import GenebertError
from genebert.files import digest_of
from genebert.model.checkpoint import Card, save_model, versions
from genebert.model.genebert import GeneBERT, compile_encoders
from genebert.pretrain import parallel
from genebert.pretrain.checkpoints import Checkpoints, State, restore, tensors_of
from genebert.pretrain.curriculum import strategy_at
from genebert.pretrain.evaluation import baselines, evaluate
from genebert.pretrain.history import History, open_board, say, shown
from genebert.pretrain.objectives import Outcome, add, figures_of, total
from genebert.pretrain.schedule import adamw, learning_rate, set_rate
from genebert.pretrain.setup import (
    Sources,
    check_cell_types,
    gather_knowledge,
    initial_digest,
    initial_model,
)
from genebert.pretrain.step import Recipe, count, draw, learn, parts_of
from genebert.pretrain.stopping import StopRequest
from genebert.progress import Progress
from genebert.versions import STAGES

# What the figures of a network without training are: those of the main objectives.
UNTRAINED = Variant(masked_sequence=1, masked_region=1, matching=1)


class Outputs(NamedTuple):
    """Where a pre-training writes.

    Attributes
    ----------
    model
        Folder of the trained model.
    history
        TSV: step, split, metric, value.
    checkpoints
        Folder below which checkpoints are kept until the model is written.
    """

    model: Path
    history: Path
    checkpoints: Path


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
    """
    use_threads(settings.threads, device)
    variant = settings.variants[variant_name]
    corpus = open_corpus(corpus_folder, device)
    model = initial_model(model_settings, variant, seed, corpus).to(device)

    with ExitStack() as open_things:
        open_things.enter_context(parallel.joined(device))
        writes = parallel.rank() == 0
        checkpoints = None
        history = History()
        placed = place_corpus(corpus, device)
        held_out = Views(placed, "validation", model_settings.columns)
        recipe = Recipe(settings, variant, seed)
        if variant.trained:
            check_cell_types(corpus)
            train = Views(placed, "train", model_settings.columns)
            knowledge = gather_knowledge(corpus, corpus_folder, sources, variant, model, device)
            identity = {
                "model": digest_of(model_settings.model_dump(exclude={"preset"})),
                "pre-training settings": digest_of(settings.model_dump(exclude={"variants"})),
                "variant": digest_of([variant_name, variant.model_dump()]),
                "seed": str(seed),
                "corpus": digest_of([part["sha256"] for part in read_manifest(corpus_folder)["parts"]]),
                "motif order": corpus.metadata.motif_digest,
                "initial weights": initial_digest(variant),
                "tables": sources.digest(variant),
                "stage version": str(STAGES["pretrain"]),
            }
            if writes:
                checkpoints = open_things.enter_context(
                    Checkpoints(outputs.checkpoints, identity, compute.checkpoints_kept)
                )
            recipe = recipe._replace(knowledge=knowledge)
            history = _train(model, train, held_out, recipe, compute, checkpoints, outputs)
        else:
            parts = parts_of(
                settings.evaluation_views, compute.batch_per_device, settings.matching_group
            )
            untrained = recipe._replace(variant=UNTRAINED)
            history.add(0, "validation", evaluate(model, held_out, untrained, parts))
        if writes:
            card = Card(
                settings=model_settings,
                motifs=corpus.metadata.motifs,
                motif_digest=corpus.metadata.motif_digest,
                variant=variant_name,
                seed=seed,
                steps=settings.steps if variant.trained else 0,
            )
            provenance = {
                "settings": settings.model_dump(),
                "compute": compute.model_dump(),
                "processes": parallel.world(),
                "inputs": corpus.metadata.inputs,
                "versions": versions(),
            }
            history.write(outputs.history)
            save_model(model.cpu(), card, provenance, outputs.model)
        if checkpoints is not None:
            checkpoints.remove()
    return f"{variant_name}, seed {seed}: {card.steps if writes else 0} steps"


def _train(
    model: GeneBERT,
    train: Views,
    held_out: Views,
    recipe: Recipe,
    compute: Compute,
    checkpoints: Checkpoints | None,
    outputs: Outputs,
) -> History:
    """Train to the last step; only the process that has ``checkpoints`` writes."""
    settings, variant = recipe.settings, recipe.variant
    group = settings.matching_group if variant.matching else 1
    parts = parts_of(settings.batch_size, compute.batch_per_device, group)
    held_out_parts = parts_of(settings.evaluation_views, compute.batch_per_device, group)
    optimiser = adamw(model, settings.learning_rate, settings.weight_decay)
    record = Record(model, optimiser, checkpoints, compute, outputs)
    if not record.history.rows and checkpoints is not None:
        record.history.add(0, "validation", baselines(model, held_out, recipe))
    if settings.compile:
        compile_encoders(model)

    model.train()
    log_every = max(10, settings.steps // 1000)
    progress = Progress(range(record.step, settings.steps), "pre-training", record.step)
    with StopRequest() as stop:
        for step in progress:
            perplexities = record.history.values("validation", "masked_sequence_perplexity")
            strategy = strategy_at(variant.masking, recipe.seed, step, settings.steps, perplexities)
            share = draw(model, train, recipe, step, parts, strategy)
            counts, stopped = count(share, variant, stop.requested)
            if stopped:
                saved = record.save()
                parallel.wait()
                stop.leave(step, saved, quiet=parallel.rank() > 0)

            rate = learning_rate(step, settings.steps, settings.warmup_steps, settings.learning_rate)
            set_rate(optimiser, rate)
            outcomes = learn(model, share, parts, counts, recipe)
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_clip)
            if not torch.isfinite(norm):
                record.refuse(step, outcomes)
            optimiser.step()

            record.add(step, strategy, outcomes)
            last = record.step == settings.steps
            reported = record.step % log_every == 0 or last
            if reported:
                progress.note(record.report(variant))
            if record.step % settings.evaluate_every == 0 or last:
                figures = evaluate(model, held_out, recipe, held_out_parts)
                losses = [name for name in figures if name.endswith("_loss")]
                if bad := [name for name in losses if not math.isfinite(figures[name])]:
                    record.stop(step, bad)
                record.held_out(figures)
            # Only the first process looks at the clock: the others cannot add up their sums with it.
            if (reported or parallel.world() == 1) and not last and record.due():
                record.save()
    return record.history


class Record:
    """What is known of a training under way, and how it outlives its process.

    Parameters
    ----------
    model, optimiser
        Are brought to the state of the newest checkpoint, if there is one.
    checkpoints
        None in all processes but the first.
    compute, outputs
        How often, and where to write.

    Attributes
    ----------
    step
        Optimiser steps done.
    history
        Figures so far.
    """

    def __init__(
        self,
        model: GeneBERT,
        optimiser: torch.optim.Optimizer,
        checkpoints: Checkpoints | None,
        compute: Compute,
        outputs: Outputs,
    ) -> None:
        self._model, self._optimiser = model, optimiser
        self._checkpoints, self._compute, self._outputs = checkpoints, compute, outputs
        self._saved_at = time.monotonic()
        # Since the last report: sums of the objectives, and steps with the curricula's hard strategy.
        self._sums: dict[str, Outcome] = {}
        self._hard, self._switched = 0, False
        state = parallel.from_first(None if checkpoints is None else checkpoints.newest())
        self.step = 0 if state is None else state.step
        board = None
        if compute.tensorboard and checkpoints is not None:
            board = open_board(outputs.history.parent / "tensorboard", self.step)
        self.history = History([] if state is None else state.facts["rows"], board)
        if state is not None:
            say(f"going on from step {state.step}")
            restore(model, optimiser, state.tensors)
            self._hard = state.facts["hard"]
            device = next(model.parameters()).device
            # Those of all processes: only the first one goes on from them.
            own = int(parallel.rank() == 0)
            self._sums = {
                name: Outcome(
                    *(own * state.tensors[f"sums.{name}.{f}"].to(device) for f in Outcome._fields)
                )
                for name in state.facts["sums"]
            }

    def add(self, step: int, strategy: str, outcomes: dict[str, Outcome]) -> None:
        """Count a step that was taken."""
        if strategy == "global_pmi" and not self._switched:
            say(f"masking: {strategy} in step {step}")
            self._switched = True
        self._hard += strategy == "global_pmi"
        for name, outcome in outcomes.items():
            self._sums[name] = add(outcome, self._sums.get(name))
        self.step = step + 1

    def report(self, variant: Variant) -> str:
        """Put the figures since the last report into the history; return a few words on them."""
        figures = figures_of(total(self._sums))
        if variant.masking.startswith("cm_"):
            figures["masking_global_pmi_steps"] = float(self._hard)
        self.history.add(self.step, "train", figures)
        self._sums, self._hard = {}, 0
        return shown({name: value for name, value in figures.items() if name.endswith("_loss")})

    def held_out(self, figures: dict[str, float]) -> None:
        """Put held-out figures into the history, and what there is of it into its file."""
        self.history.add(self.step, "validation", figures)
        if self._checkpoints is not None:
            say(f"held out, step {self.step}: {shown(figures)}")
            try:
                self.history.write(self._outputs.history)
            except OSError as error:  # a full disk may have space again at the end
                say(f"warning: {self._outputs.history} could not be written: {error}")

    def due(self) -> bool:
        """Return whether it is time for a checkpoint."""
        return time.monotonic() - self._saved_at >= 60 * self._compute.checkpoint_minutes

    def save(self) -> bool:
        """Write a checkpoint of the steps done; return whether that went well.

        All processes call it, unless it follows a report: then there are no sums to add up.
        """
        own = total(self._sums) if parallel.world() > 1 else self._sums
        if self._checkpoints is None:
            return True
        sums = {
            f"sums.{name}.{field}": value
            for name, outcome in own.items()
            for field, value in zip(Outcome._fields, outcome, strict=True)
        }
        facts = {"rows": self.history.rows, "hard": self._hard, "sums": list(own)}
        self._saved_at = time.monotonic()
        tensors = tensors_of(self._model, self._optimiser) | sums
        return self._checkpoints.save(State(self.step, tensors, facts))

    def refuse(self, step: int, outcomes: dict[str, Outcome]) -> NoReturn:
        """Stop at a step whose gradients are not finite, naming the objectives to blame."""
        losses = {name: outcome.loss for name, outcome in total(outcomes).items()}
        self.stop(step, [f"{name}_loss" for name, loss in losses.items() if not torch.isfinite(loss)])

    def stop(self, step: int, bad: list[str]) -> NoReturn:
        """Stop because figures are not finite; say from where a rerun would go on."""
        saved = None if self._checkpoints is None else self._checkpoints.last
        raise GenebertError(
            f"{', '.join(bad) or 'the gradient'} is not finite at step {step}; the last good checkpoint "
            + ("is none" if saved is None else f"is {saved}"),
            "lower pretrain.learning_rate or raise pretrain.warmup_steps",
        )
