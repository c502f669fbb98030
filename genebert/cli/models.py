"""Sub-commands from pre-training to the report."""

# ruff: noqa: PLC0415
import argparse
from pathlib import Path

from genebert import config
from genebert.cli.options import (
    ACCESSIBILITY,
    BLOCK,
    CONTIGS,
    CORPUS,
    GENOME,
    HELD_OUT,
    MOTIFS,
    OUT,
    REGIONS,
    SEED,
    SETTINGS,
    Stages,
    needed,
    section,
    segments,
)


def _pretrain(options: argparse.Namespace) -> str:
    from genebert.pretrain.loop import pretrain

    return pretrain(
        corpus_folder=options.corpus,
        model_settings=section(config.Model, options.model),
        settings=section(config.Pretrain, options.settings),
        variant_name=options.variant,
        seed=options.seed,
        out=options.out,
        history=options.history,
    )


def _promoter(options: argparse.Namespace) -> str:
    from genebert.benchmarks.tasks.promoter import build
    from genebert.motifs.table import read_motif_table

    return build(
        settings=section(config.PromoterTask, options.settings),
        name=options.name,
        tss=options.tss,
        contigs=options.contigs,
        fasta=options.genome,
        segments=segments(options),
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
        settings=section(config.Finetune, options.settings),
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


STAGES: Stages = {
    "pretrain": (
        _pretrain,
        "pre-train one variant with one seed",
        {
            **CORPUS,
            "--model": needed("section `model` of the configuration as JSON"),
            **SETTINGS,
            "--variant": needed("key of pretrain.variants"),
            **SEED,
            "--out": needed("folder of the model"),
            "--history": needed("TSV of losses and figures to write"),
        },
    ),
    "task-promoter": (
        _promoter,
        "build the dataset of a promoter task",
        {
            "--name": needed("name of the task"),
            **SETTINGS,
            "--tss": needed("BED6 or GTF of TSS"),
            **GENOME,
            **CONTIGS,
            **HELD_OUT,
            **REGIONS,
            **ACCESSIBILITY,
            **MOTIFS,
            "--columns": needed("regions in a view", type=int),
            **OUT,
        },
    ),
    "benchmark": (
        _benchmark,
        "run one model on one task with one seed",
        {
            "--task": needed("name of the task"),
            "--dataset": needed("dataset.parquet"),
            **CORPUS,
            "--model": needed("variant.inputs or a baseline"),
            "--weights": {"default": None, "help": "folder of the pre-trained model"},
            **SETTINGS,
            **SEED,
            "--out": needed("folder to write predictions.parquet and metrics.json to"),
        },
    ),
    "summary": (
        _summary,
        "gather all runs in one table",
        {
            "--runs": needed("folders of runs", nargs="+"),
            **BLOCK,
            "--out": needed("summary.tsv to write; summary.md goes beside it"),
        },
    ),
    "report": (
        _report,
        "make one HTML page of a results folder, to be read offline",
        {
            "--results": needed("results folder"),
            "--runs": needed("folders of runs", nargs="+"),
            "--tasks": needed("names of the tasks", nargs="+"),
            "--histories": {"nargs": "*", "default": [], "help": "history.tsv of pre-trainings"},
            "--title": needed("name of the dataset"),
            **BLOCK,
            **OUT,
        },
    ),
}
