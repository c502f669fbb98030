"""The benchmarks of training run, and say what they measured in one line of JSON."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ARMS = {"sequence", "multimodal", "transformers_best", "transformers_default"}


def _run(script: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, script, "--quick"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


@pytest.fixture(scope="module")
def figures(repository: Path) -> dict[str, Any]:
    return _run(repository / "tests/perf/pretrain_throughput.py")


def test_sizes_and_versions_are_told(figures: dict[str, Any]) -> None:
    assert figures["benchmark"] == "pretrain_throughput"
    assert (figures["preset"], figures["tokens"], figures["motifs"]) == ("tiny", 512, 1014)
    assert figures["batch"] % figures["parts"] == 0
    assert figures["views"] == 17 * figures["regions"]
    # Of 510 tokens 14 %, of a handful of views.
    assert 20 < figures["hidden_tokens"] < 160
    assert {"torch", "transformers"} <= figures["versions"].keys()
    assert all(figures[name] for name in ("device", "precision", "threads", "machine", "python"))


def test_rates_follow_from_times_and_operations(figures: dict[str, Any]) -> None:
    assert figures["arms"].keys() == ARMS
    for arm in figures["arms"].values():
        seconds, tokens = arm["step_ms"] / 1000, figures["batch"] * figures["tokens"]
        assert 0 < seconds < 60
        assert arm["tokens_per_second"] == pytest.approx(tokens / seconds, rel=0.01)
        million = arm["tokens_per_second"] / 1e6
        # Both are rounded: to 0.1 MFLOP, to 0.001 TFLOP/s.
        close = 0.06 * million + 0.0006
        assert arm["tflops"] == pytest.approx(arm["mflop_per_token"] * million, abs=close)
        peak = figures["peak_bf16_tflops"]
        assert arm["mfu"] == (peak and pytest.approx(arm["tflops"] / peak, abs=1e-3))
    # Theirs computes logits of all tokens, of which ours leaves six in seven away.
    operations = {name: arm["mflop_per_token"] for name, arm in figures["arms"].items()}
    assert operations["sequence"] < operations["multimodal"] < operations["transformers_best"]


def test_ratios_are_those_of_the_same_run(figures: dict[str, Any]) -> None:
    times = {name: arm["step_ms"] for name, arm in figures["arms"].items()}
    for name in ("best", "default"):
        expected = times[f"transformers_{name}"] / times["sequence"]
        assert figures["sequence_over_transformers"][name] == pytest.approx(expected, rel=0.01)
    assert figures["draw"].keys() == {"sequence", "multimodal"}
    for name, drawing in figures["draw"].items():
        assert 0 < drawing["share_of_step"] < 1
        share = drawing["ms"] / times[name]
        assert drawing["share_of_step"] == pytest.approx(share, rel=0.01, abs=2e-4)


def test_overhead_is_measured_of_each_kind_of_input(repository: Path) -> None:
    figures = _run(repository / "tests/perf/benchmark_overhead.py")
    assert (figures["benchmark"], figures["preset"]) == ("benchmark_overhead", "tiny")
    assert (figures["examples"], figures["bp"], figures["motifs"]) == (300, 300, 1014)
    # About 100 hits an example, a few of them of one motif.
    assert 90 < figures["hits"] / figures["examples"] < 100
    assert figures["step"].keys() == {"both", "sequence"}
    for step in figures["step"].values():
        assert 0 < step["batch_ms"] < step["step_ms"]
        share = step["batch_ms"] / step["step_ms"]
        assert step["share_of_step"] == pytest.approx(share, rel=0.02, abs=2e-5)
    read = figures["read"]
    assert read["rows_per_second"] == pytest.approx(300 / read["read_seconds"], rel=0.2)
    assert 0 < figures["kmer_logistic"]["seconds"] < 60
    assert 0 <= figures["kmer_logistic"]["accuracy"] <= 1
    assert {"torch", "pyarrow", "scikit-learn"} <= figures["versions"].keys()
    assert all(figures[name] for name in ("device", "precision", "threads", "machine", "python"))
