"""Real processes and real locks: who may work on a results folder, and what is said of those who do."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from genebert import one_run
from genebert.cli import main
from genebert.errors import GenebertError

RUN = """
import sys, time
from genebert import one_run
with one_run.alone(sys.argv[1], queued=len(sys.argv) > 2):
    {inside}
    print(one_run.os.environ[one_run.RUN], flush=True)
    sys.stdin.read()
"""
JOB = """
import sys
from genebert import one_run
one_run.join()
print("joined", flush=True)
sys.stdin.read()
"""

Start = Callable[..., subprocess.Popen]


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_run, "SECONDS_FOR_THE_KILLED", 0.2)


@pytest.fixture(autouse=True)
def no_job_of_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SLURM")]:
        monkeypatch.delenv(name)


@pytest.fixture
def start() -> Iterator[Start]:
    """Return a function that starts a process, which lives until its stdin is closed."""
    processes = []

    def go(code: str, *arguments: object, run: str = "") -> subprocess.Popen:
        environment = os.environ | ({one_run.RUN: run} if run else {})
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield go
    for process in processes:
        process.kill()
        process.communicate(timeout=20)


def begin(start: Start, results: Path, *more: str, inside: str = "pass") -> tuple[subprocess.Popen, str]:
    """Start a run; return it and what its jobs are told of it."""
    process = start(RUN.format(inside=inside), results, *more)
    said = process.stdout.readline().strip()
    assert said, process.communicate(timeout=20)[1]
    return process, said


def refused(results: Path, queued: bool = False) -> str:
    with pytest.raises(GenebertError) as caught, one_run.alone(results, queued):
        pass
    return str(caught.value)


def as_if_elsewhere(results: Path, **facts: str) -> None:
    """Change what the lock file says of a killed run."""
    path = results / one_run.LOCK
    text = path.read_text()
    for key, value in facts.items():
        text = re.sub(rf'"{key}": "[^"]*"', f'"{key}": "{value}"', text)
    path.write_text(text)


def test_a_second_run_is_told_of_the_first(tmp_path: Path, start: Start) -> None:
    first, _ = begin(start, tmp_path)
    what, fix = refused(tmp_path).splitlines()
    assert f"another run works on {tmp_path}" in what
    assert f"process {first.pid} ({sys.executable}" in what
    assert fix.endswith(f"kill -INT {first.pid}")


def test_runs_of_two_folders_know_nothing_of_each_other(tmp_path: Path, start: Start) -> None:
    begin(start, tmp_path / "one")
    with one_run.alone(tmp_path / "two") as locked:
        assert locked


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, None])
def test_the_next_run_begins_however_the_one_before_ended(
    tmp_path: Path, start: Start, end: int | None
) -> None:
    first, _ = begin(start, tmp_path)
    if end:
        first.send_signal(end)
    first.communicate(timeout=20)
    assert bool((tmp_path / one_run.LOCK).read_text()) == (end is not None)
    with one_run.alone(tmp_path) as locked:
        assert locked
    assert not (tmp_path / one_run.LOCK).read_text()
    assert one_run.RUN not in os.environ


def test_a_job_that_outlives_its_run_keeps_the_next_one_from_starting(
    tmp_path: Path, start: Start
) -> None:
    first, run = begin(start, tmp_path)
    job = start(JOB, run=run)
    assert job.stdout is not None and job.stdout.readline() == "joined\n"
    first.kill()
    first.wait(timeout=20)
    what, fix = refused(tmp_path).splitlines()
    assert f"jobs of a run that has ended still work on {tmp_path}: process {job.pid} (" in what
    assert fix.endswith(f"kill {job.pid}")
    job.kill()
    with one_run.alone(tmp_path):
        pass


def test_a_job_that_starts_after_its_run_has_ended_does_nothing(
    tmp_path: Path, start: Start, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, of_killed = begin(start, tmp_path)
    first.kill()
    first.wait(timeout=20)
    _, of_next = begin(start, tmp_path)
    out = tmp_path / "checksums.tsv"
    arguments = ["checksums", "--files", "genome=no.fa", "--samples", "no.tsv", "--out", str(out)]

    def run_of(run: str) -> str:
        monkeypatch.setenv(one_run.RUN, run)
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        return f"{ended.value.code} {capsys.readouterr().err}"

    assert "1 error: the run that this job belongs to has ended" in run_of(of_killed)
    assert run_of(f"name {tmp_path}/gone").startswith("1 error: the run that this job belongs to")
    for malformed in ("x", "", f"name {tmp_path}"):
        assert run_of(malformed).startswith("1 error: the run that this job belongs to")
    assert not out.exists()
    assert "no.tsv" in run_of(of_next)
    one_run._joined.pop().close()


def test_a_run_of_another_machine_is_not_taken_for_dead(tmp_path: Path, start: Start) -> None:
    first, _ = begin(start, tmp_path)
    first.kill()
    first.wait(timeout=20)
    as_if_elsewhere(tmp_path, host="login2", boot="another")
    what, fix = refused(tmp_path).splitlines()
    assert "login2" in what and f"(process {first.pid})" in what
    assert f"rm {tmp_path / one_run.LOCK}" in fix
    assert "login2" in refused(tmp_path), "it stays refused"
    as_if_elsewhere(tmp_path, boot=one_run.Run().boot)
    with one_run.alone(tmp_path):
        pass  # another container of this machine


def killed_in_job(results: Path, start: Start, job: str) -> None:
    """Leave what a run leaves that was killed with its SLURM job on another node."""
    first, _ = begin(start, results)
    first.kill()
    first.wait(timeout=20)
    as_if_elsewhere(results, host="node7", boot="another", job=job)


def in_job(monkeypatch: pytest.MonkeyPatch, number: int, restarts: int = 0) -> None:
    names = {"CLUSTER_NAME": "bed", "JOB_ID": number, "RESTART_COUNT": restarts}
    for name, value in names.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    monkeypatch.setenv("SLURMD_NODENAME", "node8")


@pytest.fixture
def slurms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that says what squeue does, on the only cluster that there is: `bed`."""
    folder = tmp_path / "slurm"
    folder.mkdir()

    def write(squeue: str) -> None:
        config = "echo 'Configuration data'; echo 'ClusterName             = bed'"
        for name, does in {"squeue": squeue, "scontrol": config}.items():
            (folder / name).write_text(f"#!/bin/sh\n{does}\n")
            (folder / name).chmod(0o700)

    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return write


@pytest.mark.parametrize(
    ("squeue", "job", "ended"),
    [
        ("echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1", "bed {me} 7 0", True),
        ("", "bed {me} 7 0", True),
        ("echo NODE_FAIL", "bed {me} 7 0", True),
        ("echo SUSPENDED", "bed {me} 7 0", False),
        ("echo PENDING", "bed {me} 7 0", False),
        ("echo 'error: Unable to contact slurm controller' >&2; exit 1", "bed {me} 7 0", False),
        # Its number says nothing on another cluster, and others' jobs may be hidden.
        ("", "other {me} 7 0", False),
        ("", "bed 4242 7 0", False),
        ("", "", False),
    ],
)  # fmt: skip
def test_a_run_whose_slurm_job_has_ended_is_dead_wherever_it_was(
    tmp_path: Path, start: Start, slurms: Callable[[str], None], squeue: str, job: str, ended: bool
) -> None:
    slurms(squeue)
    killed_in_job(tmp_path, start, job.format(me=os.getuid()))
    if ended:
        with one_run.alone(tmp_path) as locked:
            assert locked
    else:
        said = refused(tmp_path)
        assert "node7" in said and ("of SLURM job 7)" in said) == bool(job)


def test_a_job_that_slurm_has_started_again_goes_on(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_in_job(tmp_path, start, f"bed {os.getuid()} 7 0")
    in_job(monkeypatch, 7)
    assert "of SLURM job 7)" in refused(tmp_path), "another node of the same job"
    in_job(monkeypatch, 7, restarts=1)
    with one_run.alone(tmp_path) as locked:
        assert locked
        assert f'"job": "bed {os.getuid()} 7 1"' in (tmp_path / one_run.LOCK).read_text()
    # A shell of salloc on a login node outlives its job.
    monkeypatch.delenv("SLURMD_NODENAME")
    assert one_run.Run().job == ""


def test_a_run_that_is_not_seen_from_here_is_told_of(tmp_path: Path, start: Start) -> None:
    begin(start, tmp_path)
    as_if_elsewhere(tmp_path, host="login2")
    what = refused(tmp_path).splitlines()[0]
    assert f"work on {tmp_path} where this process cannot see them; the last began on login2" in what


@pytest.mark.parametrize(
    "text",
    [
        b'{"name": "1',
        b"\xff\xfe",
        b"[]",
        b"1",
        b'{"name": "1", "host": "h", "boot": "b", "job": 5}',
        b'{"name": "1", "host": "h", "boot": "b", "job": "abc"}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_lock_file_is_of_a_killed_run(tmp_path: Path, text: bytes) -> None:
    (tmp_path / one_run.LOCK).write_bytes(text)
    with one_run.alone(tmp_path) as locked:
        assert locked


def test_of_two_runs_that_begin_at_the_same_moment_one_goes_on(tmp_path: Path, start: Start) -> None:
    inside = "(one_run.Path(sys.argv[1]) / f'at-{time.time_ns()}').touch(); time.sleep(0.5)"
    runs = [start(RUN.format(inside=inside), tmp_path) for _ in range(6)]
    begun = [bool(run.stdout and run.stdout.readline()) for run in runs]
    assert sum(begun) == 1
    assert len(list(tmp_path.glob("at-*"))) == 1
    for run, went_on in zip(runs, begun, strict=True):
        if not went_on:
            assert "GenebertError: " in run.communicate(timeout=20)[1]


def test_what_killed_processes_left_half_written_is_removed(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    left, others = tmp_path / "corpus/.part-0000.parquet.x1_2abcd.tmp", tmp_path / ".mine.tmp"
    left.touch()
    others.touch()
    with one_run.alone(tmp_path):
        assert not left.exists()
        assert others.exists()


def test_a_living_run_of_a_folder_inside_keeps_its_files(tmp_path: Path, start: Start) -> None:
    left = tmp_path / "corpus/.part-0000.parquet.x1_2abcd.tmp"
    left.parent.mkdir()
    left.touch()
    writing = (
        "from genebert.files import complete_or_absent; out = one_run.Path(sys.argv[1]) / 'a/b.txt'\n"
        "    with complete_or_absent(out) as half: print(half, flush=True); sys.stdin.read()"
    )
    inner, half = begin(start, tmp_path / "demo", inside=writing)
    with one_run.alone(tmp_path):
        assert not left.exists()
        assert Path(half).exists()
    _, said = inner.communicate(timeout=20)
    assert inner.returncode == 0, said
    assert (tmp_path / "demo/a/b.txt").exists()


def test_where_there_are_no_locks_snakemakes_own_must_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(one_run._NO_LOCKS[0], "no locks here")

    monkeypatch.setattr("fcntl.flock", unsupported)  # no file system without locks is at hand
    with one_run.alone(tmp_path) as locked:
        assert not locked
        assert one_run.RUN not in os.environ


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert str(tmp_path) in refused(tmp_path)


def test_a_folder_in_the_locks_place_is_named(tmp_path: Path) -> None:
    (tmp_path / one_run.LOCK).mkdir()
    assert f"{tmp_path / one_run.LOCK} cannot be written" in refused(tmp_path)


def test_a_file_in_the_folders_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "results").touch()
    assert str(tmp_path / "results") in refused(tmp_path / "results")


def test_a_queue_that_does_not_answer_keeps_runs_that_need_it_from_starting(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "squeue").write_text("#!/bin/sh\necho no controller >&2\nexit 1\n")
    (tmp_path / "squeue").chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    results = tmp_path / "results"
    assert "cannot be told: no controller\nfix: call again once `squeue --me` works" in refused(
        results, queued=True
    )
    with one_run.alone(results):
        pass  # neither this run nor the one before uses a queue


def test_jobs_of_this_folder_in_the_queue_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "results"
    lines = [
        f"7|PENDING|genebert-{one_run.tag(results)}_abc|rule_scan_motifs_wildcards_0001",
        f"8|RUNNING|genebert-{one_run.tag(results / 'demo')}_def|rule_pretrain",
        "9|RUNNING|mine|",
    ]
    squeue = tmp_path / "squeue"
    squeue.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in lines))
    squeue.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    what, fix = refused(results, queued=True).splitlines()
    assert what.endswith(f"run of {results}: 7 (pending: rule_scan_motifs_wildcards_0001)")
    assert fix.endswith(f"scancel --name=genebert-{one_run.tag(results)}_abc")
