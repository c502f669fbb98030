"""A made-up project of a chosen size, from peaks to report, and what each of its processes took.

Real sequence of the demo's chromosome, places drawn at random. For `plan_constants.py`.
"""

import contextlib
import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from regions import measure

ROOT = Path(__file__).parents[2]
WIDTH = 515
CELL_TYPES = ("a", "b", "c", "d")
# Written at the end of each process of a stage: its words, CPU seconds and peak MB.
NOTE = """
import atexit, json, os, re, resource, sys

def note():
    if not sys.argv[0].endswith("genebert/__main__.py"):
        return
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(one.ru_utime + one.ru_stime for one in used)
    peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1024
    with open(os.environ["PLAN_NOTES"], "a") as notes:
        notes.write(json.dumps({"words": sys.argv[1:], "cpu": cpu, "mb": peak}) + "\\n")

atexit.register(note)
"""
# Collections whose regions are made, to see what many samples take: how many, peaks of each.
COLLECTIONS = [(13, 150_000), (200, 50_000)]
Measured = tuple[dict[str, float], float]  # units, and what they took
CLASSIFIERS = [
    *("multimodal.both", "multimodal.sequence", "multimodal.both.probe", "kmer_logistic"),
    *("motif_logistic", "gc_only", "occupancy_only", "cnn", "deepromoter", "cdil"),
]
OF_VARIANTS = ["multimodal.sequence.llr", "multimodal.both.distance", "gc_only", "motif_logistic"]


def configuration(size: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of a project."""
    tasks: dict[str, Any] = {
        "promoter": {"type": "promoter", "tss": "tss.bed", "models": CLASSIFIERS},
        "tfbs": {"type": "tfbs", "tf": "CTCF", "peaks": {"a": "tf.bed"}, "train_in": "a"},
        "splicing": {"type": "splicing", "annotation": "exons.tsv.gz", "max_examples": size["capped"]},
        "accessibility": {"type": "accessibility", "max_examples": size["capped"]},
        "labelled": {"type": "labelled", "folder": "labelled"},
        "variants": {"type": "variants", "variants": "variants.tsv", "models": OF_VARIANTS},
        "cohort": {
            "type": "cohort",
            "genotypes": "cohort.vcf",
            "phenotypes": "phenotypes.tsv",
            "simulated": True,
            "models": ["allele_count", "multimodal.sequence.llr"],
        },
    }
    return {
        "results_dir": "results",
        "samples": "samples.tsv",
        "seeds": [1],
        "genome": {
            "name": "hg19",
            "fasta": "genome.fa",
            "split": {"validation": ["chr20:1000000-2500000"], "test": ["chr20:2500000-4000000"]},
        },
        "cell_types": {"validation": ["c"], "test": ["d"]},
        "motifs": {"file": "motifs.jaspar", "chunks": 2},
        "model": {"preset": "tiny"},
        "pretrain": {
            "steps": size["steps"],
            "batch_size": 16,
            "matching_group": 16,
            "warmup_steps": 1,
            "evaluate_every": size["steps"],
            "evaluation_views": 16,
            "variants": {
                "multimodal": {"masked_sequence": 1, "masked_region": 10, "matching": 0.5},
                "ranked": {"masked_sequence": 1, "masking": "genemask"},
                "scratch": {"trained": False},
            },
        },
        "compute": {"gpus": 0},
        "benchmarks": {
            "tasks": tasks,
            "models": ["gc_only"],
            "finetune": {
                "epochs": 1,
                "max_steps": size["steps"],
                "batch_size": 16,
                "learning_rates": [1e-3],
            },
        },
    }


def write_project(folder: Path, size: dict[str, Any]) -> None:
    """Write inputs of a size."""
    folder.mkdir()
    for name in ("workflow", "genebert", "envs"):
        (folder / name).symlink_to(ROOT / name)
    rng = np.random.default_rng(0)
    (folder / "config.yaml").write_text(yaml.safe_dump(configuration(size)))
    with gzip.open(ROOT / "resources/demo/genome.fa.gz", "rt") as lines:
        bases = "".join(line.strip() for line in lines if not line.startswith(">"))[: size["bp"]]
    (folder / "genome.fa").write_text(f">chr20\n{_in_lines(bases)}\n")
    codes = np.frombuffer(bases.upper().encode(), np.uint8)
    known = np.concatenate([[0], np.cumsum(codes == ord("N"))])
    starts = np.arange(0, len(codes) - WIDTH, WIDTH)
    places = rng.permutation(starts[known[starts + WIDTH] == known[starts]])

    sheet = ["sample\tcell_type\tassay\tformat\tsource"]
    for name in CELL_TYPES:
        own = np.sort(rng.choice(places, size["peaks"], replace=False))
        rows = [f"chr20\t{p}\t{p + 300}\tpeak{p}\t{rng.random():.4f}\n" for p in own.tolist()]
        (folder / f"{name}.bed").write_text("".join(rows))
        sheet.append(f"{name}\t{name}\tATAC-seq\tbed\t{name}.bed")
        if name == "a":
            (folder / "tf.bed").write_text("".join(rows[:: len(rows) // size["rows"] or 1]))
    (folder / "samples.tsv").write_text("\n".join(sheet) + "\n")
    _write_motifs(folder / "motifs.jaspar", size["motifs"])
    some = np.sort(rng.choice(places, size["rows"], replace=False)).tolist()
    tss = [f"chr20\t{p}\t{p + 1}\tgene{p}\t0\t{'+-'[p % 2]}\n" for p in some]
    (folder / "tss.bed").write_text("".join(tss))
    _write_exons(folder / "exons.tsv.gz", size["bp"])
    (folder / "labelled").mkdir()
    for name, part in (("train", 8), ("dev", 1), ("test", 1)):
        texts = ["".join(rng.choice(list("ACGT"), 300)) for _ in range(size["rows"] * part // 5)]
        rows = [f"{text},{number % 2}\n" for number, text in enumerate(texts)]
        (folder / f"labelled/{name}.csv").write_text("sequence,label\n" + "".join(rows))
    _write_variants(folder, rng, bases.upper(), some)


def _in_lines(bases: str) -> str:
    """Return bases in lines as genomes have them."""
    return "\n".join(bases[start : start + 60] for start in range(0, len(bases), 60))


def _write_motifs(path: Path, number: int) -> None:
    motifs = (ROOT / "resources/motifs/JASPAR2026_CORE_vertebrates.jaspar").read_text().split(">")[1:]
    path.write_text("".join(f">{motif}" for motif in motifs[:number]))


def _write_exons(path: Path, bp: int) -> None:
    with gzip.open(ROOT / "resources/demo/exons.tsv.gz", "rt") as lines:
        header, *rows = lines
    kept = [row for row in rows if int(row.split("\t")[4]) < bp]
    path.write_bytes(gzip.compress("".join([header, *kept]).encode()))


def _write_variants(folder: Path, rng: np.random.Generator, bases: str, places: list[int]) -> None:
    other = dict(zip("ACGT", "CGTA", strict=True))
    rows, calls = ["chrom\tpos\tref\talt\tlabel\n"], []
    people = [f"person{number}" for number in range(60)]
    for number, place in enumerate(places):
        ref, at = bases[place + 150], place + 151
        rows.append(f"chr20\t{at}\t{ref}\t{other[ref]}\t{number % 2}\n")
        genotypes = "\t".join(f"{a}|{b}" for a, b in rng.integers(0, 2, (len(people), 2)))
        calls.append(f"chr20\t{at}\t.\t{ref}\t{other[ref]}\t.\t.\t.\tGT\t{genotypes}\n")
    (folder / "variants.tsv").write_text("".join(rows))
    header = "\t".join(
        ["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", *people]
    )
    top = "##fileformat=VCFv4.2\n##contig=<ID=chr20>\n"
    top += '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">'
    (folder / "cohort.vcf").write_text(f"{top}\n{header}\n" + "".join(calls))
    table = [f"{name}\t{number % 2}\n" for number, name in enumerate(people)]
    (folder / "phenotypes.tsv").write_text("sample\tphenotype\n" + "".join(table))


def run_project(folder: Path) -> list[dict[str, Any]]:
    """Run the workflow; return the notes of its processes."""
    command = ["snakemake", "--cores", "1", "--configfile", "config.yaml"]
    return _noted(folder, [command], seconds=7200)


def more_bases(folder: Path, times: int) -> list[dict[str, Any]]:
    """Index and check a genome of so many times the contig; return notes, with their units."""
    _, _, bases = (folder / "genome.fa").read_text().partition("\n")
    genome = folder / "many.fa"
    genome.write_text("".join(f">contig{number}\n{bases}" for number in range(times)))
    index = [
        "genebert",
        "index-genome",
        "--fasta",
        "many.fa",
        "--contigs",
        ".*",
        "--out",
        "many/genome.fa",
    ]
    (checksums,) = _commands(folder, "", "checksums")
    checksums[checksums.index("genome.fasta=genome.fa")] = "genome.fasta=many.fa"
    checksums[checksums.index("--out") + 1] = "many.checksums.tsv"
    units = {"bp": times * len(bases), "input_mb": genome.stat().st_size / 1e6}
    found = [note | {"units": units} for note in _noted(folder, [index, checksums])]
    for path in (genome, folder / "many/genome.fa"):
        path.unlink()
    return found


def more_peaks(folder: Path, number: int) -> list[dict[str, Any]]:
    """Check and clean a sample of many peaks in a finished project; return notes, with their units."""
    starts = np.random.default_rng(1).integers(1_000_000, 30_000_000, number)
    rows = (f"chr20\t{p}\t{p + 300}\tpeak\t{p % 997}\n" for p in np.sort(starts).tolist())
    (folder / "many.bed").write_text("".join(rows))
    sheet = "sample\tcell_type\tassay\tformat\tsource\na\ta\tATAC-seq\tbed\tmany.bed\n"
    (folder / "many.tsv").write_text(sheet)
    command = ["genebert", "peaks", "--sample", "a", "--samples", "many.tsv", "--settings", "{}"]
    command += ["--genome", "results/reference/genome.fa", "--out", "many.bed.gz"]
    (preflight,) = _commands(folder, "", "preflight")
    for flag, value in (("--samples", "many.tsv"), ("--out", "many.tsv.checked")):
        preflight[preflight.index(flag) + 1] = value
    units = {"peaks": number, "largest_sample": number}
    return [note | {"units": units} for note in _noted(folder, [command, preflight])]


def more_regions(folder: Path, times: int) -> list[dict[str, Any]]:
    """Run what reads the whole catalogue on one of so many times the regions; return the notes."""
    results = folder / "results"
    commands = _commands(folder, "promoter", "corpus manifest", "report", "leakage", "task")
    with _restored(results):
        for path in results.glob("regions/*.parquet"):
            if path.stem in ("regions", "accessibility"):
                _write_repeated([path], [path], times)
        parts = sorted(results.glob("corpus/part-*.parquet"))
        _write_repeated(parts, parts, times)
        found = _noted(folder, commands)
    return [note | {"regions": times} for note in found]


def _write_repeated(parts: list[Path], out: list[Path], times: int) -> None:
    """Write the rows of all parts so many times, on places further and further on."""
    table = pa.concat_tables([pq.read_table(part) for part in parts])
    regions = table["region_id"][-1].as_py() + 1
    copies = []
    for number in range(times):
        copy = table
        for name, more in (("region_id", regions), ("start", 10**8), ("end", 10**8)):
            if name in table.column_names:
                field, place = table.field(name), table.column_names.index(name)
                moved = table[name].to_numpy() + np.int64(number * more)
                copy = copy.set_column(place, field, pa.array(moved, field.type))
        copies.append(copy)
    rows = pa.concat_tables(copies)
    each = -(-len(rows) // len(out))
    for number, path in enumerate(out):
        pq.write_table(rows.slice(number * each, each), path, compression="zstd", row_group_size=8192)


def more_predictions(folder: Path, times: int) -> list[dict[str, Any]]:
    """Make table and report of so many times the predictions of one task; return their notes."""
    results, commands = folder / "results", _commands(folder, "promoter", "summary", "report")
    with _restored(results):
        for path in results.glob("benchmarks/promoter/*/seed1/predictions.parquet"):
            table = pq.read_table(path)
            place = table.column_names.index("example_id")
            ids = table["example_id"].to_numpy()
            parts = [
                table.set_column(place, "example_id", pa.array(ids + number * 10**6, pa.uint32()))
                for number in range(times)
            ]
            whole = pa.concat_tables(parts).replace_schema_metadata(table.schema.metadata)
            pq.write_table(whole, path)
            told = path.with_name("metrics.json")
            metrics = json.loads(told.read_text())
            for figures in metrics["metrics"].values():
                figures |= {name: times * figures[name] for name in ("examples", "positives")}
            told.write_text(json.dumps(metrics))
        predictions = sum(
            pq.read_metadata(path).num_rows
            for path in results.glob("benchmarks/*/*/*/predictions.parquet")
        )
        found = _noted(folder, commands)
    return [note | {"units": {"predictions": predictions}} for note in found]


def regions_of_collections(scratch: Path, quick: bool) -> dict[str, list[Measured]]:
    """Return the CPU seconds and peak MB of making the regions of collections of samples."""
    found: dict[str, list[Measured]] = {"cpu": [], "mb": []}
    for samples, peaks in [(3, 2000)] if quick else COLLECTIONS:
        took = measure(samples, peaks, scratch / f"collection{samples}")
        units = {"peaks": samples * peaks, "largest_sample": peaks}
        found["cpu"].append((units, float(took["cpu_seconds"])))
        found["mb"].append((units, 1024 * float(took["peak_gib"])))
    return found


def _commands(folder: Path, task: str, *names: str) -> list[list[str]]:
    """Return the commands of a finished project of these names, in their order; of tasks, one's."""
    notes = (folder / "notes.jsonl").read_text().splitlines()
    # Each once: what was run anew is noted again.
    known = {" ".join(words): words for words in (json.loads(line)["words"] for line in notes)}
    one = {"leakage": f"results/benchmarks/{task}/leakage.tsv", "task": task}
    return [
        ["genebert", *words]
        for name in names
        for text, words in known.items()
        if text.startswith(f"{name} ") and (name not in one or one[name] in words)
    ]


@contextlib.contextmanager
def _restored(results: Path) -> Iterator[None]:
    """Give results back as they were before the block."""
    kept = results.with_name("kept")
    shutil.copytree(results, kept)
    yield
    shutil.rmtree(results)
    kept.rename(results)


def _noted(folder: Path, commands: list[list[str]], seconds: float = 1800) -> list[dict[str, Any]]:
    """Run modules in a project; return the notes of their processes."""
    noting, notes = folder / "noting", folder / "notes.jsonl"
    noting.mkdir(exist_ok=True)
    (noting / "sitecustomize.py").write_text(NOTE)
    before = len(notes.read_text().splitlines()) if notes.exists() else 0
    environment = os.environ | {
        "PYTHONPATH": f"{noting}{os.pathsep}{ROOT}",
        "PLAN_NOTES": str(notes),
        "OMP_NUM_THREADS": "1",
    }
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if done.returncode:
            raise SystemExit(done.stdout[-3000:] + done.stderr[-6000:])
    return [json.loads(line) for line in notes.read_text().splitlines()[before:]]
