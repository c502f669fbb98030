from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import kstest
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from genebert.benchmarks import zero_shot
from genebert.benchmarks.answer import Question
from genebert.benchmarks.cohort import answer, burdens, with_draws
from genebert.benchmarks.dataset import Dataset, Hits
from genebert.benchmarks.individuals import Individuals, write_individuals
from genebert.benchmarks.nested_cv import stratified_folds
from genebert.benchmarks.run import PREDICTION_COLUMNS, as_table
from genebert.config import Finetune, parse_model
from genebert.corpus.read import Corpus
from genebert.model.checkpoint import Card, save_model
from genebert.model.genebert import GeneBERT

VARIANTS, REGIONS = 30, 10
SETTINGS = {"permutations": 99, "seed": 3, "folds": 5}
CAUSAL = 4
Case = tuple[np.ndarray, np.ndarray, np.ndarray]


def _cohort(
    labels: np.ndarray, covariates: np.ndarray, dosage: np.ndarray, region: np.ndarray, seed: int = 1
) -> Individuals:
    folds = stratified_folds(labels, 5, seed)
    table = pd.DataFrame(
        {
            "sample": [f"s{n:04}" for n in range(len(labels))],
            "label": labels.astype(np.int32),
            "fold": folds.outer,
            "inner_fold": folds.inner,
            **{f"covariate_pc{n}": column for n, column in enumerate(covariates.T)},
        }
    )
    places = {int(number): f"chr1:{number * 100}-{number * 100 + 50}" for number in region}
    return Individuals(table, dosage.astype(np.int8), region, places)


@pytest.fixture(scope="module")
def planted() -> Individuals:
    """A phenotype that follows one covariate and one region's burden; some genotypes are missing."""
    rng = np.random.default_rng(0)
    region = np.sort(np.arange(VARIANTS) % REGIONS) * 2
    dosage = rng.binomial(2, 0.3, (300, VARIANTS))
    known = rng.normal(size=(300, 2))
    liability = dosage[:, region == CAUSAL].sum(1) + 0.7 * known[:, 0] + rng.normal(size=300)
    dosage[rng.random(dosage.shape) < 0.02] = -1
    return _cohort((liability > np.median(liability)).astype(int), known, dosage, region)


@pytest.fixture
def ask(toy_task: Dataset, synthetic_corpus: Corpus, tmp_path: Path) -> Callable[..., Question]:
    """A question of a model about a cohort."""

    def ask(individuals: Individuals, model: str, **settings: int) -> Question:
        write_individuals(individuals, tmp_path / "individuals.parquet")
        codes = toy_task.codes[:VARIANTS]
        alternative = codes.copy()
        alternative[:, 20] = (codes[:, 20] + 1 + np.arange(VARIANTS) % 3) % 4
        dataset = replace(
            toy_task,
            table=toy_task.table[:VARIANTS].assign(label=0, split="test"),
            metadata={
                **toy_task.metadata,
                "type": "cohort",
                "classes": ["control", "case"],
                "settings": SETTINGS | settings,
                "simulated": True,
                "indels": 0,
            },
            codes=codes,
            alternative_codes=alternative,
            alternative_hits=Hits(np.zeros(VARIANTS + 1, np.int64), np.empty(0, np.int64), np.empty(0)),
        )
        return Question(
            dataset=dataset,
            companion=tmp_path / "individuals.parquet",
            corpus_folder=tmp_path,
            corpus=synthetic_corpus.metadata,
            model=parse_model(model),
            weights=None,
            settings=Finetune(),
            seed=1,
            device="cpu",
        )

    return ask


def test_burdens_are_sums_of_copies_times_effects() -> None:
    rng = np.random.default_rng(1)
    region = np.array([5, 2, 5, 9, 2, 5])
    dosage = rng.integers(-1, 3, (40, 6))
    dosage[:, 3] = -1
    effect = rng.random(6)
    cohort = _cohort(np.arange(40) % 2, np.empty((40, 0)), dosage, region)
    regions, found = burdens(cohort, effect)
    assert regions.tolist() == [5, 2, 9]
    for person in range(40):
        for column, own in enumerate([5, 2, 9]):
            total = 0.0
            for variant in range(6):
                if region[variant] != own:
                    continue
                calls = [int(row[variant]) for row in dosage if row[variant] >= 0]
                copies = int(dosage[person, variant])
                if copies < 0:
                    total += effect[variant] * (sum(calls) / len(calls) if calls else 0)
                else:
                    total += effect[variant] * copies
            assert found[person, column] == pytest.approx(total)


def test_a_planted_region_is_found(planted: Individuals, ask: Callable[..., Question]) -> None:
    found = answer(ask(planted, "allele_count"))
    facts = found.facts
    assert roc_auc_score(planted.labels, found.scores[:, 1]) > 0.75
    assert facts["auroc_gain"] > 0.1
    assert facts["p_value"] == 1 / 100
    assert facts["top_regions"][0]["region"] == planted.places[CAUSAL]
    assert facts["top_regions"][0]["variants"] == VARIANTS // REGIONS
    assert facts["top_regions"][0]["weight"] > 0
    weights = [abs(row["weight"]) for row in facts["top_regions"]]
    assert weights == sorted(weights, reverse=True)
    assert len(weights) == REGIONS
    expected = {"individuals": 300, "cases": 150, "covariates": 2, "variants": 30, "regions": 10}
    assert {name: facts[name] for name in expected} == expected
    assert facts["simulated"] is True


def test_predictions_are_rows_of_individuals(planted: Individuals, ask: Callable[..., Question]) -> None:
    question = ask(planted, "allele_count")
    found = answer(question)
    predictions = as_table(found, question.dataset)
    assert list(predictions) == [*PREDICTION_COLUMNS, "score", "is_probability"]
    assert predictions["example_id"].tolist() == list(range(300))
    assert predictions["label"].tolist() == planted.labels.tolist()
    assert set(predictions["chrom"]) == {""}
    assert set(predictions["split"]) == {"test"}
    assert predictions["is_probability"].all()
    # What the table will say is what the facts say.
    alone = as_table(answer(ask(planted, "covariates_only")), question.dataset)
    own, base = (roc_auc_score(rows["label"], rows["score"]) for rows in (predictions, alone))
    assert found.facts["auroc_of_covariates"] == pytest.approx(base, abs=1e-12)
    assert found.facts["auroc_gain"] == pytest.approx(own - base, abs=1e-12)


def test_covariates_alone_have_no_burden_and_no_test(
    planted: Individuals, ask: Callable[..., Question]
) -> None:
    found = answer(ask(planted, "covariates_only"))
    assert roc_auc_score(planted.labels, found.scores[:, 1]) > 0.55
    nothing = {"auroc_gain": 0, "p_value": None, "permutations": 0, "regions": 0, "top_regions": []}
    assert {name: found.facts[name] for name in nothing} == nothing
    bare = replace(planted, table=planted.table.drop(columns=["covariate_pc0", "covariate_pc1"]))
    without = answer(ask(bare, "covariates_only"))
    np.testing.assert_allclose(without.scores, 0.5, atol=1e-12)
    assert without.facts["auroc_of_covariates"] == 0.5


def test_the_same_answer_again_whatever_the_seed_of_the_run(
    planted: Individuals, ask: Callable[..., Question]
) -> None:
    question = ask(planted, "allele_count")
    one, other = answer(question), answer(replace(question, seed=9))
    np.testing.assert_array_equal(one.scores, other.scores)
    assert one.facts == other.facts
    none = answer(ask(planted, "allele_count", permutations=0)).facts
    assert none["p_value"] is None
    assert none["auroc_gain"] == one.facts["auroc_gain"]


@pytest.mark.parametrize("model", ["multimodal.sequence.llr", "multimodal.sequence.distance"])
def test_effects_are_the_sizes_of_what_the_model_says(
    model: str,
    planted: Individuals,
    ask: Callable[..., Question],
    tiny_model: GeneBERT,
    randomise: Callable[[torch.nn.Module], torch.nn.Module],
    synthetic_corpus: Corpus,
    tmp_path: Path,
) -> None:
    metadata = synthetic_corpus.metadata
    card = Card(
        settings=tiny_model.settings,
        motifs=metadata.motifs,
        motif_digest=metadata.motif_digest,
        variant="multimodal",
        seed=1,
        steps=1,
    )
    save_model(randomise(tiny_model), card, tmp_path / "model")  # type: ignore[arg-type]
    question = replace(ask(planted, model), weights=tmp_path / "model")
    found = answer(question)
    effect = zero_shot.effects(question)
    assert len(set(np.sign(effect))) == (2 if model.endswith("llr") else 1)
    _, burden = burdens(planted, np.abs(effect))
    with_effects, gains, _ = with_draws(planted, burden, 99, SETTINGS["seed"])
    np.testing.assert_allclose(found.scores[:, 1], with_effects.probability[:, 0], atol=1e-9)
    assert found.facts["auroc_gain"] == pytest.approx(gains[0], abs=1e-6)
    counted = answer(ask(planted, "allele_count"))
    assert np.abs(found.scores - counted.scores).max() > 0.01, "effects matter"
    assert found.facts["p_value"] < 0.05


def test_effects_of_nothing_add_nothing(planted: Individuals) -> None:
    _, burden = burdens(planted, np.zeros(VARIANTS))
    _, gains, _ = with_draws(planted, burden, 19, 1)
    assert gains.tolist() == [0] * 20


def _null(rng: np.random.Generator) -> Case:
    """Nothing has to do with anything."""
    labels = rng.permutation(np.arange(120) % 2)
    return labels, np.empty((120, 0)), rng.binomial(2, 0.3, (120, VARIANTS))


def _confounded(rng: np.random.Generator) -> Case:
    """Ancestry decides both genotypes and phenotype; genotypes do nothing."""
    ancestry = rng.normal(size=(120, 2))
    chance = 1 / (1 + np.exp(-2 * ancestry[:, 0]))
    dosage = rng.binomial(2, 1 / (1 + np.exp(-ancestry[:, [0]])), (120, VARIANTS))
    return (rng.random(120) < chance).astype(int), ancestry, dosage


def _simulated(case: Callable[[np.random.Generator], Case], number: int, adjust: bool) -> pd.DataFrame:
    """AUROC, gain and p of simulations."""
    region = np.sort(np.arange(VARIANTS) % REGIONS)
    rows = []
    for seed in range(number):
        labels, covariates, dosage = case(np.random.default_rng(seed))
        cohort = _cohort(labels, covariates if adjust else covariates[:, :0], dosage, region, seed)
        _, burden = burdens(cohort, np.ones(VARIANTS))
        with threadpool_limits(1):
            _, gains, base = with_draws(cohort, burden, 59, seed)
        rows.append((base + gains[0], gains[0], (1 + (gains[1:] >= gains[0]).sum()) / 60))
    return pd.DataFrame(rows, columns=["auroc", "gain", "p"])


def test_a_phenotype_of_chance_is_at_chance_and_p_is_uniform() -> None:
    found = _simulated(_null, 40, adjust=True)
    assert abs(found["auroc"].mean() - 0.5) < 0.03
    assert kstest(found["p"], "uniform").pvalue > 0.05
    assert (found["p"] <= 0.05).sum() <= 5
    assert (found["p"] <= 0.5).mean() == pytest.approx(0.5, abs=0.15)


def test_a_phenotype_of_covariates_alone_is_no_effect_of_genotypes() -> None:
    found = _simulated(_confounded, 40, adjust=True)
    assert found["auroc"].mean() > 0.7
    assert abs(found["gain"].mean()) < 0.03
    assert kstest(found["p"], "uniform").pvalue > 0.05
    assert (found["p"] <= 0.05).sum() <= 5
    # Without the covariates it would pass for one.
    blind = _simulated(_confounded, 5, adjust=False)
    assert (blind["p"] < 0.05).all()
