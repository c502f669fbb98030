"""The workflow on SLURM through the shipped profile: real daemons, two nodes, pretended GPUs."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
# Without its database, SLURM tells the state of jobs through squeue only, and jobs here take seconds.
OVERRIDDEN = ("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "7")
SEED = "results/pretrain/everything/seed1"
WEIGHTS = f"{SEED}/model/model.safetensors"
LOG = "results/logs/pretrain/everything.seed1.log"
UNTRAINED = "results/pretrain/scratch/seed1/model/model.safetensors"
TRAINED = (WEIGHTS, f"{SEED}/history.tsv")
TRAINING = "rule_pretrain_wildcards_everything_1"


def start(bed: Any, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start Snakemake with the shipped profile at the head of a process group of its own."""
    profile = ["--workflow-profile", "workflow/profiles/slurm", *OVERRIDDEN]
    return subprocess.Popen(
        [sys.executable, "-m", "snakemake", *profile, *arguments],
        cwd=folder,
        env=bed.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str], seconds: float) -> tuple[int, str]:
    """Wait for Snakemake; interrupt it, which cancels its jobs, when it takes too long."""
    try:
        said, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
        pytest.fail(f"not done after {seconds} s:\n{said}")
    return process.returncode, said


@contextmanager
def running(bed: Any, folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Have Snakemake run for the block; end it and its jobs if it still runs after that."""
    process = start(bed, folder, *arguments)
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        for number in bed.jobs():
            bed.call("scancel", number)


def run(bed: Any, folder: Path, *arguments: str, seconds: float = 300) -> tuple[int, str]:
    """Run Snakemake on SLURM to its end; return its exit code and all it said."""
    with running(bed, folder, *arguments) as process:
        return finish(process, seconds)


def wait_for_job(bed: Any, comment: str, seconds: float = 240) -> str:
    """Return the number of the running job of a rule and its wildcards."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = [n for n, said in bed.jobs("running").items() if said == comment]
        if found:
            return found[0]
        time.sleep(0.2)
    pytest.fail(f"no job of {comment} ran within {seconds} s: {bed.jobs('all')}")


def new_jobs(bed: Any, before: dict[str, str]) -> dict[str, dict[str, str]]:
    """Return what SLURM records of the jobs since, by number, the first first."""
    numbers = sorted(bed.jobs("all").keys() - before, key=int)
    return {number: bed.job(number) for number in numbers}


def test_a_short_line_runs_on_slurm_with_a_gpu_and_through_a_cancelled_job(
    slurm: Any, finished_project: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "project"
    shutil.copytree(finished_project, folder, symlinks=True)
    config = yaml.safe_load((folder / "config/config.yaml").read_text())
    config["compute"]["gpus"] = 1
    (folder / "config/config.yaml").write_text(yaml.safe_dump(config))
    made = ("results/corpus/manifest.json", "results/corpus/npmi.parquet", UNTRAINED)
    for name in made:
        shutil.rmtree((folder / name).parent, ignore_errors=True)
    before = slurm.jobs("all")
    with running(slurm, folder, *made) as snakemake:
        cancelled = wait_for_job(slurm, "rule_npmi")
        slurm.call("scancel", cancelled)
        code, said = finish(snakemake, 300)
    assert code == 0, said
    for name in made:
        assert (folder / name).read_bytes() == (finished_project / name).read_bytes()
    jobs = new_jobs(slurm, before)
    # The cancelled job is named, and submitted again with more memory.
    assert f"SLURM-job '{cancelled}' failed, SLURM status is: 'CANCELLED'" in said
    states = [job["JobState"] for job in jobs.values()]
    assert sorted(states) == ["CANCELLED"] + ["COMPLETED"] * 4
    completed = {job["Comment"]: job for job in jobs.values() if job["JobState"] == "COMPLETED"}
    assert memory(completed["rule_npmi"]) > memory(jobs[cancelled])
    # Two chunks that are scanned, and the parts of the corpus they become, shared one job.
    assert completed["rule_parts_corpus_scan_motifs"]["NumCPUs"] == "2"
    # Rule and wildcards are named, and one job has a GPU, of which SLURM tells it.
    asked = {job["Comment"]: job["TresPerJob"] for job in jobs.values() if "TresPerJob" in job}
    assert asked == {"rule_pretrain_wildcards_scratch_1": "gres:gpu:1"}
    # Pretended, so that the network is computed on the CPU, which is said.
    assert "device: CPU" in (folder / "results/logs/pretrain/scratch.seed1.log").read_text()


def memory(job: dict[str, str]) -> float:
    """Return the memory that a job asked for in MB."""
    text = job["MinMemoryNode"]
    return float(text[:-1]) * {"M": 1, "G": 1024}[text[-1]]


def start_bed(**environment: str) -> subprocess.Popen[str]:
    """Start another bed as a person does."""
    return subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("slurm_bed.py"))],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def processes_of(folder: Path) -> list[str]:
    """Return the commands of processes that know a bed by its folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.fsencode(folder) in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text())
        except OSError:
            continue
    return found


def test_a_bed_that_is_ended_leaves_nothing(slurm: Any) -> None:
    process = start_bed()
    assert process.stdout is not None
    said = iter(process.stdout.readline, "")
    conf = next(line.split("=")[1].strip() for line in said if "SLURM_CONF=" in line)
    folder = Path(conf).parent
    assert folder != slurm.folder
    job = ["sbatch", "--chdir=/", "--output=/dev/null", "--wrap=trap true TERM; sleep 600; sleep 600"]
    subprocess.run(job, env=slurm.environment | {"SLURM_CONF": conf}, check=True, timeout=30)
    wait_until(lambda: any("sleep" in command for command in processes_of(folder)))
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert processes_of(folder) == []
    assert not folder.exists()


def test_a_bed_that_does_not_start_says_why_and_leaves_nothing(slurm: Any, tmp_path: Path) -> None:
    broken = tmp_path / "slurmd"
    broken.write_text("#!/bin/sh\necho it is broken\nexit 1\n")
    broken.chmod(0o755)
    process = start_bed(PATH=f"{tmp_path}:{os.environ['PATH']}", TMPDIR=str(tmp_path))
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "it is broken" in said and "Traceback" not in said
    assert list(tmp_path.iterdir()) == [broken]
    assert processes_of(tmp_path / "slurm-") == []


@pytest.fixture
def cut_off(finished_project: Path, tmp_path: Path) -> Path:
    """Return a copy of a finished project in which one pre-training is still to be done."""
    folder = tmp_path / "project"
    shutil.copytree(finished_project, folder, symlinks=True)
    shutil.rmtree(folder / SEED)
    return folder


def trained(folder: Path) -> list[bytes]:
    """Return the bytes of what the pre-training made."""
    return [(folder / name).read_bytes() for name in TRAINED]


def cancel(bed: Any, number: str) -> None:
    bed.call("scancel", number)


def exceed_time(bed: Any, number: str) -> None:
    bed.call("scontrol", "update", f"JobId={number}", "EndTime=now+1")


def lose_node(bed: Any, number: str) -> None:
    node = bed.job(number)["NodeList"]
    bed.call("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    wait_until(lambda: bed.job(number)["JobState"] == "NODE_FAIL")
    bed.call("scontrol", "update", f"nodename={node}", "state=resume")


FAULTS: dict[str, Callable[[Any, str], None]] = {
    "CANCELLED": cancel,
    "TIMEOUT": exceed_time,
    "NODE_FAIL": lose_node,
}


@pytest.mark.long
@pytest.mark.parametrize("state", FAULTS)
def test_a_job_that_slurm_ends_is_submitted_again(
    state: str, slurm: Any, cut_off: Path, finished_project: Path
) -> None:
    before = slurm.jobs("all")
    with running(slurm, cut_off, WEIGHTS) as snakemake:
        ended = wait_for_job(slurm, TRAINING)
        wait_for_checkpoint(cut_off)
        FAULTS[state](slurm, ended)
        code, said = finish(snakemake, 300)
    assert code == 0, said
    jobs = new_jobs(slurm, before)
    assert jobs.pop(ended)["JobState"] == state
    assert [job["JobState"] for job in jobs.values()] == ["COMPLETED"]
    assert trained(cut_off) == trained(finished_project)


def wait_until(done: Callable[[], Any], seconds: float = 60) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.1)


def wait_for_checkpoint(folder: Path) -> None:
    """Wait until the pre-training has saved something: until then nothing is at stake."""
    wait_until(lambda: list((folder / SEED / "checkpoints").rglob("*.safetensors")))


@pytest.mark.long
def test_a_job_over_its_memory_is_submitted_again_with_more(
    slurm: Any, cut_off: Path, finished_project: Path
) -> None:
    before = slurm.jobs("all")
    # Enough for Snakemake in the job, and not for torch.
    little = "pretrain:mem_mb=420 if attempt == 1 else 3000"
    code, said = run(slurm, cut_off, WEIGHTS, "--set-resources", little)
    assert code == 0, said
    first, second = new_jobs(slurm, before).values()
    # How SLURM calls it depends on how it is set up.
    assert first["JobState"] in ("OUT_OF_MEMORY", "FAILED")
    assert (memory(first), memory(second)) == (420, 3000)
    assert second["JobState"] == "COMPLETED"
    assert trained(cut_off) == trained(finished_project)


@pytest.mark.long
@pytest.mark.parametrize("state", FAULTS)
def test_without_retries_the_rule_and_its_logs_are_named_and_a_rerun_completes(
    state: str, slurm: Any, cut_off: Path, finished_project: Path
) -> None:
    with running(slurm, cut_off, WEIGHTS, "--retries", "0") as snakemake:
        ended = wait_for_job(slurm, TRAINING)
        wait_for_checkpoint(cut_off)
        FAULTS[state](slurm, ended)
        code, said = finish(snakemake, 200)
    assert code != 0
    assert "Error in rule pretrain" in said and f"'{state}'" in said
    own = cut_off / f"logs/slurm/rule_pretrain/everything_1/{ended}.log"
    assert LOG in said and str(own) in said
    assert not (cut_off / WEIGHTS).exists()
    code, said = run(slurm, cut_off, WEIGHTS)
    assert code == 0, said
    assert trained(cut_off) == trained(finished_project)


@pytest.mark.long
def test_a_run_does_not_begin_beside_the_jobs_of_a_killed_one(
    slurm: Any, cut_off: Path, finished_project: Path
) -> None:
    with running(slurm, cut_off, WEIGHTS) as snakemake:
        orphan = wait_for_job(slurm, TRAINING)
        wait_for_checkpoint(cut_off)
        slurm.call("scontrol", "suspend", orphan)
        os.killpg(snakemake.pid, signal.SIGKILL)
        snakemake.communicate()
        try:
            code, said = run_beside(slurm, cut_off)
            assert code != 0
            assert orphan in said and TRAINING in said and "scancel" in said
            # It is left alone: whether to wait for it or to cancel it is the user's choice.
            assert slurm.job(orphan)["JobState"] == "SUSPENDED"
        finally:
            slurm.call("scontrol", "resume", orphan)
        slurm.call("scancel", orphan)
        wait_until(lambda: orphan not in slurm.jobs())
    code, said = run(slurm, cut_off, WEIGHTS)
    assert code == 0, said
    assert trained(cut_off) == trained(finished_project)


def run_beside(bed: Any, folder: Path) -> tuple[int, str]:
    """Run Snakemake without touching the jobs that are there."""
    return finish(start(bed, folder, WEIGHTS), 200)


@pytest.mark.long
def test_ctrl_c_cancels_the_jobs_and_a_rerun_completes(
    slurm: Any, cut_off: Path, finished_project: Path
) -> None:
    with running(slurm, cut_off, WEIGHTS) as snakemake:
        wait_for_job(slurm, TRAINING)
        wait_for_checkpoint(cut_off)
        snakemake.send_signal(signal.SIGINT)
        code, _ = finish(snakemake, 60)
        assert code != 0
        wait_until(lambda: not slurm.jobs())
    code, said = run(slurm, cut_off, WEIGHTS)
    assert code == 0, said
    assert trained(cut_off) == trained(finished_project)


@pytest.mark.long
def test_the_whole_line_gives_the_same_bytes_on_slurm(
    slurm: Any,
    small_project: Callable[..., Path],
    finished_project: Path,
    results_bytes: Callable[..., dict[str, bytes]],
    tmp_path: Path,
) -> None:
    config = yaml.safe_load((finished_project / "config/config.yaml").read_text())
    config["compute"]["gpus"] = 1
    folder = small_project(tmp_path / "project", config)
    before = slurm.jobs("all")
    code, said = run(slurm, folder, "--set-resources", "benchmark:gpu_model=toy", seconds=900)
    assert code == 0, said
    assert results_bytes(folder) == results_bytes(finished_project)
    # A model of GPU gives none to those that ask for none.
    asked = {job["Comment"]: job.get("TresPerJob") for job in new_jobs(slurm, before).values()}
    assert asked["rule_benchmark_wildcards_promoter_everything.both_1"] == "gres:gpu:toy:1"
    assert asked["rule_benchmark_wildcards_promoter_kmer_logistic_1"] == "gres:gpu:toy:0"
    assert asked["rule_report"] is None


@pytest.mark.long
def test_the_demo_runs_on_slurm(
    slurm: Any, tmp_path: Path, strayed_from_plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("workflow", "genebert", "envs", "config", "resources"):
        (tmp_path / name).symlink_to(ROOT / name)
    demo = ("--configfile", "config/demo.yaml")
    code, said = run(slurm, tmp_path, *demo, seconds=45 * 60)
    assert code == 0, said[-20_000:]
    results = tmp_path / "results/demo"
    assert (results / "report.html").stat().st_size > 0
    table = (results / "benchmarks/summary.md").read_text()
    config = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
    for task in config["benchmarks"]["tasks"]:
        assert task in table
    # It took what was planned.
    monkeypatch.chdir(tmp_path)
    assert strayed_from_plan("config/demo.yaml", results) == []
    # Nothing is left to do.
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", *demo],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "Nothing to be done" in done.stdout + done.stderr
