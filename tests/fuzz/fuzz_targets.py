"""What is fuzzed: a file of the world, the sub-command that reads it, and how its result is judged."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fuzz_judges import (
    anything,
    catalogue_is_sound,
    configuration_is_tame,
    corpus_passes_its_check,
    examples_are_the_genome,
    features_are_figures,
    genome_is_that_of_the_file,
    hits_are_within,
    hits_name_the_places,
    matrix_is_within,
    metrics_are_figures,
    motifs_are_scored,
    no_peak_is_on_the_list,
    peaks_are_those_of_the_file,
    people_are_those_of_the_table,
    rows_are_those_of_the_csv,
    samples_are_tame,
    table_is_figures,
)
from fuzz_world import (
    SPLIT,
    World,
    benchmark_arguments,
    corpus_arguments,
    scoring,
    task_arguments,
)

# world, the damaged file, the folder to write to
Arguments = Callable[[World, Path, Path], list[object]]
Judge = Callable[[World, Path, Path], None]


@dataclass(frozen=True)
class Target:
    """A file and what reads it.

    Attributes
    ----------
    name
        Of the target.
    file
        Which file of the world is damaged.
    kind
        How (:data:`fuzz_mutators.KINDS`).
    arguments
        Of the sub-command.
    judge
        Asserts that the result is right; called where the sub-command succeeds.
    outputs
        What it must have written then, and nothing else.
    beside
        Folder of the world that the file needs around it, if it does.
    prepare
        What else is done to the damaged file, before the run.
    """

    name: str
    file: str
    kind: str
    arguments: Arguments
    judge: Judge = anything
    outputs: tuple[str, ...] = ()
    beside: str = ""
    prepare: Callable[[Path], None] = lambda _: None


# What is done to a damaged file before it is read.


def _manifest_anew(part: Path) -> None:
    """Have the manifest say of a damaged part what it is, so that more than its checksum is checked."""
    path = part.with_name("manifest.json")
    manifest, data = json.loads(path.read_text()), part.read_bytes()
    manifest["parts"][0] |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    path.write_text(json.dumps(manifest))


def _peaks_of(sample: str) -> Arguments:
    def arguments(world: World, file: Path, out: Path) -> list[object]:
        kind = {"o": "narrowPeak", "t": "broadPeak"}.get(file.name[0], "bed")
        kind = "bed" if file.suffix == ".bed" else kind
        sheet = out.parent / "samples.tsv"
        head = "sample\tcell_type\tassay\tformat\tsource\n"
        sheet.write_text(f"{head}{sample}\tCELL\tATAC-seq\t{kind}\t{file}\n")
        return [
            *("peaks", "--samples", sheet, "--sample", sample, "--genome", world / "genome.fa"),
            *("--out", out / "peaks.bed.gz"),
        ]

    return arguments


def _task(name: str, key: str) -> Arguments:
    return lambda world, file, out: task_arguments(world, name, out, **{key: file})


def _motifs(*more: object) -> Arguments:
    return lambda world, file, out: [
        *("motifs", "--file", file, *scoring(), "--out", out / "motifs.parquet", *more)
    ]


def _corpus(key: str) -> Arguments:
    return lambda world, file, out: corpus_arguments(world, out / "part-0000.parquet", **{key: file})


def _scan_chunk(key: str) -> Arguments:
    def arguments(world: World, file: Path, out: Path) -> list[object]:
        files = {"regions": world / "regions/regions.parquet", "motifs": world / "motifs.parquet"} | {
            key: file
        }
        return [
            *("scan-chunk", "--genome", world / "genome.fa", "--regions", files["regions"]),
            *("--motifs", files["motifs"], "--chunk", 0, "--chunks", 1, "--out", out / "hits.parquet"),
        ]

    return arguments


def _export(world: World, file: Path, out: Path) -> list[object]:
    place = ("--locus", "chr1:0-9000", "--cell-type", "CELL1")
    return ["corpus", "export", file.parent, *place, "--out", out / "matrix.npz"]


def _summary(world: World, file: Path, out: Path) -> list[object]:
    return ["summary", "--runs", file.parent, "--block-bp", 1000, "--out", out / "summary.tsv"]


def _embed(world: World, file: Path, out: Path) -> list[object]:
    folders = ("--weights", file.parent, "--corpus", world / "corpus")
    return [
        "embed",
        *folders,
        "--inputs",
        "both",
        "--compute",
        '{"gpus": 0}',
        "--out",
        out / "features.parquet",
    ]


def _preflight(world: World, file: Path, out: Path) -> list[object]:
    inputs = ("--files", f"genome={world / 'source.fa'}", f"motifs={world / 'motifs.jaspar'}")
    return [
        *("preflight", "--genome", world / "genome.fa", "--genome-name", "toy", *inputs, *SPLIT),
        *("--samples", file, "--width", 100, "--lock", out / "lock", "--out", out / "preflight.tsv"),
    ]


_DATASET = ("dataset.parquet",)
_SPLICING = ("dataset.parquet", "genes.parquet")
_COHORT = ("dataset.parquet", "individuals.parquet")
_CATALOGUE = ("accessibility.parquet", "peaks.parquet", "regions.parquet")

TARGETS = (
    Target(
        "config", "config.yaml", "yaml", lambda w, f, o: ["config", "check", f], configuration_is_tame
    ),
    Target("sheet", "samples.tsv", "text", _preflight, samples_are_tame, ("preflight.tsv",)),
    Target(
        *("narrowPeak", "one.narrowPeak", "text", _peaks_of("one"), peaks_are_those_of_the_file),
        ("peaks.bed.gz",),
    ),
    Target(
        *("narrowPeak.gz", "one.narrowPeak.gz", "text", _peaks_of("one"), peaks_are_those_of_the_file),
        ("peaks.bed.gz",),
    ),
    Target(
        *("broadPeak", "three.broadPeak", "text", _peaks_of("x"), peaks_are_those_of_the_file),
        ("peaks.bed.gz",),
    ),
    Target("bed", "two.bed", "text", _peaks_of("two"), peaks_are_those_of_the_file, ("peaks.bed.gz",)),
    Target(
        "blacklist",
        "blacklist.bed",
        "text",
        lambda w, f, o: [
            *("peaks", "--samples", w / "samples.tsv", "--sample", "one", "--genome", w / "genome.fa"),
            *("--blacklist", f, "--out", o / "peaks.bed.gz"),
        ],
        no_peak_is_on_the_list,
        ("peaks.bed.gz",),
    ),
    Target(
        "fasta",
        "source.fa",
        "text",
        lambda w, f, o: ["index-genome", "--fasta", f, "--out", o / "genome.fa"],
        genome_is_that_of_the_file,
        ("genome.fa", "genome.fa.fai"),
    ),
    Target(
        "fasta.gz",
        "source.fa.gz",
        "text",
        lambda w, f, o: ["index-genome", "--fasta", f, "--out", o / "genome.fa"],
        genome_is_that_of_the_file,
        ("genome.fa", "genome.fa.fai"),
    ),
    Target(
        "fai",
        "genome.fa.fai",
        "text",
        lambda w, f, o: _scan_chunk("regions")(
            World(f.parent, w.genome), w / "regions/regions.parquet", o
        ),
        hits_are_within,
        ("hits.parquet",),
        beside="genome",
    ),
    Target(
        "cleaned peaks",
        "peaks/one.bed.gz",
        "text",
        lambda w, f, o: [
            *(
                "regions",
                "--samples",
                w / "samples.tsv",
                "--peaks",
                f.parent,
                "--genome",
                w / "genome.fa",
            ),
            *(*SPLIT, "--width", 100, "--out", o),
        ],
        catalogue_is_sound,
        _CATALOGUE,
        beside="peaks",
    ),
    Target("jaspar", "motifs.jaspar", "text", _motifs(), motifs_are_scored, ("motifs.parquet",)),
    Target("meme", "motifs.meme", "text", _motifs(), motifs_are_scored, ("motifs.parquet",)),
    Target("transfac", "motifs.transfac", "text", _motifs(), motifs_are_scored, ("motifs.parquet",)),
    Target(
        "families",
        "families.tsv",
        "text",
        lambda w, f, o: [
            *("motifs", "--file", w / "motifs.jaspar", *scoring(), "--order", "family"),
            *("--families", f, "--out", o / "motifs.parquet"),
        ],
        outputs=("motifs.parquet",),
    ),
    Target(
        "scan bed",
        "tss.bed",
        "text",
        lambda w, f, o: [
            *(
                "scan",
                "--fasta",
                w / "genome.fa",
                "--bed",
                f,
                "--motifs",
                w / "motifs.jaspar",
                *scoring(),
            ),
            *("--out", o / "hits.bed"),
        ],
        hits_name_the_places,
        ("hits.bed",),
    ),
    Target(
        "scan fasta",
        "source.fa",
        "text",
        lambda w, f, o: [
            *(
                "scan",
                "--fasta",
                f,
                "--motifs",
                w / "motifs.jaspar",
                *scoring(),
                "--out",
                o / "hits.parquet",
            )
        ],
        outputs=("hits.parquet",),
    ),
    Target("tss", "tss.bed", "text", _task("promoter", "tss.bed"), examples_are_the_genome, _DATASET),
    Target("gtf", "genes.gtf", "text", _task("gtf", "genes.gtf"), examples_are_the_genome, _DATASET),
    Target(
        "exons gtf",
        "genes.gtf",
        "text",
        _task("splicing", "genes.gtf"),
        examples_are_the_genome,
        _SPLICING,
    ),
    Target(
        "exons table",
        "exons.tsv",
        "text",
        _task("table", "exons.tsv"),
        examples_are_the_genome,
        _SPLICING,
    ),
    Target(
        "peak fasta", "peaks.fa", "text", _task("tfbs", "peaks.fa"), examples_are_the_genome, _DATASET
    ),
    Target("chip bed", "chip.bed", "text", _task("tfbs", "chip.bed"), examples_are_the_genome, _DATASET),
    Target(
        *(
            "csv",
            "csv/train.csv",
            "text",
            _task("labelled", "csv/train.csv"),
            rows_are_those_of_the_csv,
        ),
        _DATASET,
    ),
    Target(
        *("variants tsv", "variants.tsv", "text", _task("variants", "variants.tsv")),
        *(examples_are_the_genome, _DATASET),
    ),
    Target(
        *("variants csv", "variants.csv", "text", _task("variants", "variants.tsv")),
        *(examples_are_the_genome, _DATASET),
    ),
    Target(
        "vcf", "variants.vcf", "text", _task("vcf", "variants.vcf"), examples_are_the_genome, _DATASET
    ),
    Target(
        *("vcf.gz", "variants.vcf.gz", "text", _task("vcf", "variants.vcf"), examples_are_the_genome),
        _DATASET,
    ),
    Target(
        *("variants parquet", "variants.parquet", "parquet", _task("parquet", "variants.parquet")),
        *(examples_are_the_genome, _DATASET),
    ),
    Target(
        "genotypes",
        "cohort.vcf",
        "text",
        _task("cohort", "cohort.vcf"),
        examples_are_the_genome,
        _COHORT,
    ),
    Target(
        *("phenotypes", "people.tsv", "text", _task("cohort", "people.tsv")),
        *(people_are_those_of_the_table, _COHORT),
    ),
    Target(
        "scan regions",
        "regions/regions.parquet",
        "parquet",
        _scan_chunk("regions"),
        hits_are_within,
        ("hits.parquet",),
    ),
    Target(
        "scan motifs",
        "motifs.parquet",
        "parquet",
        _scan_chunk("motifs"),
        hits_are_within,
        ("hits.parquet",),
    ),
    *(
        Target(
            f"corpus {key}", file, kind, _corpus(key), corpus_passes_its_check, ("part-0000.parquet",)
        )
        for key, file, kind in (
            ("regions", "regions/regions.parquet", "parquet"),
            ("accessibility", "regions/accessibility.parquet", "parquet"),
            ("motifs", "motifs.parquet", "parquet"),
            ("hits", "hits.parquet", "parquet"),
            ("inputs", "preflight.tsv", "text"),
        )
    ),
    Target(
        "task regions",
        "regions/regions.parquet",
        "parquet",
        _task("promoter", "regions.parquet"),
        examples_are_the_genome,
        _DATASET,
    ),
    Target(
        "task motifs", "motifs.parquet", "parquet", _task("promoter", "motifs.parquet"), outputs=_DATASET
    ),
    Target(
        "manifest of part",
        "corpus/part-0000.parquet",
        "parquet",
        lambda w, f, o: ["corpus", "manifest", "--parts", f, "--out", o / "manifest.json"],
        outputs=("manifest.json",),
    ),
    Target(
        "check part",
        "corpus/part-0000.parquet",
        "parquet",
        lambda w, f, o: ["corpus", "check", f.parent, "--genome", w / "genome.fa"],
        corpus_passes_its_check,
        beside="corpus",
        prepare=_manifest_anew,
    ),
    Target(
        *(
            "export part",
            "corpus/part-0000.parquet",
            "parquet",
            _export,
            matrix_is_within,
            ("matrix.npz",),
        ),
        beside="corpus",
    ),
    Target(
        *("embed part", "corpus/part-0000.parquet", "parquet"),
        lambda w, f, o: _embed(World(f.parent.parent, w.genome), w / "model/config.json", o),
        *(features_are_figures, ("features.parquet",)),
        beside="corpus",
        prepare=_manifest_anew,
    ),
    Target(
        *("manifest", "corpus/manifest.json", "json", lambda w, f, o: ["corpus", "info", f.parent]),
        beside="corpus",
    ),
    Target(
        *(
            "manifest check",
            "corpus/manifest.json",
            "json",
            lambda w, f, o: ["corpus", "check", f.parent],
        ),
        beside="corpus",
    ),
    Target(
        *(
            "manifest export",
            "corpus/manifest.json",
            "json",
            _export,
            matrix_is_within,
            ("matrix.npz",),
        ),
        beside="corpus",
    ),
    Target(
        "dataset",
        "tasks/labelled/dataset.parquet",
        "parquet",
        lambda w, f, o: benchmark_arguments(w, f, o / "run"),
        metrics_are_figures,
        ("run/metrics.json", "run/predictions.parquet"),
    ),
    Target(
        "leakage",
        "tasks/labelled/dataset.parquet",
        "parquet",
        lambda w, f, o: [
            "leakage",
            "--dataset",
            f,
            "--corpus",
            w / "corpus",
            "--out",
            o / "leakage.tsv",
        ],
        outputs=("leakage.tsv",),
    ),
    Target(
        "individuals",
        "tasks/cohort/individuals.parquet",
        "parquet",
        lambda w, f, o: [
            *("leakage", "--dataset", w / "tasks/cohort/dataset.parquet", "--companion", f),
            *("--corpus", w / "corpus", "--out", o / "leakage.tsv"),
        ],
        outputs=("leakage.tsv",),
    ),
    Target(
        *("predictions", "runs/seed1/predictions.parquet", "parquet", _summary, table_is_figures),
        ("summary.md", "summary.tsv"),
        beside="runs/seed1",
    ),
    Target(
        *("metrics", "runs/seed1/metrics.json", "json", _summary, table_is_figures),
        ("summary.md", "summary.tsv"),
        beside="runs/seed1",
    ),
    Target(
        *(
            "model config",
            "model/config.json",
            "json",
            _embed,
            features_are_figures,
            ("features.parquet",),
        ),
        beside="model",
    ),
    Target(
        *("model weights", "model/model.safetensors", "bytes", _embed),
        outputs=("features.parquet",),
        beside="model",
    ),
)
