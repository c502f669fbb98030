"""Killed, stopped, short of disk: the same command goes on, and ends with the same bytes."""

import dataclasses
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from genebert.cli import main
from genebert.config import Model as ModelSettings
from genebert.corpus.read import Corpus
from genebert.pretrain import loop

STEPS = 24
SETTINGS: dict[str, Any] = {
    "steps": STEPS,
    "batch_size": 16,
    "learning_rate": 5e-3,
    "warmup_steps": 2,
    "matching_group": 8,
    "evaluate_every": 7,
    "evaluation_views": 16,
    "variants": {
        # The curriculum depends on the history of held-out figures.
        "everything": {
            "masked_sequence": 1,
            "masked_region": 1,
            "matching": 1,
            "next_segment": 1,
            "masking": "cm_gems",
        },
        "sequence_only": {"masked_sequence": 1},
    },
}
# On the CPU; with a checkpoint after each step, of which two are kept.
COMPUTE = {"gpus": 0, "checkpoint_minutes": 0, "checkpoints_kept": 2}
OUTPUTS = ("model/model.safetensors", "model/config.json", "history.tsv")


@dataclasses.dataclass(frozen=True)
class Command:
    """A pre-training's command line and the folder that it writes to."""

    corpus: Path
    npmi: Path
    model: ModelSettings
    out: Path
    variant: str = "everything"
    seed: int = 1
    settings: dict[str, Any] = dataclasses.field(default_factory=lambda: SETTINGS)
    compute: dict[str, Any] = dataclasses.field(default_factory=lambda: COMPUTE)

    def arguments(self) -> list[str]:
        return [
            *("pretrain", "--corpus", str(self.corpus), "--npmi", str(self.npmi)),
            *("--model", self.model.model_dump_json(), "--settings", json.dumps(self.settings)),
            *("--compute", json.dumps(self.compute), "--variant", self.variant),
            *("--seed", str(self.seed), "--out", str(self.out / "model")),
            *("--history", str(self.out / "history.tsv")),
            *("--checkpoints", str(self.out / "checkpoints")),
        ]

    def start(self) -> subprocess.Popen:
        """Run it as a user does, in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "genebert", *self.arguments()],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self) -> int:
        """Run it in this process; return its status."""
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            with pytest.raises(SystemExit) as left:
                main(self.arguments())
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return int(left.value.code or 0)

    def change(self, **changes: Any) -> "Command":
        return dataclasses.replace(self, **changes)

    def checkpoints(self) -> list[Path]:
        """Return the paths of all checkpoints, oldest first."""
        return sorted((self.out / "checkpoints").glob("*/step-*"), key=lambda path: path.name)

    def steps(self) -> list[int]:
        """Return the steps of all checkpoints."""
        return [int(path.name.split(".")[0].removeprefix("step-")) for path in self.checkpoints()]

    def results(self) -> list[bytes]:
        """Return what it has written; nothing else is left."""
        assert not (self.out / "checkpoints").exists()
        return [(self.out / name).read_bytes() for name in OUTPUTS]


class Ready(NamedTuple):
    """A command, and what it writes when nothing disturbs it."""

    command: Command
    results: list[bytes]


@pytest.fixture(scope="module")
def undisturbed(
    synthetic_corpus: Corpus,
    write_corpus: Callable,
    tiny_settings: ModelSettings,
    tmp_path_factory: pytest.TempPathFactory,
) -> Ready:
    """Run the command once, in a process of its own."""
    folder = tmp_path_factory.mktemp("undisturbed")
    corpus, npmi = write_corpus(synthetic_corpus, folder / "corpus"), folder / "npmi.parquet"
    with pytest.raises(SystemExit) as left:
        main(["npmi", "--corpus", str(corpus), "--k", "3", "--out", str(npmi)])
    assert not left.value.code
    rare = COMPUTE | {"checkpoint_minutes": 1000}
    command = Command(corpus, npmi, tiny_settings, folder / "out", compute=rare)
    process = command.start()
    told = process.communicate(timeout=120)[1]
    assert process.returncode == 0, told
    return Ready(command, command.results())


@pytest.fixture
def command(undisturbed: Ready, tmp_path: Path) -> Command:
    return undisturbed.command.change(out=tmp_path / "out", compute=COMPUTE)


StopAt = Callable[[int | None], None]


@pytest.fixture
def stop_at(monkeypatch: pytest.MonkeyPatch) -> StopAt:
    """Have this process get SIGTERM when it has taken so many steps."""
    chosen: list[int | None] = [None]

    def draw(*arguments: Any) -> Any:
        if arguments[3] == chosen[0]:
            signal.raise_signal(signal.SIGTERM)
        return original(*arguments)

    original = loop.draw
    monkeypatch.setattr(loop, "draw", draw)

    def choose(step: int | None) -> None:
        chosen[0] = step

    return choose


def test_a_run_killed_and_stopped_over_and_over_ends_with_the_same_bytes(
    undisturbed: Ready, command: Command
) -> None:
    rng, reached = random.Random(7), 0
    for end in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        target = reached + rng.randint(2, 4)
        process = command.start()
        while max(command.steps(), default=0) < target:
            assert process.poll() is None, process.stderr and process.stderr.read()
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.03))
        process.send_signal(end)
        told = process.communicate(timeout=60)[1]
        steps = command.steps()
        assert max(steps) >= target
        if reached:
            assert f"going on from step {reached}\n" in told
        reached = max(steps)
        if end == signal.SIGKILL:
            assert process.returncode == -signal.SIGKILL, told
        else:
            assert process.returncode == 128 + end, told
            assert f"stopped at step {reached} on {end.name}: checkpoint saved" in told
        assert len(steps) in (2, 3), "two, and one that was saved in the moment of the kill"
        assert not (command.out / "model").exists()
    process = command.start()
    told = process.communicate(timeout=60)[1]
    assert process.returncode == 0, told
    assert command.results() == undisturbed.results


def test_a_run_stopped_after_every_step_ends_with_the_same_bytes(
    undisturbed: Ready, command: Command, stop_at: StopAt
) -> None:
    command = command.change(compute=COMPUTE | {"checkpoint_minutes": 1000})
    for step in range(STEPS):
        stop_at(step)
        assert command.run() == 143
        assert command.steps() == [*range(step + 1)][-2:]
    stop_at(None)
    assert command.run() == 0
    assert command.results() == undisturbed.results


def test_a_truncated_checkpoint_is_skipped_for_the_one_before(
    undisturbed: Ready, command: Command, stop_at: StopAt, capfd: pytest.CaptureFixture[str]
) -> None:
    stop_at(9)
    assert command.run() == 143
    assert command.steps() == [8, 9]
    newest = command.checkpoints()[-1]
    os.truncate(newest, newest.stat().st_size // 2)
    capfd.readouterr()
    stop_at(None)
    assert command.run() == 0
    told = capfd.readouterr().err
    assert f"warning: the checkpoint {newest} is damaged and skipped" in told
    assert "going on from step 8\n" in told
    assert command.results() == undisturbed.results


def test_without_a_whole_checkpoint_training_starts_anew(
    undisturbed: Ready, command: Command, stop_at: StopAt, capfd: pytest.CaptureFixture[str]
) -> None:
    stop_at(9)
    assert command.run() == 143
    for path in command.checkpoints():
        os.truncate(path, 100)
    stop_at(None)
    assert command.run() == 0
    assert "is whole: training starts anew" in capfd.readouterr().err
    assert command.results() == undisturbed.results


OTHERS: dict[str, Callable[[Command, Path], Command]] = {
    "model": lambda c, _: c.change(model=c.model.model_copy(update={"columns": 7})),
    "pre-training settings": lambda c, _: c.change(settings=c.settings | {"learning_rate": 1e-3}),
    "variant": lambda c, _: c.change(variant="sequence_only"),
    "seed": lambda c, _: c.change(seed=2),
    "corpus": lambda c, folder: c.change(corpus=folder / "corpus"),
    "motif order": lambda c, folder: c.change(corpus=folder / "motifs"),
}


@pytest.fixture(scope="module")
def others(
    synthetic_corpus: Corpus, write_corpus: Callable, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Corpora with other regions, and with motifs in another order."""
    folder = tmp_path_factory.mktemp("others")
    write_corpus(
        dataclasses.replace(synthetic_corpus, start=synthetic_corpus.start + 1), folder / "corpus"
    )
    metadata = synthetic_corpus.metadata.model_copy(update={"motif_digest": "fedcba9876543210"})
    write_corpus(dataclasses.replace(synthetic_corpus, metadata=metadata), folder / "motifs")
    return folder


@pytest.mark.parametrize("name", OTHERS)
def test_a_checkpoint_of_something_else_is_refused_by_its_name(
    command: Command, others: Path, stop_at: StopAt, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    stop_at(3)
    assert command.run() == 143
    (foreign,) = {path.parent for path in command.checkpoints()}
    other = OTHERS[name](command, others)
    capfd.readouterr()
    stop_at(1)
    assert other.run() == 143
    told = capfd.readouterr().err
    assert "going on" not in told
    assert f"another {name}" in told
    assert f"rm -r {foreign}" in told
    (own,) = {path.parent for path in other.checkpoints()} - {foreign}
    shutil.copytree(foreign, own, dirs_exist_ok=True)
    assert other.run() == 1
    told = capfd.readouterr().err
    assert f"error: the checkpoint {own}/step-000000003" in told
    assert f"another {name}" in told
    assert "\nfix: go back to what it was made with" in told


@pytest.fixture
def largest_file() -> Iterator[Callable[[int], None]]:
    """Have the kernel refuse to write beyond so many bytes of a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_too_full_for_checkpoints_neither_ends_nor_changes_a_training(
    undisturbed: Ready,
    command: Command,
    stop_at: StopAt,
    largest_file: Callable[[int], None],
    capfd: pytest.CaptureFixture[str],
) -> None:
    stop_at(5)
    assert command.run() == 143
    before = {path: path.read_bytes() for path in command.checkpoints()}
    size = len(next(iter(before.values())))
    largest_file(size - 1)
    stop_at(9)
    assert command.run() == 143
    assert before == {path: path.read_bytes() for path in command.checkpoints()}
    told = capfd.readouterr().err
    assert f"warning: the checkpoint of step 9 could not be saved in {command.out}/checkpoints/" in told
    assert "stopped at step 9 on SIGTERM: no checkpoint of this step" in told
    stop_at(None)
    assert command.run() == 0
    assert command.results() == undisturbed.results


def test_a_second_run_of_the_same_command_is_refused_and_disturbs_nothing(
    command: Command, capfd: pytest.CaptureFixture[str]
) -> None:
    endless = command.change(settings=SETTINGS | {"steps": 100_000})
    first = endless.start()
    while not endless.checkpoints():
        assert first.poll() is None, first.stderr and first.stderr.read()
        time.sleep(0.01)
    assert endless.run() == 1
    assert "error: another run is training with the checkpoints of" in capfd.readouterr().err
    assert first.poll() is None
    first.send_signal(signal.SIGINT)
    told = first.communicate(timeout=60)[1]
    assert first.returncode == 130, told
    assert f"stopped at step {max(endless.steps())} on SIGINT: checkpoint saved" in told


def test_the_undisturbed_run_has_gone_through_what_is_hard_to_resume(undisturbed: Ready) -> None:
    rows = undisturbed.results[-1].decode().splitlines()
    hard = [int(row.split("\t")[3]) for row in rows if "masking_global_pmi_steps" in row]
    assert 0 in hard and max(hard) > 0, "the curriculum has switched"
