"""Accumulation and several processes give what one process gives at once, beyond rounding."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from genebert.config import Compute, Pretrain, Variant
from genebert.config import Model as ModelSettings
from genebert.corpus.read import Corpus

ROOT = Path(__file__).parents[3]
# Of everything: groups of 16 among 32 views.
SETTINGS = Pretrain(
    steps=4,
    batch_size=32,
    learning_rate=2e-3,
    warmup_steps=0,
    matching_group=16,
    evaluate_every=2,
    evaluation_views=32,
    variants={
        "multimodal": Variant(masked_sequence=1, masked_region=1, matching=1, next_segment=1),
        "sequence_only": Variant(masked_sequence=1),
    },
)
Run = Callable[..., tuple[dict[str, torch.Tensor], pd.DataFrame]]


@pytest.fixture(scope="module")
def folder(
    synthetic_corpus: Corpus, write_corpus: Callable, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return write_corpus(synthetic_corpus, tmp_path_factory.mktemp("parallel") / "corpus")


@pytest.fixture(scope="module")
def run(folder: Path, tiny_settings: ModelSettings, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Pre-train by the command line in so many processes; return weights and history."""

    def go(
        processes: int, per_device: int, variant: str = "multimodal"
    ) -> tuple[dict[str, torch.Tensor], pd.DataFrame]:
        out = tmp_path_factory.mktemp("run")
        start = [sys.executable]
        if processes > 1:
            start += ["-m", "torch.distributed.run", "--standalone"]
            start += ["--nproc-per-node", str(processes)]
        compute = Compute(gpus=0, batch_per_device=per_device)
        done = subprocess.run(
            [
                *start,
                *("-m", "genebert", "pretrain", "--corpus", folder),
                *("--model", tiny_settings.model_dump_json()),
                *("--settings", SETTINGS.model_dump_json()),
                *("--compute", compute.model_dump_json()),
                *("--variant", variant, "--seed", "3"),
                *("--out", out / "model", "--history", out / "history.tsv"),
                *("--checkpoints", out / "checkpoints"),
            ],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        provenance = json.loads((out / "model/provenance.json").read_text())
        assert provenance["processes"] == processes
        history = pd.read_csv(out / "history.tsv", sep="\t")
        return load_file(out / "model/model.safetensors"), history

    return go


@pytest.fixture(scope="module")
def alone(run: Run) -> tuple[dict[str, torch.Tensor], pd.DataFrame]:
    """One process that holds the whole batch."""
    return run(1, 32)


def check_equal(
    found: tuple[dict[str, torch.Tensor], pd.DataFrame],
    expected: tuple[dict[str, torch.Tensor], pd.DataFrame],
) -> None:
    torch.testing.assert_close(found[0], expected[0], rtol=0, atol=2e-5)
    keys = ["step", "split", "metric"]
    pd.testing.assert_frame_equal(found[1][keys], expected[1][keys])
    difference = (found[1]["value"] - expected[1]["value"]).abs()
    assert (difference <= 1e-3 * expected[1]["value"].abs().clip(lower=1)).all()


@pytest.mark.parametrize(
    ("processes", "per_device"),
    [
        (1, 16),  # two parts, each a group
        (2, 16),  # a part and a group each
        (2, 8),  # a group spans both processes, in two parts
    ],
)
def test_how_a_batch_is_shared_out_changes_nothing(
    run: Run,
    alone: tuple[dict[str, torch.Tensor], pd.DataFrame],
    processes: int,
    per_device: int,
) -> None:
    found = run(processes, per_device)
    check_equal(found, alone)


def test_the_runs_compared_did_learn(
    run: Run, alone: tuple[dict[str, torch.Tensor], pd.DataFrame]
) -> None:
    losses = alone[1].query("split == 'validation' and metric == 'masked_region_loss'")["value"]
    assert losses.iloc[-1] < losses.iloc[0]
