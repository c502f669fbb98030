"""One run: a task, a model, a seed -> predictions and the metrics derived from them."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from genebert.benchmarks.baselines.logistic import fit_predict, kmer_features, motif_features
from genebert.benchmarks.dataset import Dataset, read_dataset
from genebert.benchmarks.finetune import finetune
from genebert.benchmarks.metrics import binary_metrics
from genebert.config import Finetune as Settings
from genebert.config import Inputs
from genebert.corpus.manifest import read_manifest
from genebert.corpus.place import open_corpus
from genebert.corpus.schema import Metadata
from genebert.errors import GenebertError
from genebert.files import sha256, write_json
from genebert.model.checkpoint import load_model, versions
from genebert.regions import write_table

PREDICTION_COLUMNS = ("example_id", "chrom", "start", "end", "strand", "split", "label")


def run(
    dataset_path: str | Path,
    corpus_folder: str | Path,
    model_name: str,
    weights: str | Path | None,
    settings: Settings,
    task: str,
    seed: int,
    device: str,
    out: str | Path,
) -> str:
    """Write ``predictions.parquet`` and ``metrics.json`` into a folder; return a line on them.

    Of the corpus a model reads no more than its manifest, unless it looks at columns.

    Parameters
    ----------
    dataset_path, corpus_folder
        The task's examples and the regions their columns come from.
    model_name
        ``variant.inputs`` or a baseline.
    weights
        Folder of the pre-trained model; None for a baseline.
    settings
        Of fine-tuning.
    task, seed
        Kept with the result; the seed decides every draw.
    device
        That a network computes on.
    out
        Folder.
    """
    dataset = read_dataset(dataset_path)
    metadata = Metadata(**read_manifest(corpus_folder)["metadata"])
    check_join(dataset, metadata, str(dataset_path))
    facts: dict[str, Any] = {}
    if model_name == "kmer_logistic":
        score = fit_predict(kmer_features(dataset), dataset, seed)
    elif model_name == "motif_logistic":
        features = motif_features(dataset, len(metadata.motifs))
        score = fit_predict(features, dataset, seed)
    else:
        if weights is None:
            raise GenebertError(f"'{model_name}' needs --weights", "name the model's folder")
        backbone, _ = load_model(weights, metadata.motif_digest)
        inputs = cast(Inputs, model_name.rpartition(".")[2])
        corpus = None if inputs == "sequence" else open_corpus(corpus_folder, device)
        probability, facts = finetune(backbone, inputs, dataset, corpus, settings, seed, device)
        score = probability[:, 1]
    predictions = dataset.table[list(PREDICTION_COLUMNS)].assign(score=score.astype(np.float32))
    check_predictions(predictions)
    out = Path(out)
    write_table(predictions, out / "predictions.parquet")
    result: dict[str, Any] = {
        "task": task,
        "model": model_name,
        "seed": seed,
        "dataset_sha256": sha256(dataset_path),
        "settings": settings.model_dump() if facts else {},
        "training": facts,
        "versions": versions(),
        **{split: _as_json(metrics_of(predictions, split)) for split in ("validation", "test")},
    }
    write_json(out / "metrics.json", result)
    return f"{task}, {model_name}, seed {seed}: test AUROC {result['test']['auroc']:.3f}"


def check_join(dataset: Dataset, corpus: Metadata, where: str) -> None:
    """Refuse a dataset whose hits or columns are of other motifs or regions than the corpus has.

    Raises
    ------
    GenebertError
        If either is another.
    """
    for what, of_dataset, of_corpus in (
        ("motifs", dataset.motif_digest, corpus.motif_digest),
        ("regions", dataset.catalogue, corpus.catalogue),
    ):
        if of_dataset != of_corpus:
            raise GenebertError(f"dataset and corpus have other {what}", "rebuild the task", where)


def check_predictions(predictions: pd.DataFrame) -> None:
    """Assert that every example has one finite probability."""
    assert predictions["example_id"].is_unique
    assert predictions["score"].between(0, 1).all(), "a score is no probability"


def metrics_of(predictions: pd.DataFrame, split: str) -> dict[str, float]:
    """Return the metrics of one split's rows, and how many there are."""
    rows = predictions[predictions["split"] == split]
    figures = binary_metrics(rows["label"].to_numpy(), rows["score"].to_numpy())
    return {"examples": len(rows), **figures}


def _as_json(figures: dict[str, float]) -> dict[str, float | None]:
    """Return the figures with null for what is undefined (NaN is no JSON)."""
    return {name: None if np.isnan(value) else value for name, value in figures.items()}
