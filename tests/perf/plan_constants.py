"""What the jobs of the workflow take: the constants of `genebert plan`.

    python tests/perf/plan_constants.py --out genebert/plan/constants.json    # a quarter of an hour
    python tests/perf/plan_constants.py --quick                                # to see that it runs

Two made-up projects of different size on the demo's chromosome (real sequence, places drawn at random)
are run from peaks to report by the workflow itself. Every process of a stage notes at its end the CPU
time and the peak memory that the system counted for it. Of each stage the two sizes give a line: what
it takes to start, and what each unit (bp, peak, region, hit, example …) adds. Training costs what its
operations and its activations take: both rates come from steps at three presets, on one thread.

Times on the clock are not used; but where two threads share a core, CPU time grows with what else the
machine does: leave it alone meanwhile. Figures that no run here can give (GPUs, files that are not
fetched yet) are written down in `plan_assumed.py` with their basis.
Prints one line of JSON; `--out` writes the file that the plan reads.
"""

import argparse
import contextlib
import datetime
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from corpus import peak_starts
from plan_assumed import ASSUMED, GPU
from plan_project import (
    WIDTH,
    Measured,
    more_bases,
    more_peaks,
    more_predictions,
    more_regions,
    regions_of_collections,
    run_project,
    write_project,
)
from plan_used import results_of
from scan import processor
from scipy.optimize import nnls

from genebert.config import Config, Model, Pretrain, load
from genebert.genome import Genome, Interval
from genebert.inputs.sheet import read_samples
from genebert.motifs.scan import Scanner
from genebert.motifs.table import read_motif_table
from genebert.plan import constants as stored
from genebert.plan.jobs import Job
from genebert.plan.needs import load_of
from genebert.plan.sizes import Sizes, expected
from genebert.plan.training import pretraining_view

COMMAND = "python tests/perf/plan_constants.py --out genebert/plan/constants.json"
Numbers = dict[str, Any]
SIZES: list[Numbers] = [
    {"bp": 40_000_000, "peaks": 500, "rows": 100, "capped": 20, "motifs": 200, "steps": 10},
    {"bp": 63_025_520, "peaks": 6000, "rows": 1500, "capped": 400, "motifs": 1019, "steps": 80},
]
QUICK: list[Numbers] = [
    {"bp": 40_000_000, "peaks": 500, "rows": 100, "capped": 10, "motifs": 40, "steps": 2},
    {"bp": 45_000_000, "peaks": 700, "rows": 150, "capped": 20, "motifs": 80, "steps": 4},
]


# What takes the unit itself, beside what is measured, is marked by =: a MB of columns takes a MB.
IN_MEMORY = ["motifs", "=corpus_mb", "=held_mb"]
IN_REPORT = ["predictions", "part_hits", "=corpus_mb"]
# What each measure of a stage depends on, beside what starting takes.
UNITS: dict[str, dict[str, list[str]]] = {
    "checksums": {"cpu": ["input_mb"]},
    "index_genome": {"cpu": ["bp"], "bytes": ["bp"]},
    "preflight": {"cpu": ["peaks"], "mb": ["largest_sample"]},
    "preflight_task": {"cpu": ["records"], "mb": ["records"]},
    "peaks": {"cpu": ["peaks"], "mb": ["peaks"], "bytes": ["peaks"]},
    "regions": {"cpu": ["peaks"], "mb": ["peaks", "largest_sample"], "bytes": ["peaks"]},
    "motifs": {"cpu": ["motif_pairs"], "mb": ["motifs"], "bytes": ["motifs"]},
    "scan_motifs": {"cpu": ["scanned"], "mb": ["block"]},
    "corpus": {"cpu": ["hits"], "mb": ["hits"], "bytes": ["hits"]},
    "manifest": {"cpu": ["hits"], "mb": ["part_hits"]},
    "npmi": {"cpu": ["regions"], "mb": ["=corpus_mb"]},
    "pretrain": {"cpu": ["fitted", "work"], "mb": IN_MEMORY},
    "embed": {"mb": IN_MEMORY, "bytes": ["embedded"]},
    "attribution": {"cpu": ["=work"], "mb": IN_MEMORY},
    "benchmark.scores": {"cpu": ["examples"], "mb": ["examples"]},
    "benchmark.kmer_logistic": {"cpu": ["examples"], "mb": ["examples"]},
    "benchmark.motif_logistic": {"cpu": ["examples"], "mb": ["examples"]},
    "benchmark.cnn": {"cpu": ["bases_seen"], "mb": ["examples"]},
    "benchmark.deepromoter": {"cpu": ["bases_seen"], "mb": ["examples"]},
    "benchmark.cdil": {"cpu": ["bases_seen"], "mb": ["examples"]},
    "benchmark.fine_tuned": {"cpu": ["work"], "mb": IN_MEMORY},
    "benchmark.probe": {"cpu": ["work", "examples"], "mb": IN_MEMORY},
    "benchmark.llr": {"cpu": ["work"], "mb": IN_MEMORY},
    "benchmark.distance": {"cpu": ["work"], "mb": IN_MEMORY},
    "leakage": {"cpu": ["examples", "regions"], "mb": ["examples", "regions"]},
    "summary": {"cpu": ["predictions"], "mb": ["predictions"], "bytes": ["runs"]},
    "report": {"cpu": ["predictions", "regions"], "mb": IN_REPORT, "bytes": ["drawn"]},
}
# Of the other stages: tasks, and whatever is predicted.
OF_TASKS = {"cpu": ["examples"], "mb": ["examples", "regions"], "bytes": ["examples"]}
# Both projects have as many of these: what each adds is all there is.
NO_START = {"drawn", "embedded"}
OF_RUNS = {"bytes": ["predictions"]}


def realised(folder: Path) -> tuple[Config, Sizes]:
    """Return the configuration of a finished project, and the sizes that it had."""
    with contextlib.chdir(folder):
        config = load("config.yaml")
        found = expected(config, read_samples(config.samples))
    results = folder / config.results_dir

    def rows(path: str) -> int:
        return sum(pq.read_metadata(part).num_rows for part in results.glob(path))

    parts = [pq.read_table(part, columns=["motif"]) for part in results.glob("corpus/part-*.parquet")]
    tasks = {}
    for name, task in found.tasks.items():
        table = pq.read_table(results / f"benchmarks/{name}/dataset.parquet", columns=["split"])
        splits = Counter(table["split"].to_pylist())
        training, validation = splits["train"], splits["validation"]
        test = table.num_rows - training - validation
        tasks[name] = replace(task, training=training, validation=validation, test=test)
    sizes = replace(
        found,
        regions=rows("regions/regions.parquet"),
        openings=rows("regions/accessibility.parquet"),
        motifs=rows("motifs/motifs.parquet"),
        hits=sum(pc.sum(pc.list_value_length(part["motif"])).as_py() for part in parts),
        tasks=tasks,
    )
    return config, sizes


def job_of(words: list[str]) -> tuple[str, dict[str, str]]:
    """Return rule and wildcards of the words of a sub-command."""
    given = dict(pairwise(words))
    name = " ".join(words[:2]) if words[0] == "corpus" else words[0]
    rule = {"corpus write": "corpus", "corpus manifest": "manifest", "scan-chunk": "scan_motifs"}.get(
        name, name.replace("-", "_")
    )
    out = Path(given["--out"])
    names = {"chunk": out.stem[-4:], "sample": given.get("--sample", "")}
    if rule in ("task", "preflight_task"):
        names["task"] = given["--name"]
        rule = f"task_{given['--type']}" if rule == "task" else rule
    elif rule == "benchmark":
        names |= {"task": given["--task"], "model": out.parent.name, "seed": given["--seed"]}
    elif rule == "leakage":
        names["task"] = out.parent.name
    elif rule in ("pretrain", "embed", "attribution"):
        names |= {"variant": out.parent.parent.name, "seed": out.parent.name.removeprefix("seed")}
    return rule, names


def stages_of(
    folders: list[Path], notes: list[list[Numbers]], collections: dict[str, list[Measured]]
) -> dict[str, Any]:
    """Return the lines of all stages from projects of different size, and collections of samples."""
    seen: dict[str, dict[str, list[Measured]]] = {}
    for folder, own in zip(folders, notes, strict=True):
        config, sizes = realised(folder)
        for note in own:
            rule, names = job_of(note["words"])
            load = load_of(rule, names, sizes.scaled(note.get("regions", 1)), config)
            size = sum(path.stat().st_size for path in results_of(Job(rule, names), folder / "results"))
            found = seen.setdefault(load.stage, {"cpu": [], "mb": [], "bytes": []})
            units = load.counted() | note.get("units", {})
            found["cpu"].append((units, note["cpu"]))
            found["mb"].append((units, note["mb"]))
            if note.keys().isdisjoint({"units", "regions"}):
                found["bytes"].append((units, size - load.result_bytes))
    for measure, rows in collections.items():
        seen["regions"][measure] += rows
    # What tasks hold differs less between them than their number of examples.
    of_tasks = [own for stage, own in seen.items() if stage.startswith("task_")]
    pooled = [row for own in of_tasks for row in own["mb"]]
    for own in of_tasks:
        own["mb"] = pooled
    return {
        stage: {
            measure: fitted(rows, units_of(stage).get(measure, [])) for measure, rows in measures.items()
        }
        for stage, measures in sorted(seen.items())
    }


def units_of(stage: str) -> dict[str, list[str]]:
    """Return what the measures of a stage depend on."""
    own = UNITS.get(stage, OF_TASKS)
    return own | OF_RUNS if stage.startswith("benchmark.") else own


def fitted(rows: list[Measured], units: list[str]) -> dict[str, float]:
    """Return the line through values: none of its terms below zero, relative errors least."""
    known = {unit[1:]: 1.0 for unit in units if unit.startswith("=")}
    units = [unit for unit in units if not unit.startswith("=")]
    values = np.maximum([value for _, value in rows], 1e-3)
    rest = values - [sum(slope * own[unit] for unit, slope in known.items()) for own, _ in rows]
    start = 0.0 if NO_START & set(units) else 1.0
    table = np.array([[start, *(own[unit] for unit in units)] for own, _ in rows])
    scale = np.maximum(table.max(axis=0), 1)
    found, _ = nnls(table / scale / values[:, None], rest / values)
    terms = zip(["start", *units], found / scale, strict=True)
    return {name: float(f"{value:.4g}") for name, value in terms if value} | known


def hits_of_peaks(folder: Path) -> float:
    """Return the hits in the demo's peaks over those that chance would give: peaks are rich in GC."""
    table = read_motif_table(folder / "results/motifs/motifs.parquet")
    genome = Genome(folder / "results/reference/genome.fa")
    contig = genome.fetch(Interval("chr20", 0, genome.lengths["chr20"])).upper()
    starts = peak_starts(np.frombuffer(contig.encode(), np.uint8))
    texts = [contig[start : start + WIDTH] for start in starts.tolist()]
    hits = len(Scanner(table, WIDTH * len(texts)).scan(texts).motif)
    return hits / (2 * WIDTH * len(texts) * table.p_value * len(table.motifs))


def annotation_rates(folder: Path) -> dict[str, float]:
    """Return the CPU seconds and MB that each line of a GTF adds to a job that reads it."""
    few, many = 2_000, 10_000  # genes, of 9 exons
    found = []
    for genes in (few, many):
        gtf = folder / f"{genes}.gtf"
        gtf.write_text("".join(_gene(number) for number in range(genes)))
        used = _in_a_process(f"list(read_genes({str(gtf)!r})), read_junctions({str(gtf)!r}, 'as_is')")
        found.append((used["cpu"], used["mb"]))
    lines = 11 * (many - few)
    (cpu, mb), (more_cpu, more_mb) = found
    return {
        "cpu": float(f"{(more_cpu - cpu) / lines:.4g}"),
        "mb": float(f"{max(0.0, more_mb - mb) / lines:.4g}"),
    }


def _gene(number: int) -> str:
    """Return the lines of a gene, its transcript and 9 exons."""
    start, ids = (
        10_000 * number + 1,
        f'gene_id "G{number}"; gene_type "protein_coding"; gene_name "N{number}";',
    )
    transcript = (
        f'{ids} transcript_id "T{number}"; transcript_type "protein_coding"; level 2; tag "basic";'
    )
    rows = [("gene", start, start + 9000, ids), ("transcript", start, start + 9000, transcript)]
    rows += [("exon", start + 1000 * n, start + 1000 * n + 150, transcript) for n in range(9)]
    return "".join(
        f"chr1\tX\t{kind}\t{first}\t{last}\t.\t+\t.\t{text}\n" for kind, first, last, text in rows
    )


def _in_a_process(code: str) -> Numbers:
    """Return the CPU seconds and the peak MB of a process that reads an annotation."""
    program = (
        "import json, re, time\n"
        "from genebert.inputs.exons import read_genes, read_junctions\n"
        f"{code}\n"
        "peak = int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) / 1024\n"
        "print(json.dumps({'cpu': time.process_time(), 'mb': peak}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=600
    )
    found: Numbers = json.loads(done.stdout)
    return found


def training_rates(quick: bool) -> dict[str, float]:
    """Return what an operation and an activation take, from steps of several sizes."""
    few, many = (2, 8) if quick else (8, 64)
    runs = [("tiny", few), ("tiny", many), ("small", few)]
    runs += [] if quick else [("base", 2)]
    rows, costs, peaks = [], [], []
    for preset, views in runs:
        done = subprocess.run(
            [sys.executable, Path(__file__), "--training", preset, str(views)],
            capture_output=True,
            text=True,
            check=True,
            timeout=1800,
        )
        found = json.loads(done.stdout)
        rows.append([found["flops"], found["elements"]])
        costs.append(found["cpu"])
        peaks.append(found["mb"])
    table = np.array(rows)[1:]
    scale = table.max(axis=0)
    rates, _ = nnls(table / scale / np.array(costs)[1:, None], np.ones(len(table)))
    held = (peaks[1] - peaks[0]) * 1e6 / (rows[1][1] - rows[0][1])
    return {
        "seconds_of_a_flop": float(f"{rates[0] / scale[0]:.4g}"),
        "seconds_of_an_element": float(f"{rates[1] / scale[1]:.4g}"),
        "bytes_of_an_element": round(held, 2),
    }


def train(preset: str, views: int) -> dict[str, float]:
    """Take a few steps on one thread; return CPU seconds, FLOPs and activations of one, and peak MB."""
    import pretrain_throughput as throughput  # noqa: PLC0415

    throughput.use_threads(1, "cpu")
    settings = Model(preset=preset)
    pretrain = Pretrain(batch_size=views, matching_group=views, evaluation_views=views)
    recipe = throughput.Recipe(pretrain, pretrain.variants["multimodal"], 0)
    corpus = throughput.random_corpus(2000)
    placed = throughput.Views(throughput.place_corpus(corpus, "cpu"), "train", settings.columns)
    _, step = throughput.our_arm(settings, placed, recipe, [range(views)], "cpu", False)
    step(0)
    started, steps = time.process_time(), 3
    for number in range(steps):
        step(1 + number)
    cpu = (time.process_time() - started) / steps
    objectives = ["masked_sequence", "masked_region", "matching"]
    view = pretraining_view(settings, throughput.MOTIFS, WIDTH, views, objectives).times(views)
    peak = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024  # type: ignore[index]
    return {"cpu": cpu, "flops": view.flops, "elements": view.elements, "mb": peak}


def constants_of(
    folders: list[Path],
    notes: list[list[Numbers]],
    collections: dict[str, list[Measured]],
    rates: Numbers,
    scratch: Path,
) -> Numbers:
    """Return the file of constants, from finished projects and their notes."""
    found: Numbers = {
        "command": COMMAND,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{processor()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("torch", "numpy", "pyarrow", "MOODS-python")},
        "training": rates,
        "gpu": GPU,
        "assumed": ASSUMED,
        "hits_over_chance": 1.0,
        "stages": {},
    }
    # What follows counts with what comes before.
    stored.FILE = scratch
    scratch.write_text(json.dumps(found))
    stored.constants.cache_clear()
    found["hits_over_chance"] = round(hits_of_peaks(folders[-1]), 2)
    _, sizes = realised(folders[-1])
    found["stages"] = stages_of(folders, notes, collections)
    catalogue = folders[-1] / "results/regions/regions.parquet"
    each = round(catalogue.stat().st_size / sizes.regions, 2)
    found["stages"]["catalogue"] = {"bytes": {"regions": each}}
    for stage in ("preflight_task", "task_promoter", "task_splicing"):
        for measure, slope in annotation_rates(scratch.parent).items():
            found["stages"][stage][measure]["gtf_lines"] = slope
    # Fetching takes the network's time; what the process takes is little more than a checksum's.
    found["stages"]["download"] = found["stages"]["checksums"] | {"bytes": {}}
    return found


def main() -> None:
    """Measure, print, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", help="file of the constants; without it they are only printed")
    parser.add_argument("--quick", action="store_true", help="tiny projects: figures mean little")
    parser.add_argument("--training", nargs=2, metavar=("PRESET", "VIEWS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.training:
        print(json.dumps(train(options.training[0], int(options.training[1]))))
        return
    with tempfile.TemporaryDirectory(prefix="genebert-") as name:
        folders = [Path(name) / size for size in ("small", "large")]
        notes = []
        for folder, size in zip(folders, QUICK if options.quick else SIZES, strict=True):
            write_project(folder, size)
            notes.append(run_project(folder))
        times, peaks, more = (3, 2000, 2) if options.quick else (60, 200_000, 10)
        notes[-1] += more_bases(folders[-1], more)
        notes[-1] += more_peaks(folders[-1], peaks) + more_predictions(folders[-1], times)
        notes[-1] += more_regions(folders[-1], more)
        collections = regions_of_collections(Path(name), options.quick)
        rates = training_rates(options.quick)
        found = constants_of(folders, notes, collections, rates, Path(name) / "constants.json")
    if options.out:
        Path(options.out).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
