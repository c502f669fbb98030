"""A small project of the whole line, from peaks to the table, and how tests call Snakemake in it."""

import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml

ROOT = Path(__file__).parents[2]
OBJECTIVES = ("masked_sequence", "masked_region", "matching", "next_segment", "motif_target")
SMALL: dict[str, Any] = {
    "results_dir": "results",
    "samples": "config/samples.tsv",
    "seeds": [1],
    "genome": {"name": "toy", "fasta": "genome.fa", "split": {"validation": ["chr2"], "test": ["chr3"]}},
    "regions": {"width": 100},
    "motifs": {"file": "motifs.jaspar", "chunks": 2},
    "model": {
        "preset": "tiny",
        "columns": 4,
        "projection": 16,
        "sequence": {
            "k": 3,
            "layers": 1,
            "width": 16,
            "heads": 2,
            "feedforward": 32,
            "positions": 128,
        },
        "region": {"patch": [4, 1], "window": [4, 2], "width": 16, "depths": [1], "heads": [1]},
    },
    "pretrain": {
        "steps": 40,
        "batch_size": 16,
        "matching_group": 8,
        "warmup_steps": 2,
        "evaluate_every": 20,
        "evaluation_views": 16,
        "variants": {
            "everything": dict.fromkeys(OBJECTIVES, 1) | {"masking": "genemask"},
            "scratch": {"trained": False},
        },
    },
    # A checkpoint a step: no moment to be killed at is safe.
    "compute": {"gpus": 0, "checkpoint_minutes": 0},
    "benchmarks": {
        "tasks": {"promoter": {"type": "promoter", "tss": "tss.bed", "upstream": 59, "downstream": 40}},
        "models": ["everything.both", "kmer_logistic", "gc_only"],
        "finetune": {"epochs": 1, "max_steps": 6, "batch_size": 8, "learning_rates": [1e-3]},
    },
}
# What decides a result: the same bytes however often its run was cut off.
RESULTS = (
    "corpus/part-*.parquet",
    "corpus/manifest.json",
    "pretrain/*/seed1/model/model.safetensors",
    "pretrain/*/seed1/history.tsv",
    "benchmarks/*/dataset.parquet",
    "benchmarks/*/*/seed1/predictions.parquet",
    "benchmarks/summary.tsv",
    "benchmarks/summary.md",
)


def write_small_project(folder: Path, config: dict[str, Any] = SMALL) -> Path:
    """Write a made-up genome, peaks of two cell types, TSS and 20 motifs, beside the workflow itself."""
    (folder / "config").mkdir(parents=True)
    for name in ("workflow", "genebert", "envs"):
        (folder / name).symlink_to(ROOT / name)
    rng = np.random.default_rng(5)
    contigs = ("chr1", "chr2", "chr3")
    dna = ["".join(rng.choice(list("ACGT"), 60_000)) for _ in contigs]
    fasta = "".join(f">{name}\n{bases}\n" for name, bases in zip(contigs, dna, strict=True))
    (folder / "genome.fa").write_text(fasta)
    sheet = ["sample\tcell_type\tassay\tformat\tsource"]
    for sample in ("one", "two"):
        places = [(name, p * 100) for name in contigs for p in sorted(rng.choice(590, 150, False))]
        bed = "".join(f"{name}\t{place}\t{place + 100}\n" for name, place in places)
        (folder / f"{sample}.bed").write_text(bed)
        sheet.append(f"{sample}\tcell_{sample}\tATAC-seq\tbed\t{sample}.bed")
    (folder / "config/samples.tsv").write_text("\n".join(sheet) + "\n")
    starts = [(name, place) for name in contigs for place in range(2_000, 58_000, 4_000)]
    strands = "+-" * len(starts)
    tss = (f"{c}\t{p}\t{p + 1}\tgene{p}\t0\t{s}\n" for (c, p), s in zip(starts, strands, strict=False))
    (folder / "tss.bed").write_text("".join(tss))
    motifs = (ROOT / "resources/motifs/JASPAR2026_CORE_vertebrates.jaspar").read_text().split(">")
    (folder / "motifs.jaspar").write_text("".join(f">{motif}" for motif in motifs[1:21]))
    (folder / "config/config.yaml").write_text(yaml.safe_dump(config))
    return folder


def start_snakemake(folder: Path, *arguments: str, cores: int = 2) -> subprocess.Popen[str]:
    """Call Snakemake as the head of a process group of its own, as a shell does."""
    return subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", str(cores), *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run_snakemake(folder: Path, *arguments: str, seconds: float = 300) -> tuple[int, str]:
    """Run Snakemake to its end; return its exit code and all it said."""
    process = start_snakemake(folder, *arguments)
    said, _ = process.communicate(timeout=seconds)
    return process.returncode, said


def results_of(folder: Path, patterns: Sequence[str] = RESULTS) -> dict[str, bytes]:
    """Return the bytes of all results of a project by path below its results folder."""
    results = folder / "results"
    found = {
        str(path.relative_to(results)): path.read_bytes()
        for pattern in patterns
        for path in sorted(results.glob(pattern))
    }
    return found


def commands_of(folder: Path, *arguments: str) -> list[list[str]]:
    """Return the sub-commands of all jobs in the order of a dry run; fail where one has none."""
    code, said = run_snakemake(folder, "-n", "-p", "--forceall", *arguments)
    assert code == 0, said
    shells = [
        line.partition(": ")[2] for line in said.splitlines() if line.startswith("Shell command: ")
    ]
    words = [shlex.split(shell) for shell in shells if shell != "None"]
    jobs = int(re.search(r"^total +(\d+)", said, re.MULTILINE)[1])
    assert jobs - len(words) == shells.count("None") <= 1, "a job that is no sub-command; `all` has none"
    return [own[own.index("genebert") + 1 : own.index("2>")] for own in words]


def load_beside(name: str, folder: str = "workflow") -> ModuleType:
    """Import a module of a folder of tests, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"tests/{folder}/{name}.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def small_project() -> Callable[..., Path]:
    """Return the function that writes a small project: ``small_project(folder, config=SMALL)``."""
    return write_small_project


@pytest.fixture(scope="session")
def finished_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small project that ran to its end undisturbed; copy it before changing anything in it."""
    folder = write_small_project(tmp_path_factory.mktemp("finished") / "project")
    code, said = run_snakemake(folder)
    assert code == 0, said
    assert len(results_of(folder)) >= 10
    return folder


@pytest.fixture(scope="session")
def start_workflow() -> Callable[..., subprocess.Popen[str]]:
    """Return the function that starts Snakemake: ``start_workflow(folder, *arguments, cores=2)``."""
    return start_snakemake


@pytest.fixture(scope="session")
def run_workflow() -> Callable[..., tuple[int, str]]:
    """Return the function that runs Snakemake to its end: ``run_workflow(folder, *arguments)``."""
    return run_snakemake


@pytest.fixture(scope="session")
def results_bytes() -> Callable[..., dict[str, bytes]]:
    """Return the function that reads a project's results: ``results_bytes(folder)``."""
    return results_of


@pytest.fixture(scope="session")
def slurm() -> Iterator[Any]:
    """Return a running SLURM of two nodes (``Bed`` of slurm_bed.py), or skip where there can be none."""
    module = load_beside("slurm_bed")
    if reason := module.reason_unavailable():
        pytest.skip(reason)
    with module.slurm_bed() as bed:
        yield bed


@pytest.fixture(scope="session")
def plan_used() -> ModuleType:
    """Return plan_used.py, which compares what a run took with its plan."""
    return load_beside("plan_used", "perf")


@pytest.fixture(scope="session")
def strayed_from_plan(plan_used: ModuleType) -> Callable[[str, Path], list[str]]:
    """Return what compares a run with its plan: ``strayed_from_plan(config_file, results)``."""
    compare: Callable[[str, Path], list[str]] = plan_used.strays
    return compare


@pytest.fixture(scope="session")
def subcommands() -> Callable[..., list[list[str]]]:
    """Return the function that lists a workflow's sub-commands: ``subcommands(folder, *targets)``."""
    return commands_of


@pytest.fixture(scope="session")
def small_disks() -> ModuleType:
    """Return small_disk.py; skip where no disk of one's own can be had."""
    module = load_beside("small_disk")
    if reason := module.reason_unavailable():
        pytest.skip(f"no disk of its own: {reason}")
    return module
