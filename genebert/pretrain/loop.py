"""Pre-training, from a corpus to a model's folder. It reads from top to bottom."""

import csv
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from genebert.config import Model as ModelSettings
from genebert.config import Pretrain as Settings
from genebert.config import Variant
from genebert.corpus.place import open_corpus
from genebert.corpus.read import Corpus
from genebert.corpus.sample import Batch, Views, place_corpus
from genebert.corpus.scores import STEPS, from_steps
from genebert.devices import pick_device, use_threads
from genebert.errors import GenebertError
from genebert.files import open_text_for_writing
from genebert.model.checkpoint import Card, save_model, versions
from genebert.model.genebert import GeneBERT
from genebert.pretrain.matching_baseline import linear_top1
from genebert.pretrain.objectives import (
    Outcome,
    add,
    readable,
    run_objectives,
    total_loss,
)
from genebert.pretrain.schedule import adamw, learning_rate, set_rate
from genebert.progress import Progress

LOG_EVERY = 10
# Held-out views are the same at every evaluation, whatever the seed of the run.
EVALUATION_SEED = 2**40
# Training regions that the linear baseline is fitted on, at most.
BASELINE_REGIONS = 4000


def pretrain(
    corpus_folder: str | Path,
    model_settings: ModelSettings,
    settings: Settings,
    variant_name: str,
    seed: int,
    out: str | Path,
    history: str | Path,
) -> str:
    """Train one variant with one seed; return a line on the result.

    Parameters
    ----------
    corpus_folder
        Holds the parts and ``manifest.json``.
    model_settings, settings
        Sizes of the network; steps, batch and variants.
    variant_name
        Key of ``settings.variants``.
    seed
        Decides the initial weights and every draw.
    out
        Folder of the model to write.
    history
        TSV to write: step, split, metric, value.
    """
    use_threads(settings.threads)
    device = pick_device()
    variant = settings.variants[variant_name]
    corpus = open_corpus(corpus_folder, device)
    placed = place_corpus(corpus, device)
    train = Views(placed, "train", model_settings.columns)
    held_out = Views(placed, "validation", model_settings.columns)

    torch.manual_seed(seed)  # variants of one seed start from the same weights
    model = GeneBERT(model_settings, len(corpus.metadata.motifs))
    mean, std = row_statistics(corpus)
    model.row_mean.copy_(torch.from_numpy(mean))
    model.row_std.copy_(torch.from_numpy(std))
    model.composition_mean.copy_(mean_composition(model, corpus))
    model.to(device)

    rows: list[tuple[int, str, str, float]] = []
    evaluation = _batches(held_out, settings, variant) if variant.trained else []
    if variant.matching:
        top1 = _linear_baseline(corpus, mean, std, evaluation, settings.matching_group)
        rows.append((0, "validation", "matching_linear_top1", top1))
    if variant.trained:
        rows += _train(model, train, evaluation, settings, variant, seed)

    steps = settings.steps if variant.trained else 0
    card = Card(
        settings=model_settings,
        motifs=corpus.metadata.motifs,
        motif_digest=corpus.metadata.motif_digest,
        variant=variant_name,
        seed=seed,
        steps=steps,
    )
    provenance = {
        "settings": settings.model_dump(),
        "inputs": corpus.metadata.inputs,
        "versions": versions(),
    }
    save_model(model.cpu(), card, provenance, out)
    with open_text_for_writing(history) as text:
        writer = csv.writer(text, delimiter="\t", lineterminator="\n")
        writer.writerow(["step", "split", "metric", "value"])
        writer.writerows((step, split, name, f"{value:.6g}") for step, split, name, value in rows)
    return f"{variant_name}, seed {seed}: {steps} steps on {len(train)} views"


def _train(
    model: GeneBERT,
    views: Views,
    evaluation: list[Batch],
    settings: Settings,
    variant: Variant,
    seed: int,
) -> list[tuple[int, str, str, float]]:
    device = next(model.parameters()).device
    optimiser = adamw(model, settings.learning_rate, settings.weight_decay)
    indices = torch.arange(settings.batch_size, device=device)
    rows: list[tuple[int, str, str, float]] = []
    since_log: dict[str, Outcome] = {}

    progress = Progress(range(settings.steps), "pre-training")
    for step in progress:
        batch = views.batch(seed, step, indices, augment=True, shuffled=variant.matrices == "shuffled")
        model.train()
        rate = learning_rate(step, settings.steps, settings.warmup_steps, settings.learning_rate)
        set_rate(optimiser, rate)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            outcomes = run_objectives(
                model, batch, variant, settings.region_mask, settings.matching_group
            )
        loss = total_loss(outcomes, variant)
        if not torch.isfinite(loss):
            _stop(step, [k for k, v in outcomes.items() if not torch.isfinite(v.loss)])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_clip)
        optimiser.step()

        for name, outcome in outcomes.items():
            since_log[name] = add(outcome, since_log.get(name))
        done = step + 1
        if done % LOG_EVERY == 0 or done == settings.steps:
            figures = _readable(since_log)
            rows += [(done, "train", name, value) for name, value in figures.items()]
            since_log = {}
            progress.note(", ".join(f"{k} {v:.3f}" for k, v in figures.items() if "loss" in k))
        if done % settings.evaluate_every == 0 or done == settings.steps:
            figures = evaluate(model, evaluation, settings, variant)
            if bad := [name for name in outcomes if not math.isfinite(figures[f"{name}_loss"])]:
                _stop(step, bad)
            rows += [(done, "validation", name, value) for name, value in figures.items()]
            shown = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
            print(f"held out, step {done}: {shown}", file=sys.stderr, flush=True)
    return rows


@torch.no_grad()
def evaluate(
    model: GeneBERT, batches: list[Batch], settings: Settings, variant: Variant
) -> dict[str, float]:
    """Return each objective's figures on held-out views; matching is judged on unmasked input."""
    model.eval()
    device = next(model.parameters()).device
    sums: dict[str, Outcome] = {}
    passes = [variant.model_copy(update={"matching": 0.0})] if _reconstructs(variant) else []
    if variant.matching:
        passes.append(variant.model_copy(update={"masked_sequence": 0.0, "masked_region": 0.0}))
    for batch in batches:
        for objectives in passes:
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                outcomes = run_objectives(
                    model, batch, objectives, settings.region_mask, settings.matching_group
                )
            for name, outcome in outcomes.items():
                sums[name] = add(outcome, sums.get(name))
    return _readable(sums)


def row_statistics(corpus: Corpus) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each motif over training regions, float32 [T].

    A motif without spread gets the standard deviation 1.
    """
    total = np.zeros(len(corpus.metadata.motifs))
    squares = np.zeros_like(total)
    training = np.flatnonzero(corpus.in_split("train"))
    for rows in _blocks(training):
        # Whole numbers up to 2^24: exact in float32, whatever their order.
        steps = corpus.best[rows].astype(np.float32)
        total += steps.sum(axis=0)
        squares += np.einsum("nt,nt->t", steps, steps)
    n = max(len(training), 1)
    mean = total / STEPS / n
    variance = squares / STEPS**2 / n - mean**2
    std = np.sqrt(np.clip(variance, 0, None))
    return mean.astype(np.float32), np.where(std > 1e-6, std, 1).astype(np.float32)


def mean_composition(model: GeneBERT, corpus: Corpus) -> torch.Tensor:
    """Return the mean k-mer composition of the training regions, float32 [4^k]."""
    training = np.flatnonzero(corpus.in_split("train"))
    parts = []
    for rows in _blocks(training):
        ids = model.tokenizer(torch.from_numpy(corpus.sequence[rows]))
        parts.append(model.tokenizer.composition(ids).sum(0))
    return torch.stack(parts).sum(0) / len(training)


def _blocks(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Cut row numbers into blocks: a corpus mapped from files is never whole in memory."""
    return (rows[start : start + 1024] for start in range(0, len(rows), 1024))


def _batches(views: Views, settings: Settings, variant: Variant) -> list[Batch]:
    group = settings.matching_group
    size = max(group, min(settings.batch_size, settings.evaluation_views) // group * group)
    device = views.region.device

    def draw() -> Iterator[Batch]:
        for start in range(0, settings.evaluation_views, size):
            indices = torch.arange(start, min(start + size, settings.evaluation_views), device=device)
            yield views.batch(
                EVALUATION_SEED,
                0,
                indices,
                augment=False,
                shuffled=variant.matrices == "shuffled",
            )

    return list(draw())


def _linear_baseline(
    corpus: Corpus, mean: np.ndarray, std: np.ndarray, batches: list[Batch], group: int
) -> float:
    regions = np.flatnonzero(corpus.in_split("train"))
    regions = regions[:: -(-len(regions) // BASELINE_REGIONS)]
    focal = torch.cat([batch.focal for batch in batches]).cpu().numpy()
    return linear_top1(
        corpus.sequence[regions],
        (from_steps(corpus.best[regions]) - mean) / std,
        corpus.sequence[focal],
        (torch.cat([b.matrix[:, :, b.matrix.shape[2] // 2] for b in batches]).cpu().numpy() - mean)
        / std,
        focal,
        group=group,
    )


def _reconstructs(variant: Variant) -> bool:
    return bool(variant.masked_sequence or variant.masked_region)


def _readable(outcomes: dict[str, Outcome]) -> dict[str, float]:
    figures: dict[str, float] = {}
    for name, outcome in outcomes.items():
        figures |= readable(name, outcome)
    return figures


def _stop(step: int, bad: list[str]) -> None:
    raise GenebertError(
        f"the loss of {', '.join(bad) or 'all objectives'} is not finite at step {step}",
        "lower pretrain.learning_rate or raise pretrain.warmup_steps",
    )
