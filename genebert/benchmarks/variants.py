"""Every model of a task of variants: zero-shot scores, or probabilities by cross-validation."""

from typing import Any

import numpy as np

from genebert.benchmarks.alleles import on_other_strand, with_alternatives
from genebert.benchmarks.answer import Answer, Question
from genebert.benchmarks.baselines.features import features_of
from genebert.benchmarks.cross_validation import out_of_fold
from genebert.benchmarks.dataset import Dataset


def answer(question: Question) -> Answer:
    """Score every variant.

    ``llr`` and ``distance`` have seen no label: their scores are no probabilities. A probe, or a
    baseline, is a logistic regression on what it sees of the reference and on what the alternate allele
    changes of it, both the mean of the two strands; it predicts each of the task's folds by the others.

    Raises
    ------
    GenebertError
        If the readout is not defined for the variants, or a class lies in one fold only.
    """
    dataset = question.dataset
    facts: dict[str, Any] = {"readout": question.model.readout or "baseline"} | _seen(dataset)
    if question.model.readout in ("llr", "distance"):
        from genebert.benchmarks.zero_shot import effects  # noqa: PLC0415 (a baseline needs no torch)

        scores = effects(question)
        facts |= {"mean": float(scores.mean()), "standard_deviation": float(scores.std())}
        return Answer(scores, facts)
    reference, alternative = _features(question)
    probability, chosen = out_of_fold(
        np.concatenate([reference, alternative - reference], axis=1),
        dataset.labels,
        dataset.table["fold"].to_numpy(),
        f"benchmarks.tasks.{dataset.metadata['task']}",
        question.settings.threads,
    )
    return Answer(probability, facts | chosen)


def _seen(dataset: Dataset) -> dict[str, Any]:
    """Return how many variants lie in stretches of pre-training, and their share."""
    seen = dataset.table["subset"] == "pretraining"
    return {"in_pretraining": int(seen.sum()), "in_pretraining_fraction": float(seen.mean())}


def _features(question: Question) -> tuple[np.ndarray, np.ndarray]:
    """Return float32 [n, width] of either allele."""
    dataset, name = question.dataset, question.model.name
    if question.model.readout == "probe" or name == "untrained_probe":
        from genebert.benchmarks.zero_shot import allele_features  # noqa: PLC0415

        batches = [
            [strands.mean(0).cpu().numpy() for strands in alleles]
            for alleles in allele_features(question)
        ]
        reference, alternative = map(np.concatenate, zip(*batches, strict=True))
        return reference, alternative
    motifs = len(question.corpus.motifs)
    reference, alternative = (
        (features_of(name, own, motifs) + features_of(name, on_other_strand(own), motifs)) / 2
        for own in (dataset, with_alternatives(dataset))
    )
    return reference, alternative
