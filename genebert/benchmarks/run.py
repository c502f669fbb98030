"""One run: a task, a model, a seed -> predictions and the metrics derived from them."""

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from genebert.benchmarks import positions
from genebert.benchmarks.answer import Answer, Question
from genebert.benchmarks.dataset import Dataset, read_dataset
from genebert.benchmarks.metrics import HEADLINE, metrics_by_subset
from genebert.config import Finetune as Settings
from genebert.config import ModelName, parse_model
from genebert.corpus.manifest import read_manifest
from genebert.corpus.schema import Metadata
from genebert.errors import GenebertError
from genebert.files import sha256, write_json
from genebert.regions import write_table

PREDICTION_COLUMNS = (
    "example_id",
    "chrom",
    "start",
    "end",
    "strand",
    "cell_type",
    "split",
    "subset",
    "label",
)
# Which module answers a task of a type; all others classify examples.
ANSWERS = {"variants": "variants", "cohort": "cohort"}


def run(
    dataset_path: str | Path,
    companion: str | Path | None,
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
    dataset_path, companion, corpus_folder
        The task's examples, what it keeps beside them, and the regions their columns come from.
    model_name
        As in ``benchmarks.models``.
    weights
        Folder of the pre-trained model; None where there is none.
    settings
        Of fine-tuning.
    task, seed
        Kept with the result; the seed decides every draw.
    device
        That a network computes on.
    out
        Folder.

    Raises
    ------
    GenebertError
        If files do not belong together, the model's name is none or does not apply to the task, or the
        model needs what is not there. Nothing is written then.
    """
    dataset = read_dataset(dataset_path)
    corpus = Metadata(**read_manifest(corpus_folder)["metadata"])
    check_join(dataset, corpus, task, str(dataset_path))
    if _has_companion(dataset) and companion is None:
        raise GenebertError(
            f"task '{task}' has a second file beside its examples", "name it with --companion"
        )
    question = Question(
        dataset=dataset,
        companion=None if companion is None else Path(companion),
        corpus_folder=Path(corpus_folder),
        corpus=corpus,
        model=model_of(model_name, dataset),
        weights=None if weights is None else Path(weights),
        settings=settings,
        seed=seed,
        device=device,
    )
    # Imported when it is run: a baseline need not wait for torch.
    module = ANSWERS.get(dataset.metadata["type"], "models")
    answer: Answer = importlib.import_module(f"genebert.benchmarks.{module}").answer(question)
    if dataset.metadata.get("score_genes") and answer.of_sequences is not None:
        answer = _with_positions(question, answer)
    predictions = as_table(answer, dataset)
    result: dict[str, Any] = {
        "task": task,
        "type": dataset.metadata["type"],
        "classes": dataset.classes,
        "model": question.model.name,
        "seed": seed,
        "simulated": bool(dataset.metadata.get("simulated", False)),
        "dataset_sha256": sha256(dataset_path),
        "weights_sha256": None if weights is None else sha256(Path(weights) / "model.safetensors"),
        # What was given: the rest plays no part in this model.
        "settings": settings.model_dump(include=settings.model_fields_set),
        "facts": answer.facts,
        "metrics": metrics_by_subset(predictions, dataset.metadata["type"], dataset.classes),
    }
    write_table(predictions, Path(out) / "predictions.parquet")
    write_json(Path(out) / "metrics.json", result)
    headline = HEADLINE[result["type"]]
    value = result["metrics"]["test"][headline]
    figure = "undefined" if value is None else format(value, ".3f")
    return f"{task}, {question.model.name}, seed {seed}: test {headline} {figure}"


def _with_positions(question: Question, answer: Answer) -> Answer:
    """Return the answer with a row for every position of the held-out genes after the examples."""
    assert answer.of_sequences is not None
    assert question.companion is not None
    table, scores = positions.score(question.companion, answer.of_sequences)
    examples = question.dataset.table if answer.table is None else answer.table
    # Of the columns that are kept only: there are millions of positions.
    examples = examples[list(PREDICTION_COLUMNS)]
    table["example_id"] = len(question.dataset.table) + np.arange(len(table))
    return replace(
        answer,
        table=pd.concat([examples, table], ignore_index=True),
        scores=np.concatenate([answer.scores, scores]),
    )


def as_table(answer: Answer, dataset: Dataset) -> pd.DataFrame:
    """Return the predictions: what a row is, and ``score`` (two classes) or ``score_0``, ``score_1``, ….

    A score of two classes is that of class 1. ``is_probability`` says whether it may be cut at 0.5.
    """
    table = dataset.table if answer.table is None else answer.table
    predictions = table[list(PREDICTION_COLUMNS)].reset_index(drop=True)
    scores, is_probability = answer.scores, answer.scores.ndim == 2
    assert len(scores) == len(predictions), "a score for each row"
    assert np.isfinite(scores).all(), "a score is not finite"
    assert predictions["example_id"].is_unique
    if is_probability:
        assert ((scores >= 0) & (scores <= 1)).all(), "a score is no probability"
        assert np.allclose(scores.sum(1), 1, atol=1e-4), "probabilities do not sum to 1"
    if not is_probability or scores.shape[1] == 2:
        own = scores[:, 1] if is_probability else scores
        predictions["score"] = own.astype(np.float32)
    else:
        for label in range(scores.shape[1]):
            predictions[f"score_{label}"] = scores[:, label].astype(np.float32)
    predictions["is_probability"] = is_probability
    return predictions


def model_of(text: str, dataset: Dataset) -> ModelName:
    """Read a model's name; refuse one that does not apply to the dataset's task.

    Raises
    ------
    GenebertError
        If it is no model's name, or the model is not for tasks of this type.
    """
    try:
        model = parse_model(text)
    except ValueError as error:
        what, _, fix = str(error).partition("; ")
        raise GenebertError(what, fix, "--model") from None
    if not model.applies_to(dataset.metadata["type"]):
        raise GenebertError(
            f"model '{text}' is not for tasks of type {dataset.metadata['type']}",
            "leave it out of the task's `models`",
            f"benchmarks.tasks.{dataset.metadata['task']}",
        )
    return model


def _has_companion(dataset: Dataset) -> bool:
    """Return whether there is more to read than the examples."""
    return dataset.metadata["type"] == "cohort" or bool(dataset.metadata.get("score_genes"))


def check_join(dataset: Dataset, corpus: Metadata, task: str, where: str) -> None:
    """Refuse the dataset of another task, or one of other motifs or regions than the corpus has.

    Raises
    ------
    GenebertError
        If any is another.
    """
    if dataset.metadata["task"] != task:
        raise GenebertError(
            f"the dataset is of task '{dataset.metadata['task']}', not '{task}'",
            "name the task's own dataset",
            where,
        )
    for what, of_dataset, of_corpus in (
        ("motifs", dataset.metadata["motif_digest"], corpus.motif_digest),
        ("regions", dataset.metadata["catalogue"], corpus.catalogue),
    ):
        if of_dataset != of_corpus:
            raise GenebertError(f"dataset and corpus have other {what}", "rebuild the task", where)
