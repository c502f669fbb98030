"""Pre-training over two pretended nodes of a real SLURM, through Snakemake and the shipped profile."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file

SEED = "results/pretrain/everything/seed1"
HISTORY, MODEL = f"{SEED}/history.tsv", f"{SEED}/model/model.safetensors"
LOG = "results/logs/pretrain/everything.seed1.log"
# Of weights, as where two processes of one machine are compared with one.
TOLERANCE = 5e-5
# What differs from a cluster: no accounting, and nobody wants to wait.
PROFILE = (
    *("--workflow-profile", "workflow/profiles/slurm", "--retries", "0", "--latency-wait", "5"),
    *("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "14"),
)


@pytest.fixture
def project(finished_project: Path, tmp_path: Path) -> Path:
    """A finished project that shall train on two nodes now, and has lost its network."""
    folder = tmp_path / "project"
    shutil.copytree(finished_project, folder, symlinks=True)
    ask(folder, nodes=2)
    shutil.rmtree(folder / SEED)
    return folder


def ask(folder: Path, **changes: Any) -> None:
    """Change the section `compute` of a project."""
    path = folder / "config/config.yaml"
    config = yaml.safe_load(path.read_text())
    config["compute"] |= changes
    path.write_text(yaml.safe_dump(config))


class Line:
    """Snakemake under way, whose jobs SLURM runs."""

    def __init__(self, folder: Path, slurm: Any, *arguments: str) -> None:
        self._folder, self._slurm = folder, slurm
        # Both nodes are this machine.
        environment = slurm.environment | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
        self._snakemake = subprocess.Popen(
            [sys.executable, "-m", "snakemake", *PROFILE, *arguments, "--", HISTORY],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *_: object) -> None:
        if self._snakemake.poll() is None:
            self._snakemake.send_signal(signal.SIGINT)
            self._snakemake.communicate(timeout=60)

    def ended(self) -> tuple[int, str, str]:
        """Wait for the end; return the exit code, what Snakemake said and the job's log."""
        said, _ = self._snakemake.communicate(timeout=150)
        log = self._folder / LOG
        return self._snakemake.returncode, said, log.read_text() if log.exists() else said

    def job(self) -> dict[str, str]:
        """Return what SLURM records of the running job."""
        (number,) = until(lambda: self._slurm.jobs("running"))
        return self._slurm.job(number)

    def at_step(self, step: int) -> None:
        """Wait for a checkpoint of a step or a later one."""
        checkpoints = self._folder / SEED / "checkpoints"
        until(lambda: any(newest >= step for newest in steps(checkpoints)))

    def worker(self, rank: int) -> int:
        """Return the process number of a worker of this bed."""
        mine = {f"SLURM_CONF={self._slurm.environment['SLURM_CONF']}".encode(), b"RANK=%d" % rank}
        (found,) = (pid for pid, words in environments() if mine <= words)
        return found


def steps(checkpoints: Path) -> Iterator[int]:
    for path in checkpoints.glob("*/step-*"):
        yield int(path.name.split(".")[0].removeprefix("step-"))


def environments() -> Iterator[tuple[int, set[bytes]]]:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            yield int(process.name), set((process / "environ").read_bytes().split(b"\0"))
        except OSError:
            continue  # It has ended, or is somebody else's.


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 90
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def apart(folder: Path, other: Path) -> float:
    """Return the largest difference between two weights of two projects."""
    first, second = load_file(folder / MODEL), load_file(other / MODEL)
    assert first.keys() == second.keys()
    return max(float((first[name] - second[name]).abs().max()) for name in first)


def test_two_nodes_give_what_one_process_gives(
    project: Path, finished_project: Path, slurm: Any
) -> None:
    with Line(project, slurm) as line:
        job = line.job()
        code, said, log = line.ended()
    assert code == 0, said + log
    assert (job["NumNodes"], job["NodeList"], job["NumTasks"]) == ("2", "node[1-2]", "2")
    provenance = json.loads((project / SEED / "model/provenance.json").read_text())
    assert provenance["processes"] == 2
    assert log.count("held out, step 40") == 1
    assert apart(project, finished_project) < TOLERANCE
    # Where it is trained is no setting of the result: nothing else was run again, or would be.
    assert (
        "Job stats:\njob         count\n--------  -------\npretrain        1\ntotal           1\n"
        in said
    )


def test_fewer_nodes_than_asked_are_named(tmp_path: Path, slurm: Any) -> None:
    done = subprocess.run(
        [
            *("srun", "--nodes=1", sys.executable, "-m", "genebert", "pretrain"),
            *("--corpus", "absent", "--variant", "everything", "--seed", "1", "--model", "{}"),
            *("--settings", json.dumps({"variants": {"everything": {"matching": 1}}})),
            *("--compute", json.dumps({"gpus": 0, "nodes": 2})),
            *("--out", "absent", "--history", "absent", "--checkpoints", "absent"),
        ],
        cwd=tmp_path,
        env=slurm.environment | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    # srun tells of the exit code, between the two lines or after them.
    own = re.sub(r"(?m)^srun: .*\n", "", done.stderr)
    said = re.sub(r"job \d+ ", "job N ", own)
    assert "error: 2 nodes asked, and SLURM job N has 1 (compute.nodes)\nfix: ask for --nodes=2" in said
    assert "Traceback" not in said


@pytest.mark.long
def test_killed_and_cancelled_nodes_go_on_to_the_same_result(
    project: Path, finished_project: Path, slurm: Any
) -> None:
    with Line(project, slurm) as line:
        line.at_step(3)
        os.kill(line.worker(1), signal.SIGKILL)
        code, said, log = line.ended()
    assert code != 0, said
    assert log.count("error: worker 1 on node 2 of 2 was killed by SIGKILL\nfix: ") == 1, log
    assert log.count("\nfix: ") == 1, log
    assert not slurm.jobs()
    before = max(steps(project / SEED / "checkpoints"))

    # What is saved now is saved because of SIGTERM. (It says so to srun, which scancel may end first.)
    ask(project, checkpoint_minutes=1000)
    with Line(project, slurm) as line:
        until(lambda: f"going on from step {before}\n" in (project / LOG).read_text())
        time.sleep(0.5)
        slurm.call("scancel", line.job()["JobId"])
        code, said, log = line.ended()
    assert code != 0, said
    stopped = max(steps(project / SEED / "checkpoints"))
    assert stopped > before, log
    assert "fix: " not in log, log
    assert not (project / MODEL).exists()

    with Line(project, slurm) as line:
        code, said, log = line.ended()
    assert code == 0, said + log
    assert log.count(f"going on from step {stopped}\n") == 1, log
    assert apart(project, finished_project) < TOLERANCE
    assert not (project / SEED / "checkpoints").exists()


@pytest.mark.long
def test_each_node_is_asked_for_its_gpus(project: Path, slurm: Any) -> None:
    """SLURM hands out the bed's pretended GPUs, and one node says why it cannot go on."""
    ask(project, gpus=1)
    # More than the nodes of the bed have is what a host of a GPU is asked for. Where rules may have
    # environments of their own, it is not known at the start that torch is built for the CPU.
    own = ("--sdm", "env-modules")
    with Line(project, slurm, *own, "--set-resources", "pretrain:mem_mb=1000") as line:
        job = line.job()
        code, said, log = line.ended()
    assert code != 0, said
    assert (job["NumNodes"], job["NumTasks"], job["CPUs/Task"]) == ("2", "2", "1")
    assert job["TresPerNode"] == "gres:gpu:1"
    assert log.count("error: nvidia-smi cannot be run") == 1, log
    assert not slurm.jobs()


def test_a_gpu_model_is_asked_for_on_each_node(
    project: Path, run_workflow: Callable[..., tuple[int, str]]
) -> None:
    ask(project, gpus=2)
    code, said = run_workflow(project, "-n", "--set-resources", "pretrain:gpu_model=toy")
    assert code == 1
    assert "fix: write `pretrain: {gres: gpu:MODEL:2}` instead" in said
