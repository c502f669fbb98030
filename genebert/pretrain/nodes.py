"""Several nodes for one pre-training: SLURM starts a launcher on each of the job's nodes.

The command calls ``srun``, which runs the same command once on every node; there each becomes the
``torchrun`` of its workers. ``srun`` ends all of them as soon as one fails, for NCCL would wait. SIGTERM
that SLURM sends (scancel, time limit) reaches the processes of all nodes.

The rendezvous is static, for SLURM knows who takes part: each launcher has its number, and the first
one listens. Where nodes find each other by themselves (torchrun's ``c10d``), the one that listens is
told by its host name, which need not resolve on the others.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from genebert.errors import GenebertError

# Set for what srun starts: the job's number.
_STARTED = "GENEBERT_NODES_OF_JOB"
# Below those that Linux gives to outgoing connections.
_FIRST_PORT, _PORTS = 20_000, 10_000
_SECONDS_FOR_SLURM = 60.0
_ONE_NODE = "set `compute.nodes: 1`"


@dataclass(frozen=True)
class Node:
    """One of several nodes that train together, and where they meet.

    Parameters
    ----------
    number, of
        Which of how many, from 0.
    address, port
        Where the first one listens.
    step
        Name of the common work: ``<job>.<step>`` of SLURM.
    """

    number: int
    of: int
    address: str
    port: int
    step: str

    def rendezvous(self) -> list[str]:
        """Return the options of ``torchrun``."""
        return [
            f"--nnodes={self.of}",
            f"--node-rank={self.number}",
            "--rdzv-backend=static",
            f"--rdzv-endpoint={self.address}:{self.port}",
            f"--rdzv-id={self.step}",
        ]


def spread(nodes: int, arguments: Sequence[str]) -> Node | None:
    """Take part in a pre-training on so many nodes; start it on them first, unless that is done.

    Parameters
    ----------
    nodes
        Nodes; on one there is nothing to do.
    arguments
        What Python runs on each: ``["-m", "genebert", "pretrain", ...]``.

    Returns
    -------
    This node; None where it is the only one. Where no node has been started, this process becomes
    the ``srun`` that starts them, and does not return.

    Raises
    ------
    GenebertError
        If this is no SLURM job, or one of fewer nodes, or SLURM does not answer.
    """
    if nodes == 1:
        return None
    job = slurm_job(nodes)
    if os.environ.get(_STARTED) == job:
        return _this_node(os.environ)
    _exec_srun(nodes, job, arguments)


def slurm_job(nodes: int) -> str:
    """Return the number of the SLURM job that this process is part of.

    Raises
    ------
    GenebertError
        If it is part of none: there are no nodes but this one.
    """
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        raise GenebertError(
            f"{nodes} nodes asked, and this is no SLURM job",
            f"run snakemake with --workflow-profile workflow/profiles/slurm, or {_ONE_NODE}",
            "compute.nodes",
        )
    return job


def srun_command(nodes: int, arguments: Sequence[str]) -> list[str]:
    """Return the command that runs Python once on each of so many nodes, and ends all with the first.

    Each has all CPUs, memory and GPUs that the job has there.
    """
    return [
        "srun",
        f"--nodes={nodes}",
        f"--ntasks={nodes}",
        "--ntasks-per-node=1",
        "--mpi=none",
        "--cpu-bind=none",
        "--export=ALL",
        "--input=none",
        "--kill-on-bad-exit=1",
        "--quit-on-interrupt",
        sys.executable,
        *arguments,
    ]


def port_of(job: int, step: int) -> int:
    """Return the port of a job's step: jobs that follow one another have different ones."""
    return _FIRST_PORT + (job + step) % _PORTS


def _exec_srun(nodes: int, job: str, arguments: Sequence[str]) -> NoReturn:
    if missing := [name for name in ("srun", "scontrol") if shutil.which(name) is None]:
        raise GenebertError(
            f"{nodes} nodes asked, and SLURM's commands are not on PATH: {', '.join(missing)}",
            f"make them available to jobs (`module load slurm`?), or {_ONE_NODE}",
            "compute.nodes",
        )
    allocated = int(_field("NumNodes", _ask("show", "job", job)).partition("-")[0])
    if allocated < nodes:
        raise GenebertError(
            f"{nodes} nodes asked, and SLURM job {job} has {allocated}",
            f"ask for --nodes={nodes} as the workflow does, or set `compute.nodes: {allocated}`",
            "compute.nodes",
        )
    os.environ[_STARTED] = job
    os.execvp("srun", srun_command(nodes, arguments))


def _this_node(environment: Mapping[str, str]) -> Node:
    """Return the node that SLURM describes to a task of a step."""
    job, step = environment["SLURM_JOB_ID"], environment["SLURM_STEP_ID"]
    # Names of nodes are SLURM's own, and need not resolve: addresses are what its daemons use.
    first = _ask("show", "hostnames", environment["SLURM_STEP_NODELIST"]).split()[0]
    return Node(
        number=int(environment["SLURM_NODEID"]),
        of=int(environment["SLURM_STEP_NUM_NODES"]),
        address=_field("NodeAddr", _ask("show", "node", first)),
        port=port_of(int(job), int(step)),
        step=f"{job}.{step}",
    )


def _field(name: str, shown: str) -> str:
    """Return a value of what ``scontrol show`` has shown: words ``name=value``."""
    return next(word for word in shown.split() if word.startswith(f"{name}=")).partition("=")[2]


def _ask(*question: str) -> str:
    """Return what ``scontrol`` answers."""
    command = ["scontrol", "--oneliner", *question]
    what = f"SLURM does not answer `{' '.join(command)}`"
    fix = "run it yourself inside a job; the cluster's administrators can tell why it fails"
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_SECONDS_FOR_SLURM
        )
    except subprocess.TimeoutExpired:
        raise GenebertError(f"{what} within {_SECONDS_FOR_SLURM:.0f} s", fix) from None
    if done.returncode:
        raise GenebertError(f"{what}: {' '.join(done.stderr.split())}", fix)
    return done.stdout
