"""One self-contained HTML page of a results folder."""

import csv
import json
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq

from genebert import __version__
from genebert.corpus.place import open_corpus
from genebert.corpus.read import Corpus
from genebert.corpus.scores import from_steps
from genebert.files import open_text_for_writing
from genebert.genome import SPLITS
from genebert.motifs.table import read_motif_table
from genebert.report import curves, plots
from genebert.report.histories import read_runs
from genebert.report.pretraining import section
from genebert.report.tables import BINARY, verdict

# Stages in the order of the flow: name, which is also the prefix of its timing files; what it makes.
STAGES = (
    ("index_genome", "genome and index"),
    ("preflight", "every input checked"),
    ("peaks", "clean peaks a sample"),
    ("regions", "catalogue, accessibility"),
    ("motifs", "order and thresholds"),
    ("scan_motifs", "hits, both strands"),
    ("corpus", "Parquet parts, manifest"),
    ("npmi", "k-mers that go together"),
    ("pretrain", "weights a variant and seed"),
    ("task", "examples of a task"),
    ("benchmark", "predictions, metrics"),
    ("summary", "this page's table"),
)
_OF_TASKS = frozenset({"task", "benchmark", "summary"})
LOCUS_COLUMNS = 32
_BLOCK = 1 << 14


def write_report(
    results: Path,
    runs: Sequence[str | Path],
    histories: Sequence[str | Path],
    tasks: Sequence[str],
    title: str,
    block_bp: int,
    out: str | Path,
) -> str:
    """Write the page; return a line on it.

    Parameters
    ----------
    results
        Folder of a finished run.
    runs
        Folders of the benchmark runs to show: what else lies there is of another configuration.
    histories
        Files ``…/{variant}/seed{n}/history.tsv`` of the pre-trainings to show.
    tasks
        Names of the tasks.
    title
        Name of the dataset.
    block_bp
        Length of a bootstrap block in bp.
    out
        HTML file.
    """
    corpus = open_corpus(results / "corpus", "cpu")
    manifest = json.loads((results / "corpus/manifest.json").read_text())
    motifs = read_motif_table(results / "motifs/motifs.parquet")
    # A run without tasks has no table; what may lie there is of another configuration.
    summary = (
        pd.read_csv(results / "benchmarks/summary.tsv", sep="\t")
        if tasks
        else pd.DataFrame({"task": []})
    )
    pretrainings = read_runs(histories)
    trained = any(run.recipe.trained for run in pretrainings)
    unneeded = set() if tasks else set(_OF_TASKS)
    if not any(run.recipe.needs_npmi() for run in pretrainings):
        unneeded.add("npmi")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("genebert.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    locus, matrix = draw_locus(corpus)
    page = environment.get_template("page.html").render(
        title=title,
        version=__version__,
        stages=stage_rows(results / "logs/timings", unneeded),
        inputs=read_inputs(results / "reference", tasks),
        manifest=manifest,
        metadata=corpus.metadata,
        dropped=motifs.dropped,
        short=sum(m.realised_p > motifs.p_value * (1 + 1e-9) for m in motifs.motifs),
        p_value=motifs.p_value,
        statistics=draw_statistics(corpus, results / "corpus", manifest),
        locus=locus,
        matrix=matrix,
        curves=curves.pretraining(pretrainings) if trained else "",
        pretraining=section(pretrainings) if trained else {},
        tasks=[
            {
                "name": task,
                "verdict": verdict(int(rows["blocks"].iloc[0]), block_bp),
                "rows": rows.to_dict("records"),
                "figure": plots.benchmark(str(task), test_predictions(runs, str(task))),
            }
            for task, rows in summary.groupby("task", sort=False)
        ],
        metrics=BINARY,
    )
    with open_text_for_writing(out) as text:
        text.write(page)
    return f"{len(page) / 1e6:.1f} MB"


def stage_rows(folder: Path, unneeded: Set[str]) -> list[dict[str, Any]]:
    """Return name, product, jobs, seconds and peak memory of each stage, as far as measured.

    Of those that this run does not need, files may be left from another configuration.
    """
    rows = []
    for name, product in STAGES:
        if name in unneeded:
            continue
        measured = [pd.read_csv(path, sep="\t") for path in sorted(folder.glob(f"{name}.*tsv"))]
        row: dict[str, Any] = {"name": name, "product": product, "jobs": len(measured)}
        if measured:
            table = pd.concat(measured)
            row["seconds"] = float(table["s"].sum())
            memory = pd.to_numeric(table["max_rss"], errors="coerce").max()
            row["memory"] = None if pd.isna(memory) else float(memory)
        rows.append(row)
    return rows


def read_inputs(folder: Path, tasks: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows that preflight wrote, those of tasks last."""
    rows: list[dict[str, str]] = []
    for name in ("preflight.tsv", *(f"preflight.{task}.tsv" for task in tasks)):
        with (folder / name).open(newline="") as text:
            rows += csv.DictReader(text, delimiter="\t")
    return rows


def draw_statistics(corpus: Corpus, folder: Path, manifest: Mapping[str, Any]) -> str:
    """Draw what the corpus holds."""
    region = np.repeat(np.arange(corpus.regions), np.diff(corpus.open_offsets))
    counts = pd.DataFrame(
        {
            split: np.bincount(
                corpus.open_cell_type[corpus.in_split(split)[region]],
                minlength=len(corpus.metadata.cell_types),
            )
            for split in SPLITS
        },
        index=corpus.metadata.cell_types,
    )
    hits = np.concatenate(
        [
            pc.list_value_length(pq.read_table(folder / part["part"], columns=["strand"])["strand"])
            for part in manifest["parts"]
        ]
    )
    # Block by block: a mapped table need not fit into memory.
    blocks = [corpus.best[first : first + _BLOCK] for first in range(0, corpus.regions, _BLOCK)]
    motifs = np.concatenate([np.count_nonzero(block, axis=1) for block in blocks])
    return plots.corpus_statistics(counts, hits, motifs)


def draw_locus(corpus: Corpus) -> tuple[str, str]:
    """Draw the matrix of the densest training locus of the cell type with most regions.

    Returns
    -------
    tuple
        What it is, and its figure.
    """
    training = corpus.in_split("train")
    region = np.repeat(np.arange(corpus.regions), np.diff(corpus.open_offsets))
    kept = training[region]
    most = int(np.bincount(corpus.open_cell_type[kept]).argmax())
    rows = region[kept & (corpus.open_cell_type == most)]
    rows = rows[corpus.contig[rows] == corpus.contig[rows[0]]]
    width = min(LOCUS_COLUMNS, len(rows))
    spans = corpus.start[rows[width - 1 :]] - corpus.start[rows[: len(rows) - width + 1]]
    first = int(spans.argmin())
    rows = rows[first : first + width]
    dense = from_steps(corpus.best[rows].T)
    names = [f"{corpus.start[row]:,}" for row in rows]
    cell_type = corpus.metadata.cell_types[most]
    end = corpus.start[rows[-1]] + corpus.metadata.width
    chrom = corpus.contigs[corpus.contig[rows[0]]]
    what = (
        f"{chrom}:{corpus.start[rows[0]]:,}-{end:,}, the {width} regions open in "
        f"{cell_type} that lie closest together among training regions; starts in bp (0-based)"
    )
    return what, plots.matrix(dense, corpus.metadata.motifs, names, width // 2)


def test_predictions(runs: Sequence[str | Path], task: str) -> dict[str, list[pd.DataFrame]]:
    """Return the test predictions of each model on a task, one table a seed."""
    found: dict[str, list[pd.DataFrame]] = {}
    for run in map(Path, runs):
        facts = json.loads((run / "metrics.json").read_text())
        if facts["task"] == task:
            predictions = pd.read_parquet(run / "predictions.parquet")
            found.setdefault(facts["model"], []).append(predictions[predictions["split"] == "test"])
    return found
