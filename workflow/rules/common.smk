# What the rules share: the validated configuration, the samples, and paths made of both.
import json
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
from genebert.errors import GenebertError
from genebert.inputs.sheet import read_samples
from genebert.inputs.source import canonical, parse_source
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

# Of a key that is there twice Snakemake takes the last.
for path in workflow.configfiles:
    or_explain(configuration.read_yaml, path)
CONFIG = or_explain(
    configuration.validate, config, ", ".join(map(str, workflow.configfiles))
)
R = CONFIG.results_dir
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


def unpinned(text):
    """Return a source without its checksum: a new pin is verified (rule checksums), it reruns nothing."""
    return parse_source(text).text


def pretrain_settings(wildcards):
    """Return the settings of one variant: changing another one retrains nothing here."""
    variant = CONFIG.pretrain.variants[wildcards.variant]
    variants = {wildcards.variant: variant.model_dump()}
    if variant.trained:
        return as_json(CONFIG.pretrain, variants=variants)
    evaluated = {"batch_size", "matching_group", "region_mask", "evaluation_views"}
    settings = CONFIG.pretrain.model_dump(include=evaluated)
    return json.dumps(settings | {"variants": variants}, sort_keys=True)


def model_text(wildcards):
    """Return a model as the configuration writes it."""
    return MODELS.get(wildcards.model, wildcards.model)


def named_model(wildcards):
    """Return what the name of a model says; it may be asked for by a path."""
    return or_explain(CONFIG.checked_model, wildcards.task, model_text(wildcards))


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
