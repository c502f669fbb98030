"""`genebert plan`: what it prints, and what it refuses to plan."""

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from genebert.plan.constants import constants

Run = Callable[..., SimpleNamespace]
Write = Callable[..., Path]


@pytest.fixture
def write_config(in_repository: None, tmp_path: Path) -> Write:
    """Write the demo's configuration with other values of some keys."""

    def write(**changes: Any) -> Path:
        raw = yaml.safe_load(Path("config/demo.yaml").read_text())
        for key, value in changes.items():
            section, _, name = key.rpartition("__")
            place = raw
            for part in filter(None, section.split("__")):
                place = place.setdefault(part, {})
            place[name] = value
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(raw))
        return path

    return write


def _plan(run_cli: Run, path: Path, *arguments: str) -> list[str]:
    done = run_cli("plan", "--config", path, *arguments)
    assert done.code == 0, done.err
    lines: list[str] = done.out.splitlines()
    return lines


def test_a_plan_is_printed(in_repository: None, run_cli: Run) -> None:
    lines = _plan(run_cli, Path("config/demo.yaml"), "--gpus", "0", "--cores", "2")
    said = "\n".join(lines)
    for rule in ("scan_motifs", "pretrain", "task_promoter", "benchmark", "report", "total"):
        assert re.search(rf"\b{rule}\b", said)
    assert "GPU hours are" not in said
    said = "\n".join(_plan(run_cli, Path("config/config.yaml")))
    measured = constants()["gpu"]["measured"]
    assert ("GPU hours are ASSUMED, not measured" in said) != measured
    assert "13 of 13 peak files are not there yet" in said


@pytest.mark.parametrize(
    ("configured", "arguments", "message"),
    [
        (0, ["--cores", "2"], r"on 2 cores: about \d+ \w+; no job asks for a GPU"),
        (0, ["--cores", "2", "--gpus", "4"], r"on 2 cores: about \d+ \w+; no job asks for a GPU"),
        (4, ["--cores", "2", "--gpus", "0"], r"on 2 cores: about \d+ \w+; no job asks for a GPU"),
        (4, ["--cores", "2"], r"on 2 cores and 4 GPUs: about \d+ \w+"),
        (4, ["--cores", "2", "--gpus", "6"], r"on 2 cores and 6 GPUs: about \d+ \w+"),
    ],
)
def test_the_time_is_that_on_the_gpus_that_jobs_ask_for(
    configured: int, arguments: list[str], message: str, write_config: Write, run_cli: Run
) -> None:
    assert re.fullmatch(message, _plan(run_cli, write_config(compute__gpus=configured), *arguments)[-1])


def test_no_gpus_may_be_said_without_cores(write_config: Write, run_cli: Run) -> None:
    said = "\n".join(_plan(run_cli, write_config(compute__gpus=4), "--gpus", "0"))
    assert "GPU hours are" not in said


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (["--cores", "0"], ["--cores 0"]),
        (["--gpus", "-1"], ["--gpus -1"]),
        (["--gpus", "4"], ["--gpus 4 says nothing without --cores", "fix: give --cores too"]),
        (["--cores", "2", "--gpus", "1"], ["--gpus 1 is too few", "asks for 4", "fix: give --gpus 4"]),
    ],
)
def test_numbers_that_say_nothing_are_refused(
    arguments: list[str], messages: list[str], write_config: Write, refused: Callable[..., str]
) -> None:
    said = refused("plan", "--config", write_config(compute__gpus=4), *arguments)
    assert all(message in said for message in messages)


def test_a_missing_configuration_is_named(in_repository: None, refused: Callable[..., str]) -> None:
    assert "cannot read config/none.yaml" in refused("plan", "--config", "config/none.yaml")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"genome__fasta": "none.fa"}, "input file none.fa does not exist (genome.fasta in the conf"),
        (
            {"motifs__file": "resources"},
            "resources does not exist (motifs.file in the configuration; a f",
        ),
        (
            {"benchmarks__tasks__promoter__tss": "no.bed"},
            "no.bed does not exist (benchmarks.tasks.promoter",
        ),
        (
            {"pretrain__variants__scratch": {"trained": False, "init_from": "dnabert"}},
            "dnabert/config.json does not exist (pretrain.variants.scratch.init_from)",
        ),
        (
            {"benchmarks__tasks__promoter__models": ["hf:./nt", "gc_only"]},
            "./nt/config.json does not exist (model hf:./nt of the benchmarks)",
        ),
    ],
)
def test_a_local_file_that_is_missing_is_refused(
    changes: dict[str, Any], said: str, write_config: Write, refused: Callable[..., str]
) -> None:
    assert said in refused("plan", "--config", write_config(**changes))


def test_every_missing_file_is_named(write_config: Write, run_cli: Run, tmp_path: Path) -> None:
    sheet = tmp_path / "samples.tsv"
    rows = [
        "sample\tcell_type\tassay\tformat\tsource",
        "a\tGM12878\tATAC-seq\tbed\tgone.bed",
        "b\tBcell\tATAC-seq\tbed\tresources/demo",
        "c\tCD8\tATAC-seq\tbed\thttps://example.org/fetched.bed",
    ]
    sheet.write_text("\n".join(rows) + "\n")
    path = write_config(samples=str(sheet), genome__fasta="nogenome.fa")
    done = run_cli("plan", "--config", path)
    assert done.code == 1
    assert done.err.splitlines() == [
        "error: input files that do not exist: 3",
        "  nogenome.fa  (genome.fasta in the configuration)",
        f"  gone.bed  ({sheet} line 2)",
        f"  resources/demo  ({sheet} line 3; a folder lies there)",
        "fix: correct the paths; they count from the folder in which you call this",
    ]
    assert not done.out
