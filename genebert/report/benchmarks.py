"""What the page says of the benchmarks: a leaderboard over all tasks, and a part for each task."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from genebert.benchmarks.comparisons import SECOND_MODALITY, Difference, untrained_twin
from genebert.benchmarks.metrics import METRICS, site_labels
from genebert.benchmarks.result import read_facts
from genebert.config import BASELINES
from genebert.parquet import readable
from genebert.report import task_plots
from genebert.report.leaderboard import cells, number, overall, parts
from genebert.report.looks import Look, chosen, kind_of, looks_of
from genebert.report.rows import proper_parts
from genebert.report.statements import permutation_tests, statement
from genebert.report.tables import verdict

_TEXT = {"task": str, "type": str, "subset": str, "model": str, "headline": str}
# Sentences of the summary that the page tells anew, models of like fate together.
_RETOLD = ("Pre-training:", "The second modality")


def section(
    results: Path,
    runs: Sequence[str | Path],
    tasks: Sequence[str],
    block_bp: int,
    untrained: str,
) -> dict[str, Any]:
    """Return what the page's template needs to know of the benchmarks.

    Parameters
    ----------
    results
        Folder of a finished run, with ``benchmarks/summary.{tsv,md}`` and, of each task,
        ``dataset.parquet`` and ``leakage.tsv``.
    runs
        Folders of the benchmark runs to show.
    tasks
        Names of the tasks; none gives an empty section.
    block_bp
        Length of a bootstrap block in bp.
    untrained
        Name of the variant without pre-training.
    """
    if not tasks:
        return {"tasks": []}
    folder = results / "benchmarks"
    summary = pd.read_csv(
        folder / "summary.tsv", sep="\t", dtype=_TEXT, keep_default_na=False, na_values=[""]
    )
    summary["subset"] = summary["subset"].fillna("")
    said = read_sentences((folder / "summary.md").read_text())
    metadata = {task: _metadata(folder / task / "dataset.parquet") for task in tasks}
    looks = looks_of(list(summary["model"]))
    by_task: dict[str, list[tuple[Path, dict[str, Any]]]] = {task: [] for task in tasks}
    for run in map(Path, runs):
        facts = read_facts(run)
        by_task[facts["task"]].append((run, facts))
    return {
        "overall": overall(summary, tasks),
        "tasks": [
            {
                **_task(
                    summary[summary["task"] == task], by_task[task], metadata[task], looks, untrained
                ),
                "verdict": verdict(_blocks(summary, task), block_bp, metadata[task]["type"]),
                "said": said.get(task, []),
                "leakage": _leakage(folder / task / "leakage.tsv"),
            }
            for task in tasks
        ],
        "matrices": _matrices(summary, metadata, untrained),
        "untrained": untrained,
    }


def _blocks(summary: pd.DataFrame, task: str) -> int:
    return int(summary.loc[(summary["task"] == task) & (summary["subset"] == ""), "blocks"].iloc[0])


def _metadata(dataset: Path) -> dict[str, Any]:
    with readable(dataset, "delete the file and call the workflow again"):
        return json.loads(pq.read_schema(dataset).metadata[b"genebert"])


def _leakage(path: Path) -> list[dict[str, Any]] | None:
    """Return the checks of a task; None where they were not made."""
    if not path.exists():
        return None
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    return table.assign(flagged=table["flagged"] == "yes").to_dict("records")


def read_sentences(markdown: str) -> dict[str, list[str]]:
    """Return what ``summary.md`` says of each task in list items, but what the page tells anew."""
    found: dict[str, list[str]] = {}
    task = ""
    for line in markdown.splitlines():
        if line.startswith("## "):
            task = line.removeprefix("## ")
        elif line.startswith("- ") and not line.removeprefix("- ").startswith(_RETOLD):
            sentence = re.sub(r"(?<=[ (])-(?=\d)", "−", line.removeprefix("- "))
            found.setdefault(task, []).append(sentence)
    return found


def _task(
    rows: pd.DataFrame,
    runs: Sequence[tuple[Path, dict[str, Any]]],
    metadata: Mapping[str, Any],
    looks: Mapping[str, Look],
    untrained: str,
) -> dict[str, Any]:
    whole = rows[rows["subset"] == ""]
    if whole["rank"].notna().any():
        whole = whole.sort_values("rank", kind="stable")
    first = whole.iloc[0]
    simulated = bool(rows["simulated"].any())
    said = statement(metadata, simulated, "positions" in set(rows["subset"]))
    rows, same = proper_parts(rows)
    if same:
        said.append(f"All test examples are of the part `{same}`.")
    return {
        "name": first["task"],
        "simulated": simulated,
        "statement": said,
        "first": first.to_dict(),
        "ranked": bool(whole["rank"].notna().any()),
        "several": len(metadata["classes"]) > 2,
        "metrics": [m for m in METRICS if m != first["headline"] and whole[m].notna().any()],
        "rows": cells(whole),
        "parts": parts(rows),
        "compared": compared(whole),
        "permutations": permutation_tests([facts for _, facts in runs])
        if metadata["type"] == "cohort"
        else [],
        "figures": _figures(rows, runs, metadata, looks, untrained),
    }


def compared(rows: pd.DataFrame) -> list[str]:
    """Return whether pre-training and the second modality helped, models of like fate together.

    Parameters
    ----------
    rows
        Of the summary, of a whole test split.
    """
    inputs = rows["model"].str.split(".").str[1]
    columns = [("Pre-training", "vs_scratch", rows)]
    columns += [
        (f"{what[0].upper()}{what[1:]}", "vs_sequence_only", rows[inputs == own])
        for own, what in SECOND_MODALITY.items()
    ]
    return [sentence for column in columns if (sentence := _fates(*column))]


def _fates(what: str, column: str, rows: pd.DataFrame) -> str:
    fates: dict[str, list[str]] = {}
    for _, row in rows[rows[column].notna()].iterrows():
        low, high = row[f"{column}_low"], row[f"{column}_high"]
        found = Difference(row[column], None if pd.isna(low) else (low, high))
        shown = number(row[column], signed=True)
        fates.setdefault(found.verdict, []).append(f"`{row['model']}` ({shown})")
    told = "; ".join(f"{fate}: {', '.join(models)}" for fate, models in fates.items())
    return f"{what}: {told}." if told else ""


def _figures(
    rows: pd.DataFrame,
    runs: Sequence[tuple[Path, dict[str, Any]]],
    metadata: Mapping[str, Any],
    looks: Mapping[str, Look],
    untrained: str,
) -> list[dict[str, str]]:
    """Return the figures of a task: of its whole test split, and of loci that vary, if any."""
    sites = site_labels(metadata["type"], metadata["classes"])
    tables: dict[str, list[pd.DataFrame]] = {}
    for run, facts in runs:
        tables.setdefault(facts["model"], []).append(_test_predictions(run))
    found = []
    for part in ("", "variable"):
        own = rows[rows["subset"] == part]
        defined = own[[pd.notna(row[row["headline"]]) for _, row in own.iterrows()]]
        if defined.empty:
            continue
        if own["rank"].notna().any():
            defined = defined.sort_values("rank", kind="stable")
        title = f"{rows['task'].iloc[0]}{': ' + part if part else ''}"
        means = {row["model"]: float(row[row["headline"]]) for _, row in defined.iterrows()}
        simulated = bool(rows["simulated"].any())
        figure = {"part": part, "bars": task_plots.bars(title, defined, untrained, simulated)}
        shown = {
            model: [table[table["subset"] == part] if part else table for table in tables[model]]
            for model in means
        }
        labels = shown[next(iter(shown))][0]["label"].to_numpy()
        if all((labels == site).any() and (labels != site).any() for site in sites):
            figure["curves"] = task_plots.curves(title, shown, chosen(means, looks), means, sites)
        found.append(figure)
    return found


def _test_predictions(run: Path) -> pd.DataFrame:
    """Return label, subset, scores and whether they are probabilities, of the test split."""
    path = run / "predictions.parquet"
    with readable(path, "delete the run's folder and call the workflow again"):
        names = [
            name
            for name in pq.read_schema(path).names
            if name in ("label", "subset", "is_probability") or name.startswith("score")
        ]
        return pq.read_table(path, columns=names, filters=[("split", "=", "test")]).to_pandas()


def _matrices(
    summary: pd.DataFrame, metadata: Mapping[str, Mapping[str, Any]], untrained: str
) -> list[dict[str, str]]:
    """Return, for each TF of several cell types, the figure of training in one, testing in another."""
    tasks_of: dict[str, list[str]] = {}
    for task, facts in metadata.items():
        if facts["type"] == "tfbs":
            tasks_of.setdefault(facts["settings"]["tf"], []).append(task)
    found = []
    for tf, tasks in tasks_of.items():
        trained_in = {task: metadata[task]["settings"]["train_in"] for task in tasks}
        rows = summary[summary["task"].isin(tasks)]
        headline, chance = rows["headline"].iloc[0], float(rows["chance"].iloc[0])
        tables = {
            model: table
            for model, own in rows.groupby("model", sort=False)
            if (table := cell_type_matrix(own, headline, trained_in)) is not None
        }
        some = next(iter(tables.values()), None)
        if some is not None and some.shape != (1, 1):
            models = representatives(
                {model: float(np.nanmean(table.to_numpy())) for model, table in tables.items()},
                untrained,
            )
            figure = task_plots.cell_type_matrices(
                tf, headline, chance, {model: tables[model] for model in models}
            )
            found.append({"tf": tf, "headline": headline, "figure": figure})
    return found


def cell_type_matrix(
    rows: pd.DataFrame, headline: str, trained_in: Mapping[str, str]
) -> pd.DataFrame | None:
    """Return a model's figures, rows trained in and columns tested in; None where a task lacks them.

    Parameters
    ----------
    rows
        Of the summary, of one model.
    headline
        The metric.
    trained_in
        Cell type by task.
    """
    values: dict[str, dict[str, float]] = {}
    for task, cell_type in trained_in.items():
        own = rows[rows["task"] == task].set_index("subset")[headline]
        if "" not in own or pd.isna(own[""]):
            return None
        name = cell_type if list(trained_in.values()).count(cell_type) == 1 else f"{cell_type} ({task})"
        values[name] = {cell_type: float(own[""])} | {
            subset.removeprefix("across/"): float(value)
            for subset, value in own.items()
            if subset.startswith("across/")
        }
    columns = list(dict.fromkeys([*trained_in.values(), *(c for row in values.values() for c in row)]))
    return pd.DataFrame.from_dict(values, orient="index").reindex(columns=columns)


def representatives(means: Mapping[str, float], untrained: str) -> list[str]:
    """Return the best pre-trained model, the same network untrained, and the best baseline."""
    order = sorted(means, key=lambda model: -means[model])
    best = next((m for m in order if kind_of(m, untrained) == "pre-trained"), None)
    twin = untrained_twin(best, untrained, means) if best else None
    baseline = next((m for m in order if m in BASELINES), None)
    return list(dict.fromkeys(filter(None, (best, twin, baseline)))) or order[:1]
