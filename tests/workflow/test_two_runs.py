"""Snakemake killed with -9 and called again, beside its own orphans and beside another run."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
TARGET = "results/peaks/one.bed.gz"
Start = Callable[..., subprocess.Popen]
Finish = Callable[..., tuple[int, str]]


@pytest.fixture
def project(tmp_path: Path, small_project: Callable[..., Path]) -> Path:
    return small_project(tmp_path / "project")


def job_of(folder: Path) -> int:
    """Return the first process of a job that there is in a project."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            if words[1:3] == [b"-m", b"genebert"] and (process / "cwd").samefile(folder):
                return int(process.name)
        except OSError:  # no process, or one that has ended
            continue
    return 0


@pytest.fixture
def running(project: Path, start_workflow: Start) -> Iterator[tuple[subprocess.Popen, int]]:
    """Start a run and stop its first job, so that both live for as long as the test likes."""
    process = start_workflow(project, TARGET)
    deadline = time.monotonic() + 60
    while not (project / "results/.run.lock").exists() or not (job := job_of(project)):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
        time.sleep(0.005)
    os.kill(job, signal.SIGSTOP)
    yield process, job
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def joined(job: int) -> bool:
    """Say whether a job holds the lock of its run."""
    return any("/.run.lock" in str(link.readlink()) for link in Path(f"/proc/{job}/fd").iterdir())


def test_a_killed_run_goes_on_once_its_orphans_have_ended(
    project: Path, running: tuple[subprocess.Popen, int], run_workflow: Finish
) -> None:
    process, job = running
    os.kill(job, signal.SIGCONT)
    wait_for(lambda: joined(job))
    os.kill(job, signal.SIGSTOP)
    process.kill()
    process.wait(timeout=60)

    code, said = run_workflow(project, TARGET)
    assert code == 1
    assert f"jobs of a run that has ended still work on {project}/results: process {job} (" in said
    assert f"fix: wait until they have ended, or end them: kill {job}\n" in said
    assert "Traceback" not in said and "Unlocking" not in said

    os.kill(job, signal.SIGCONT)
    wait_for(lambda: not job_of(project))
    code, said = run_workflow(project, TARGET)
    assert code == 0, said
    assert (project / TARGET).stat().st_size > 0


def test_two_runs_at_once(
    project: Path, running: tuple[subprocess.Popen, int], run_workflow: Finish
) -> None:
    process, job = running
    code, said = run_workflow(project)
    assert code == 1
    lines = [line for line in said.splitlines() if "another run" in line or line.startswith("fix")]
    assert lines[0].startswith(f"another run works on {project}/results since ")
    assert f": process {process.pid} (" in lines[0] and "snakemake" in lines[0]
    assert lines[1:] == [f"fix: wait until it has ended, or stop it: kill -INT {process.pid}"]
    assert "LockException" not in said and "Traceback" not in said
    # What writes nothing works beside it, as ever.
    for arguments in (["-n"], ["--lint"], ["--summary"]):
        said = run_workflow(project, *arguments)[1]
        assert "another run" not in said and "Error" not in said, said

    os.kill(job, signal.SIGCONT)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 0, said
    # In order: nothing is left, and `--touch` and `--unlock` work.
    assert (project / "results/.run.lock").read_text() == ""
    assert not list((project / ".snakemake/locks").glob("*"))
    for argument in ("--unlock", "--touch"):
        code, said = run_workflow(project, argument, TARGET)
        assert code == 0, said


def test_jobs_that_a_killed_run_left_in_slurms_queue(
    project: Path, slurm: Any, run_workflow: Finish
) -> None:
    command = [sys.executable, "-m", "snakemake", "--workflow-profile", "workflow/profiles/slurm"]
    command += ["--slurm-status-command", "squeue", TARGET]
    options: dict[str, Any] = {"cwd": project, "env": slurm.environment, "text": True}
    options |= {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    before = slurm.jobs("all").keys()
    slurm.call("scontrol", "update", "nodename=node[1-2]", "state=drain", "reason=test")
    try:
        killed = subprocess.Popen(command, **options)
        try:
            wait_for(lambda: bool(slurm.jobs("pending").keys() - before))
        finally:
            killed.kill()
            killed.communicate(timeout=60)
        (job,) = slurm.jobs("pending").keys() - before
        name = slurm.job(job)["JobName"]

        again = subprocess.run(command, timeout=120, check=False, **options)
        assert again.returncode == 1
        assert f"SLURM has jobs of an earlier run of {project}/results: {job} (pending: " in again.stdout
        assert f"fix: wait until they have ended, or end them: scancel --name={name}\n" in again.stdout
        assert "Traceback" not in again.stdout

        # Whoever does not listen is safe, too: the job finds that its run has ended.
        (project / "results/.run.lock").unlink()
        code, said = run_workflow(project, TARGET)
        assert code == 0, said
        written = (project / TARGET).stat().st_mtime_ns
    finally:
        slurm.call("scontrol", "update", "nodename=node[1-2]", "state=resume")
    wait_for(lambda: job not in slurm.jobs())
    assert slurm.job(job)["JobState"] == "FAILED"
    assert "belongs to has ended" in Path(slurm.job(job)["StdOut"]).read_text()
    assert (project / TARGET).stat().st_mtime_ns == written
