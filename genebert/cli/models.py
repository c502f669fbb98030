"""Sub-commands from pre-training to the report."""

# ruff: noqa: PLC0415
import argparse
import os
import sys
from pathlib import Path

from genebert import config
from genebert.cli.options import (
    ACCESSIBILITY,
    BLOCK,
    COMPUTE,
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
    optional,
    section,
    segments,
)
from genebert.errors import GenebertError


def _npmi(options: argparse.Namespace) -> str:
    from genebert.pretrain.npmi_table import write_npmi

    return write_npmi(options.corpus, options.k, options.out)


def _pretrain(options: argparse.Namespace) -> str:
    worker = "LOCAL_RANK" in os.environ
    if worker:
        from genebert.pretrain.launch import die_with_parent

        die_with_parent()
    from genebert.pretrain.parallel import one_voice

    with one_voice():
        return _pretrain_variant(options, worker)


def _pretrain_variant(options: argparse.Namespace, worker: bool) -> str:
    from genebert.devices import lease_gpus
    from genebert.pretrain.launch import exec_torchrun
    from genebert.pretrain.loop import pretrain
    from genebert.pretrain.record import Outputs
    from genebert.pretrain.setup import Sources

    compute = section(config.Compute, options.compute, "--compute")
    settings = section(config.Pretrain, options.settings)
    trained = _variant(settings, options.variant).trained
    if trained and compute.gpus > 1 and not worker:
        lease_gpus(compute.gpus)
        exec_torchrun(compute.gpus, ["-m", "genebert", *sys.argv[1:]])
    return pretrain(
        corpus_folder=options.corpus,
        sources=Sources(options.motifs, options.npmi),
        model_settings=section(config.Model, options.model, "--model"),
        settings=settings,
        compute=compute,
        variant_name=options.variant,
        seed=options.seed,
        device=_device(compute),
        outputs=Outputs(options.out, options.history, options.checkpoints),
    )


def _device(compute: config.Compute) -> str:
    from genebert.devices import pick_device

    return pick_device(compute.require_gpu) if compute.gpus else "cpu"


def _variant(settings: config.Pretrain, name: str) -> config.Variant:
    if name not in settings.variants:
        raise GenebertError(
            f"--variant {name} is no key of pretrain.variants", f"use {', '.join(settings.variants)}"
        )
    return settings.variants[name]


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
        device=_device(section(config.Compute, options.compute, "--compute"))
        if options.weights
        else "cpu",
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
    "npmi": (
        _npmi,
        "count the k-mers of the training regions: what strategies of masking rank tokens by",
        {**CORPUS, "--k": needed("k-mer length in bp", type=int), **OUT},
    ),
    "pretrain": (
        _pretrain,
        "pre-train one variant with one seed",
        {
            **CORPUS,
            "--motifs": optional(
                "table made by `motifs`, where masking or an objective needs it", type=Path
            ),
            "--npmi": optional("table made by `npmi`, where masking needs it", type=Path),
            "--model": needed("section `model` of the configuration as JSON"),
            **SETTINGS,
            **COMPUTE,
            "--variant": needed("key of pretrain.variants"),
            **SEED,
            "--out": needed("folder of the model", type=Path),
            "--history": needed("TSV of losses and figures to write", type=Path),
            "--checkpoints": needed("folder of checkpoints while training is under way", type=Path),
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
            **COMPUTE,
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
            "--runs": {"nargs": "*", "default": [], "help": "folders of runs"},
            "--tasks": {"nargs": "*", "default": [], "help": "names of the tasks"},
            "--histories": {"nargs": "*", "default": [], "help": "history.tsv of pre-trainings"},
            "--title": needed("name of the dataset"),
            **BLOCK,
            **OUT,
        },
    ),
}
