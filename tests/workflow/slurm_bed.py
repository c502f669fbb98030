"""A real SLURM on this machine: two nodes with two pretended GPUs each, in a folder of its own.

For tests, and for trying the workflow on a cluster before there is one::

    python tests/workflow/slurm_bed.py

Nothing outside the folder is read or written: its munge has its own key, all daemons listen on free
ports of 127.0.0.1, and all of them run as the user who calls, root or not. SLURM counts the memory and
cores declared here, whatever the machine has.
"""

import argparse
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

NODES = ("node1", "node2")
CPUS, MEMORY_MB, GPU_MODEL = 4, 16_000, "toy"
# SLURM wants a character device for each GPU, and makes no use of it.
GPU_DEVICES = ("/dev/null", "/dev/zero")
PROGRAMS = (
    "munged",
    "mungekey",
    "slurmctld",
    "slurmd",
    "sbatch",
    "srun",
    "squeue",
    "scontrol",
    "scancel",
    "sinfo",
    "setpriv",
)
MISSING = "slurm-wlm and munge are not installed: apt-get install slurm-wlm munge"
# Debian's daemons lie where the PATH of an ordinary user does not lead.
PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
SLURM_CONF = """\
ClusterName=bed
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmdParameters=config_overrides
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0,bf_interval=1,sched_interval=1
MpiDefault=none
MailProg=/bin/true
ReturnToService=2
SlurmdTimeout=20
KillWait=10
MinJobAge=7200
JobRequeue=0
AccountingStorageType=accounting_storage/none
GresTypes=gpu
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=14400 State=UP
"""
NODE = (
    "NodeName={name} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs={cpus} Boards=1"
    " SocketsPerBoard=1 CoresPerSocket={cpus} ThreadsPerCore=1 RealMemory={memory}"
    " Gres=gpu:{model}:{gpus}"
)
# Snakemake's job step removes SLURM_CONF before it calls srun, or a job that does itself.
SHIM = '#!/bin/sh\nSLURM_CONF={conf} exec {program} "$@"\n'


@dataclass(frozen=True)
class Bed:
    """A running SLURM: its folder, and the environment in which its commands find it."""

    folder: Path
    environment: dict[str, str]

    def call(self, *command: str, seconds: float = 30) -> str:
        """Run a SLURM command to its end and return what it said; raise if it fails."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=seconds, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{shlex.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def jobs(self, states: str = "pending,running,completing") -> dict[str, str]:
        """Return the comments (rule and wildcards) of jobs by their numbers."""
        said = self.call("squeue", "--noheader", f"--states={states}", "--format=%i %k")
        return dict(line.split(maxsplit=1) for line in said.splitlines() if line.strip())

    def job(self, number: str) -> dict[str, str]:
        """Return what SLURM records of a job by its names for it (JobState, TRES, …)."""
        words = self.call("scontrol", "--oneliner", "show", "job", number).split()
        return dict(word.split("=", 1) for word in words if "=" in word)


def reason_unavailable() -> str | None:
    """Return why no bed can be made on this machine, or None where one can."""
    if not sys.platform.startswith("linux"):
        return "SLURM runs on Linux"
    return MISSING if any(shutil.which(name, path=PATH) is None for name in PROGRAMS) else None


@contextmanager
def slurm_bed(folder: Path | None = None) -> Iterator[Bed]:
    """Start SLURM, and end all of it with the block, also when starting fails half-way.

    Parameters
    ----------
    folder
        An empty folder for everything it writes, short enough for the name of a socket (100 characters);
        by default a temporary one, which is removed.

    Raises
    ------
    RuntimeError
        Where a part does not start; with the end of its log.
    """
    with ExitStack() as stack:
        if folder is None:
            made = tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True)
            folder = Path(stack.enter_context(made))
        bed = _written(folder.resolve())
        stack.callback(_end_jobs, bed)
        daemons = [_start_munge(stack, bed), _start(stack, bed, "slurmctld", "-D", "-i")]
        daemons += [_start(stack, bed, "slurmd", "-D", "-N", node) for node in NODES]
        # Jobs end first, while there is somebody to end them.
        stack.callback(_cancel_all, bed)
        _wait(lambda: _idle(bed), 30, bed, daemons)
        yield bed


def _written(folder: Path) -> Bed:
    """Write the configuration; return the bed that it describes."""
    conf, shims = folder / "slurm.conf", folder / "bin"
    for name in ("state", "bin", *(f"spool.{node}" for node in NODES)):
        (folder / name).mkdir(parents=True)
    ports = _free_ports(1 + len(NODES))
    facts = {"cpus": CPUS, "memory": MEMORY_MB, "model": GPU_MODEL, "gpus": len(GPU_DEVICES)}
    nodes = [
        NODE.format(name=name, port=port, **facts) for name, port in zip(NODES, ports[1:], strict=True)
    ]
    text = SLURM_CONF.format(
        folder=folder, controller_port=ports[0], user=os.getuid(), nodes="\n".join(nodes)
    )
    conf.write_text(text)
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
    gpus = [f"NodeName={n} Name=gpu Type={GPU_MODEL} File={d}" for n in NODES for d in GPU_DEVICES]
    (folder / "gres.conf").write_text("\n".join(["AutoDetect=off", *gpus, ""]))
    for name in ("srun", "scontrol"):
        (shims / name).write_text(SHIM.format(conf=conf, program=shutil.which(name, path=PATH)))
        (shims / name).chmod(0o755)
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SBATCH_", "SRUN_"))}
    path = os.pathsep.join([str(shims), PATH])
    return Bed(folder, {**inherited, "SLURM_CONF": str(conf), "PATH": path})


def _start_munge(stack: ExitStack, bed: Bed) -> subprocess.Popen[bytes]:
    """Start a munge with a key of its own and wait until it answers."""
    folder, key = bed.folder, bed.folder / "munge.key"
    bed.call("mungekey", "--create", f"--keyfile={key}")
    files = {"socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    places = [f"--{option}={folder}/munge.{name}" for option, name in files.items()]
    # --force: it warns, and does not refuse, where others may not enter the folder above.
    options = ("--foreground", "--force", f"--key-file={key}", "--num-threads=2")
    munge = _start(stack, bed, "munged", *options, *places)
    _wait((folder / "munge.socket").exists, 10, bed, [munge])
    return munge


def _start(stack: ExitStack, bed: Bed, *command: str) -> subprocess.Popen[bytes]:
    """Start a daemon in the foreground, which ends with the stack."""
    with (bed.folder / f"{command[0]}{len(list(bed.folder.glob('*.out')))}.out").open("wb") as log:
        process = subprocess.Popen(
            # With this process it ends in any case, killed or not.
            ["setpriv", "--pdeathsig", "TERM", "--", *command],
            env=bed.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    stack.callback(_end, process)
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a daemon and wait until it has."""
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _cancel_all(bed: Bed) -> None:
    """Cancel all jobs and give SLURM some seconds to end them."""
    try:
        bed.call("scancel", "--state=pending")
        bed.call("scancel", "--state=running", "--signal=KILL", "--full")
        _wait(lambda: not bed.jobs(), 15, bed)
    except (RuntimeError, subprocess.TimeoutExpired):
        pass  # What SLURM does not end, `_end_jobs` does.


def _end_jobs(bed: Bed) -> None:
    """Kill what is left of this bed's jobs: processes that carry its name and a job's number."""
    mine = f"SLURM_CONF={bed.environment['SLURM_CONF']}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "environ").read_bytes().split(b"\0")
            step = (process / "comm").read_text().startswith("slurmstepd")
            if mine in words and (step or any(word.startswith(b"SLURM_JOB_ID=") for word in words)):
                os.kill(int(process.name), signal.SIGKILL)
        except OSError:
            continue  # It has ended, or is somebody else's.


def _idle(bed: Bed) -> bool:
    """Return whether all nodes wait for jobs."""
    try:
        said = bed.call("sinfo", "--noheader", "--Node", "--format=%t", seconds=5)
    except (RuntimeError, subprocess.TimeoutExpired):
        return False
    return said.split() == ["idle"] * len(NODES)


def _wait(
    done: Callable[[], bool], seconds: float, bed: Bed, daemons: Sequence[subprocess.Popen[bytes]] = ()
) -> None:
    """Wait until something is so; raise if it never is, or if a daemon has ended."""
    deadline = time.monotonic() + seconds
    while not done():
        if any(daemon.poll() is not None for daemon in daemons) or time.monotonic() > deadline:
            texts = [(path.name, path.read_text(errors="replace")) for path in bed.folder.glob("*.out")]
            ends = [f"{name}: {text[-1000:].strip()}" for name, text in sorted(texts)]
            raise RuntimeError(
                "\n".join(["SLURM did not start, or stop; its daemons said last:", *ends])
            )
        time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def main(arguments: Sequence[str] | None = None) -> int:
    """Start a bed, say how to use it, and wait for Ctrl-C or SIGTERM."""
    summary = "Start a SLURM with two nodes on this machine, for trying; Ctrl-C ends it."
    argparse.ArgumentParser(description=summary).parse_args(arguments)
    reason = reason_unavailable()
    if reason:
        print(f"no SLURM here: {reason}", file=sys.stderr)
        return 1
    # As Ctrl-C: what was started is ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _serve()
    except KeyboardInterrupt:
        return 0
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _serve() -> None:
    """Keep a bed up until interrupted."""
    with slurm_bed() as bed:
        print("SLURM is up: two nodes with two pretended GPUs each. In another shell:\n")
        print(f"    export SLURM_CONF={bed.environment['SLURM_CONF']}")
        print(f'    export PATH={bed.folder}/bin:"$PATH":/usr/sbin')
        print(
            "    snakemake --workflow-profile workflow/profiles/slurm --configfile config/demo.yaml \\\n"
            "        --slurm-status-command squeue --slurm-init-seconds-before-status-checks 6\n\n"
            "Ctrl-C ends it and all its jobs.",
            flush=True,
        )
        signal.pause()


if __name__ == "__main__":
    sys.exit(main())
