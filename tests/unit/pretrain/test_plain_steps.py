"""The loop's optimiser steps against the same steps written out plainly."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from genebert.config import Compute, Pretrain, Variant
from genebert.config import Model as ModelSettings
from genebert.corpus.read import Corpus
from genebert.corpus.sample import Views, place_corpus
from genebert.model.genebert import GeneBERT
from genebert.pretrain.loop import pretrain
from genebert.pretrain.objectives import run_objectives
from genebert.pretrain.prepare import Knowledge, prepare
from genebert.pretrain.record import Outputs
from genebert.pretrain.setup import Sources, initial_model

STEPS, WARMUP, PEAK, DECAY, SEED = 5, 2, 3e-3, 0.3, 7
SAMPLES, GROUP, HIDDEN = 16, 8, 0.3
VARIANT = Variant(masked_sequence=1, masked_region=3, matching=0.5, next_segment=2)


@pytest.fixture(scope="module")
def folder(
    synthetic_corpus: Corpus, write_corpus: Callable, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return write_corpus(synthetic_corpus, tmp_path_factory.mktemp("steps") / "corpus")


def settings(clip: float, **changes: Any) -> Pretrain:
    content = {
        "steps": STEPS,
        "batch_size": SAMPLES,
        "learning_rate": PEAK,
        "warmup_steps": WARMUP,
        "weight_decay": DECAY,
        "gradient_clip": clip,
        "matching_group": GROUP,
        "region_mask": HIDDEN,
        "evaluation_views": 16,
        "evaluate_every": 2,
    }
    return Pretrain(**(content | changes), variants={"own": VARIANT})


def rate_of(step: int) -> float:
    if step < WARMUP:
        return PEAK * (step + 1) / WARMUP
    return PEAK * 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (STEPS - WARMUP)))


def decays(name: str, parameter: torch.Tensor) -> bool:
    """Return whether a parameter is a matrix: Swin's tables of biases and rows' marks are none."""
    return parameter.ndim > 1 and not name.endswith((".bias", ".row"))


def loss_of(model: GeneBERT, views: Views, step: int) -> torch.Tensor:
    batch = views.batch(SEED, step, torch.arange(SAMPLES), augment=True)
    part = prepare(model, views, batch, VARIANT, "random_span", Knowledge(), HIDDEN)
    outcomes = run_objectives(model, part, VARIANT, Knowledge(), GROUP)
    weights = {"masked_sequence": 1, "masked_region": 3, "matching": 0.5, "next_segment": 2}
    assert outcomes.keys() == weights.keys()
    return sum(
        (weights[name] * out.loss / out.number for name, out in outcomes.items()), torch.zeros(())
    )


def plainly_trained(corpus: Corpus, model_settings: ModelSettings, clip: float) -> tuple[dict, list]:
    """Return the weights after all steps (AdamW: Loshchilov & Hutter 2019), and the gradients' norms."""
    model = initial_model(model_settings, VARIANT, SEED, corpus)
    views = Views(place_corpus(corpus), "train", model_settings.columns)
    mean = {name: torch.zeros_like(values) for name, values in model.named_parameters()}
    square = {name: torch.zeros_like(values) for name, values in model.named_parameters()}
    norms = []
    for step in range(STEPS):
        model.zero_grad()
        loss_of(model, views, step).backward()
        gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        norm = math.sqrt(sum(float((g.double() ** 2).sum()) for g in gradients.values()))
        norms.append(norm)
        rate = rate_of(step)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name not in gradients:
                    continue
                gradient = gradients[name] * min(1.0, clip / norm)
                mean[name] = 0.9 * mean[name] + 0.1 * gradient
                square[name] = 0.98 * square[name] + 0.02 * gradient**2
                first = mean[name] / (1 - 0.9 ** (step + 1))
                second = square[name] / (1 - 0.98 ** (step + 1))
                if decays(name, parameter):
                    parameter.mul_(1 - rate * DECAY)
                parameter.sub_(rate * first / (second.sqrt() + 1e-8))
    return model.state_dict(), norms


@pytest.mark.parametrize("clip", [1.0, 1e6])
def test_the_loop_takes_the_steps_of_plain_adamw(
    folder: Path, synthetic_corpus: Corpus, tiny_settings: ModelSettings, tmp_path: Path, clip: float
) -> None:
    outputs = Outputs(tmp_path / "model", tmp_path / "history.tsv", tmp_path / "checkpoints")
    compute, content = Compute(batch_per_device=SAMPLES), settings(clip)
    pretrain(folder, Sources(), tiny_settings, content, compute, "own", SEED, "cpu", outputs)
    found = load_file(tmp_path / "model" / "model.safetensors")
    expected, norms = plainly_trained(synthetic_corpus, tiny_settings, clip)
    assert found.keys() == expected.keys()
    # Clipping all or none, and by factors that differ: AdamW undoes one that stays the same.
    assert all((norm > clip) == (clip == 1) for norm in norms)
    assert max(norms) > 1.5 * min(norms)
    for name, values in expected.items():
        own: Any = ...
        if name.endswith("qkv.bias"):  # that of the keys has no gradient but rounding
            own = torch.arange(len(values)) // (len(values) // 3) != 1
        torch.testing.assert_close(found[name][own], values[own], rtol=0, atol=5e-5, msg=name)
    start = initial_model(tiny_settings, VARIANT, SEED, synthetic_corpus).state_dict()
    assert max(float((values - start[name]).abs().max()) for name, values in expected.items()) > PEAK
