# What happens at the start of a run: every file is there, no other run is under way, and jobs will get what
# they ask for.
import contextlib
import logging

from genebert.errors import refused_by_disk, unwritable
from genebert.inputs.missing import refuse_missing
from genebert.pretrain.nodes import slurm_job
from genebert.profile import check_resources, check_rules
from genebert.torch_build import check_torch


def stop_if_missing():
    """Name every file that is missing and will not be fetched, before any job runs."""
    or_explain(refuse_missing, CONFIG, SAMPLES.values())
    missing = [place for place in FETCHED if not Path(DATA, place).exists()]
    if CONFIG.downloads.offline and missing:
        lines = [f"  {DATA}/{place}  from {FETCHED[place].url}" for place in missing]
        raise WorkflowError(
            f"{len(missing)} input files are missing and downloads.offline is true:\n"
            + "\n".join(lines)
            + "\nfix: put them there, or set `downloads.offline: false` where there is a network"
        )


def stop_at_unknown_cell_types():
    """Name the cell types that are in no sample, before any job runs."""
    known = sorted({sample.cell_type for sample in SAMPLES.values()})
    for key, cell_type in CONFIG.named_cell_types():
        if cell_type not in known:
            raise WorkflowError(
                f"{key} names cell type '{cell_type}', which is in no sample\n"
                f"fix: use one of {', '.join(known)}"
            )


def stop_at_mistyped_options():
    """Name rules and resources of a profile or the command line that mean nothing here."""
    settings, groups = workflow.resource_settings, workflow.group_settings
    named = {
        "set-resources": settings.overwrite_resources,
        "set-threads": settings.overwrite_threads,
        "groups": groups.overwrite_groups,
    }
    or_explain(check_rules, named, [rule.name for rule in workflow.rules])
    own = [settings.default_resources or {}, *settings.overwrite_resources.values()]
    or_explain(check_resources, [name for resources in own for name in resources])


def stop_where_jobs_would():
    """Name what jobs that are to run ask for and will not get, before the first of them runs."""
    asked = [
        job.rule.expand_resources(job.wildcards_dict, job.input, attempt=1)
        for job in workflow.dag.needrun_jobs()
        if {"gpu", "gres"} & job.rule.resources.keys()
    ]
    nodes = max((resources.get("nodes", 1) for resources in asked), default=1)
    if workflow.local_exec and nodes > 1:
        or_explain(slurm_job, nodes)
    # Environments of rules have a torch of their own.
    own = workflow.deployment_settings.deployment_method
    if not own and any(found.get("gpu") or found.get("gres") for found in asked):
        if warning := or_explain(check_torch, CONFIG.compute):
            print(warning, file=sys.stderr)


# Here Snakemake knows which jobs are to run, and no dry run comes here.
onstart:
    stop_at_mistyped_options()
    if not workflow.touch:
        stop_where_jobs_would()


@contextlib.contextmanager
def named_where_refused():
    """Name files of Snakemake's own that the disk refuses."""
    # Each line for a log on a full disk would be a traceback; the terminal has the line.
    logging.raiseExceptions = False
    try:
        yield
    except OSError as error:
        if not refused_by_disk(error):
            raise
        path = error.filename or f"a file of {R} or .snakemake"
        raise WorkflowError(str(unwritable(path, error))) from None


def one_run_at_a_time(execute):
    """Wrap what Snakemake calls to run jobs, and for nothing else: no two runs write to one folder."""

    @named_where_refused()
    def alone(executor_plugin, executor_settings, **others):
        others |= dict(
            executor_plugin=executor_plugin, executor_settings=executor_settings
        )
        facts, settings = executor_plugin.common_settings, workflow.execution_settings
        if hasattr(executor_settings, "jobname_prefix"):
            prefix = executor_settings.jobname_prefix or "genebert"
            executor_settings.jobname_prefix = f"{prefix[:30]}-{one_run.tag(R)}"
        if facts.dryrun_exec or not settings.lock:
            return execute(**others)
        try:
            with one_run.alone(R, queued=not facts.local_exec) as locked:
                # Snakemake's own lock outlives a killed run: it serves where there is no other.
                settings.lock = not locked
                return execute(**others)
        except GenebertError as error:
            raise WorkflowError(str(error)) from None

    return alone


stop_if_missing()
stop_at_unknown_cell_types()
if workflow.is_main_process:
    workflow.execute = one_run_at_a_time(workflow.execute)
