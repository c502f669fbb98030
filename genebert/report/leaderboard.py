"""Rows of the summary as cells of the page's tables."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

from genebert.benchmarks.metrics import METRICS


class Cell(NamedTuple):
    """A figure, and its interval or rank below it."""

    value: str = "–"
    below: str = ""


def number(value: float, signed: bool = False) -> str:
    """Return three digits, with a true minus."""
    return f"{value:{'+' if signed else ''}z.3f}".replace("-", "−") if pd.notna(value) else "–"


def cells(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the cells of a task's leaderboard, a row a model.

    Parameters
    ----------
    rows
        Of the summary, of one part of one task.
    """
    return [
        {
            "model": row["model"],
            "rank": "" if pd.isna(row["rank"]) else str(int(row["rank"])),
            "seeds": int(row["seeds"]),
            "headline": _cell(row, row["headline"], "low", "high"),
            "vs_scratch": _difference(row, "vs_scratch"),
            "vs_sequence_only": _difference(row, "vs_sequence_only"),
            "metrics": {metric: number(row[metric]) for metric in METRICS},
        }
        for _, row in rows.iterrows()
    ]


def _difference(row: pd.Series, name: str) -> Cell:
    return _cell(row, name, f"{name}_low", f"{name}_high", signed=True)


def _cell(row: pd.Series, name: str, low: str, high: str, signed: bool = False) -> Cell:
    below = "" if pd.isna(row[low]) else f"{number(row[low], signed)} to {number(row[high], signed)}"
    return Cell(number(row[name], signed), below)


def parts(rows: pd.DataFrame) -> dict[str, Any]:
    """Return the headline of each model on each part of the test examples; empty without parts.

    Parameters
    ----------
    rows
        Of the summary, of one task.
    """
    names = [name for name in rows["subset"].unique() if name]
    if not names:
        return {}
    first = rows.drop_duplicates("subset").set_index("subset")
    found = {(row["model"], row["subset"]): row for _, row in rows.iterrows()}
    return {
        "heads": [
            {
                "name": name,
                "examples": int(first["examples"][name]),
                "chance": number(first["chance"][name]),
            }
            for name in names
        ],
        "rows": [
            {
                "model": model,
                "cells": [
                    _cell(found[model, name], found[model, name]["headline"], "low", "high")
                    if (model, name) in found
                    else Cell()
                    for name in names
                ],
            }
            for model in rows["model"].unique()
        ],
    }


def overall(summary: pd.DataFrame, tasks: Sequence[str]) -> dict[str, Any]:
    """Return the leaderboard over all tasks: models by their mean rank, those of most tasks first.

    Ranks of simulated tasks do not count. Without ranks, models are in the order of the summary.

    Parameters
    ----------
    summary
        All rows.
    tasks
        Names, in order.
    """
    whole = summary[summary["subset"] == ""]
    found = {(row["model"], row["task"]): row for _, row in whole.iterrows()}
    counted = whole[whole["rank"].notna() & ~whole["simulated"]]
    ranks = counted.groupby("model")["rank"].agg(["size", "mean"])
    models = list(whole["model"].unique())
    models.sort(key=lambda m: (-ranks["size"].get(m, 0), ranks["mean"].get(m, 0.0)))
    return {
        "ranked": len(ranks) > 0,
        "tasks": [
            {
                "name": task,
                "headline": own["headline"].iloc[0],
                "ranked": bool(own["rank"].notna().any()),
                "simulated": bool(own["simulated"].any()),
            }
            for task in tasks
            for own in [whole[whole["task"] == task]]
        ],
        "rows": [
            {
                "model": model,
                "tasks": int(ranks["size"].get(model, 0)),
                "mean": f"{ranks['mean'][model]:.2f}" if model in ranks.index else "–",
                "cells": [_overall_cell(found.get((model, task))) for task in tasks],
            }
            for model in models
        ],
    }


def _overall_cell(row: pd.Series | None) -> Cell:
    if row is None:
        return Cell("")
    rank = "" if pd.isna(row["rank"]) else f"rank {int(row['rank'])}"
    return Cell(number(row[row["headline"]]), rank)
