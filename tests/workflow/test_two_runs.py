"""Snakemake killed with -9 and called again, beside its own orphans and beside another run.

And what is said before the first job of a run that would miss what it asks for.
"""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from genebert import one_run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
ROOT = Path(__file__).parents[2]
TARGET = "results/peaks/one.bed.gz"
Start = Callable[..., subprocess.Popen]
Finish = Callable[..., tuple[int, str]]


@pytest.fixture
def project(tmp_path: Path, small_project: Callable[..., Path]) -> Path:
    return small_project(tmp_path / "project")


def change(project: Path, **compute: int) -> None:
    """Change keys of `compute` in a project's configuration."""
    path = project / "config/config.yaml"
    config = yaml.safe_load(path.read_text())
    config["compute"] |= compute
    path.write_text(yaml.safe_dump(config))


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
    """Start a run and stop a job of it that has joined, so that both live as long as the test likes."""
    process = start_workflow(project, TARGET)
    try:
        deadline = time.monotonic() + 60
        while not (job := job_of(project)) or not (joined(job) and stopped(job)):
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.005)
        yield process, job
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def joined(job: int) -> bool:
    """Say whether a job holds the lock of its run; one that has just ended does not."""
    with contextlib.suppress(OSError):
        return any("/.run.lock" in str(link.readlink()) for link in Path(f"/proc/{job}/fd").iterdir())
    return False


def stopped(job: int) -> bool:
    """Stop a job; return False if it has ended first."""
    with contextlib.suppress(OSError):
        os.kill(job, signal.SIGSTOP)
        while (
            state := Path(f"/proc/{job}/stat").read_text().rpartition(")")[2].split()[0]
        ) not in "TZX":
            time.sleep(0.001)
        return state == "T"
    return False


def test_a_killed_run_goes_on_once_its_orphans_have_ended(
    project: Path, running: tuple[subprocess.Popen, int], run_workflow: Finish
) -> None:
    process, job = running
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


def test_a_run_dies_with_its_slurm_job(
    tmp_path: Path, slurm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PATH", "SLURM_CONF"):
        monkeypatch.setenv(name, slurm.environment[name])
    results = tmp_path / "results"
    head = "import sys, time\nfrom genebert import one_run\n"
    head += "with one_run.alone(sys.argv[1]): time.sleep(300)"
    command = [sys.executable, "-c", head, str(results)]
    submit = ["sbatch", "--parsable", f"--chdir={tmp_path}", "--mem=500"]
    submit += [f"--export=ALL,PYTHONPATH={ROOT}", f"--wrap={shlex.join(command)}"]
    number = slurm.call(*submit).strip()
    lock = results / one_run.LOCK
    try:
        wait_for(lambda: lock.exists() and bool(lock.read_text()))
        said = json.loads(lock.read_text())
        assert said["job"] == f"bed {os.getuid()} {number} 0"
        assert not one_run._has_ended(said["job"])
        slurm.call("scontrol", "suspend", number)
        assert not one_run._has_ended(said["job"])
        slurm.call("scontrol", "resume", number)
    finally:
        slurm.call("scancel", number)
    wait_for(lambda: slurm.job(number)["JobState"] == "CANCELLED" and number not in slurm.jobs())
    # As if its node were another machine: there is one here.
    lock.write_text(json.dumps(said | {"host": "node7", "boot": "another"}))
    with one_run.alone(results) as locked:
        assert locked
    assert one_run._has_ended(f"bed {os.getuid()} 999999 0"), "SLURM forgets jobs"


@pytest.mark.skipif(
    not (torch.version.cuda is None and torch.version.hip is None), reason="torch is built for GPUs"
)
def test_gpus_that_torch_cannot_use_stop_only_what_asks_for_them(
    project: Path, run_workflow: Finish
) -> None:
    change(project, gpus=2)
    code, said = run_workflow(project)
    assert code == 1
    assert "is built without CUDA, and compute.gpus is 2\nfix: install a CUDA build" in said
    assert "Traceback" not in said
    assert [path.name for path in (project / "results").rglob("*")] == [".run.lock"]
    assert run_workflow(project, "-n")[0] == 0
    code, said = run_workflow(project, "results/motifs/motifs.parquet")
    assert code == 0, said
    # It computes nothing.
    code, said = run_workflow(project, "--touch")
    assert code == 0, said


def test_several_nodes_without_slurm_are_missed_before_the_first_job(
    project: Path, run_workflow: Finish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    change(project, nodes=2)
    code, said = run_workflow(project)
    assert code == 1
    assert "2 nodes asked, and this is no SLURM job (compute.nodes)\nfix: run snakemake" in said
    assert "Traceback" not in said
    assert [path.name for path in (project / "results").rglob("*")] == [".run.lock"]


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--set-resources", "pretrian:mem_mb=5", "set-resources names rule 'pretrian', which is none"),
        ("--set-threads", "pretrian=2", "set-threads names rule 'pretrian', which is none"),
        ("--groups", "peeks=a", "groups names rule 'peeks', which is none"),
        ("--default-resources", "slurm_parition='gpu'", "resource 'slurm_parition' is set"),
        ("--set-resources", "pretrain:slurm_acount='me'", "resource 'slurm_acount' is set"),
    ],
)
def test_mistyped_names_of_a_profile_are_named_before_the_first_job(
    project: Path, run_workflow: Finish, option: str, value: str, said: str
) -> None:
    code, found = run_workflow(project, option, value)
    assert code == 1
    assert said in found and "\nfix: did you mean '" in found
    assert "Traceback" not in found
    assert [path.name for path in (project / "results").rglob("*")] == [".run.lock"]
