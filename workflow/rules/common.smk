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
from genebert.errors import GenebertError
from genebert.inputs.sheet import read_samples
from genebert.inputs.source import parse_source
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


CONFIG = or_explain(
    configuration.validate, config, ", ".join(map(str, workflow.configfiles))
)
R = CONFIG.results_dir.rstrip("/")
DATA = CONFIG.downloads.folder.rstrip("/")
SAMPLES = {
    sample.sample: sample for sample in or_explain(read_samples, CONFIG.samples, DATA)
}
# Every input file: as the configuration names it, and where it lies.
SOURCES = CONFIG.sources()
PATHS = {key: parse_source(text).path(DATA) for key, text in SOURCES.items()}
# What is fetched, by the file's place below DATA.
FETCHED = {
    source.path(DATA).removeprefix(f"{DATA}/"): source
    for source in [
        *map(parse_source, SOURCES.values()),
        *(sample.source for sample in SAMPLES.values()),
    ]
    if source.url
}
GENOME = f"{R}/reference/genome.fa"
CHUNKS = [f"{chunk:04d}" for chunk in range(CONFIG.motifs.chunks)]
# How files are fetched affects no result: not a parameter, so that a change reruns nothing.
os.environ.update(GENEBERT_DOWNLOADS=CONFIG.downloads.model_dump_json())
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
    sample="[A-Za-z0-9_.-]+",
    chunk=r"\d{4}",
    variant="[A-Za-z0-9_]+",
    task="[A-Za-z0-9_]+",
    model="[A-Za-z0-9_.]+",
    seed=r"\d+",


def as_json(section, **more):
    """Return a section of the configuration as the text that a sub-command reads."""
    return json.dumps({**section.model_dump(), **more}, sort_keys=True)


def task_source(wildcards):
    """Return where the intervals of a task lie."""
    return PATHS[f"benchmarks.tasks.{wildcards.task}.tss"]


def task_settings(wildcards):
    """Return the settings of a task, without the checksum of its file: a new pin rebuilds nothing."""
    task = CONFIG.benchmarks.tasks[wildcards.task]
    return as_json(task, tss=parse_source(task.tss).text)


def option(flag, value):
    """Return ``flag value``, or nothing where there is no value."""
    return "" if value is None else shlex.join([flag, value])


def existing(key):
    """Return where the input of a key lies as a list, empty where there is none."""
    return [PATHS[key]] if key in PATHS else []


def stop_if_missing_offline():
    """Name what is missing before any job runs where nothing may be fetched."""
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
    if not variant.trained:
        return json.dumps({"variants": variants})
    return as_json(CONFIG.pretrain, variants=variants)


def finetune_settings(wildcards):
    """Return the settings of fine-tuning, none for a baseline."""
    is_baseline = wildcards.model in configuration.Config.BASELINES
    return "{}" if is_baseline else as_json(CONFIG.benchmarks.finetune)


def weights_of(wildcards):
    """Return the pre-trained weights that a model starts from, none for a baseline."""
    if wildcards.model in configuration.Config.BASELINES:
        return []
    variant = wildcards.model.rpartition(".")[0]
    return f"{R}/pretrain/{variant}/seed{wildcards.seed}/model/model.safetensors"


stop_if_missing_offline()
