"""The sub-command that says what a run will take."""

# ruff: noqa: PLC0415
import argparse
import sys

from genebert import config
from genebert.cli.options import Stages, needed, optional
from genebert.errors import GenebertError


def _plan(options: argparse.Namespace) -> str:
    from genebert.inputs.sheet import read_samples
    from genebert.plan.table import as_text, make_plan, time_on

    options.stream = sys.stdout
    _check_numbers(options.cores, options.gpus)
    settings = config.load(options.config)
    if options.gpus == 0:  # then the workflow computes on the CPU
        compute = settings.compute.model_copy(update={"gpus": 0})
        settings = settings.model_copy(update={"compute": compute})
    plan = make_plan(settings, read_samples(settings.samples, settings.downloads.folder))
    if options.cores is None:
        return as_text(plan)
    return f"{as_text(plan)}\n{time_on(plan, options.cores, options.gpus)}"


def _check_numbers(cores: int | None, gpus: int | None) -> None:
    for flag, number, least in (("cores", cores, 1), ("gpus", gpus, 0)):
        if number is not None and number < least:
            raise GenebertError(f"--{flag} {number} is too few", f"give {least} or more")
    if gpus and cores is None:
        raise GenebertError(
            f"--gpus {gpus} says nothing without --cores: it is about the time that a run takes",
            "give --cores too, or --gpus 0 to plan without GPUs",
        )


STAGES: Stages = {
    "plan": (
        _plan,
        "what a run will take: jobs, CPU and GPU hours, memory, disk",
        {
            "--config": needed("configuration of the workflow"),
            "--cores": optional("cores there are: also say how long a run takes on them", type=int),
            "--gpus": optional(
                "GPUs there are beside the cores; 0: everything is computed on the CPU", type=int
            ),
        },
    )
}
