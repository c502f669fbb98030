"""A full disk: every stage says so, leaves nothing half-done, and goes on once there is space."""

import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
Subcommands = Callable[..., list[list[str]]]
FULL = "No space left on device"
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}
# What a training keeps on purpose: to go on from, and to be looked at meanwhile.
KEPT = re.compile(r"results/[\w/]*pretrain/\w+/seed\d+/(checkpoints/.*|history\.tsv)")


@pytest.fixture(scope="module")
def disk(small_disks: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with small_disks.small_disk(tmp_path_factory.mktemp("disk") / "disk", "48m") as disk:
        yield disk


def judged(disk: Any, project: str, commands: list[list[str]], faulty: set[str]) -> list[dict[str, Any]]:
    """Run the commands of a project on a disk, some with faults; return what full_disk.py tells."""
    work = {"project": str(disk.folder / project), "commands": commands, "faulty": sorted(faulty)}
    script = Path(__file__).with_name("full_disk.py")
    done = disk.run(sys.executable, str(script), input=json.dumps(work), seconds=1500)
    assert done.returncode == 0, done.stderr
    told: list[dict[str, Any]] = json.loads(done.stdout)
    return told


def assert_survived(told: list[dict[str, Any]], faulty: set[str]) -> None:
    """Assert what must hold of each stage on a full disk."""
    assert {stage["stage"] for stage in told if stage["faults"]} == faulty
    for stage in told:
        assert stage["code"] == 0, stage["said"]
        assert stage["wrote"], f"{stage['stage']} writes nothing"
        for fault in stage["faults"]:
            where = f"{stage['stage']}, {fault['left']} pages left: {fault['said']}"
            *before, what, fix = fault["said"].splitlines()
            assert fault["code"] == 1, where
            assert what.startswith("error: ") and what.endswith(f" cannot be written: {FULL}"), where
            assert any(path in what for path in stage["wrote"]), where
            assert fix.startswith("fix: free some space"), where
            assert not re.search("^(error|Traceback)", "\n".join(before), re.MULTILINE), where
            assert not [path for path in fault["leavings"] if not KEPT.fullmatch(path)], where
        if stage["faults"]:
            assert stage["wrote_again"] == stage["wrote"], stage["stage"]


@pytest.fixture(scope="module")
def short(
    disk: Any, small_project: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a small project, and put one on the disk."""
    folder = small_project(tmp_path_factory.mktemp("short") / "project")
    shutil.copytree(folder, disk.seen / "project", symlinks=True)
    return folder


def test_stages_of_each_kind_of_file_survive_a_full_disk(
    disk: Any, short: Path, subcommands: Subcommands
) -> None:
    # Text, FASTA and index, gzip, three Parquet files at once, JSON and safetensors.
    faulty = {"checksums", "index-genome", "peaks", "regions", "pretrain"}
    model = "results/pretrain/scratch/seed1/model/model.safetensors"
    commands = subcommands(short, model, "results/reference/checksums.tsv")
    assert_survived(judged(disk, "project", commands, faulty), faulty)


MAPPED = """
import sys
from genebert.corpus.mapped import map_corpus
from genebert.corpus.read import read_corpus
from genebert.errors import GenebertError
try:
    mapped = map_corpus("results/corpus", "columns")
except GenebertError as error:
    sys.exit(str(error))
print((mapped.best == read_corpus("results/corpus").best).all())
"""


def test_columns_that_find_no_space_are_refused_and_written_later(disk: Any, short: Path) -> None:
    # They are mapped files: a page that the disk has no room for would kill the process.
    for left in (0, 8):
        disk.fill(left)
        done = disk.run(sys.executable, "-c", MAPPED, folder="project", env=ENVIRONMENT)
        disk.free()
        assert done.returncode == 1, done
        assert done.stderr.splitlines() == [
            f"columns cannot hold mapped columns: {FULL}",
            "fix: free some space on that disk, then run the same command again",
        ]
        assert [path.name for path in (disk.seen / "project/columns").iterdir()] == [".lock"]
    done = disk.run(sys.executable, "-c", MAPPED, folder="project", env=ENVIRONMENT)
    assert (done.returncode, done.stdout) == (0, "True\n"), done


def test_a_log_on_the_full_disk_does_not_hide_the_error(
    disk: Any, short: Path, subcommands: Subcommands
) -> None:
    command = subcommands(short, "results/reference/checksums.tsv")[0]
    in_shell = shlex.join([sys.executable, "-m", "genebert", *command]) + " 2> full.log"
    disk.fill()
    done = disk.run("bash", "-c", in_shell, folder="project", env=ENVIRONMENT)
    disk.free()
    assert done.returncode == 1, done
    assert done.stdout.splitlines() == [
        f"error: results/reference/checksums.tsv cannot be written: {FULL}",
        "fix: free some space on that disk, then run the same command again",
    ]
    assert (disk.seen / "project/full.log").read_text() == ""


@pytest.mark.parametrize("fault", [{}, {"chunked": True}], ids=["size told", "size not told"])
def test_a_download_to_a_full_disk_goes_on_once_there_is_space(disk: Any, web: Any, fault: dict) -> None:
    data = random.Random(1).randbytes(300_000)
    url = web.put("/one.bin", data, fault)
    command = ["download", "--source", url, "--out", "data/one.bin", "--settings"]
    command.append(json.dumps({"lock": "lock.tsv", "attempts": 1}))
    folder = f"downloads{len(fault)}"
    (disk.seen / folder).mkdir()

    def fetch() -> subprocess.CompletedProcess[str]:
        python = (sys.executable, "-m", "genebert", *command)
        done: subprocess.CompletedProcess[str] = disk.run(*python, folder=folder, env=ENVIRONMENT)
        return done

    disk.fill(left=20)
    done = fetch()
    disk.free()
    *_, what, fix = done.stderr.splitlines()
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    assert re.match(r"error: (no space left for http|data/one\.bin\.part cannot be written)", what)
    assert fix.startswith("fix: free some space")
    left = {path.name for path in (disk.seen / folder).rglob("*") if path.is_file()}
    assert left <= {"one.bin.part", "one.bin.part.json"}, "bytes to go on from, and what they are of"
    done = fetch()
    assert done.returncode == 0, done
    assert (disk.seen / folder / "data/one.bin").read_bytes() == data


@pytest.mark.long
def test_every_stage_of_the_line_survives_a_full_disk(
    disk: Any, short: Path, subcommands: Subcommands
) -> None:
    shutil.rmtree(disk.seen / "project/results", ignore_errors=True)
    commands = subcommands(short)
    stages = {command[0] for command in commands}
    assert len(stages) >= 17
    assert_survived(judged(disk, "project", commands, stages), stages)


@pytest.mark.long
def test_tasks_of_every_type_survive_a_full_disk(
    small_disks: ModuleType, tmp_path: Path, subcommands: Subcommands
) -> None:
    # The demo's, for they have second files: genes to score, and individuals.
    linked = ("workflow", "genebert", "envs", "config", "resources")
    tasks = yaml.safe_load((ROOT / "config/demo.yaml").read_text())["benchmarks"]["tasks"]
    targets = [f"results/demo/benchmarks/{name}/dataset.parquet" for name in tasks]
    with small_disks.small_disk(tmp_path / "disk", "512m") as disk:
        for folder in (tmp_path / "demo", disk.seen / "demo"):
            folder.mkdir()
            for name in linked:
                (folder / name).symlink_to(ROOT / name)
        options = ("--configfile", "config/demo.yaml")
        commands = subcommands(tmp_path / "demo", *targets, *options)
        told = judged(disk, "demo", commands, {"task"})
    assert_survived(told, {"task"})
    wrote = {Path(path).name for stage in told if stage["faults"] for path in stage["wrote"]}
    assert wrote >= {"dataset.parquet", "genes.parquet", "individuals.parquet"}


def run_until_full(disk: Any, jobs: int, pages: int, pause: float) -> tuple[int, str]:
    """Run the workflow on a disk that is filled, but pages, some time after so many jobs."""
    process = subprocess.Popen(
        disk.command(sys.executable, "-m", "snakemake", "--cores", "2", folder="filled"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    limit = threading.Timer(400, os.killpg, [process.pid, signal.SIGKILL])
    limit.start()
    said = []
    for line in process.stdout:
        said.append(line)
        jobs -= line.startswith("Finished jobid")
        if jobs == 0:
            time.sleep(pause)
            disk.fill(pages)
            jobs = -1
    code = process.wait()
    limit.cancel()
    disk.free()
    return code, "".join(said)


@pytest.mark.long
def test_a_workflow_on_a_disk_that_fills_goes_on_to_the_same_bytes(
    disk: Any, short: Path, finished_project: Path, results_bytes: Callable[..., dict[str, bytes]]
) -> None:
    shutil.copytree(short, disk.seen / "filled", symlinks=True)
    rng = random.Random(6)
    for _ in range(7):
        code, said = run_until_full(disk, rng.randint(1, 4), rng.choice((0, 1, 4, 16)), rng.random() * 3)
        assert code == 1, said
        assert FULL in said, said
        # The rule, or a file of Snakemake itself.
        assert re.search(r"Error in rule \w+:|\.snakemake", said), said
    code, said = run_until_full(disk, -1, 0, 0)
    assert code == 0, said
    assert results_bytes(disk.seen / "filled") == results_bytes(finished_project)
