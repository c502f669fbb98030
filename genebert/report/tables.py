"""The benchmark table as people read it: ``summary.tsv`` and ``summary.md``."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from genebert.benchmarks.comparisons import sentences
from genebert.benchmarks.intervals import MIN_BLOCKS
from genebert.benchmarks.metrics import METRICS
from genebert.files import open_text_for_writing
from genebert.report.rows import Task, proper_parts, summarise

# Types of tasks whose examples have no place in the genome: each is resampled on its own.
PLACELESS = ("labelled", "cohort")


def write_summary(
    runs: Sequence[str | Path],
    block_bp: int,
    out: str | Path,
    untrained: str = "scratch",
    sequence_only: str = "sequence_only",
) -> str:
    """Write ``summary.tsv`` and, beside it, ``summary.md``; return a line on them.

    Parameters
    ----------
    runs
        Folders ``…/{task}/{model}/seed{n}`` with predictions.parquet and metrics.json.
    block_bp
        Length of a bootstrap block in bp.
    out
        ``summary.tsv``: a row a task, part of its test examples and model.
    untrained, sequence_only
        Names of the variants to compare with.

    Raises
    ------
    GenebertError
        If runs of a task are of other datasets or examples.
    """
    tasks = summarise(runs, block_bp, untrained, sequence_only)
    table = pd.concat([task.rows for task in tasks], ignore_index=True)
    out = Path(out)
    with open_text_for_writing(out.with_suffix(".md")) as text:
        text.write(as_markdown(tasks, block_bp, untrained, sequence_only))
    with open_text_for_writing(out) as text:
        table.to_csv(text, sep="\t", index=False, float_format="%.6f", lineterminator="\n")
    return f"{len(table)} rows from {len(runs)} runs"


def verdict(blocks: int, block_bp: int, task_type: str) -> str:
    """Return what a table of so many test blocks allows to say."""
    unit = "examples" if task_type in PLACELESS else f"blocks of {block_bp / 1e6:g} Mb"
    if blocks < MIN_BLOCKS:
        return (
            f"Too small to rank models: in the test split a class has {blocks} {unit}, fewer than "
            f"{MIN_BLOCKS}, so rows carry no interval and no rank. Differences between rows are not "
            "results; the table shows that every part runs."
        )
    each = "of each class" if task_type in PLACELESS else "hold each class"
    return (
        f"Means over seeds; 95 % intervals by bootstrap over {unit} ({blocks} or more {each}) and "
        "seeds, not corrected for the number of comparisons."
    )


def as_markdown(tasks: Sequence[Task], block_bp: int, untrained: str, sequence_only: str) -> str:
    """Return the leaderboards, what the differences say, and what may not be read from them."""
    parts = ["# Benchmarks\n", "## All tasks\n", overall(tasks)]
    for task in tasks:
        whole = task.rows[task.rows["subset"] == ""]
        row = whole.iloc[0]
        parts += [f"## {task.name}\n", verdict(int(row["blocks"]), block_bp, task.type) + "\n"]
        parts += [f"{note}\n" for note in notes(task)]
        parts += [_leaderboard(whole, untrained, sequence_only), _size(row)]
        said = sentences(task.figures, row["headline"], untrained, sequence_only)
        if said:
            parts.append("".join(f"- {sentence[0].upper()}{sentence[1:]}.\n" for sentence in said))
        rows, same = proper_parts(task.rows)
        if same:
            parts.append(f"All test examples are of the part `{same}`.\n")
        if len(whole) < len(rows):
            parts.append(_by_part(rows))
    return "\n".join(parts)


def notes(task: Task) -> list[str]:
    """Return what must be known to read a task's figures, a sentence each."""
    found = []
    sizes = task.rows.groupby("subset")["examples"].first()
    if task.rows["simulated"].any():
        found.append(
            "**SIMULATED phenotype**: the figures show that the method finds what was planted, and "
            "nothing of a disease."
        )
    if task.type == "splicing":
        found.append(
            "Sites against decoys: not comparable with published figures of SpliceAI-400; "
            + (
                "the part `positions`, every position of the held-out genes, is."
                if "positions" in sizes
                else "`score_genes: true` gives some that are."
            )
        )
    if task.type == "variants":
        found.append(
            f"{sizes.get('pretraining', 0)} of {sizes['']} variants lie where pre-training looked, "
            "without their labels; the part `held_out` is the others."
        )
    return found


def overall(tasks: Sequence[Task]) -> str:
    """Return the leaderboard over all tasks that have ranks and are not simulated: mean ranks."""
    rows = pd.concat([task.rows for task in tasks], ignore_index=True)
    ranked = rows[(rows["subset"] == "") & rows["rank"].notna() & ~rows["simulated"].astype(bool)]
    if not len(ranked):
        return f"No real task has the {MIN_BLOCKS} test blocks of each class that a rank needs.\n"
    ranks = ranked.groupby("model")["rank"].agg(["size", "mean"]).reset_index()
    ranks = ranks.sort_values(["size", "mean", "model"], ascending=[False, True, True])
    cells = [[model, str(size), f"{mean:.2f}"] for model, size, mean in ranks.to_numpy()]
    return (
        f"Mean rank over the {ranked['task'].nunique()} tasks that have ranks; only models of the same "
        "tasks compare.\n\n" + _table(["model", "tasks", "mean rank"], cells)
    )


def _leaderboard(rows: pd.DataFrame, untrained: str, sequence_only: str) -> str:
    """Return the table of the whole test split, best first where there are ranks."""
    headline = rows["headline"].iloc[0]
    ranked = rows["rank"].notna().any()
    columns = {
        "rank": "rank",
        "model": "model",
        "seeds": "seeds",
        headline: f"{headline} (95 %)" if ranked else headline,
        "vs_scratch": f"less `{untrained}`",
        "vs_sequence_only": f"less `{sequence_only}`",
        **{metric: metric for metric in METRICS if metric != headline},
    }
    shown = [name for name in columns if rows[name].notna().any()]
    if ranked:
        rows = rows.sort_values("rank", kind="stable")
    return _table(
        [columns[name] for name in shown],
        [[_cell(row, name) for name in shown] for _, row in rows.iterrows()],
    )


def _by_part(rows: pd.DataFrame) -> str:
    """Return a table of the headline on each part of the test examples."""
    parts = rows[rows["subset"] != ""]
    headline = rows["headline"].iloc[0]
    names = parts["subset"].unique()
    cells = {(row["model"], row["subset"]): _cell(row, headline) for _, row in parts.iterrows()}
    models = dict.fromkeys(parts["model"])
    first = parts.drop_duplicates("subset").set_index("subset")
    sizes = "; ".join(
        f"{name}: {first['examples'][name]} examples, chance {first['chance'][name]:.3g}"
        for name in names
    )
    head = ["model", *(f"{headline}: {name}" for name in names)]
    body = [[model, *(cells.get((model, name), "") for name in names)] for model in models]
    return f"Parts of the test examples. {sizes}.\n\n{_table(head, body)}"


def _size(row: pd.Series) -> str:
    positives = "" if pd.isna(row["positives"]) else f" ({row['positives']} positive)"
    return (
        f"{row['examples']} test examples{positives}; chance is {row['headline']} {row['chance']:.3g}.\n"
    )


def _cell(row: pd.Series, name: str) -> str:
    if pd.isna(row[name]):
        return ""
    if name in ("rank", "model", "seeds"):
        return str(row[name])
    ends = ("low", "high") if name == row["headline"] else (f"{name}_low", f"{name}_high")
    sign = "+" if name.startswith("vs_") else ""
    low, high = (row.get(end) for end in ends)
    figure = f"{row[name]:{sign}.3f}"
    return figure if low is None or pd.isna(low) else f"{figure} ({low:{sign}.3f} to {high:{sign}.3f})"


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table: names on the left, figures on the right."""
    rule = ["---" if name == "model" else "---:" for name in head]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *body)) + "\n"
