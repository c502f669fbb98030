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
from genebert.report import benchmarks, curves, embeddings, locus, plots, pretraining
from genebert.report.histories import Run, read_runs

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
    ("embed", "features of regions"),
    ("attribution", "what features hang on"),
    ("task", "examples of a task"),
    ("leakage", "what gives labels away"),
    ("benchmark", "predictions, metrics"),
    ("summary", "the tables of this page"),
)
_OF_TASKS = frozenset({"task", "leakage", "benchmark", "summary"})
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
    embedded: Sequence[str | Path] = (),
    attributed: Sequence[str | Path] = (),
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
    embedded
        Files ``…/{variant}/seed{n}/embeddings.parquet``; the first seed of each variant is shown.
    attributed
        Files ``…/{variant}/seed{n}/attribution.parquet``, likewise.
    """
    corpus = open_corpus(results / "corpus", "cpu")
    manifest = json.loads((results / "corpus/manifest.json").read_text())
    motifs = read_motif_table(results / "motifs/motifs.parquet")
    pretrainings = read_runs(histories)
    trained = any(run.recipe.trained for run in pretrainings)
    untrained = next((run.variant for run in pretrainings if not run.recipe.trained), "scratch")
    place, matrix = draw_locus(corpus)
    page = (
        templates()
        .get_template("page.html")
        .render(
            title=title,
            version=__version__,
            stages=stage_rows(
                results / "logs/timings", _unneeded(pretrainings, tasks, embedded, attributed)
            ),
            inputs=read_inputs(results / "reference", tasks),
            manifest=manifest,
            metadata=corpus.metadata,
            dropped=motifs.dropped,
            short=sum(m.realised_p > motifs.p_value * (1 + 1e-9) for m in motifs.motifs),
            p_value=motifs.p_value,
            statistics=draw_statistics(corpus, results / "corpus", manifest),
            locus=place,
            matrix=matrix,
            curves=curves.pretraining(pretrainings) if trained else "",
            pretraining=pretraining.section(pretrainings) if trained else {},
            attribution=locus.section(attributed, motifs),
            embedding=embeddings.section(embedded),
            benchmarks=benchmarks.section(results, runs, tasks, block_bp, untrained),
        )
    )
    with open_text_for_writing(out) as text:
        text.write(page)
    return f"{len(page) / 1e6:.1f} MB"


def templates() -> jinja2.Environment:
    """Return where the page's templates are."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("genebert.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _unneeded(
    pretrainings: Sequence[Run],
    tasks: Sequence[str],
    embedded: Sequence[str | Path],
    attributed: Sequence[str | Path],
) -> set[str]:
    """Return the stages that this run does without."""
    stages = set() if tasks else set(_OF_TASKS)
    for name, needed in (
        ("npmi", any(run.recipe.needs_npmi() for run in pretrainings)),
        ("embed", embedded),
        ("attribution", attributed),
    ):
        if not needed:
            stages.add(name)
    return stages


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
