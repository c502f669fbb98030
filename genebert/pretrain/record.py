"""What is known of a training under way, and how it outlives its process."""

import math
import os
import time
from pathlib import Path
from typing import NamedTuple, NoReturn

import torch

from genebert.config import Compute, Variant
from genebert.errors import GenebertError
from genebert.model.genebert import GeneBERT
from genebert.pretrain import parallel
from genebert.pretrain.checkpoints import Checkpoints, State, restore, tensors_of
from genebert.pretrain.curriculum import strategy_at
from genebert.pretrain.history import History, open_board, say, shown
from genebert.pretrain.objectives import Outcome, add, figures_of, total
from genebert.pretrain.step import Recipe


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

    def check(self) -> None:
        """Refuse, before hours of training, places that can hold no result."""
        for folder in (self.model, self.history.parent):
            there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
            if not there.is_dir() or not os.access(there, os.W_OK):
                raise GenebertError(
                    f"{folder} cannot hold a result: {there} is no folder that you may write to",
                    "name another folder, or move what is in the way",
                )
        if self.history.is_dir():
            raise GenebertError(f"{self.history} is a folder", "name a file for the history")


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
            self._say(f"going on from step {state.step}")
            restore(model, optimiser, state.tensors)
            self._hard, self._switched = state.facts["hard"], state.facts["switched"]
            device = next(model.parameters()).device
            # Those of all processes: only the first one goes on from them.
            own = int(parallel.rank() == 0)
            self._sums = {
                name: Outcome(
                    *(own * state.tensors[f"sums.{name}.{f}"].to(device) for f in Outcome._fields)
                )
                for name in state.facts["sums"]
            }

    def strategy(self, recipe: Recipe) -> str:
        """Return the strategy of masking in the next step."""
        perplexities = self.history.values("validation", "masked_sequence_perplexity")
        masking, steps = recipe.variant.masking, recipe.settings.steps
        return strategy_at(masking, recipe.seed, self.step, steps, perplexities)

    def add(self, strategy: str, outcomes: dict[str, Outcome]) -> None:
        """Count a step that was taken."""
        if strategy == "global_pmi" and not self._switched:
            self._say(f"masking: first step with {strategy} is {self.step}")
            self._switched = True
        self._hard += strategy == "global_pmi"
        for name, outcome in outcomes.items():
            self._sums[name] = add(outcome, self._sums.get(name))
        self.step += 1

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
        losses = [name for name in figures if name.endswith("_loss")]
        if bad := [name for name in losses if not math.isfinite(figures[name])]:
            self._stop(self.step - 1, bad)
        self.history.add(self.step, "validation", figures)
        self._say(f"held out, step {self.step}: {shown(figures)}")
        if self._checkpoints is not None:
            try:
                self.history.write(self._outputs.history)
            except GenebertError as error:  # a full disk may have space again at the end
                say(f"warning: {error.what}; training goes on")

    def _say(self, what: str) -> None:
        if self._checkpoints is not None:
            say(what)

    def due(self) -> bool:
        """Return whether it is time for a checkpoint: the first process looks at the clock."""
        waited = time.monotonic() - self._saved_at
        return self._checkpoints is not None and waited >= 60 * self._compute.checkpoint_minutes

    def save(self) -> bool:
        """Write a checkpoint of the steps done, in all processes at once; return whether it is there."""
        own = total(self._sums)
        if self._checkpoints is None:
            return True
        sums = {
            f"sums.{name}.{field}": value
            for name, outcome in own.items()
            for field, value in zip(Outcome._fields, outcome, strict=True)
        }
        facts = {
            "rows": self.history.rows,
            "hard": self._hard,
            "switched": self._switched,
            "sums": list(own),
        }
        self._saved_at = time.monotonic()
        tensors = tensors_of(self._model, self._optimiser) | sums
        return self._checkpoints.save(State(self.step, tensors, facts))

    def refuse(self, outcomes: dict[str, Outcome]) -> NoReturn:
        """Stop at a step whose gradients are not finite, naming the objectives to blame."""
        sums = total(outcomes).items()
        self._stop(self.step, [f"{name}_loss" for name, out in sums if not torch.isfinite(out.loss)])

    def _stop(self, step: int, bad: list[str]) -> NoReturn:
        saved = None if self._checkpoints is None else self._checkpoints.last
        raise GenebertError(
            f"{', '.join(bad) or 'the gradient'} is not finite at step {step}; the last good checkpoint "
            + ("is none" if saved is None else f"is {saved}"),
            "lower pretrain.learning_rate or raise pretrain.warmup_steps",
        )
