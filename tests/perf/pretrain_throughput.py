"""How fast pre-training is: against the device's peak, against transformers, and what drawing takes.

    python tests/perf/pretrain_throughput.py                       # CUDA: preset base, else small
    python tests/perf/pretrain_throughput.py --preset tiny --batch 32 --regions 5000   # as the demo
    python tests/perf/pretrain_throughput.py --quick               # seconds, to see that it runs
    python tests/perf/pretrain_throughput.py --profile             # top operations too, on stderr

A corpus of random regions of 515 bp (512 tokens of 6-mers) and 1,014 motifs, each region open in 17
cell types, lies on the device: of a million regions, 17 million views. Whole optimiser steps are timed,
arms in turn, and medians taken:

- `sequence`: masked-sequence training alone, as the workflow runs it: drawing, both passes, clipping,
  fused AdamW, the check of the gradient that the loop makes.
- `multimodal`: masked_sequence, masked_region and matching together.
- `transformers_best`: BertForMaskedLM of the same layers, width, heads, vocabulary and tokens,
  scaled-dot-product attention, without dropout as ours. It gets its batch ready-made.
- `transformers_default`: the same with eager attention and dropout 0.1, never compiled.

All arms compute in bf16 autocast on CUDA and in float32 on the CPU; `--compile` (the default on CUDA)
compiles our encoders and `transformers_best`. All have the same batch, in as many parts, optimiser and
clipping.

Model FLOPs are counted by genebert/model/flops.py: 6 × weights used a token + 12 × layers × width ×
tokens of attention, logits of hidden tokens only (of all tokens for transformers, which computes them),
windows of the region encoder one by one. `mfu` is their rate over the dense bf16 peak of the device,
null where it is not known. `draw` is what views, k-mers, masking and matrices take alone, and its share
of a step.

Prints one line of JSON.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from transformers import BertConfig, BertForMaskedLM

from genebert.config import Model as ModelSettings
from genebert.config import Pretrain
from genebert.corpus.read import Corpus
from genebert.corpus.sample import Views, place_corpus
from genebert.corpus.schema import VERSION, Metadata
from genebert.devices import use_threads
from genebert.model.flops import view_flops
from genebert.model.genebert import GeneBERT, compile_encoders
from genebert.pretrain.prepare import Prepared, cut
from genebert.pretrain.schedule import adamw
from genebert.pretrain.step import Recipe, agree, draw, learn

WIDTH, MOTIFS, CELL_TYPES = 515, 1014, 17
RATE, DECAY, CLIP = 4e-4, 0.01, 1.0
# Dense bf16 TFLOP/s by torch's name of the device.
PEAK = {
    "NVIDIA H100 80GB HBM3": 989,
    "NVIDIA H200": 989,
    "NVIDIA A100-SXM4-80GB": 312,
    "NVIDIA A100-SXM4-40GB": 312,
    "NVIDIA A100 80GB PCIe": 312,
    "NVIDIA A100-PCIE-40GB": 312,
}


def random_corpus(regions: int) -> Corpus:
    """Return a corpus of random sequences with about 140 motif hits each, all for training."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, 256, (regions, MOTIFS), dtype=np.uint8)
    best = np.where(drawn < 36, drawn + np.uint8(92), np.uint8(0))
    contigs = 24
    metadata = Metadata(
        version=VERSION,
        genome="random",
        catalogue="random",
        width=WIDTH,
        motifs=[f"motif{number}" for number in range(MOTIFS)],
        motif_digest="random",
        thresholds=[1.0] * MOTIFS,
        realised_p=[1e-4] * MOTIFS,
        background=[0.25] * 4,
        pseudocount=0.1,
        cell_types=[f"cell{number}" for number in range(CELL_TYPES)],
        inputs={},
        packages={},
    )
    return Corpus(
        metadata=metadata,
        contigs=[f"contig{number}" for number in range(contigs)],
        contig=np.sort(rng.integers(0, contigs, regions, dtype=np.int32)),
        start=np.arange(regions) * 1000,
        split=np.zeros(regions, np.int8),
        sequence=rng.integers(0, 4, (regions, WIDTH), dtype=np.uint8),
        best=best,
        open_offsets=np.arange(regions + 1) * CELL_TYPES,
        open_cell_type=np.tile(np.arange(CELL_TYPES, dtype=np.int16), regions),
    )


def our_step(
    model: GeneBERT,
    optimiser: torch.optim.Optimizer,
    views: Views,
    recipe: Recipe,
    parts: list[range],
    step: int,
) -> None:
    """Take one step as genebert/pretrain/loop.py does."""
    share = draw(model, views, recipe, step, parts, "random_span")
    counts, _, _ = agree(share, recipe.variant, False, False)
    learn(model, share, parts, counts, recipe)
    finish(model, optimiser)


def their_step(
    bert: BertForMaskedLM,
    optimiser: torch.optim.Optimizer,
    ids: torch.Tensor,
    labels: torch.Tensor,
    parts: int,
    step: int,
) -> None:
    """Take one step of transformers' model, each part on the same ready-made views."""
    bert.zero_grad(set_to_none=True)
    device = ids.device.type
    for _ in range(parts):
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            loss = bert(input_ids=ids, labels=labels).loss / parts
        loss.backward()
    finish(bert, optimiser)


def finish(model: torch.nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Clip, look whether the gradient is finite, learn."""
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    assert torch.isfinite(norm)
    optimiser.step()


def our_arm(
    settings: ModelSettings,
    views: Views,
    recipe: Recipe,
    parts: list[range],
    device: str,
    compiled: bool,
) -> tuple[GeneBERT, Callable[[int], None]]:
    """Return a new model of ours and its step."""
    torch.manual_seed(0)
    model = GeneBERT(settings, MOTIFS).to(device)
    if compiled:
        compile_encoders(model)
    return model, partial(our_step, model, adamw(model, RATE, DECAY), views, recipe, parts)


def their_arm(
    settings: ModelSettings, part: Prepared, parts: int, device: str, compiled: bool, best: bool
) -> Callable[[int], None]:
    """Return the step of a new model of transformers of the same shape."""
    sequence = settings.sequence
    shape = {
        "vocab_size": 5 + 4**sequence.k,
        "hidden_size": sequence.width,
        "num_hidden_layers": sequence.layers,
        "num_attention_heads": sequence.heads,
        "intermediate_size": sequence.feedforward,
        "max_position_embeddings": sequence.positions,
    }
    no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = BertConfig(
        **shape, **(no_dropout if best else {}), attn_implementation="sdpa" if best else "eager"
    )
    torch.manual_seed(0)
    bert = BertForMaskedLM(config).to(device).train()
    if compiled and best:
        bert.compile(dynamic=False)
    labels = torch.full_like(part.ids, -100).flatten()
    labels[part.asked] = part.ids.flatten()[part.asked]
    optimiser = adamw(bert, RATE, DECAY)
    return partial(their_step, bert, optimiser, part.shown, labels.view_as(part.ids), parts)


def seconds_of(run: Callable[[int], Any], device: str, steps: int, first: int) -> float:
    """Return the mean time of so many steps in a row."""
    synchronise(device)
    started = time.perf_counter()
    for step in range(first, first + steps):
        run(step)
    synchronise(device)
    return (time.perf_counter() - started) / steps


def synchronise(device: str) -> None:
    """Wait until the device has done what it was told."""
    if device == "cuda":
        torch.cuda.synchronize()


def in_turn(
    arms: dict[str, Callable[[int], Any]], device: str, steps: int, repeats: int
) -> dict[str, float]:
    """Return the median time of a step of each arm."""
    for run in arms.values():
        seconds_of(run, device, 3, 0)  # compiles, and warms up
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for repeat in range(repeats):
        for name, run in arms.items():
            seconds[name].append(seconds_of(run, device, steps, 3 + repeat * steps))
    return {name: statistics.median(values) for name, values in seconds.items()}


def print_profile(arms: dict[str, Callable[[int], Any]], device: str) -> None:
    """Print the operations that take most of the steps of our arms."""
    for name in ("sequence", "multimodal"):
        with torch.profiler.profile() as profile:
            seconds_of(arms[name], device, 3, 0)
        key = "self_device_time_total" if device == "cuda" else "self_cpu_time_total"
        table = profile.key_averages().table(sort_by=key, row_limit=30, max_name_column_width=60)
        print(f"{name}\n{table}", file=sys.stderr)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run every arm and return the figures."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    use_threads(options.threads, device)
    settings, size = ModelSettings(preset=options.preset), options.batch
    batch, group = size * options.parts, min(64, size)
    parts = [range(first, first + size) for first in range(0, batch, size)]
    pretrain = Pretrain(batch_size=batch, matching_group=group, evaluation_views=group)
    recipes = {
        arm: Recipe(pretrain, pretrain.variants[variant], 0)
        for arm, variant in (("sequence", "sequence_only"), ("multimodal", "multimodal"))
    }
    corpus = random_corpus(options.regions)
    views = Views(place_corpus(corpus, device), "train", settings.columns)

    arms: dict[str, Callable[[int], Any]] = {}
    for name, recipe in recipes.items():
        model, arms[name] = our_arm(settings, views, recipe, parts, device, options.compile)
        arms[f"draw_{name}"] = partial(draw, model, views, recipe, parts=parts, strategy="random_span")
    share = arms["draw_sequence"](0)
    part = cut(share, [size] * options.parts)[0]
    for best in (True, False):
        name = "transformers_best" if best else "transformers_default"
        arms[name] = their_arm(settings, part, options.parts, device, options.compile, best)
    seconds = in_turn(arms, device, options.steps, options.repeats)
    if options.profile:
        print_profile(arms, device)

    tokens = part.ids.shape[1]
    hidden = len(share.asked) / batch
    count_flops = partial(view_flops, settings, MOTIFS, tokens, group=group)
    flops = {name: count_flops(hidden, objectives=r.variant.weights()) for name, r in recipes.items()}
    theirs = count_flops(tokens, objectives=["masked_sequence"])
    flops |= {"transformers_best": theirs, "transformers_default": theirs}
    device_name = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or "CPU"
    peak = PEAK.get(device_name)
    figures = {}
    for name, operations in flops.items():
        rate = operations * batch / seconds[name] / 1e12
        figures[name] = {
            "step_ms": round(1e3 * seconds[name], 2),
            "tokens_per_second": round(batch * tokens / seconds[name]),
            "mflop_per_token": round(operations / tokens / 1e6, 1),
            "tflops": round(rate, 3),
            "mfu": peak and round(rate / peak, 4),
        }
    return {
        "benchmark": "pretrain_throughput",
        "device": device_name,
        "peak_bf16_tflops": peak,
        "precision": "bf16 autocast" if device == "cuda" else "float32",
        "preset": options.preset,
        "batch": batch,
        "parts": options.parts,
        "tokens": tokens,
        "hidden_tokens": round(hidden, 1),
        "motifs": MOTIFS,
        "columns": settings.columns,
        "heads": settings.sequence.heads,
        "regions": corpus.regions,
        "views": len(views),
        "compiled": options.compile,
        "steps": options.steps,
        "repeats": options.repeats,
        "arms": figures,
        "sequence_over_transformers": {
            name: round(seconds[f"transformers_{name}"] / seconds["sequence"], 3)
            for name in ("best", "default")
        },
        "draw": {
            name: {
                "ms": round(1e3 * seconds[f"draw_{name}"], 3),
                "share_of_step": round(seconds[f"draw_{name}"] / seconds[name], 4),
            }
            for name in recipes
        },
        "gpu_gb": round(torch.cuda.max_memory_allocated() / 1e9, 1) if device == "cuda" else None,
        "cores": len(os.sched_getaffinity(0)),
        "threads": options.threads,
        "machine": platform.machine(),
        "versions": {name: version(name) for name in ("torch", "transformers", "numpy")},
        "python": platform.python_version(),
    }


def main() -> None:
    """Parse, measure, print."""
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--preset", choices=["tiny", "small", "base"], default="base" if cuda else "small"
    )
    parser.add_argument("--batch", type=int, default=64 if cuda else 8, help="views at a time")
    parser.add_argument("--parts", type=int, default=4 if cuda else 1, help="accumulated in a step")
    parser.add_argument("--steps", type=int, default=20 if cuda else 2, help="in a row")
    parser.add_argument("--repeats", type=int, default=5, help="of which the median is taken")
    parser.add_argument("--regions", type=int, default=1_000_000 if cuda else 20_000)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=cuda)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of the CPU")
    parser.add_argument("--profile", action="store_true", help="print the top operations to stderr")
    parser.add_argument("--quick", action="store_true", help="tiny, to see that it runs")
    options = parser.parse_args()
    if options.quick:
        options.preset, options.batch, options.parts = "tiny", 2, 2
        options.steps, options.repeats, options.regions, options.compile = 1, 1, 200, False
    print(json.dumps(measure(options)))


if __name__ == "__main__":
    main()
