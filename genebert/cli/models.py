"""Sub-commands of pre-training."""

# ruff: noqa: PLC0415
import argparse
import os
import sys
from pathlib import Path

from genebert import config
from genebert.cli.options import (
    COMPUTE,
    CORPUS,
    HELD_OUT_CELL_TYPES,
    OUT,
    SEED,
    SETTINGS,
    Stages,
    chosen,
    needed,
    optional,
    section,
)
from genebert.errors import GenebertError
from genebert.provenance import recorded


def _npmi(options: argparse.Namespace) -> str:
    from genebert.pretrain.npmi_table import write_npmi

    read = [Path(options.corpus) / "manifest.json"]
    with recorded("npmi", [options.out], read, chosen(options, "k", "held_out_cell_types")):
        return write_npmi(options.corpus, options.k, options.out, options.held_out_cell_types)


def _pretrain(options: argparse.Namespace) -> str:
    if "LOCAL_RANK" in os.environ:
        from genebert.pretrain.launch import die_with_parent

        die_with_parent()
    else:
        _start_workers(options)
    from genebert.pretrain.parallel import one_voice

    with one_voice():
        return _pretrain_variant(options)


def _start_workers(options: argparse.Namespace) -> None:
    """Become the launcher of several workers, on this node or several; return where one is enough."""
    from genebert.pretrain.nodes import spread

    compute = section(config.Compute, options.compute, "--compute")
    if not _variant(section(config.Pretrain, options.settings), options.variant).trained:
        return
    command = ["-m", "genebert", *sys.argv[1:]]
    node = spread(compute.nodes, command)
    if node is None and compute.gpus <= 1:
        return
    from genebert.devices import lease_gpus
    from genebert.pretrain.launch import exec_torchrun
    from genebert.pretrain.parallel import one_voice

    with one_voice():
        if compute.gpus:
            lease_gpus(compute.gpus)
        exec_torchrun(max(1, compute.gpus), command, node)


def _pretrain_variant(options: argparse.Namespace) -> str:
    from genebert.pretrain.loop import pretrain
    from genebert.pretrain.record import Outputs
    from genebert.pretrain.setup import Sources

    compute = section(config.Compute, options.compute, "--compute")
    settings = section(config.Pretrain, options.settings)
    return pretrain(
        corpus_folder=options.corpus,
        sources=Sources(options.motifs, options.npmi),
        model_settings=section(config.Model, options.model, "--model"),
        settings=settings,
        compute=compute,
        variant_name=options.variant,
        seed=options.seed,
        device=device_of(compute),
        held_out=options.held_out_cell_types,
        outputs=Outputs(options.out, options.history, options.checkpoints),
    )


def device_of(compute: config.Compute) -> str:
    from genebert.devices import pick_device

    return pick_device(compute.require_gpu) if compute.gpus else "cpu"


def _variant(settings: config.Pretrain, name: str) -> config.Variant:
    if name not in settings.variants:
        raise GenebertError(
            f"--variant {name} is no key of pretrain.variants", f"use {', '.join(settings.variants)}"
        )
    return settings.variants[name]


def _embed(options: argparse.Namespace) -> str:
    from genebert.embed import write_embeddings

    with recorded("embed", [options.out], _read(options), chosen(options, "inputs", "sample")):
        return write_embeddings(
            options.weights,
            options.corpus,
            options.inputs,
            options.out,
            device_of(section(config.Compute, options.compute, "--compute")),
            sample=options.sample,
            threads=options.threads,
        )


def _attribution(options: argparse.Namespace) -> str:
    from genebert.attribution import write_attribution

    with recorded("attribution", [options.out], _read(options), {}):
        return write_attribution(
            options.weights,
            options.corpus,
            options.out,
            device_of(section(config.Compute, options.compute, "--compute")),
            threads=options.threads,
        )


def _read(options: argparse.Namespace) -> list[Path]:
    """Return what stands for a model and a corpus among the inputs of a record."""
    return [options.weights / "model.safetensors", Path(options.corpus) / "manifest.json"]


_WEIGHTS = {"--weights": needed("folder of the pre-trained model", type=Path)}
_THREADS = {"--threads": optional("CPU threads", 1, type=int)}

STAGES: Stages = {
    "npmi": (
        _npmi,
        "count the k-mers of the training regions: what strategies of masking rank tokens by",
        {**CORPUS, "--k": needed("k-mer length in bp", type=int), **HELD_OUT_CELL_TYPES, **OUT},
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
            **HELD_OUT_CELL_TYPES,
            **SEED,
            "--out": needed("folder of the model", type=Path),
            "--history": needed("TSV of losses and figures to write", type=Path),
            "--checkpoints": needed("folder of checkpoints while training is under way", type=Path),
        },
    ),
    "embed": (
        _embed,
        "write the features that a pre-trained model has of regions in their cell types",
        {
            **_WEIGHTS,
            **CORPUS,
            "--inputs": optional(
                "what the features are of", "region", choices=["sequence", "region", "both"]
            ),
            "--sample": optional("only so many regions of each cell type and split", type=int),
            **COMPUTE,
            **_THREADS,
            **OUT,
        },
    ),
    "attribution": (
        _attribution,
        "write how much each base of one held-out region matters to a pre-trained model",
        {**_WEIGHTS, **CORPUS, **COMPUTE, **_THREADS, **OUT},
    ),
}
