"""A small world: every kind of input, made up, and every result that the stages make of it."""

import contextlib
import gzip
import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import yaml

from genebert.cli import main
from genebert.config import TASKS as TYPES

CONTIGS = {"chr1": 9000, "chr2": 6000, "chr3": 6000}
SPLIT = ("--validation", "chr2", "--test", "chr3")
_MOTIF = [(97, 1, 1, 1), (2, 94, 2, 2), (1, 1, 97, 1), (3, 3, 1, 93), (5, 85, 5, 5), (90, 2, 3, 5)]
MODEL = {
    "preset": "tiny",
    "columns": 3,
    "projection": 8,
    "sequence": {"k": 3, "layers": 1, "width": 8, "heads": 2, "feedforward": 16, "positions": 128},
    "region": {"patch": [2, 1], "window": [2, 2], "width": 8, "depths": [1], "heads": [1]},
}
CONFIG: dict[str, Any] = {
    "results_dir": "results",
    "samples": "samples.tsv",
    "seeds": [1],
    "genome": {"name": "toy", "fasta": "genome.fa", "split": {"validation": ["chr2"], "test": ["chr3"]}},
    "regions": {"width": 100},
    "motifs": {"file": "motifs.jaspar", "p_value": 0.01, "max_realised_p": 0.05},
    "model": MODEL,
    "pretrain": {"variants": {"everything": {"masked_sequence": 1, "matching": 1.0}}},
    "benchmarks": {
        "tasks": {
            "promoter": {"type": "promoter", "tss": "tss.bed", "upstream": 39, "downstream": 20},
            "own": {"type": "labelled", "folder": "csv", "models": ["gc_only"]},
        },
        "models": ["everything.both", "kmer_logistic"],
    },
}
_WINDOW = {"upstream": 39, "downstream": 20, "negatives": "dinucleotide_shuffle"}
TASKS: dict[str, dict[str, Any]] = {
    "promoter": {"tss": "tss.bed", **_WINDOW},
    "gtf": {"type": "promoter", "tss": "genes.gtf", **_WINDOW},
    "tfbs": {
        "tf": "A",
        "peaks": {"CELL1": "peaks.fa", "CELL2": "chip.bed"},
        "train_in": "CELL1",
        "width": 40,
    },
    "splicing": {"annotation": "genes.gtf", "width": 40},
    "table": {"type": "splicing", "annotation": "exons.tsv", "width": 40},
    "labelled": {"folder": "csv"},
    "variants": {"variants": "variants.tsv", "width": 40, "folds": 2},
    "vcf": {"type": "variants", "variants": "variants.vcf", "width": 40, "folds": 2, "indels": "keep"},
    "parquet": {"type": "variants", "variants": "variants.parquet", "width": 40, "folds": 2},
    "cohort": {
        "genotypes": "cohort.vcf",
        "phenotypes": "people.tsv",
        "covariates": ["age"],
        "width": 40,
        "folds": 2,
    },
}


@dataclass(frozen=True)
class World:
    """A folder of right files, and the sequences of its genome."""

    folder: Path
    genome: dict[str, str]

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    def digests(self) -> dict[str, str]:
        """Return what is in every file, but for indexes and locks that reading makes."""
        return {
            str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        }

    def task(self, name: str) -> tuple[str, str]:
        """Return the type of a task and its settings as JSON."""
        settings = {"type": name, **TASKS[name]}
        return settings["type"], json.dumps(settings)


def call(*arguments: object) -> tuple[object, str]:
    """Run a sub-command in this process; return its exit code and all that it said."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as stop:
            return stop.code, said.getvalue()
    raise AssertionError("a sub-command did not exit")


def _run(*arguments: object) -> None:
    code, said = call(*arguments)
    assert code == 0, said


def write_world(folder: Path) -> World:
    """Write all inputs, and run every stage on them."""
    rng = np.random.default_rng(11)
    genome = {name: "".join(rng.choice(list("ACGT"), length)) for name, length in CONTIGS.items()}
    world = World(folder, genome)
    _inputs(world, rng)
    _results(world)
    return world


def _inputs(world: World, rng: np.random.Generator) -> None:
    def write(name: str, text: str) -> None:
        (world / name).parent.mkdir(exist_ok=True)
        data = text.encode()
        (world / name).write_bytes(gzip.compress(data, mtime=0) if name.endswith(".gz") else data)

    fasta = "".join(
        f">{name} made up\n" + "".join(f"{dna[i : i + 70]}\n" for i in range(0, len(dna), 70))
        for name, dna in world.genome.items()
    )
    write("source.fa", fasta)
    write("source.fa.gz", fasta)
    places = [
        (c, int(p)) for c, n in CONTIGS.items() for p in np.sort(rng.choice(n - 400, 12, False)) + 100
    ]
    narrow = [
        f"{c}\t{p}\t{p + 120}\tp{i}\t{i}\t.\t{i / 4}\t9\t9\t{50 + i % 9}\n"
        for i, (c, p) in enumerate(places)
    ]
    write("one.narrowPeak", "".join(narrow))
    write("one.narrowPeak.gz", "".join(narrow))
    broad = "".join(f"{c}\t{p}\t{p + 150}\tp\t1\t.\t{p / 8}\t9\t9\n" for c, p in places)
    write("three.broadPeak", broad)
    write("two.bed", "#made up\ntrack name=x\n" + "".join(f"{c}\t{p}\t{p + 90}\n" for c, p in places))
    write("blacklist.bed", "chr1\t0\t50\nchr2\t10\t60\textra\n")
    rows = (
        "one\tCELL1\tATAC-seq\tnarrowPeak\t{0}/one.narrowPeak",
        "two\tCELL2\tATAC-seq\tbed\t{0}/two.bed",
    )
    sheet = "sample\tcell_type\tassay\tformat\tsource\n" + "".join(f"{row}\n" for row in rows)
    write("samples.tsv", sheet.format(world.folder))
    write("config.yaml", yaml.safe_dump(CONFIG | {"samples": str(world / "samples.tsv")}))
    _motifs(write)
    starts = [(c, p) for c, n in CONTIGS.items() for p in range(400, n - 400, 500)]
    write("tss.bed", "".join(f"{c}\t{p}\t{p + 1}\tg{p}\t0\t{'+-'[p % 1000 > 0]}\n" for c, p in starts))
    _genes(write, starts)
    _peaks_of_chip(write, world, starts)
    for name in ("train", "dev", "test"):
        dna = ["".join(rng.choice(list("ACGT"), 30)) for _ in range(12)]
        write(
            f"csv/{name}.csv", "sequence,label\n" + "".join(f"{d},{i % 2}\n" for i, d in enumerate(dna))
        )
    _variants(write, world, rng)


def _motifs(write: Any) -> None:
    columns = list(zip(*_MOTIF, strict=True))
    jaspar, meme, transfac, families = "", "MEME version 4\n\nALPHABET= ACGT\n\n", "VV  x\nXX\n//\n", ""
    for number in range(4):
        name = f"MA900{number}.1"
        turned = [(*row[number:], *row[:number]) for row in columns]
        rows = list(zip(*turned, strict=True))
        jaspar += f">{name} M{number}\n" + "".join(
            f"{base} [ {' '.join(map(str, row))} ]\n" for base, row in zip("ACGT", turned, strict=True)
        )
        shares = "".join(" ".join(f"{value / sum(row):.6f}" for value in row) + "\n" for row in rows)
        meme += f"MOTIF {name} M{number}\nletter-probability matrix: w= 6 nsites= 20\n{shares}\n"
        transfac += f"AC  {name}\nXX\nID  M{number}\nPO  A C G T\n" + "".join(
            f"{i:02d} {' '.join(map(str, row))}\n" for i, row in enumerate(rows, 1)
        )
        transfac += "CC  tf_class:zinc\nXX\n//\n"
        families += f"{name}\tclass {number % 2}\tfamily {number}\n"
    write("motifs.jaspar", jaspar)
    write("motifs.meme", meme)
    write("motifs.transfac", transfac)
    write("families.tsv", "matrix_id\tclass\tfamily\n" + families)


def _genes(write: Any, starts: list[tuple[str, int]]) -> None:
    gtf, table = "#!made up\n", "gene\tchrom\tstrand\tstart\tend\texon_starts\texon_ends\n"
    for number, (chrom, p) in enumerate(starts):
        strand = "+-"[number % 2]
        said = f'gene_id "G{number}"; gene_type "protein_coding"; gene_name "N{number}";'
        gtf += f"{chrom}\tx\tgene\t{p + 1}\t{p + 300}\t.\t{strand}\t.\t{said}\n"
        for begin, end in ((p, p + 100), (p + 180, p + 300)):
            attributes = f'{said} transcript_id "T{number}";'
            gtf += f"{chrom}\tx\texon\t{begin + 1}\t{end}\t.\t{strand}\t.\t{attributes}\n"
        table += f"N{number}\t{chrom}\t{strand}\t{p}\t{p + 300}\t{p},{p + 180}\t{p + 100},{p + 300}\n"
    write("genes.gtf", gtf)
    write("exons.tsv", table)


def _peaks_of_chip(write: Any, world: World, starts: list[tuple[str, int]]) -> None:
    fasta = "".join(f">{c}:{p}-{p + 60}\n{world.genome[c][p : p + 60]}\n" for c, p in starts[::2])
    write("peaks.fa", fasta)
    write("chip.bed", "".join(f"{c}\t{p}\t{p + 60}\n" for c, p in starts[1::2]))


def _variants(write: Any, world: World, rng: np.random.Generator) -> None:
    head = '##fileformat=VCF4.2\n##INFO=<ID=label,Number=1,Type=String,Description="x">\n'
    names = [f"s{i}" for i in range(24)]
    head_of_all = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
    table, vcf, cohort = "chrom\tpos\tref\talt\tlabel\n", head + head_of_all + "\n", head + head_of_all
    cohort += "\tFORMAT\t" + "\t".join(names) + "\n"
    other = {"A": "G", "C": "T", "G": "A", "T": "C"}
    for number, (chrom, p) in enumerate(
        (c, p) for c, n in CONTIGS.items() for p in range(150, n - 150, 700)
    ):
        ref = world.genome[chrom][p]
        table += f"{chrom}\t{p + 1}\t{ref}\t{other[ref]}\t{number % 2}\n"
        fixed = f"{chrom}\t{p + 1}\trs{number}\t{ref}\t{other[ref]}\t.\tPASS\tlabel={number % 2}"
        calls = "\t".join(f"{a}/{b}" for a, b in rng.integers(0, 2, (24, 2)))
        vcf += fixed + "\n"
        cohort += f"{fixed}\tGT\t{calls}\n"
    write("variants.tsv", table)
    write("variants.csv", table.replace("\t", ","))
    write("variants.vcf", vcf)
    write("variants.vcf.gz", vcf)
    write("cohort.vcf", cohort)
    rows = "".join(f"{name}\t{30 + i}\t{i % 2}\n" for i, name in enumerate(names))
    write("people.tsv", "sample\tage\tphenotype\n" + rows)
    read = pyarrow.csv.read_csv(
        pa.BufferReader(table.encode()), parse_options=pyarrow.csv.ParseOptions(delimiter="\t")
    )
    pq.write_table(read, world / "variants.parquet")


def scoring() -> tuple[str, ...]:
    """Return the options that make hits of short motifs frequent."""
    return ("--p-value", "0.01", "--max-realised-p", "0.05")


def task_arguments(world: World, name: str, out: Path, **files: Path) -> list[object]:
    """Return how a task is built; ``files`` take the place of the world's own, by name."""
    kind, settings = world.task(name)
    sources = TYPES[kind].model_validate_json(settings).sources()
    paths = [f"{key}={files.get(path, world / path)}" for key, path in sources.items()]
    beside = {"cohort": "individuals.parquet", "splicing": "genes.parquet"}
    companion = ["--companion", out / beside[kind]] if kind in beside else []
    return [
        *("task", "--type", kind, "--name", name, "--settings", settings, "--files", *paths),
        *("--genome", world / "genome.fa", *SPLIT),
        *("--regions", files.get("regions.parquet", world / "regions/regions.parquet")),
        *(
            "--accessibility",
            files.get("accessibility.parquet", world / "regions/accessibility.parquet"),
        ),
        *("--motifs", files.get("motifs.parquet", world / "motifs.parquet")),
        *("--columns", 3, "--block-bp", 1000, *companion, "--out", out / "dataset.parquet"),
    ]


def _results(world: World) -> None:
    genome, regions = world / "genome.fa", world / "regions/regions.parquet"
    _run("index-genome", "--fasta", world / "source.fa", "--out", genome)
    sheet = ("--samples", world / "samples.tsv")
    for sample in ("one", "two"):
        out = world / f"peaks/{sample}.bed.gz"
        _run("peaks", "--sample", sample, *sheet, "--genome", genome, "--out", out)
    held_out = (*SPLIT, "--width", 100)
    peaks = ("--peaks", world / "peaks", "--genome", genome)
    _run("regions", *sheet, *peaks, *held_out, "--out", world / "regions")
    motifs, hits = world / "motifs.parquet", world / "hits.parquet"
    _run("motifs", "--file", world / "motifs.jaspar", *scoring(), "--out", motifs)
    of_chunk = ("--regions", regions, "--motifs", motifs, "--chunk", 0, "--chunks", 1)
    _run("scan-chunk", "--genome", genome, *of_chunk, "--out", hits)
    files = ("--files", f"genome={world / 'source.fa'}", f"motifs={world / 'motifs.jaspar'}")
    _run(
        *("preflight", "--genome", genome, "--genome-name", "toy", *files, *sheet, *held_out),
        *("--lock", world / "lock.tsv", "--out", world / "preflight.tsv"),
    )
    _run(*corpus_arguments(world, world / "corpus/part-0000.parquet"))
    _run(
        *("corpus", "manifest", "--parts", world / "corpus/part-0000.parquet"),
        *("--out", world / "corpus/manifest.json"),
    )
    for name in ("labelled", "cohort"):
        (world / f"tasks/{name}").mkdir(parents=True)
        _run(*task_arguments(world, name, world / f"tasks/{name}"))
    _run(*benchmark_arguments(world, world / "tasks/labelled/dataset.parquet", world / "runs/seed1"))
    settings: dict[str, Any] = {
        "steps": 2,
        "batch_size": 8,
        "matching_group": 4,
        "evaluation_views": 8,
        "warmup_steps": 0,
    }
    settings["variants"] = {"scratch": {"trained": False}}
    _run(
        *("pretrain", "--corpus", world / "corpus", "--model", json.dumps(MODEL), "--settings"),
        *(json.dumps(settings), "--compute", '{"gpus": 0}', "--variant", "scratch", "--seed", 1),
        *("--out", world / "model", "--history", world / "history.tsv", "--checkpoints", world / "kept"),
    )


def corpus_arguments(world: World, out: Path, **files: Path) -> list[object]:
    """Return how the corpus is written; ``files`` take the place of the world's own."""
    return [
        *("corpus", "write", "--genome", world / "genome.fa", "--genome-name", "toy"),
        *("--samples", world / "samples.tsv"),
        *("--regions", files.get("regions", world / "regions/regions.parquet")),
        *("--accessibility", files.get("accessibility", world / "regions/accessibility.parquet")),
        *("--motifs", files.get("motifs", world / "motifs.parquet")),
        *("--hits", files.get("hits", world / "hits.parquet")),
        *("--inputs", files.get("inputs", world / "preflight.tsv")),
        *("--chunk", 0, "--chunks", 1, "--out", out),
    ]


def benchmark_arguments(world: World, dataset: Path, out: Path) -> list[object]:
    """Return how a plain baseline is run on the task ``labelled``."""
    return [
        *("benchmark", "--task", "labelled", "--dataset", dataset, "--corpus", world / "corpus"),
        *("--model", "gc_only", "--settings", "{}", "--seed", 1, "--out", out),
    ]
