"""The command line: one sub-command a stage. Each parses, calls one function and prints its line.

Stages are imported when they are run, so that a light one starts at once.
"""

# ruff: noqa: PLC0415
import argparse
import json
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from genebert import __version__, config
from genebert.errors import GenebertError

Stage = Callable[[argparse.Namespace], str]
S = TypeVar("S", bound=config.Section)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one sub-command; exit 0, or 1 with what is wrong and how to mend it."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    stage: Stage = options.stage
    # Schedulers stop jobs with SIGTERM: leave as from any error, so that temporary files are removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        print(stage(options), file=options.stream)
    except GenebertError as error:
        if options.debug:
            raise
        _fail(str(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        if options.debug:
            raise
        _fail(f"{error}\nfix: check the path, its permissions and the space left")
    except Exception as error:
        if options.debug:
            raise
        _fail(
            f"internal error: {type(error).__name__}: {error}\n"
            f"fix: run again as `genebert --debug {options.command} …` and report the traceback"
        )
    sys.exit(0)


def _fail(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(1)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all sub-commands."""
    parser = argparse.ArgumentParser(
        prog="genebert", description="The stages of the GeneBERT workflow, one sub-command each."
    )
    parser.add_argument("--version", action="version", version=f"genebert {__version__}")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    # What a stage says of its result goes to stderr, the log; forms go to stdout.
    parser.set_defaults(stream=sys.stderr)
    commands = parser.add_subparsers(dest="command", required=True, metavar="STAGE")
    for name, (function, explanation, options) in STAGES.items():
        command = commands.add_parser(name, help=explanation, description=explanation)
        for flag, details in options.items():
            command.add_argument(flag, **details)
        command.set_defaults(stage=function)
    return parser


def _settings(model: type[S], text: str) -> S:
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise GenebertError(f"--settings is no JSON: {error}", "give one JSON object") from None
    return config.parse_section(model, raw, "--settings")


def _segments(options: argparse.Namespace) -> Any:
    from genebert.genome import read_lengths, split_segments

    lengths = read_lengths(f"{options.genome}.fai")
    return split_segments(lengths, options.validation, options.test)


def _index_genome(options: argparse.Namespace) -> str:
    from genebert.genome import index_genome, read_lengths

    index_genome(options.fasta, options.out)
    lengths = read_lengths(f"{options.out}.fai")
    return f"{len(lengths)} contigs, {sum(lengths.values())} bp"


def _preflight(options: argparse.Namespace) -> str:
    from genebert.preflight import preflight

    return preflight(
        fasta=options.genome,
        samples=options.samples,
        motifs=options.motifs,
        blacklist=options.blacklist,
        validation=options.validation,
        test=options.test,
        width=options.width,
        out=options.out,
    )


def _preflight_task(options: argparse.Namespace) -> str:
    from genebert.preflight import preflight_task

    return preflight_task(options.genome, options.name, options.bed, options.contig_style, options.out)


def _peaks(options: argparse.Namespace) -> str:
    from genebert.genome import read_lengths
    from genebert.inputs.peaks import clean_sample
    from genebert.inputs.sheet import find_sample

    return clean_sample(
        find_sample(options.samples, options.sample),
        read_lengths(f"{options.genome}.fai"),
        options.blacklist,
        options.out,
    )


def _regions(options: argparse.Namespace) -> str:
    from genebert.inputs.sheet import read_samples
    from genebert.regions import write_regions

    samples = read_samples(options.samples)
    return write_regions(
        files={s.sample: Path(options.peaks) / f"{s.sample}.bed.gz" for s in samples},
        cell_type_of={s.sample: s.cell_type for s in samples},
        width=options.width,
        segments=_segments(options),
        out=options.out,
    )


def _motifs(options: argparse.Namespace) -> str:
    from genebert.motifs.table import write_motif_table

    return write_motif_table(
        options.file,
        options.background,
        options.pseudocount,
        options.p_value,
        options.max_realised_p,
        options.out,
    )


def _scan(options: argparse.Namespace) -> str:
    from genebert.motifs.scan import scan_chunk
    from genebert.motifs.table import read_motif_table

    return scan_chunk(
        options.genome,
        options.regions,
        read_motif_table(options.motifs),
        options.chunk,
        options.chunks,
        options.out,
    )


def _corpus(options: argparse.Namespace) -> str:
    from genebert.corpus.write import write_part

    return write_part(
        fasta=options.genome,
        genome_name=options.genome_name,
        regions=options.regions,
        accessibility=options.accessibility,
        motif_table=options.motifs,
        hits=options.hits,
        inputs=options.inputs,
        chunk=options.chunk,
        chunks=options.chunks,
        out=options.out,
    )


def _manifest(options: argparse.Namespace) -> str:
    from genebert.corpus.write import write_manifest

    return write_manifest(options.parts, options.out)


def _pretrain(options: argparse.Namespace) -> str:
    from genebert.pretrain.loop import pretrain

    return pretrain(
        corpus_folder=options.corpus,
        model_settings=_settings(config.Model, options.model),
        settings=_settings(config.Pretrain, options.settings),
        variant_name=options.variant,
        seed=options.seed,
        out=options.out,
        history=options.history,
    )


def _promoter(options: argparse.Namespace) -> str:
    from genebert.benchmarks.tasks.promoter import build
    from genebert.motifs.table import read_motif_table

    return build(
        settings=_settings(config.PromoterTask, options.settings),
        name=options.name,
        fasta=options.genome,
        segments=_segments(options),
        regions=options.regions,
        accessibility=options.accessibility,
        motifs=read_motif_table(options.motifs),
        columns=options.columns,
        out=options.out,
    )


def _benchmark(options: argparse.Namespace) -> str:
    from genebert.benchmarks.run import run

    return run(
        dataset_path=options.dataset,
        corpus_folder=options.corpus,
        model_name=options.model,
        weights=options.weights,
        settings=_settings(config.Finetune, options.settings),
        task=options.task,
        seed=options.seed,
        out=options.out,
    )


def _summary(options: argparse.Namespace) -> str:
    from genebert.report.tables import write_summary

    return write_summary(options.runs, options.block_bp, options.out)


def _report(options: argparse.Namespace) -> str:
    from genebert.report.page import write_report

    return write_report(
        Path(options.results),
        runs=options.runs,
        histories=options.histories,
        tasks=options.tasks,
        title=options.title,
        block_bp=options.block_bp,
        out=options.out,
    )


def _config(options: argparse.Namespace) -> str:
    from genebert.config import forms

    options.stream = sys.stdout
    makers = {"yaml": forms.as_yaml, "schema": forms.as_schema, "table": forms.as_table}
    if options.form == "check":
        config.load(options.file)
        return f"{options.file} is valid"
    return makers[options.form]().rstrip("\n")


def _needed(explanation: str, **more: Any) -> dict[str, Any]:
    return {"required": True, "help": explanation, **more}


_OUT = {"--out": _needed("file to write")}
_GENOME = {"--genome": _needed("FASTA made by index-genome; its .fai lies beside it")}
_SAMPLES = {"--samples": _needed("sheet of samples")}
_BLACKLIST = {"--blacklist": {"default": None, "help": "BED of places to drop peaks at"}}
_HELD_OUT = {
    "--validation": _needed("contigs or intervals (chrom:start-end)", nargs="+"),
    "--test": _needed("contigs or intervals (chrom:start-end)", nargs="+"),
}
_WIDTH = {"--width": _needed("width of a region in bp", type=int)}
_MOTIFS = {"--motifs": _needed("table made by `motifs`")}
_REGIONS = {"--regions": _needed("regions.parquet")}
_ACCESSIBILITY = {"--accessibility": _needed("accessibility.parquet")}
_CHUNK = {
    "--chunk": _needed("which chunk, from 0", type=int),
    "--chunks": _needed("of how many", type=int),
}
_CORPUS = {"--corpus": _needed("folder of the corpus")}
_SEED = {"--seed": _needed("seed", type=int)}
_BLOCK = {"--block-bp": _needed("bp of a bootstrap block", type=int)}
_SETTINGS = {"--settings": _needed("section of the configuration as JSON")}

STAGES: dict[str, tuple[Stage, str, dict[str, dict[str, Any]]]] = {
    "index-genome": (
        _index_genome,
        "copy a FASTA, gzip or not, and index it",
        {"--fasta": _needed("FASTA"), **_OUT},
    ),
    "preflight": (
        _preflight,
        "check every input of the corpus against the genome before any work starts",
        {
            **_GENOME,
            **_SAMPLES,
            "--motifs": _needed("motifs in JASPAR text format"),
            **_BLACKLIST,
            **_HELD_OUT,
            **_WIDTH,
            **_OUT,
        },
    ),
    "preflight-task": (
        _preflight_task,
        "check the intervals of a task against the genome",
        {
            **_GENOME,
            "--name": _needed("name of the task"),
            "--bed": _needed("BED6 of the task"),
            "--contig-style": _needed("as_is, ucsc or ensembl", choices=["as_is", "ucsc", "ensembl"]),
            **_OUT,
        },
    ),
    "peaks": (
        _peaks,
        "clean the peaks of one sample: checked, off the blacklist, sorted, each place once",
        {"--sample": _needed("name in the sheet"), **_SAMPLES, **_GENOME, **_BLACKLIST, **_OUT},
    ),
    "regions": (
        _regions,
        "join the peaks of all samples into one catalogue of regions",
        {
            **_SAMPLES,
            "--peaks": _needed("folder of cleaned peaks"),
            **_GENOME,
            **_HELD_OUT,
            **_WIDTH,
            "--out": _needed("folder to write to"),
        },
    ),
    "motifs": (
        _motifs,
        "order motifs by similarity and find the threshold of each",
        {
            "--file": _needed("motifs in JASPAR text format"),
            "--background": _needed("frequencies of A C G T", type=float, nargs=4),
            "--pseudocount": _needed("added to each matrix column", type=float),
            "--p-value": _needed("of a hit", type=float),
            "--max-realised-p": _needed("above which a motif is dropped", type=float),
            **_OUT,
        },
    ),
    "scan": (
        _scan,
        "scan one chunk of the catalogue for motifs, both strands",
        {**_GENOME, **_REGIONS, **_MOTIFS, **_CHUNK, **_OUT},
    ),
    "corpus": (
        _corpus,
        "write one part of the corpus",
        {
            **_GENOME,
            "--genome-name": _needed("assembly name"),
            **_REGIONS,
            **_ACCESSIBILITY,
            **_MOTIFS,
            "--hits": _needed("what `scan` wrote for this chunk"),
            "--inputs": _needed("table made by preflight"),
            **_CHUNK,
            **_OUT,
        },
    ),
    "manifest": (
        _manifest,
        "check the parts of a corpus against each other and list them",
        {"--parts": _needed("corpus parts", nargs="+"), **_OUT},
    ),
    "pretrain": (
        _pretrain,
        "pre-train one variant with one seed",
        {
            **_CORPUS,
            "--model": _needed("section `model` of the configuration as JSON"),
            **_SETTINGS,
            "--variant": _needed("key of pretrain.variants"),
            **_SEED,
            "--out": _needed("folder of the model"),
            "--history": _needed("TSV of losses and figures to write"),
        },
    ),
    "task-promoter": (
        _promoter,
        "build the dataset of a promoter task",
        {
            "--name": _needed("name of the task"),
            **_SETTINGS,
            **_GENOME,
            **_HELD_OUT,
            **_REGIONS,
            **_ACCESSIBILITY,
            **_MOTIFS,
            "--columns": _needed("regions in a view", type=int),
            **_OUT,
        },
    ),
    "benchmark": (
        _benchmark,
        "run one model on one task with one seed",
        {
            "--task": _needed("name of the task"),
            "--dataset": _needed("dataset.parquet"),
            **_CORPUS,
            "--model": _needed("variant.inputs or a baseline"),
            "--weights": {"default": None, "help": "folder of the pre-trained model"},
            **_SETTINGS,
            **_SEED,
            "--out": _needed("folder to write predictions.parquet and metrics.json to"),
        },
    ),
    "summary": (
        _summary,
        "gather all runs in one table",
        {
            "--runs": _needed("folders of runs", nargs="+"),
            **_BLOCK,
            "--out": _needed("summary.tsv to write; summary.md goes beside it"),
        },
    ),
    "report": (
        _report,
        "make one HTML page of a results folder, to be read offline",
        {
            "--results": _needed("results folder"),
            "--runs": _needed("folders of runs", nargs="+"),
            "--tasks": _needed("names of the tasks", nargs="+"),
            "--histories": {"nargs": "*", "default": [], "help": "history.tsv of pre-trainings"},
            "--title": _needed("name of the dataset"),
            **_BLOCK,
            **_OUT,
        },
    ),
    "config": (
        _config,
        "print the default configuration, its JSON schema or its table; or check a file",
        {
            "form": {"choices": ["yaml", "schema", "table", "check"], "help": "what to do"},
            "file": {"nargs": "?", "default": "config/config.yaml", "help": "file to check"},
        },
    ),
}
