"""One run of a results folder at a time, told by a lock that ends with its holders, however they end.

Snakemake's own lock is a file that a killed run leaves behind. Here the run and each of its jobs hold a
shared ``flock`` on one file of the results folder, and a run begins only where it gets the exclusive
one: nobody is alive, nothing needs unlocking. The file says which run has the folder: jobs of an earlier
one that start late, from a queue, say, find another name there and end before they touch anything.

A run is here one call of Snakemake, with all its jobs; elsewhere it is a task, a model and a seed.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import IO

from genebert.errors import GenebertError, unwritable

# For jobs: the run they belong to, and its lock.
RUN = "GENEBERT_RUN"
LOCK = ".run.lock"
# What was just killed takes a moment to go.
SECONDS_FOR_THE_KILLED = 3.0
SECONDS_FOR_SQUEUE = 60.0
# States of SLURM's jobs that have no process any more.
_ENDED = {
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED"),
    *("NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT"),
}
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
_BOOT = Path("/proc/sys/kernel/random/boot_id")
# What genebert.files writes before it gets its name.
_UNFINISHED = re.compile(r"\..+\.[a-z0-9_]{8}\.tmp")

# Locks of the runs that this process is a job of.
_joined: list[IO[str]] = []


def _job() -> str:
    """Return the SLURM job with which this process ends: cluster, user, number, restarts; or nothing."""
    of = os.environ
    # A shell of `salloc` on a login node outlives its job; slurmd has not started it.
    if not {"SLURM_CLUSTER_NAME", "SLURM_JOB_ID", "SLURMD_NODENAME"} <= of.keys():
        return ""
    restarts = of.get("SLURM_RESTART_COUNT", "0")
    return f"{of['SLURM_CLUSTER_NAME']} {os.getuid()} {of['SLURM_JOB_ID']} {restarts}"


@dataclass(frozen=True)
class Run:
    """What the lock file says of the run that has the folder; without a name, there is none.

    Attributes
    ----------
    name
        Of its own, at random.
    boot
        The kernel that it runs on: containers of one machine differ in host, reboots in this.
    queued
        Whether it hands its jobs to a scheduler.
    job
        The SLURM job that it is part of itself, and ends with.
    """

    name: str = ""
    queued: bool = False
    job: str = field(default_factory=_job)
    host: str = field(default_factory=socket.gethostname)
    boot: str = field(default_factory=lambda: _BOOT.read_text().strip() if _BOOT.exists() else "")
    process: int = field(default_factory=os.getpid)
    began: str = field(default_factory=lambda: time.strftime("%Y-%m-%d %H:%M"))
    command: str = field(default_factory=lambda: shlex.join(sys.argv))


def tag(results: str | Path) -> str:
    """Return what the names of a results folder's jobs have in them in a queue, and no others'."""
    return hashlib.sha256(os.fsencode(Path(results).resolve())).hexdigest()[:12]


@contextlib.contextmanager
def alone(results: str | Path, queued: bool = False) -> Iterator[bool]:
    """Be the one run of a results folder, for the block.

    Since nobody else is at work there, it first removes what killed processes left half-written.

    Parameters
    ----------
    results
        The folder; made where it is missing.
    queued
        Whether the run hands its jobs to a scheduler. If so, or if a run that was killed did, SLURM is
        asked for jobs that are still in its queue.

    Yields
    ------
    bool
        False where the file system has no locks: then nothing is known of others.

    Raises
    ------
    GenebertError
        If another run or a job of one is alive, or if that cannot be told; if the folder is read-only.
    """
    path = Path(results).resolve() / LOCK
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path.parent, error) from None
    try:
        file = _opened(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise unwritable(path, error) from None
    with file:
        try:
            locked = _locked(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise unwritable(path, error) from None
            yield False
            return
        if not locked:
            raise _occupied(path, _read(file))
        run = _take_over(path, file, queued)
        os.environ[RUN] = f"{run.name} {path}"
        try:
            yield True
        finally:
            del os.environ[RUN]
            file.truncate(0)


def join() -> None:
    """Hold the lock of the run that this process is a job of until the process ends.

    Raises
    ------
    GenebertError
        If that run has ended: what this job would write belongs to the next run.
    """
    if RUN not in os.environ:
        return
    name, _, path = os.environ[RUN].partition(" ")
    over = GenebertError(
        "the run that this job belongs to has ended, or was killed",
        "none needed: nothing was touched, and the next run does the work of this job",
        path,
    )
    try:
        file = _opened(Path(path), os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise over from None
    try:
        locked = _locked(file, fcntl.LOCK_SH)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        locked = True
    if not locked or _read(file).name != name:
        file.close()
        raise over
    _joined.append(file)


def _opened(path: Path, flags: int) -> IO[str]:
    mode = "r" if flags == os.O_RDONLY else "r+"
    return os.fdopen(os.open(path, flags, 0o666), mode, encoding="utf-8")


def _locked(file: IO[str], kind: int) -> bool:
    """Lock a file; return False where another process has a lock that does not go away."""
    deadline = time.monotonic() + SECONDS_FOR_THE_KILLED
    while True:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        else:
            return True


def _take_over(path: Path, file: IO[str], queued: bool) -> Run:
    """Enter this run into the file that it has locked, and leave room for its jobs."""
    run, before = Run(uuid.uuid4().hex, queued), _read(file)
    elsewhere = before.name and before.host != run.host and before.boot != run.boot
    if elsewhere and not _has_ended(before.job):
        # Locks of some shared file systems hold on one machine only.
        job = f" of SLURM job {before.job.split()[2]}" if before.job else ""
        raise GenebertError(
            f"a run of {path.parent} that began on {before.host} at {before.began} (process "
            f"{before.process}{job}) was killed there, or is alive: this machine cannot tell",
            f"call snakemake on {before.host}; if that run is dead for certain, first `rm {path}` here",
        )
    if queued or before.queued:
        _stop_if_in_queue(path.parent)
    try:
        _remove_unfinished(path.parent)
        file.seek(0)
        file.truncate()
        file.write(json.dumps(asdict(run)))
        file.flush()
        os.fsync(file.fileno())
    except OSError as error:
        raise unwritable(path, error) from None
    # Between the two locks there is none (man 2 flock): the file says whether another run came first.
    if not _locked(file, fcntl.LOCK_SH) or _read(file) != run:
        raise _occupied(path, _read(file))
    return run


def _remove_unfinished(results: Path) -> None:
    """Remove what killed processes left half-written; results folders inside have runs of their own."""
    for folder, inside, names in os.walk(results):
        if LOCK in names and Path(folder) != results:
            inside.clear()
            continue
        for name in filter(_UNFINISHED.fullmatch, names):
            Path(folder, name).unlink(missing_ok=True)


def _read(file: IO[str]) -> Run:
    """Return what a lock file says; of a text that was cut off or altered, that there is a run."""
    file.seek(0)
    try:
        content = json.loads(file.read() or "{}")
        run = Run(**{item.name: content[item.name] for item in fields(Run) if item.name in content})
    except (ValueError, TypeError, RecursionError):
        return Run("unknown")
    sound = all(type(getattr(run, item.name)) is item.type for item in fields(Run))
    return run if sound and len(run.job.split()) in (0, 4) else Run("unknown")


def _occupied(path: Path, run: Run) -> GenebertError:
    """Return the error that names who holds the lock."""
    holders, here = _holders(path), run.host == socket.gethostname()
    if here and run.process in holders:
        return GenebertError(
            f"another run works on {path.parent} since {run.began}: process {run.process} "
            f"({_short(holders[run.process])})",
            f"wait until it has ended, or stop it: kill -INT {run.process}",
        )
    if here and run.queued:
        _stop_if_in_queue(path.parent)
    if here and holders:
        listed = ", ".join(f"process {number} ({_short(words)})" for number, words in holders.items())
        return GenebertError(
            f"jobs of a run that has ended still work on {path.parent}: {listed}",
            f"wait until they have ended, or end them: kill {' '.join(map(str, holders))}",
        )
    began = f"; the last began on {run.host} at {run.began} as process {run.process}" if run.name else ""
    return GenebertError(
        f"another run, or jobs of one, work on {path.parent} where this process cannot see them{began}",
        "look on the other machines that you use, and as its other users; wait until they have ended",
    )


def _holders(path: Path) -> dict[int, str]:
    """Return the commands of other processes of this machine that have a file open, by number."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is somebody else's
            if process.name != str(os.getpid()) and any(
                str(path) == str(link.readlink()) for link in (process / "fd").iterdir()
            ):
                words = (process / "cmdline").read_bytes().decode(errors="replace")
                found[int(process.name)] = words.replace("\0", " ").strip()
    return dict(sorted(found.items()))


def _short(command: str) -> str:
    return textwrap.shorten(command, 80, placeholder=" …")


def _has_ended(job: str) -> bool:
    """Return whether a SLURM job has ended for certain, and every process of it; False of no job."""
    if not job:
        return False
    cluster, user, number, restarts = job.split()
    own = _job().split()
    if own[:3] == [cluster, user, number]:
        # SLURM starts a job again once it has ended it.
        return own[3] != restarts
    # Another cluster has other jobs of these numbers; jobs of others may be hidden.
    if user != str(os.getuid()) or cluster != _cluster():
        return False
    code, said = _slurm("squeue", "--noheader", "--states=all", "--format=%T", f"--jobs={number}")
    return said.endswith("Invalid job id specified") if code else set(said.split()) <= _ENDED


def _cluster() -> str:
    """Return the name of the cluster whose commands there are; empty where there are none."""
    config = _slurm("scontrol", "show", "config")[1]
    named = re.search(r"^ClusterName\s*=\s*(\S+)", config, re.MULTILINE)
    return named[1] if named else ""


def _slurm(*command: str) -> tuple[int, str]:
    """Return how a command of SLURM ended and what it said, 1 and nothing where there is no answer."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS_FOR_SQUEUE, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return 1, ""
    return done.returncode, (done.stderr if done.returncode else done.stdout).strip()


def _stop_if_in_queue(results: Path) -> None:
    """Raise where SLURM has jobs of a results folder, or does not say."""
    if shutil.which("squeue") is None:
        return
    ask = ["squeue", "--me", "--noheader", "--format=%i|%T|%j|%k"]
    try:
        answer = subprocess.run(
            ask, capture_output=True, text=True, timeout=SECONDS_FOR_SQUEUE, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = " ".join((getattr(error, "stderr", None) or str(error)).split())
        raise GenebertError(
            f"whether jobs of an earlier run of {results} are in SLURM's queue cannot be told: {said}",
            f"call again once `{shlex.join(ask[:2])}` works here; if that cluster is gone for good, "
            f"first `rm {results / LOCK}`",
        ) from None
    jobs = [line.split("|", 3) for line in answer.stdout.splitlines()]
    jobs = [job for job in jobs if len(job) == 4 and tag(results) in job[2]]
    if jobs:
        listed = ", ".join(f"{number} ({state.lower()}: {what})" for number, state, _, what in jobs[:5])
        more = f" and {len(jobs) - 5} more" if len(jobs) > 5 else ""
        ends = " && ".join(sorted({f"scancel --name={name}" for _, _, name, _ in jobs}))
        raise GenebertError(
            f"SLURM has jobs of an earlier run of {results}: {listed}{more}",
            f"wait until they have ended, or end them: {ends}",
        )
