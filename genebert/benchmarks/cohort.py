"""Cases and controls by the burden of their variants."""

from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from genebert.benchmarks.answer import Answer, Question
from genebert.benchmarks.individuals import Individuals, read_individuals_of
from genebert.benchmarks.nested_cv import Predictions, predict
from genebert.benchmarks.permutation import aurocs, p_value, redraw

TOP_REGIONS = 10


def answer(question: Question) -> Answer:
    """Predict each individual of a cohort from its burdens and covariates, out of fold.

    A region's burden is the sum over its variants of copies of the alternate allele × size of effect:
    how far the individual's region is from the reference as the model sees it. Effects are the sizes of
    what ``llr`` or ``distance`` gives; 1 for ``allele_count``. ``covariates_only`` has no burdens.

    Returns
    -------
    Answer
        A row an individual; no place, as individuals have none. Facts: ``auroc_of_covariates``,
        ``auroc_gain`` over them, its ``p_value`` by ``permutations``
        (:func:`genebert.benchmarks.permutation.redraw`), ``penalty_shares`` chosen by fold, and
        ``top_regions`` by the size of their weight: the mean over folds of the coefficient, times the
        burden's standard deviation. Which regions are causal is not known here.

    Raises
    ------
    GenebertError
        If the individuals were written with another dataset, or as
        :func:`genebert.benchmarks.zero_shot.effects`.
    """
    dataset, settings = question.dataset, question.dataset.metadata["settings"]
    assert question.companion is not None
    individuals = read_individuals_of(dataset, question.companion)
    name = question.model.name
    if name == "covariates_only":
        regions, burden = np.empty(0, np.int64), np.empty((len(individuals.table), 0))
    else:
        regions, burden = burdens(individuals, _effects(question))
    draws = int(settings["permutations"]) if len(regions) else 0
    # The same number of threads gives the same bits.
    with threadpool_limits(question.settings.threads):
        predictions, gains, base = with_draws(individuals, burden, draws, int(settings["seed"]))
    facts: dict[str, Any] = {
        "simulated": bool(dataset.metadata["simulated"]),
        "individuals": len(individuals.table),
        "cases": int(individuals.labels.sum()),
        "covariates": individuals.covariates.shape[1],
        "variants": len(individuals.region) if len(regions) else 0,
        "regions": len(regions),
        "auroc_of_covariates": base,
        "auroc_gain": float(gains[0]),
        "p_value": p_value(gains[0], gains[1:]),
        "permutations": draws,
        "penalty_shares": predictions.share.tolist(),
        "top_regions": top_regions(individuals, regions, burden, predictions.coefficient),
    }
    case = predictions.probability[:, 0]
    return Answer(np.column_stack([1 - case, case]), facts, _rows(individuals))


def burdens(individuals: Individuals, effect: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return int64 [regions], ids in the order of the variants, and float64 [individuals, regions].

    A missing genotype counts as the mean of the known ones of its variant, over all individuals: that
    looks at no label.

    Parameters
    ----------
    individuals
        The cohort.
    effect
        float64 [variants], what a copy of the alternate allele adds.
    """
    assert np.isfinite(effect).all()
    assert (effect >= 0).all()
    regions = pd.unique(individuals.region)
    burden = np.empty((len(individuals.dosage), len(regions)))
    for column, region in enumerate(regions):
        variants = np.flatnonzero(individuals.region == region)
        dosage = individuals.dosage[:, variants].astype(np.float64)
        known = dosage >= 0
        mean = (dosage * known).sum(0) / np.maximum(known.sum(0), 1)
        burden[:, column] = np.where(known, dosage, mean) @ effect[variants]
    return regions, burden


def _effects(question: Question) -> np.ndarray:
    """Return float64 [variants], what a copy of the alternate allele adds to its region's burden."""
    if question.model.name == "allele_count":
        return np.ones(len(question.dataset.table))
    from genebert.benchmarks import zero_shot  # noqa: PLC0415 (a baseline need not wait for torch)

    return np.abs(zero_shot.effects(question))


def with_draws(
    individuals: Individuals, burden: np.ndarray, draws: int, seed: int
) -> tuple[Predictions, np.ndarray, float]:
    """Predict the phenotype and draws of it under the null hypothesis.

    Returns the predictions; float64 [1 + draws], what burdens add to the AUROC of covariates, the
    phenotype's own first; and that AUROC.
    """
    labels, covariates, folds = individuals.labels, individuals.covariates, individuals.folds
    drawn = redraw(labels, covariates, folds, draws, seed)
    phenotypes = np.column_stack([labels.astype(np.int8), drawn])
    predictions = predict(burden, covariates, folds, phenotypes)
    alone = predict(burden[:, :0], covariates, folds, phenotypes)
    base = _aurocs(phenotypes, alone)
    return predictions, _aurocs(phenotypes, predictions) - base, float(base[0])


def _aurocs(phenotypes: np.ndarray, predictions: Predictions) -> np.ndarray:
    """Return the AUROC of each phenotype's predictions as they are stored: what rounding parts ties."""
    return aurocs(phenotypes, predictions.probability.astype(np.float32))


def top_regions(
    individuals: Individuals, regions: np.ndarray, burden: np.ndarray, coefficient: np.ndarray
) -> list[dict[str, Any]]:
    """Return the regions that weigh most, largest first: ``region``, ``variants``, ``weight``.

    A positive weight is more burden in cases.
    """
    weight = coefficient.mean(0) * burden.std(0)
    order = np.argsort(-np.abs(weight), kind="stable")[:TOP_REGIONS]
    return [
        {
            "region": individuals.places[int(regions[column])],
            "variants": int((individuals.region == regions[column]).sum()),
            "weight": float(weight[column]),
        }
        for column in order
    ]


def _rows(individuals: Individuals) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "example_id": np.arange(len(individuals.table), dtype=np.uint32),
            "chrom": "",
            "start": np.int64(0),
            "end": np.int64(0),
            "strand": "+",
            "cell_type": "any",
            "split": "test",
            "subset": "",
            "label": individuals.labels.astype(np.int32),
        }
    )
