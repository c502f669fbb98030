"""The sub-command that says what a run will take."""

# ruff: noqa: PLC0415
import argparse
import sys

from genebert import config
from genebert.cli.options import Stages, needed, optional
from genebert.errors import GenebertError


def _plan(options: argparse.Namespace) -> str:
    from genebert.inputs.sheet import read_samples
    from genebert.plan.table import as_text, clock, make_plan, wall_hours

    options.stream = sys.stdout
    settings = config.load(options.config)
    for flag, least in (("cores", 1), ("gpus", 0)):
        if getattr(options, flag) is not None and getattr(options, flag) < least:
            raise GenebertError(f"--{flag} {getattr(options, flag)} is too few", f"give {least} or more")
    if options.gpus == 0:  # then the workflow computes on the CPU
        compute = settings.compute.model_copy(update={"gpus": 0})
        settings = settings.model_copy(update={"compute": compute})
    plan = make_plan(settings, read_samples(settings.samples, settings.downloads.folder))
    lines = [as_text(plan)]
    if options.cores is not None:
        gpus = settings.compute.gpus if options.gpus is None else options.gpus
        took = clock(wall_hours(plan, options.cores, gpus))
        lines.append(f"on {options.cores} cores and {gpus} GPUs: about {took}")
    return "\n".join(lines)


STAGES: Stages = {
    "plan": (
        _plan,
        "what a run will take: jobs, CPU and GPU hours, memory, disk",
        {
            "--config": needed("configuration of the workflow"),
            "--cores": optional("cores of one machine: also say how long a run takes there", type=int),
            "--gpus": optional("GPUs there are; 0: everything is computed on the CPU", type=int),
        },
    )
}
