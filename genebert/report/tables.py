"""The benchmark table: every figure derived from the predictions of the runs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from genebert.benchmarks.intervals import MIN_BLOCKS, block_of, interval
from genebert.benchmarks.metrics import BINARY, mean_over
from genebert.benchmarks.run import metrics_of
from genebert.errors import GenebertError
from genebert.files import open_text_for_writing

HEADLINE = BINARY[0]
COLUMNS = (
    "task",
    "model",
    "rank",
    "seeds",
    "examples",
    "blocks",
    *BINARY,
    f"{HEADLINE}_low",
    f"{HEADLINE}_high",
)


def summarise(runs: Sequence[str | Path], block_bp: int) -> pd.DataFrame:
    """Return a row a task and model: means over seeds on the test split, interval and rank.

    Tasks with fewer than 20 blocks in the test split get neither interval nor rank.

    Parameters
    ----------
    runs
        Folders ``…/{task}/{model}/seed{n}`` with predictions.parquet and metrics.json.
    block_bp
        Length of a bootstrap block in bp.
    """
    by_model: dict[tuple[str, str], list[pd.DataFrame]] = {}
    for run in runs:
        facts = json.loads((Path(run) / "metrics.json").read_text())
        predictions = pd.read_parquet(Path(run) / "predictions.parquet")
        test = predictions[predictions["split"] == "test"]
        by_model.setdefault((facts["task"], facts["model"]), []).append(test)
    rows: list[dict[str, Any]] = []
    for (task, model), by_seed in by_model.items():
        keys = [tests["example_id"].tolist() for tests in by_seed]
        if any(key != keys[0] for key in keys):
            raise GenebertError(
                f"the seeds of {model} on {task} predict different examples",
                "delete the runs of that model and run again",
            )
        means = mean_over([metrics_of(tests, "test") for tests in by_seed])
        low, high = interval(by_seed, HEADLINE, block_bp) or (None, None)
        rows.append(
            {
                "task": task,
                "model": model,
                "seeds": len(by_seed),
                "blocks": len(set(block_of(by_seed[0], block_bp))),
                **means,
                f"{HEADLINE}_low": low,
                f"{HEADLINE}_high": high,
            }
        )
    table = pd.DataFrame(rows)
    table["examples"] = table["examples"].astype(int)
    rank = table.groupby("task")[HEADLINE].rank(ascending=False, method="min")
    table["rank"] = rank.astype("Int64").where(table["blocks"] >= MIN_BLOCKS)
    return table[list(COLUMNS)]


def as_markdown(table: pd.DataFrame, block_bp: int) -> str:
    """Return one Markdown table a task, with what may and may not be read from it."""
    parts = ["# Benchmarks\n"]
    for task, rows in table.groupby("task", sort=False):
        blocks = int(rows["blocks"].iloc[0])
        parts.append(f"## {task}\n")
        parts.append(verdict(blocks, block_bp) + "\n")
        ranked = blocks >= MIN_BLOCKS
        names = [*(["rank"] if ranked else []), "model", "seeds", *BINARY]
        heads = [f"{HEADLINE} (95 %)" if ranked and n == HEADLINE else n for n in names]
        parts.append("| " + " | ".join(heads) + " |")
        parts.append("|" + "|".join("---" if n == "model" else "---:" for n in names) + "|")
        for _, row in (rows.sort_values("rank", kind="stable") if ranked else rows).iterrows():
            parts.append("| " + " | ".join(_cell(row, name) for name in names) + " |")
        parts.append(f"\n{int(rows['examples'].iloc[0])} test examples in {blocks} blocks.\n")
    return "\n".join(parts)


def verdict(blocks: int, block_bp: int) -> str:
    """Return what a table of so many test blocks allows to say."""
    size = f"{block_bp / 1e6:g} Mb"
    if blocks < MIN_BLOCKS:
        return (
            f"Too small to rank models: the test split has {blocks} blocks of {size}, fewer than "
            f"{MIN_BLOCKS}, so rows carry no interval and no rank. Differences between rows are not "
            "results; the table shows that every part runs."
        )
    return f"Means over seeds; 95 % intervals by bootstrap over {blocks} blocks of {size} and seeds."


def _cell(row: pd.Series, name: str) -> str:
    if name == HEADLINE and pd.notna(row[f"{HEADLINE}_low"]):
        return f"{row[name]:.3f} ({row[f'{HEADLINE}_low']:.3f} to {row[f'{HEADLINE}_high']:.3f})"
    if name in ("rank", "seeds"):
        return str(int(row[name]))
    return f"{row[name]:.3f}" if name in BINARY else str(row[name])


def write_summary(runs: Sequence[str | Path], block_bp: int, out: str | Path) -> str:
    """Write ``summary.tsv`` and, beside it, ``summary.md``; return a line on them."""
    table = summarise(runs, block_bp)
    out = Path(out)
    with open_text_for_writing(out.with_suffix(".md")) as text:
        text.write(as_markdown(table, block_bp))
    with open_text_for_writing(out) as text:
        table.to_csv(text, sep="\t", index=False, float_format="%.6f", lineterminator="\n")
    return f"{len(table)} rows from {len(runs)} runs"
