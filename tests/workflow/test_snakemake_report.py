"""`snakemake --report` on a finished run: one page, or one archive, that needs no network."""

import base64
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# By category: the results, and words of their captions.
SHOWN = {
    "Report": {"report.html": "offline and sent on alone"},
    "Benchmarks": {
        "benchmarks/summary.md": "derived from the predictions",
        "benchmarks/summary.tsv": "one row each",
    },
    "Leakage": {"benchmarks/promoter/leakage.tsv": "task <tt"},
    "Pre-training": {
        "pretrain/everything/seed1/history.tsv": ">everything<",
        "pretrain/scratch/seed1/history.tsv": ">scratch<",
    },
}


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send whatever would be fetched to a port where nobody listens."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv(name.upper(), "http://127.0.0.1:9")


def value_of(page: str, script: str) -> Any:
    """Return what one of the page's scripts sets its variable to."""
    _, found, rest = page.partition(f'<script id="{script}">')
    assert found, script
    value, _ = json.JSONDecoder().raw_decode(rest[rest.index("=") + 1 :].lstrip())
    return value


def test_the_page_holds_captions_and_results_by_category(
    finished_project: Path,
    tmp_path: Path,
    run_workflow: Callable[..., tuple[int, str]],
    offline: None,
) -> None:
    out = tmp_path / "report.html"
    code, said = run_workflow(finished_project, "--report", str(out), seconds=120)
    assert code == 0, said
    assert "Report created" in said and "Missing" not in said
    page = out.read_text()
    # Nothing is fetched when it is read.
    assert not re.findall(r'(?:src|href)="https?:', page)
    assert "GeneBERT on toy" in value_of(page, "workflow-desc")

    categories, results = value_of(page, "categories"), value_of(page, "results")
    assert {name: {*group["Other"]} for name, group in categories.items()} == {
        name: {f"results/{path}" for path in files} for name, files in SHOWN.items()
    }
    for files in SHOWN.values():
        for path, words in files.items():
            shown = results[f"results/{path}"]
            assert words in shown["caption"] and shown["labels"], path
            data = base64.b64decode(shown["data_uri"].partition("base64,")[2])
            assert data == (finished_project / "results" / path).read_bytes()


def test_the_archive_holds_the_results_as_files(
    finished_project: Path,
    tmp_path: Path,
    run_workflow: Callable[..., tuple[int, str]],
    offline: None,
) -> None:
    out = tmp_path / "report.zip"
    code, said = run_workflow(finished_project, "--report", str(out), seconds=120)
    assert code == 0, said
    with zipfile.ZipFile(out) as archive:
        assert archive.testzip() is None
        inside = {archive.read(name) for name in archive.namelist()}
        assert "report/report.html" in archive.namelist()
    for files in SHOWN.values():
        for path in files:
            assert (finished_project / "results" / path).read_bytes() in inside, path
