"""The rows of the benchmark table: every figure derived from the predictions of the runs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from genebert.benchmarks.comparisons import Figure, difference, sequence_twin, untrained_twin
from genebert.benchmarks.intervals import (
    MIN_BLOCKS,
    block_of,
    draw_blocks,
    mean_over_seeds,
    percentiles,
    resampled,
)
from genebert.benchmarks.metrics import (
    HEADLINE,
    METRICS,
    chance,
    parts_of,
    scores_of,
    site_labels,
)
from genebert.benchmarks.result import read_facts, read_predictions
from genebert.errors import GenebertError

_WITH_INTERVAL = ("vs_scratch", "vs_sequence_only")
_FIGURES = (
    *METRICS,
    "low",
    "high",
    *(f"{name}{end}" for name in _WITH_INTERVAL for end in ("", "_low", "_high")),
)
COLUMNS = (
    "task",
    "type",
    "subset",  # empty for the whole test split
    "model",
    "rank",
    "seeds",
    "examples",
    "positives",
    "blocks",  # that hold the class that lies in the fewest
    "chance",
    "headline",
    *_FIGURES,
    "simulated",
)


@dataclass
class _Part:
    """A part of a task's predictions: what all models must have in common, and their figures."""

    example_id: np.ndarray
    labels: np.ndarray
    blocks: np.ndarray
    fewest: int  # blocks that hold the class that lies in the fewest
    draws: np.ndarray | None
    chance: float
    metrics: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    resampled: dict[str, list[np.ndarray]] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """What the runs of a task say.

    Attributes
    ----------
    name, type
        Of the task.
    rows
        DataFrame of ``COLUMNS``.
    figures
        Of the headline on the whole test split, by model.
    """

    name: str
    type: str
    rows: pd.DataFrame
    figures: dict[str, Figure]


def summarise(
    runs: Sequence[str | Path], block_bp: int, untrained: str, sequence_only: str
) -> list[Task]:
    """Return each task's rows: a model and part of the test examples each.

    Metrics are means over seeds. The headline has a 95 % interval, a rank and differences to the same
    network untrained and to the one that has seen sequences only, paired; where a class lies in fewer
    than 20 blocks, there are neither intervals nor ranks.

    Parameters
    ----------
    runs
        Folders ``…/{task}/{model}/seed{n}`` with predictions.parquet and metrics.json.
    block_bp
        Length of a bootstrap block in bp.
    untrained, sequence_only
        Names of the variants to compare with.

    Raises
    ------
    GenebertError
        If runs of a task are of other datasets or examples.
    """
    by_task: dict[str, list[tuple[Path, dict[str, Any]]]] = {}
    for run in map(Path, runs):
        facts = read_facts(run)
        by_task.setdefault(facts["task"], []).append((run, facts))
    names = [(f["task"], f["model"], f["seed"]) for own in by_task.values() for _, f in own]
    if len(set(names)) < len(names):
        raise GenebertError("two folders are of the same task, model and seed", "name each run once")
    # The n-th seeds of models belong together.
    ordered = {name: sorted(own, key=lambda run: run[1]["seed"]) for name, own in by_task.items()}
    return [_task(name, own, block_bp, untrained, sequence_only) for name, own in ordered.items()]


def _task(
    name: str,
    runs: list[tuple[Path, dict[str, Any]]],
    block_bp: int,
    untrained: str,
    sequence_only: str,
) -> Task:
    first = runs[0][1]
    parts: dict[str, _Part] = {}
    for path, facts in runs:
        kind = ("dataset_sha256", "type", "classes", "simulated")
        if any(facts[key] != first[key] for key in kind):
            raise _others(path, f"was made from another dataset than {runs[0][0]}")
        _add(parts, path, facts, block_bp)
    order = ["test", *sorted(parts.keys() - {"test"})]
    figures = {part: _figures(parts[part], HEADLINE[first["type"]]) for part in order}
    rows = [
        row
        for part in order
        for row in _rows(part, parts[part], figures[part], first, untrained, sequence_only)
    ]
    # What no row has is empty, not text.
    table = pd.DataFrame(rows).reindex(columns=list(COLUMNS)).astype(dict.fromkeys(_FIGURES, float))
    rank = table[HEADLINE[first["type"]]].groupby(table["subset"]).rank(ascending=False, method="min")
    table["rank"] = rank.where(table.groupby("subset")["low"].transform("count") > 0).astype("Int64")
    table["positives"] = table["positives"].astype("Int64")
    return Task(name, first["type"], table, figures["test"])


def _add(parts: dict[str, _Part], path: Path, facts: dict[str, Any], block_bp: int) -> None:
    """Add a run's metrics and their values in every draw to the parts of its task."""
    metric, sites = HEADLINE[facts["type"]], site_labels(facts["type"], facts["classes"])
    predictions = read_predictions(path, facts)
    for name, rows in parts_of(predictions).items():
        if name == "validation":
            continue
        labels, ids = rows["label"].to_numpy(), rows["example_id"].to_numpy()
        if name not in parts:
            blocks = block_of(rows, block_bp)
            # A class in few blocks is hardly resampled, however many hold the others.
            fewest = min(len(set(blocks[labels == label])) for label in set(labels))
            draws = draw_blocks(int(blocks.max()) + 1) if fewest >= MIN_BLOCKS else None
            parts[name] = _Part(ids, labels, blocks, fewest, draws, chance(metric, labels, sites))
        part = parts[name]
        if not np.array_equal(ids, part.example_id) or not np.array_equal(labels, part.labels):
            raise _others(path, "predicts other examples than the runs before it")
        part.metrics.setdefault(facts["model"], []).append(facts["metrics"][name])
        # A metric that needs probabilities has no value where there are none.
        if part.draws is not None and facts["metrics"][name][metric] is not None:
            values = resampled(metric, labels, scores_of(rows), part.blocks, part.draws, sites)
            part.resampled.setdefault(facts["model"], []).append(values)


def _figures(part: _Part, metric: str) -> dict[str, Figure]:
    return {
        model: Figure(
            _mean([row[metric] for row in by_seed]),
            mean_over_seeds(part.resampled[model]) if model in part.resampled else None,
        )
        for model, by_seed in part.metrics.items()
    }


def _rows(
    name: str,
    part: _Part,
    figures: dict[str, Figure],
    facts: dict[str, Any],
    untrained: str,
    sequence_only: str,
) -> list[dict[str, Any]]:
    rows = []
    for model, by_seed in part.metrics.items():
        own = figures[model]
        low, high = (own.draws is not None and percentiles(own.draws)) or (None, None)
        row: dict[str, Any] = {
            "task": facts["task"],
            "type": facts["type"],
            "subset": "" if name == "test" else name.removeprefix("test/"),
            "model": model,
            "seeds": len(by_seed),
            "examples": len(part.labels),
            "positives": by_seed[0].get("positives"),
            "blocks": part.fewest,
            "chance": part.chance,
            "headline": HEADLINE[facts["type"]],
            **{metric: _mean([seed.get(metric) for seed in by_seed]) for metric in METRICS},
            "low": low,
            "high": high,
            "simulated": facts["simulated"],
        }
        twins = (
            untrained_twin(model, untrained, figures),
            sequence_twin(model, untrained, sequence_only, figures),
        )
        for column, twin in zip(_WITH_INTERVAL, twins, strict=True):
            if found := difference(own, figures.get(twin or "")):
                row[column] = found.mean
                row[f"{column}_low"], row[f"{column}_high"] = found.interval or (None, None)
        rows.append(row)
    return rows


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean over seeds; None where one has no value."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _others(path: Path, what: str) -> GenebertError:
    return GenebertError(f"{path} {what}", "delete the runs of that task and run them again")


def proper_parts(rows: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return a task's rows without a part that is the whole test split, and that part's name, if any.

    Parameters
    ----------
    rows
        Of the summary, of one task; ``subset`` is empty for the whole.
    """
    sizes = rows.groupby("subset", sort=False)["examples"].first()
    test = [name for name in sizes.index if name and name != "positions" and "/" not in name]
    same = next((name for name in test if sizes[name] == sizes[""]), "")
    return rows[(rows["subset"] != same) | (rows["subset"] == "")], same
