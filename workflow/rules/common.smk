# What the rules share: the validated configuration, the samples, and paths made of both.
import contextlib
import functools
import json
import logging
import os
import re
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

# The package beside this workflow is the one in use, here and in jobs, whether or not it is installed.
PROJECT = str(Path(workflow.basedir).parent)
sys.path.insert(0, PROJECT)
from genebert import config as configuration
from genebert import one_run
from genebert.errors import GenebertError, refused_by_disk, unwritable
from genebert.inputs.sheet import read_samples
from genebert.inputs.source import canonical, parse_source
from genebert.plan.ask import memory_mb, need_of_job, runtime_minutes
from genebert.plan.sizes import expected
from genebert.pretrain.nodes import slurm_job
from genebert.torch_build import check_torch
from genebert.versions import STAGES

# Rules call `python -m genebert`: the interpreter that runs Snakemake, unless `--sdm conda` puts the
# rule's own environment before it.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]),
    PYTHONPATH=os.pathsep.join([PROJECT, *filter(None, [os.getenv("PYTHONPATH")])]),
)


def or_explain(function, *arguments):
    """Call; turn an error that a person can mend into Snakemake's own, without a traceback."""
    try:
        return function(*arguments)
    except GenebertError as error:
        raise WorkflowError(str(error)) from None


# Jobs end here if their run has: before they delete or write anything.
if not workflow.is_main_process:
    or_explain(one_run.join)

CONFIG = or_explain(
    configuration.validate, config, ", ".join(map(str, workflow.configfiles))
)
R = CONFIG.results_dir.rstrip("/")
DATA = CONFIG.downloads.folder.rstrip("/")
# By name: the order of rows decides nothing.
SAMPLES = {
    sample.sample: sample
    for sample in sorted(
        or_explain(read_samples, CONFIG.samples, DATA), key=lambda s: s.sample
    )
}
# Every input file: as the configuration names it, and where it lies.
SOURCES = CONFIG.sources()
PATHS = {key: parse_source(text).path(DATA) for key, text in SOURCES.items()}
ALL_SOURCES = [
    *(
        (f"{key} in the configuration", parse_source(text))
        for key, text in SOURCES.items()
    ),
    *((sample.where, sample.source) for sample in SAMPLES.values()),
]
# What is fetched, by the file's place below DATA; a pinned one hides the same one without a pin.
FETCHED = {
    source.path(DATA).removeprefix(f"{DATA}/"): source
    for _, source in sorted(ALL_SOURCES, key=lambda pair: pair[1].checksum or "")
    if source.url
}
GENOME = f"{R}/reference/genome.fa"
# Names of the tasks by type.
TASKS = {
    kind: [name for name, task in CONFIG.benchmarks.tasks.items() if task.type == kind]
    for kind in sorted({task.type for task in CONFIG.benchmarks.tasks.values()})
}
# Models by the name of their folder: as the configuration writes them.
MODELS = CONFIG.model_texts()
CHUNKS = [f"{chunk:04d}" for chunk in range(CONFIG.motifs.chunks)]
# How files are fetched affects no result: not a parameter, so that a change reruns nothing.
os.environ.update(GENEBERT_DOWNLOADS=CONFIG.downloads.model_dump_json())
# Where the sheet lies affects none either: rules take it as a resource, and the rows that count as
# parameters.
SHEET = shlex.join(["--samples", CONFIG.samples, "--data", DATA])
HELD_OUT_CELL_TYPES = (
    shlex.join(["--held-out-cell-types", *CONFIG.cell_types.all()])
    if CONFIG.cell_types.all()
    else ""
)
HELD_OUT = shlex.join(
    [
        "--validation",
        *CONFIG.genome.split.validation,
        "--test",
        *CONFIG.genome.split.test,
    ]
)


wildcard_constraints:
    place="|".join(map(re.escape, FETCHED)) or "(?!)",
    sample="|".join(map(re.escape, SAMPLES)),
    chunk=r"\d{4}",
    variant="|".join(CONFIG.pretrain.variants) or "(?!)",
    task="|".join(map(re.escape, CONFIG.benchmarks.tasks)) or "(?!)",
    model="[A-Za-z0-9_.-]+",
    seed=r"\d+",


def as_json(section, **more):
    """Return a section of the configuration as the text that a sub-command reads."""
    return json.dumps({**section.model_dump(), **more}, sort_keys=True)


def task_keys(wildcards):
    """Return the sources of a task's files by key, as the configuration names them."""
    return CONFIG.benchmarks.tasks[wildcards.task].sources()


def task_files(wildcards):
    """Return where the files of a task lie."""
    return [
        PATHS[f"benchmarks.tasks.{wildcards.task}.{key}"]
        for key in task_keys(wildcards)
    ]


def task_paths(wildcards, input):
    """Return ``key=path`` of a task's files as the values of an option."""
    return shlex.join(
        f"{key}={path}"
        for key, path in zip(task_keys(wildcards), input.files, strict=True)
    )


def task_settings(wildcards):
    """Return the settings of a task, without pins and without the models that answer it."""
    task = CONFIG.benchmarks.tasks[wildcards.task]
    sources = set(task.sources().values())

    def plain(value):
        if isinstance(value, dict):
            return {key: plain(inner) for key, inner in value.items()}
        return unpinned(value) if isinstance(value, str) and value in sources else value

    return json.dumps(
        {
            key: plain(value)
            for key, value in task.model_dump(exclude={"models"}).items()
        },
        sort_keys=True,
    )


def companions(kind):
    """Return what tasks of a type keep beside their examples as a list, empty where there is nothing."""
    names = {"splicing": "genes.parquet", "cohort": "individuals.parquet"}
    return [f"{R}/benchmarks/{{task}}/{names[kind]}"] if kind in names else []


def companion_of(wildcards):
    """Return what a task keeps beside its examples."""
    return companions(CONFIG.benchmarks.tasks[wildcards.task].type)


def block_of_task(wildcards):
    """Return the length of a block where a task's examples depend on it."""
    depends = CONFIG.benchmarks.tasks[wildcards.task].type in (
        "accessibility",
        "variants",
    )
    return CONFIG.benchmarks.block_bp if depends else 1


def cell_types_of_task(wildcards):
    """Return the held-out cell types where the task is about them."""
    about_them = CONFIG.benchmarks.tasks[wildcards.task].type == "accessibility"
    return as_json(CONFIG.cell_types) if about_them else "{}"


def peaks_settings(wildcards):
    """Return the filters of peaks."""
    mappable = CONFIG.peaks.mappable
    return as_json(
        CONFIG.peaks, mappable=None if mappable is None else unpinned(mappable)
    )


def option(flag, value):
    """Return ``flag value``, or nothing where there is no value."""
    return "" if value is None else shlex.join([flag, value])


def existing(key):
    """Return where the input of a key lies as a list, empty where there is none."""
    return [PATHS[key]] if key in PATHS else []


def contigs(wildcards):
    """Return the pattern of contigs: of a function, Snakemake takes its braces for no wildcards."""
    return CONFIG.genome.contigs


def sheet(wildcards):
    """Return the options that name the sheet and the folder of fetched files."""
    return SHEET


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


def unpinned(text):
    """Return a source without its checksum: a new pin is verified (rule checksums), it reruns nothing."""
    return parse_source(text).text


def stop_if_missing():
    """Name every file that is missing and will not be fetched, before any job runs."""
    named = [
        *((where, source.text) for where, source in ALL_SOURCES if source.url is None),
        *(
            (f"pretrain.variants.{name}.init_from", f"{variant.init_from}/config.json")
            for name, variant in CONFIG.pretrain.variants.items()
            if variant.init_from is not None
        ),
    ]
    named += [
        ("benchmarks.models", f"{configuration.parse_model(text).source}/config.json")
        for text in MODELS.values()
        if text.startswith(("hf:/", "hf:."))
    ]
    lines = [f"  {path}  ({where})" for where, path in named if not Path(path).exists()]
    if lines:
        raise WorkflowError(
            f"input files that do not exist: {len(lines)}\n"
            + "\n".join(lines)
            + "\nfix: correct the paths; they count from the folder in which snakemake is called"
        )
    missing = [place for place in FETCHED if not Path(DATA, place).exists()]
    if CONFIG.downloads.offline and missing:
        lines = [f"  {DATA}/{place}  from {FETCHED[place].url}" for place in missing]
        raise WorkflowError(
            f"{len(missing)} input files are missing and downloads.offline is true:\n"
            + "\n".join(lines)
            + "\nfix: put them there, or set `downloads.offline: false` where there is a network"
        )


def pretrain_settings(wildcards):
    """Return the settings of one variant: changing another one retrains nothing here."""
    variant = CONFIG.pretrain.variants[wildcards.variant]
    variants = {wildcards.variant: variant.model_dump()}
    if variant.trained:
        return as_json(CONFIG.pretrain, variants=variants)
    evaluated = {"batch_size", "matching_group", "region_mask", "evaluation_views"}
    settings = CONFIG.pretrain.model_dump(include=evaluated)
    return json.dumps(settings | {"variants": variants}, sort_keys=True)


def compute(wildcards):
    """Return where and how safely to train: not a parameter, for it affects no result."""
    return as_json(CONFIG.compute)


def gpus_of_variant(wildcards):
    """Return how many GPUs a pre-training takes; without training, one for the evaluation."""
    trained = CONFIG.pretrain.variants[wildcards.variant].trained
    return CONFIG.compute.gpus if trained else min(1, CONFIG.compute.gpus)


def devices_of_variant():
    """Return what a pre-training asks for, by resource: `gpu`, or several machines of SLURM.

    `gpu` is a total, which SLURM may share out unevenly: of several machines, `gres` asks for GPUs on each.
    """
    if CONFIG.compute.nodes == 1:
        return {"gpu": gpus_of_variant}
    overwritten = workflow.resource_settings.overwrite_resources
    if "gpu_model" in overwritten.get("pretrain", {}):
        raise WorkflowError(
            "set-resources gives pretrain a `gpu_model`, of which several machines share one GPU\n"
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


def model_text(wildcards):
    """Return a model as the configuration writes it."""
    return MODELS.get(wildcards.model, wildcards.model)


def named_model(wildcards):
    """Return what the name of a model says; it may be asked for by a path."""
    return or_explain(CONFIG.checked_model, wildcards.task, model_text(wildcards))


def gpus_of_model(wildcards):
    """Return how many GPUs a benchmark run takes: what is no network takes none."""
    no_network = wildcards.model in configuration.DETERMINISTIC
    return 0 if no_network else min(1, CONFIG.compute.gpus)


def motifs_of_variant(wildcards):
    """Return the table of motifs where masking or an objective reads it."""
    variant = CONFIG.pretrain.variants[wildcards.variant]
    return f"{R}/motifs/motifs.parquet" if variant.needs_motifs() else []


def npmi_of_variant(wildcards):
    """Return the table of k-mers where masking reads it."""
    variant = CONFIG.pretrain.variants[wildcards.variant]
    return f"{R}/corpus/npmi.parquet" if variant.needs_npmi() else []


def variants_with(inputs):
    """Return the variants that have an encoder of such inputs, trained or random."""
    return [
        name
        for name, variant in CONFIG.pretrain.variants.items()
        if inputs in variant.inputs()
    ]


def initial_weights(wildcards):
    """Return the files of the network that a variant starts from, if it does."""
    folder = CONFIG.pretrain.variants[wildcards.variant].init_from
    if folder is None:
        return []
    others = ("model.safetensors", "pytorch_model.bin", "vocab.txt")
    there = [f"{folder}/{name}" for name in others if Path(folder, name).exists()]
    return [f"{folder}/config.json", *there]


def finetune_settings(wildcards):
    """Return the settings of fine-tuning, as far as they matter to a model."""
    if wildcards.model in configuration.DETERMINISTIC:
        return "{}"
    settings = CONFIG.benchmarks.finetune
    model = named_model(wildcards)
    if model.readout in (None, "fine_tuned") and model.name != "untrained_probe":
        return as_json(settings)
    return settings.model_dump_json(include={"batch_size", "threads"})


def weights_of(wildcards):
    """Return the pre-trained weights that a model starts from, none for most baselines."""
    variant = CONFIG.variant_of(named_model(wildcards))
    if variant is None:
        return []
    return f"{R}/pretrain/{variant}/seed{wildcards.seed}/model/model.safetensors"


def encoder_of(wildcards):
    """Return the files of a Hugging Face encoder that lies in a folder."""
    folder = Path(named_model(wildcards).source or "")
    if not (folder / "config.json").exists():
        return []
    return sorted(str(path) for path in folder.iterdir() if path.is_file())


def stop_at_unknown_cell_types():
    """Name the cell types that are in no sample, before any job runs."""
    known = sorted({sample.cell_type for sample in SAMPLES.values()})
    for key, cell_type in CONFIG.named_cell_types():
        if cell_type not in known:
            raise WorkflowError(
                f"{key} names cell type '{cell_type}', which is in no sample\n"
                f"fix: use one of {', '.join(known)}"
            )


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
