"""The plan against what finished runs took: within a factor of two."""

import os
from pathlib import Path

import pytest

from genebert import config
from genebert.inputs.sheet import read_samples
from genebert.plan.jobs import jobs
from genebert.plan.table import make_plan
from genebert.plan.used import strayed, used

# What of the plan must have been compared: where timings are missing, nothing strays.
COMPARED = {"regions", "scan_motifs", "corpus", "pretrain", "benchmark", "summary"}


def _strayed(config_file: str, results: Path) -> list[str]:
    settings = config.load(config_file)
    # The runs that are compared had no GPU.
    compute = settings.compute.model_copy(update={"gpus": 0})
    settings = settings.model_copy(update={"compute": compute})
    samples = read_samples(settings.samples)
    plan = make_plan(settings, samples)
    taken = used(results, list(jobs(settings, samples, plan.sizes)))
    assert {row.rule for row in taken} >= COMPARED
    planned = {row.rule: row.jobs for row in plan.rows}
    assert all(row.jobs == planned[row.rule] for row in taken)
    return strayed(plan.rows, taken)


def test_a_small_run_takes_what_was_planned(
    finished_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished_project)
    assert _strayed("config/config.yaml", finished_project / "results") == []


@pytest.mark.long
def test_the_demo_takes_what_was_planned(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = Path(os.environ.get("GENEBERT_DEMO_RESULTS", repository / "results/demo"))
    if not (results / "report.html").exists():
        pytest.skip(f"no finished demo in {results}: run `make demo`, or set GENEBERT_DEMO_RESULTS")
    monkeypatch.chdir(repository)
    assert _strayed("config/demo.yaml", results) == []
