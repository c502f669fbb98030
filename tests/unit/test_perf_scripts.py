"""The benchmark of pre-training runs, and says what it measured in one line of JSON."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ARMS = {"sequence", "multimodal", "transformers_best", "transformers_default"}


@pytest.fixture(scope="module")
def figures(repository: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, repository / "tests/perf/pretrain_throughput.py", "--quick"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


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
