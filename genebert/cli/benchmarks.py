"""Sub-commands of the tasks, the runs, and what is reported of them."""

# ruff: noqa: PLC0415
import argparse
import importlib
from pathlib import Path
from typing import Any

from genebert import config
from genebert.cli.inputs import checked_files
from genebert.cli.models import device_of
from genebert.cli.options import (
    ACCESSIBILITY,
    BLOCK,
    COMPUTE,
    CONTIGS,
    CORPUS,
    DATA,
    GENOME,
    HELD_OUT,
    LOCK,
    MOTIFS,
    OUT,
    REGIONS,
    SEED,
    SETTINGS,
    Stages,
    chosen,
    named,
    needed,
    optional,
    section,
    segments,
)
from genebert.provenance import recorded


def _preflight_task(options: argparse.Namespace) -> str:
    from genebert.preflight import preflight_task

    settings = section(config.TASKS[options.type], options.settings)
    read = [f"{options.genome}.fai"]
    facts = chosen(options, "type", "name", "settings", "contigs")
    with recorded("reference", [options.out], read, facts):
        line = preflight_task(
            fasta=options.genome,
            name=options.name,
            sources=named(options.sources, "--sources"),
            check=lambda files, lengths: _task(options.type).check(
                settings, options.name, files, lengths, options.contigs
            ),
            data=options.data,
            lock=options.lock,
            out=options.out,
        )
        read += checked_files(options.out)
    return line


def _build(options: argparse.Namespace) -> str:
    from genebert.benchmarks.tasks.material import Material
    from genebert.motifs.table import read_motif_table

    held_out = section(config.HeldOutCellTypes, options.cell_types, "--cell-types")
    material = Material(
        name=options.name,
        fasta=Path(options.genome),
        contigs=options.contigs,
        segments=segments(options),
        regions=Path(options.regions),
        accessibility=Path(options.accessibility),
        motifs=read_motif_table(options.motifs),
        columns=options.columns,
        cell_types={"validation": held_out.validation, "test": held_out.test},
        block_bp=options.block_bp,
    )
    files = {key: Path(path) for key, path in named(options.files, "--files").items()}
    more = {} if options.companion is None else {"companion": options.companion}
    settings = section(config.TASKS[options.type], options.settings)
    read = [options.genome, options.regions, options.accessibility, options.motifs, *files.values()]
    facts = chosen(options, "name", "settings", "contigs", "validation", "test", "columns")
    facts |= chosen(options, "cell_types", "block_bp")
    with recorded(options.type, [options.out, *more.values()], read, facts):
        return _task(options.type).build(settings, files, material, options.out, **more)


def _task(kind: str) -> Any:
    return importlib.import_module(f"genebert.benchmarks.tasks.{kind}")


def _benchmark(options: argparse.Namespace) -> str:
    from genebert.benchmarks.run import run

    settings, read = section(config.Finetune, options.settings), _examples(options)
    if options.weights is not None:
        read.append(options.weights / "model.safetensors")
    written = [Path(options.out) / name for name in ("metrics.json", "predictions.parquet")]
    facts = chosen(options, "task", "model", "settings")
    with recorded("benchmark", written, read, facts, options.seed):
        line = run(
            dataset_path=options.dataset,
            companion=options.companion,
            corpus_folder=options.corpus,
            model_name=options.model,
            weights=options.weights,
            settings=settings,
            task=options.task,
            seed=options.seed,
            device="cpu"
            if options.model in config.DETERMINISTIC
            else device_of(section(config.Compute, options.compute, "--compute")),
            out=options.out,
        )
        # An encoder that lies in a folder; one of a hub is named by the model.
        encoder = Path(config.parse_model(options.model).source or "")
        if (encoder / "config.json").is_file():
            read += sorted(path for path in encoder.iterdir() if path.is_file())
    return line


def _examples(options: argparse.Namespace) -> list[str | Path]:
    """Return the files of a task, and what stands for a corpus among the inputs of a record."""
    files = [options.dataset, options.companion, Path(options.corpus) / "manifest.json"]
    return [path for path in files if path is not None]


def _leakage(options: argparse.Namespace) -> str:
    from genebert.benchmarks.leakage import write_leakage

    with recorded("leakage", [options.out], _examples(options), {}):
        return write_leakage(options.dataset, options.corpus, options.out, options.companion)


def _summary(options: argparse.Namespace) -> str:
    from genebert.report.tables import write_summary

    written = [options.out, Path(options.out).with_suffix(".md")]
    facts = chosen(options, "block_bp", "untrained", "sequence_only")
    with recorded("summary", written, _runs(options), facts):
        return write_summary(
            options.runs, options.block_bp, options.out, options.untrained, options.sequence_only
        )


def _runs(options: argparse.Namespace) -> list[Path]:
    files = ("metrics.json", "predictions.parquet")
    return [Path(run) / name for run in options.runs for name in files]


def _report(options: argparse.Namespace) -> str:
    from genebert.report.page import write_report

    results = Path(options.results)
    read = [results / "corpus/manifest.json", results / "motifs/motifs.parquet", *_runs(options)]
    for task in options.tasks:
        read += [results / "benchmarks" / task / name for name in ("dataset.parquet", "leakage.tsv")]
    read += [*options.histories, *options.embeddings, *options.attributions]
    with recorded("report", [options.out], read, chosen(options, "title", "block_bp")):
        return write_report(
            results,
            runs=options.runs,
            histories=options.histories,
            tasks=options.tasks,
            title=options.title,
            block_bp=options.block_bp,
            out=options.out,
            embedded=options.embeddings,
            attributed=options.attributions,
        )


_TASK = {
    "--type": needed("type of the task", choices=sorted(config.TASKS)),
    "--name": needed("name of the task"),
    **SETTINGS,
}
_COMPANION = {"--companion": optional("what the task keeps beside its examples", type=Path)}

STAGES: Stages = {
    "preflight-task": (
        _preflight_task,
        "check the files of a task against the genome",
        {
            **_TASK,
            **GENOME,
            "--sources": needed("key=source of each file, as the configuration names it", nargs="*"),
            **DATA,
            **LOCK,
            **CONTIGS,
            **OUT,
        },
    ),
    "task": (
        _build,
        "build the dataset of a task",
        {
            **_TASK,
            "--files": needed("key=path of each file", nargs="*"),
            **GENOME,
            **CONTIGS,
            **HELD_OUT,
            **REGIONS,
            **ACCESSIBILITY,
            **MOTIFS,
            "--columns": needed("regions in a view", type=int),
            "--cell-types": optional("section `cell_types` of the configuration as JSON", "{}"),
            **BLOCK,
            **_COMPANION,
            **OUT,
        },
    ),
    "benchmark": (
        _benchmark,
        "run one model on one task with one seed",
        {
            "--task": needed("name of the task"),
            "--dataset": needed("dataset.parquet"),
            **_COMPANION,
            **CORPUS,
            "--model": needed("as in `benchmarks.models`"),
            "--weights": optional("folder of the pre-trained model", type=Path),
            **SETTINGS,
            **COMPUTE,
            **SEED,
            "--out": needed("folder to write predictions.parquet and metrics.json to"),
        },
    ),
    "leakage": (
        _leakage,
        "report what a task's test examples share with training and pre-training",
        {"--dataset": needed("dataset.parquet"), **_COMPANION, **CORPUS, **OUT},
    ),
    "summary": (
        _summary,
        "gather all runs in one table",
        {
            "--runs": needed("folders of runs", nargs="+"),
            **BLOCK,
            "--untrained": optional("variant without pre-training, to compare with", "scratch"),
            "--sequence-only": optional("variant that saw sequences alone", "sequence_only"),
            "--out": needed("summary.tsv to write; summary.md goes beside it"),
        },
    ),
    "report": (
        _report,
        "make one HTML page of a results folder, to be read offline",
        {
            "--results": needed("results folder"),
            "--runs": {"nargs": "*", "default": [], "help": "folders of runs"},
            "--tasks": {"nargs": "*", "default": [], "help": "names of the tasks"},
            "--histories": {"nargs": "*", "default": [], "help": "history.tsv of pre-trainings"},
            "--embeddings": {"nargs": "*", "default": [], "help": "files made by `embed`"},
            "--attributions": {"nargs": "*", "default": [], "help": "files made by `attribution`"},
            "--title": needed("name of the dataset"),
            **BLOCK,
            **OUT,
        },
    ),
}
