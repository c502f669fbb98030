# What jobs ask for: memory, time, processors, GPUs and nodes. None of it affects a result.
import functools

from genebert.plan.ask import memory_mb, need_of_job, runtime_minutes
from genebert.plan.sizes import expected


@functools.cache
def sizes():
    """Return how much there will be of everything; only where a job's resources are asked for."""
    return expected(CONFIG, list(SAMPLES.values()))


def need_of(rule, wildcards, input):
    """Return what a job will take: as `genebert plan` says, corrected by the inputs that are there."""
    files = {
        name: [found] if isinstance(found, str) else list(found)
        for name, found in input.items()
    }
    return need_of_job(rule, dict(wildcards), files, sizes(), CONFIG)


def memory(rule):
    """Return what gives the MB that a job of a rule asks for, more at each attempt."""
    return lambda wildcards, input, attempt: memory_mb(
        need_of(rule, wildcards, input), attempt
    )


def runtime(rule):
    """Return what gives the minutes that a job of a rule asks for, more at each attempt."""
    return lambda wildcards, input, attempt: runtime_minutes(
        need_of(rule, wildcards, input), attempt
    )


def compute(wildcards):
    """Return where and how safely to train: not a parameter, for it affects no result."""
    return as_json(CONFIG.compute)


def gpus_of_variant(wildcards):
    """Return how many GPUs a pre-training takes; without training, one for the evaluation."""
    trained = CONFIG.pretrain.variants[wildcards.variant].trained
    return CONFIG.compute.gpus if trained else min(1, CONFIG.compute.gpus)


def devices_of_variant():
    """Return what a pre-training asks for, by resource: `gpu`, or several nodes of SLURM.

    `gpu` is a total, which SLURM may share out unevenly: of several nodes, `gres` asks for GPUs on each.
    """
    if CONFIG.compute.nodes == 1:
        return {"gpu": gpus_of_variant}
    overwritten = workflow.resource_settings.overwrite_resources
    if "gpu_model" in overwritten.get("pretrain", {}):
        raise WorkflowError(
            "set-resources gives pretrain a `gpu_model`, of which several nodes share one GPU\n"
            f"fix: write `pretrain: {{gres: gpu:MODEL:{CONFIG.compute.gpus}}}` instead"
        )

    def if_trained(value):
        # None: not asked for.
        return lambda wildcards: (
            value if CONFIG.pretrain.variants[wildcards.variant].trained else None
        )

    def gres(wildcards):
        gpus = gpus_of_variant(wildcards)
        return f"gpu:{gpus}" if gpus else None

    return {
        "nodes": if_trained(CONFIG.compute.nodes),
        # One launcher on each. `genebert pretrain` calls srun itself: the plugin takes such jobs for MPI.
        "tasks": if_trained(CONFIG.compute.nodes),
        "mpi": if_trained("srun"),
        "cpus_per_task": if_trained(
            CONFIG.pretrain.threads * max(1, CONFIG.compute.gpus)
        ),
        "gres": gres,
        "tasks_per_gpu": 0,
    }


def gpus_of_model(wildcards):
    """Return how many GPUs a benchmark run takes: what is no network takes none."""
    no_network = wildcards.model in configuration.DETERMINISTIC
    return 0 if no_network else min(1, CONFIG.compute.gpus)
