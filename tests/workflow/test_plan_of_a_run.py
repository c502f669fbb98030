"""The plan against what finished runs took: within a factor of two, on machines of any usual speed."""

import gzip
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from genebert.plan.table import Row

Strays = Callable[[str, Path], list[str]]


def test_a_small_run_takes_what_was_planned(
    finished_project: Path, strayed_from_plan: Strays, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished_project)
    assert strayed_from_plan("config/config.yaml", finished_project / "results") == []


@pytest.mark.long
def test_the_demo_takes_what_was_planned(
    repository: Path, strayed_from_plan: Strays, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = Path(os.environ.get("GENEBERT_DEMO_RESULTS", repository / "results/demo"))
    if not (results / "report.html").exists():
        pytest.skip(f"no finished demo in {results}: run `make demo`, or set GENEBERT_DEMO_RESULTS")
    monkeypatch.chdir(repository)
    assert strayed_from_plan("config/demo.yaml", results) == []


def test_a_damaged_file_is_refused_by_preflight_and_not_by_the_plan(
    small_project: Callable[..., Path],
    run_workflow: Callable[..., tuple[int, str]],
    tmp_path: Path,
) -> None:
    folder = small_project(tmp_path / "project")
    # More than the plan reads of a file at first.
    rows = "".join(f"chr1\t{n * 10}\t{n * 10 + 100}\ta_peak_of_{n}\n" for n in range(5000))
    packed = bytearray(gzip.compress(rows.encode()))
    packed[-8] ^= 1
    (folder / "one.bed").write_bytes(packed)
    plan = subprocess.run(
        [sys.executable, "-m", "genebert", "plan", "--config", "config/config.yaml"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert plan.returncode == 0, plan.stderr
    code, said = run_workflow(folder, "-n", "--quiet")
    assert code == 0, said
    code, said = run_workflow(folder, "results/reference/preflight.tsv")
    assert code != 0
    assert "Traceback" not in said
    told = (folder / "results/logs/preflight.log").read_text().splitlines()
    assert len(told) == 2, told
    assert "one.bed is a truncated or corrupt gzip file" in told[0]
    assert told[1].startswith("fix: ")


def _row(stage: str, hours: float, mb: float = 300) -> Row:
    return Row(stage, stage, 1, hours, 0.0, mb, 0.0, hours)


def _strayed(plan_used: ModuleType, *ratios: float, mb: float = 300) -> list[str]:
    """Compare stages of an hour each with a run in which each took so many times as long."""
    planned = [_row(f"stage{number}", 1.0) for number in range(len(ratios))]
    taken = [_row(f"stage{number}", ratio, mb) for number, ratio in enumerate(ratios)]
    found: list[str] = plan_used.strayed(planned, taken)
    return found


def test_a_run_is_compared_as_on_the_machine_of_the_plan(plan_used: ModuleType) -> None:
    assert _strayed(plan_used, 3, 3, 3, 3, 3) == []
    (off,) = _strayed(plan_used, 3, 9, 3, 3, 3)
    assert off.startswith("CPU time of stage1 (a processor 3 times as slow")
    # Memory is the same on each.
    assert _strayed(plan_used, 3, 3, 3, mb=900)[0].startswith("memory of")


@pytest.mark.parametrize("ratio", [50, 5, 1 / 5, 1 / 50])
@pytest.mark.parametrize("stages", [1, 2, 5])
def test_no_processor_is_to_blame_for_everything(
    plan_used: ModuleType, ratio: float, stages: int
) -> None:
    (off,) = _strayed(plan_used, *[ratio] * stages)
    assert off == f"CPU time of all stages: {ratio:.2g} times what was planned"


def test_two_stages_are_compared_with_one_another(plan_used: ModuleType) -> None:
    assert _strayed(plan_used, 1, 1.9) == []
    (off,) = _strayed(plan_used, 1, 2.9)
    assert off.startswith("CPU time of stage1 (a processor 1 times as slow")
    assert _strayed(plan_used, 2.9) == []
