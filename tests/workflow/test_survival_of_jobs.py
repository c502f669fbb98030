"""Pre-training as Snakemake runs it: jobs that are killed and stopped, and what a change reruns."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

SNAKEMAKE = [sys.executable, "-m", "snakemake", "--cores", "2"]
MODEL = {
    "preset": "tiny",
    "columns": 4,
    "projection": 16,
    "sequence": {"k": 3, "layers": 1, "width": 16, "heads": 2, "feedforward": 32, "positions": 128},
    "region": {"patch": [4, 1], "window": [4, 2], "width": 16, "depths": [1], "heads": [1]},
}
OBJECTIVES = ("masked_sequence", "masked_region", "matching", "next_segment", "motif_target")
CONFIG: dict[str, Any] = {
    "results_dir": "results",
    "samples": "config/samples.tsv",
    "seeds": [1],
    "genome": {"name": "toy", "fasta": "genome.fa", "split": {"validation": ["chr2"], "test": ["chr3"]}},
    "regions": {"width": 100},
    "motifs": {"file": "motifs.jaspar", "chunks": 1},
    "model": MODEL,
    "pretrain": {
        "steps": 60,
        "batch_size": 16,
        "matching_group": 8,
        "warmup_steps": 2,
        "evaluate_every": 20,
        "evaluation_views": 16,
        "variants": {"everything": dict.fromkeys(OBJECTIVES, 1) | {"masking": "genemask"}},
    },
    "compute": {"gpus": 0, "checkpoint_minutes": 0},
    "benchmarks": {"tasks": {}, "models": ["kmer_logistic"]},
}
SEED = "results/pretrain/everything/seed1"
OUTPUTS = (f"{SEED}/model/model.safetensors", f"{SEED}/model/config.json", f"{SEED}/history.tsv")
LOG = "results/logs/pretrain/everything.seed1.log"
# What the report shows of a trained network.
SHOWN = {"embed": 1, "attribution": 1}
REPORT = {"report": 1, "all": 1}


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    """Call Snakemake as the head of a process group of its own, as a shell does."""
    return subprocess.Popen(
        [*SNAKEMAKE, *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen) -> tuple[int, str]:
    said, _ = process.communicate(timeout=300)
    return process.returncode, said


def planned(output: str) -> dict[str, int]:
    """Read the job counts that a dry run prints."""
    counts: dict[str, int] = {}
    lines = iter(output.splitlines())
    for line in lines:
        if line.startswith("Job stats"):
            next(lines), next(lines)
            for row in lines:
                if not row.strip():
                    break
                rule, count = row.split()
                counts[rule] = int(count)
    counts.pop("total", None)
    return counts


def merged(into: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    both = {key: merged(into[key], new[key]) for key in into.keys() & new if isinstance(new[key], dict)}
    return into | new | both


@pytest.fixture(scope="module")
def undisturbed(small_project: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished project of a made-up genome, 300 regions and one variant."""
    folder = small_project(tmp_path_factory.mktemp("undisturbed") / "project", CONFIG)
    code, said = finish(start(folder))
    assert code == 0, said
    return folder


@pytest.fixture
def project(undisturbed: Path, tmp_path: Path) -> Path:
    """Return a copy of the project without its pre-training."""
    folder = tmp_path / "project"
    shutil.copytree(undisturbed, folder, symlinks=True)
    shutil.rmtree(folder / "results/pretrain")
    (folder / LOG).unlink()
    (folder / "results/report.html").unlink()
    return folder


Plan = Callable[..., tuple[dict[str, int], str]]


@pytest.fixture
def plan(undisturbed: Path) -> Plan:
    """Dry-run the finished project with a changed configuration; return job counts and all it says."""

    def go(change: dict[str, Any], *arguments: str) -> tuple[dict[str, int], str]:
        (undisturbed / "config/changed.yaml").write_text(yaml.safe_dump(merged(CONFIG, change)))
        dry = start(undisturbed, "-n", "--configfile", "config/changed.yaml", *arguments)
        code, said = finish(dry)
        assert code == 0, said
        return planned(said), said

    return go


def checkpoints(folder: Path) -> list[int]:
    """Return the steps of all checkpoints."""
    paths = (folder / SEED / "checkpoints").glob("*/step-*")
    return sorted(int(path.name.split(".")[0].removeprefix("step-")) for path in paths)


def training_in(folder: Path) -> int:
    """Return the process that trains in a project."""
    for process in Path("/proc").iterdir():
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            here = (process / "cwd").samefile(folder)
        except OSError:  # no process, or one that has ended
            continue
        if here and words[1:4] == [b"-m", b"genebert", b"pretrain"]:
            return int(process.name)
    raise AssertionError("no training")


def until_checkpoint(process: subprocess.Popen, folder: Path, beyond: int) -> None:
    while max(checkpoints(folder), default=0) <= beyond:
        assert process.poll() is None, finish(process)[1]
        time.sleep(0.005)


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
def test_a_job_that_was_killed_and_stopped_ends_with_the_same_bytes(
    undisturbed: Path, project: Path
) -> None:
    process = start(project, OUTPUTS[0])
    until_checkpoint(process, project, beyond=3)
    os.kill(training_in(project), signal.SIGKILL)
    code, said = finish(process)
    assert code == 1
    assert "Error in rule pretrain" in said
    assert not any((project / path).exists() for path in OUTPUTS)
    reached = max(checkpoints(project))

    # All processes of a job are sent SIGTERM by schedulers, `timeout` and systemd.
    process = start(project, OUTPUTS[0])
    until_checkpoint(process, project, beyond=reached)
    os.killpg(process.pid, signal.SIGTERM)
    code, said = finish(process)
    assert code == 1
    log = (project / LOG).read_text()
    assert f"going on from step {reached}\n" in log
    reached = max(checkpoints(project))
    assert f"stopped at step {reached} on SIGTERM: checkpoint saved" in log
    assert "checkpoint saved" in said, "Snakemake waits for the training, and shows its log"
    assert not any((project / path).exists() for path in OUTPUTS)

    code, said = finish(start(project, OUTPUTS[0]))
    assert code == 0, said
    assert f"going on from step {reached}\n" in (project / LOG).read_text()
    assert not (project / SEED / "checkpoints").exists()
    for path in OUTPUTS:
        assert (project / path).read_bytes() == (undisturbed / path).read_bytes(), path


def test_without_tasks_there_is_a_report_and_no_summary(undisturbed: Path, plan: Plan) -> None:
    assert (undisturbed / "results/report.html").stat().st_size > 0
    assert not (undisturbed / "results/benchmarks").exists()
    assert plan({})[0] == {}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {
                "compute": {
                    "gpus": 2,
                    "batch_per_device": 8,
                    "checkpoint_minutes": 9,
                    "tensorboard": True,
                }
            },
            {},
        ),
        ({"pretrain": {"learning_rate": 1e-3}}, {"pretrain": 1} | SHOWN | REPORT),
        # A network without a region encoder has no embeddings of regions.
        (
            {"pretrain": {"variants": {"other": {"masked_sequence": 1}}}},
            {"pretrain": 1, "attribution": 1} | REPORT,
        ),
    ],
)
def test_what_a_change_reruns(plan: Plan, change: dict[str, Any], expected: dict[str, int]) -> None:
    assert plan(change)[0] == expected


@pytest.mark.parametrize(
    ("variant", "tables"),
    [
        ({"masked_sequence": 1}, set()),
        ({"masked_sequence": 1, "masking": "genemask"}, {"npmi"}),
        ({"masked_sequence": 1, "masking": "motif"}, {"motifs"}),
        ({"motif_target": 1, "masking": "cm_gems"}, {"motifs"}),
    ],
)
def test_a_variant_is_given_the_tables_that_it_reads(
    plan: Plan, variant: dict[str, Any], tables: set[str]
) -> None:
    weights = "results/pretrain/other/seed1/model/model.safetensors"
    change = {"pretrain": {"variants": {"other": variant}}}
    counts, said = plan(change, "-p", "--forceall", weights)
    assert counts["pretrain"] == 1
    assert counts.get("npmi", 0) == ("npmi" in tables)
    (command,) = (line for line in said.splitlines() if "genebert pretrain" in line)
    paths = {"npmi": "results/corpus/npmi.parquet", "motifs": "results/motifs/motifs.parquet"}
    for name, path in paths.items():
        assert (f"--{name} {path} " in command) == (name in tables)


def test_weights_to_start_from_that_are_missing_are_named_before_any_job(
    undisturbed: Path, project: Path
) -> None:
    change = {"pretrain": {"variants": {"everything": {"init_from": "weights/of bert"}}}}
    # Also where there is a model already, which Snakemake would take as it is.
    for folder in (project, undisturbed):
        (folder / "config/changed.yaml").write_text(yaml.safe_dump(merged(CONFIG, change)))
        code, said = finish(start(folder, "--configfile", "config/changed.yaml"))
        assert code == 1, said
        assert "weights/of bert" in said
        assert "pretrain.variants.everything.init_from" in said
        assert "fix: correct the paths" in said
        assert "Traceback" not in said
        assert "Job stats" not in said


def test_other_weights_to_start_from_rerun_the_variant(undisturbed: Path, plan: Plan) -> None:
    folder = undisturbed / "bert"
    folder.mkdir(exist_ok=True)
    long_ago = (undisturbed / "genome.fa").stat().st_mtime - 1000
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_text("{}")
        os.utime(folder / name, (long_ago, long_ago))
    change = {"pretrain": {"variants": {"everything": {"init_from": "bert"}}}}
    assert plan(change)[0] == {"pretrain": 1} | SHOWN | REPORT
