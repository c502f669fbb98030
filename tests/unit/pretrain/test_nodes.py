"""Several nodes for one pre-training, as far as one node without SLURM can tell."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from genebert.config import Compute, Model, Pretrain
from genebert.pretrain.nodes import Node, port_of, srun_command

# A launcher of one of two nodes: number, port, script of its worker.
LAUNCH = """
import sys
from genebert.errors import GenebertError
from genebert.pretrain.launch import exec_torchrun
from genebert.pretrain.nodes import Node
number, port, worker = sys.argv[1:]
try:
    exec_torchrun(1, [worker], Node(int(number), 2, "127.0.0.1", int(port), "7.0"))
except GenebertError as error:
    sys.exit(f"error: {error}")
"""
WORKER = """
import os, torch
from genebert.pretrain import parallel
with parallel.joined("cpu"):
    total = parallel.total(torch.tensor(1 + parallel.rank()))
    print(os.environ["LOCAL_RANK"], parallel.rank(), parallel.world(), int(total), flush=True)
"""


@pytest.fixture
def pretrain_on_two(refused: Callable[..., str], tmp_path: Path) -> Callable[[], str]:
    """Ask for two nodes where that must fail; return what is said."""
    arguments = [
        *("pretrain", "--corpus", tmp_path / "absent", "--variant", "multimodal", "--seed", 1),
        *("--model", Model().model_dump_json(), "--settings", Pretrain().model_dump_json()),
        *("--compute", Compute(gpus=0, nodes=2).model_dump_json()),
        *("--out", tmp_path / "model", "--history", tmp_path / "history.tsv"),
        *("--checkpoints", tmp_path / "checkpoints"),
    ]
    return lambda: refused(*arguments)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def launched(number: int, port: int, worker: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", LAUNCH, str(number), str(port), str(worker)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_workers_of_two_launchers_work_together(tmp_path: Path) -> None:
    """Each node numbers its own workers from 0; all of them have one number in common work."""
    worker = tmp_path / "worker.py"
    worker.write_text(WORKER)
    port = free_port()
    launchers = [launched(number, port, worker) for number in (1, 0)]
    try:
        heard = [launcher.communicate(timeout=60) for launcher in launchers]
    finally:
        for launcher in launchers:
            launcher.kill()
    assert [launcher.returncode for launcher in launchers] == [0, 0], heard
    assert [out for out, _ in heard] == ["0 1 2 3\n", "0 0 2 3\n"]


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        launcher = launched(0, port, tmp_path / "absent.py")
        try:
            _, heard = launcher.communicate(timeout=60)
        finally:
            launcher.kill()
    assert launcher.returncode == 1
    assert f"error: the nodes do not meet at port {port} of 127.0.0.1: " in heard
    assert "fix: run again" in heard
    assert "Traceback" not in heard


def test_srun_runs_the_command_once_on_each_node() -> None:
    command = srun_command(3, ["-m", "genebert", "pretrain"])
    assert command[:4] == ["srun", "--nodes=3", "--ntasks=3", "--ntasks-per-node=1"]
    assert "--kill-on-bad-exit=1" in command
    assert command[-4:] == [sys.executable, "-m", "genebert", "pretrain"]


def test_a_launcher_is_told_where_to_meet() -> None:
    options = Node(number=1, of=2, address="10.0.0.7", port=20_042, step="42.0").rendezvous()
    assert options == [
        *("--nnodes=2", "--node-rank=1", "--rdzv-backend=static"),
        *("--rdzv-endpoint=10.0.0.7:20042", "--rdzv-id=42.0"),
    ]


def test_jobs_in_a_row_and_steps_of_a_job_meet_at_ports_of_their_own() -> None:
    assert len({port_of(job, 0) for job in range(10_000, 20_000)}) == 10_000
    assert port_of(7, 0) != port_of(7, 1)
    ports = [port_of(job, step) for job in (1, 9_999, 4_000_000_000) for step in (0, 9)]
    assert all(20_000 <= port < 30_000 for port in ports)


def test_several_nodes_need_a_slurm_job(
    pretrain_on_two: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    said = pretrain_on_two()
    assert said.startswith("error: 2 nodes asked, and this is no SLURM job (compute.nodes)\nfix: ")
    assert "--workflow-profile workflow/profiles/slurm, or set `compute.nodes: 1`" in said


def test_several_nodes_need_the_commands_of_slurm(
    pretrain_on_two: Callable[[], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setenv("PATH", str(tmp_path))
    said = pretrain_on_two()
    assert "2 nodes asked, and SLURM's commands are not on PATH: srun, scontrol (compute.nodes)" in said
    assert "or set `compute.nodes: 1`" in said
