"""Accumulation and several processes, killed or not, give what one gives at once, beyond rounding."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
from safetensors.torch import load_file

from genebert.cli import main
from genebert.config import Compute, Pretrain, Variant
from genebert.config import Model as ModelSettings
from genebert.corpus.read import Corpus

STEPS = 30
# Of everything: groups of 8 among 16 views.
SETTINGS = Pretrain(
    steps=STEPS,
    batch_size=16,
    learning_rate=2e-3,
    warmup_steps=0,
    matching_group=8,
    evaluate_every=15,
    evaluation_views=16,
    variants={"multimodal": Variant(masked_sequence=1, masked_region=1, matching=1, next_segment=1)},
)
# Of weights. Rounding takes them 1e-5 apart, another matching_group 3e-2.
TOLERANCE = 5e-5

# Two ways to start two workers, which run a script. As a user of torchrun does:
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
# And as `genebert pretrain` does once it has leased the GPUs:
LAUNCH = """
import sys
from genebert.errors import GenebertError
from genebert.pretrain.launch import exec_torchrun
try:
    exec_torchrun(2, sys.argv[1:])
except GenebertError as error:
    sys.exit(f"error: {error}")
"""
EXEC = [sys.executable, "-c", LAUNCH]

# The command line; in one process of the two something happens before a step.
WORKER = """
import os, signal, sys
from genebert.cli import main
from genebert.pretrain import loop
step, what, *arguments = sys.argv[1:]
original = loop.draw
def draw(*given):
    share = original(*given)
    if given[3] == int(step) and what == "die as the other is stopped":
        os.kill(os.getpid(), signal.SIGKILL if os.environ["RANK"] == "1" else signal.SIGTERM)
    if given[3] == int(step) and os.environ["RANK"] == "1":
        if what == "stop the launcher":
            os.kill(os.getppid(), signal.SIGTERM)
        elif what == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif what == "diverge":
            return share._replace(matrix=share.matrix * float("nan"))
    return share
loop.draw = draw
main(arguments)
"""


class Event(NamedTuple):
    """What happens in the second of two processes, and before which step."""

    step: int
    what: str


NOTHING = Event(-1, "nothing")


@dataclasses.dataclass(frozen=True)
class Command:
    """A pre-training's command line and the folder that it writes to."""

    corpus: Path
    model: ModelSettings
    out: Path
    per_device: int
    settings: Pretrain = SETTINGS
    checkpoint_minutes: float = 1000

    def arguments(self) -> list[str]:
        compute = Compute(
            gpus=0, batch_per_device=self.per_device, checkpoint_minutes=self.checkpoint_minutes
        )
        return [
            *("pretrain", "--corpus", str(self.corpus), "--model", self.model.model_dump_json()),
            *("--settings", self.settings.model_dump_json(), "--compute", compute.model_dump_json()),
            *("--variant", "multimodal", "--seed", "3", "--out", str(self.out / "model")),
            *("--history", str(self.out / "history.tsv")),
            *("--checkpoints", str(self.out / "checkpoints")),
        ]

    def alone(self) -> "Command":
        """Run it in this process, to its end."""
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            with pytest.raises(SystemExit) as left:
                main(self.arguments())
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        assert not left.value.code
        return self

    def by_two(self, launcher: list[str], event: Event = NOTHING) -> tuple[int, str]:
        """Run it in two processes; return the launcher's status and what all have told."""
        worker = self.out.with_suffix(".py")
        worker.parent.mkdir(exist_ok=True)
        worker.write_text(WORKER)
        done = subprocess.run(
            [*launcher, worker, *map(str, event), *self.arguments()],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )
        # torchrun itself shows one.
        assert launcher is TORCHRUN or "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stderr

    def change(self, **changes: Any) -> "Command":
        return dataclasses.replace(self, **changes)

    def checkpoints(self) -> list[Path]:
        """Return the paths of all checkpoints, oldest first."""
        return sorted((self.out / "checkpoints").glob("*/step-*"), key=lambda path: path.name)

    def newest(self) -> int:
        """Return the step of the newest checkpoint."""
        return int(self.checkpoints()[-1].name.split(".")[0].removeprefix("step-"))

    def processes(self) -> int:
        """Return how many have written the result."""
        provenance = json.loads((self.out / "model/provenance.json").read_text())
        return int(provenance["processes"])

    def weights(self) -> bytes:
        return (self.out / "model/model.safetensors").read_bytes()

    def history(self) -> pd.DataFrame:
        return pd.read_csv(self.out / "history.tsv", sep="\t")


def apart(found: Command, expected: Command) -> float:
    """Return the largest difference between two weights."""
    first, second = (load_file(command.out / "model/model.safetensors") for command in (found, expected))
    assert first.keys() == second.keys()
    return max(float((first[name] - second[name]).abs().max()) for name in first)


def assert_same_history(found: Command, expected: Command, tolerance: float = 1e-3) -> None:
    first, second = found.history(), expected.history()
    keys = ["step", "split", "metric"]
    pd.testing.assert_frame_equal(first[keys], second[keys])
    difference = (first["value"] - second["value"]).abs()
    assert (difference <= tolerance * second["value"].abs().clip(lower=1)).all()


@pytest.fixture(scope="module")
def alone(
    synthetic_corpus: Corpus,
    write_corpus: Callable,
    tiny_settings: ModelSettings,
    tmp_path_factory: pytest.TempPathFactory,
) -> Command:
    """One process that holds the whole batch."""
    folder = tmp_path_factory.mktemp("parallel")
    corpus = write_corpus(synthetic_corpus, folder / "corpus")
    return Command(corpus, tiny_settings, folder / "alone", per_device=16).alone()


@pytest.fixture(scope="module")
def two(alone: Command) -> Command:
    """Two processes; each matching group spans both, in two parts."""
    command = alone.change(out=alone.out.parent / "two", per_device=4)
    code, told = command.by_two(EXEC)
    assert code == 0, told
    return command


def test_the_runs_compared_did_learn(alone: Command) -> None:
    history = alone.history()
    losses = history.query("split == 'train' and metric == 'matching_loss'")["value"]
    assert losses.iloc[-1] < 0.9 * losses.iloc[0]


def test_accumulation_changes_nothing(alone: Command, tmp_path: Path) -> None:
    accumulated = alone.change(out=tmp_path / "out", per_device=8).alone()
    assert apart(accumulated, alone) < TOLERANCE
    assert_same_history(accumulated, alone)


def test_two_processes_change_nothing(two: Command, alone: Command) -> None:
    assert (two.processes(), alone.processes()) == (2, 1)
    assert apart(two, alone) < TOLERANCE
    assert_same_history(two, alone)


def test_other_matching_groups_would_be_noticed(alone: Command, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"matching_group": 4})
    other = alone.change(out=tmp_path / "out", settings=settings).alone()
    assert apart(other, alone) > 200 * TOLERANCE


def test_two_stopped_processes_are_gone_on_from_by_one(
    alone: Command, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = alone.change(out=tmp_path / "out", per_device=8)
    code, told = command.by_two(TORCHRUN, Event(3, "stop the launcher"))
    assert code != 0
    step = command.newest()
    assert 3 <= step < STEPS
    assert told.count("stopping after this step") == 1
    assert told.count(f"stopped at step {step} on SIGTERM: checkpoint saved") == 1
    assert not (command.out / "model").exists()
    capfd.readouterr()
    command.alone()
    assert f"going on from step {step}\n" in capfd.readouterr().err
    assert not (command.out / "checkpoints").exists()
    assert apart(command, alone) < TOLERANCE
    assert_same_history(command, alone)


def test_two_processes_end_with_the_same_bytes_whatever_has_befallen_them(
    two: Command, tmp_path: Path
) -> None:
    command = two.change(out=tmp_path / "out", checkpoint_minutes=0)
    # A loss that is not finite, in one of them: one message, of all.
    code, told = command.by_two(EXEC, Event(12, "diverge"))
    assert code == 1, told
    saved = command.checkpoints()[-1]
    assert command.newest() == 12
    assert told.count("error: ") == told.count("fix: ") == 1, told
    assert f"is not finite at step 12; the last good checkpoint is {saved}\nfix: lower pre" in told
    # One is killed: the launcher says so, and the other nothing.
    code, told = command.by_two(EXEC, Event(22, "die"))
    assert code == 1, told
    assert command.newest() == 21
    assert told.count("going on from step 12\n") == 1
    assert told.count("error: ") == told.count("fix: ") == 1, told
    assert "error: worker 1 was killed by SIGKILL\nfix: " in told
    # So it does where the other was told to stop before it noticed.
    code, told = command.by_two(EXEC, Event(22, "die as the other is stopped"))
    assert code == 1, told
    assert told.count("error: ") == told.count("fix: ") == 1, told
    assert "error: worker 1 was killed by SIGKILL\nfix: " in told
    # The launcher is asked to stop.
    code, told = command.by_two(EXEC, Event(23, "stop the launcher"))
    assert code == 128 + signal.SIGTERM, told
    assert 23 <= command.newest() < STEPS
    assert told.count("stopping after this step") == 1
    assert told.count(f"stopped at step {command.newest()} on SIGTERM: checkpoint saved") == 1
    code, told = command.by_two(EXEC)
    assert code == 0, told
    assert told.count(f"multimodal, seed 3: {STEPS} steps") == 2
    assert command.weights() == two.weights()
    assert not (command.out / "checkpoints").exists()
    assert_same_history(command, two, tolerance=1e-6)
