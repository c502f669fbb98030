"""What one job of each rule takes: a function of the sizes that it works on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import ceil

from genebert.config import DETERMINISTIC, Config, ModelName
from genebert.plan import training
from genebert.plan.constants import constants, line
from genebert.plan.sizes import Sizes
from genebert.plan.tasks import SHARES
from genebert.plan.training import FORWARD, Work

Names = Mapping[str, str]
# bp that the scanner holds at a time (genebert/motifs/scan.py), examples that a network judges at once.
_BLOCK_BP, _JUDGED = 1 << 18, 128
# Regions that the baselines of a pre-training's evaluation are fitted on, at most.
_FITTED = 20_000
# Views of each cell type and split that are embedded for the report, at most.
_EMBEDDED = 150
_NETWORKS = ("cnn", "deepromoter", "cdil")
_REGRESSIONS = ("kmer_logistic", "motif_logistic")
# Forward passes on an example: both strands, and both alleles where they are told apart.
_PASSES = {"probe": 1, "llr": 2, "distance": 4}


@dataclass(frozen=True)
class Load:
    """What a job works on.

    Attributes
    ----------
    stage
        Key of the measured constants.
    units
        What there is of everything that may count for it.
    work
        Of networks.
    held_mb
        Weights and activations that networks keep.
    result_bytes
        Of results whose size is known, beside the measured ones.
    gpus, threads
        That it asks for.
    workers
        Processes on each machine, which hold the same each.
    """

    stage: str
    units: Mapping[str, float]
    work: Work = field(default_factory=Work)
    held_mb: float = 0.0
    result_bytes: float = 0.0
    gpus: int = 0
    threads: int = 1
    workers: int = 1

    def counted(self) -> dict[str, float]:
        """Return the units, and what networks take by the rates of training: GPUs spare the CPU."""
        work = 0.0 if self.gpus else self.work.cpu_seconds()
        return {**self.units, "work": work, "held_mb": self.held_mb}


@dataclass(frozen=True)
class Need:
    """What a job takes.

    Attributes
    ----------
    mb
        Peak memory of the host; where there are several machines, of each.
    cpu_seconds
        User and system.
    gpu_seconds
        Of all its GPUs together.
    disk_bytes
        Of its results.
    seconds
        On the clock, where threads and GPUs are its own.
    gpus
        That it asks for.
    """

    mb: float
    cpu_seconds: float
    gpu_seconds: float
    disk_bytes: float
    seconds: float
    gpus: int


def need(rule: str, names: Names, sizes: Sizes, config: Config) -> Need:
    """Return what to expect of one job.

    Parameters
    ----------
    rule
        Of the workflow.
    names
        Its wildcards: ``sample``, ``task``, ``model``, ``variant``, ``place``.
    sizes
        What there is to work on.
    config
        The configuration.
    """
    load = load_of(rule, names, sizes, config)
    units = load.counted()
    mb, cpu, disk = (line(load.stage, measure, units) for measure in ("mb", "cpu", "bytes"))
    disk += load.result_bytes
    if not load.gpus:
        return Need(mb, cpu, 0.0, disk, cpu / load.threads, 0)
    gpu = load.work.gpu_seconds()
    # A thread of the host waits beside each GPU.
    mb += constants()["gpu"]["host_mb"]
    return Need(load.workers * mb, cpu + gpu, gpu, disk, cpu + gpu / load.gpus, load.gpus)


def load_of(rule: str, names: Names, sizes: Sizes, config: Config) -> Load:
    """Return what a job works on; parameters as for :func:`need`."""
    find = _LOADS.get(rule) or _LOADS[rule.partition("_")[0]]
    return find(rule, names, sizes, config)


def _whole(rule: str, names: Names, sizes: Sizes, config: Config) -> Load:
    """Return the load of a rule that runs once, on everything."""
    return Load(rule, _units(sizes, 1))


def _chunk(rule: str, names: Names, sizes: Sizes, config: Config) -> Load:
    """Return the load of a rule that runs on a chunk of the regions."""
    return Load(rule, _units(sizes, config.motifs.chunks))


def _manifest(rule: str, names: Names, sizes: Sizes, config: Config) -> Load:
    """Return the load of the manifest, which reads a part at a time."""
    return Load(rule, {**_units(sizes, 1), "part_hits": sizes.hits / config.motifs.chunks})


def _units(sizes: Sizes, chunks: int) -> dict[str, float]:
    bases = sizes.regions * sizes.width / chunks
    return {
        "bp": sizes.bp,
        "input_mb": sizes.input_mb,
        "peaks": sum(sizes.peaks.values()),
        "largest_sample": max(sizes.peaks.values()),
        "regions": sizes.regions / chunks,
        "hits": sizes.hits / chunks,
        "scanned": bases * sizes.motifs,
        "block": min(bases, _BLOCK_BP) * sizes.motifs,
        "motifs": sizes.motifs,
        "motif_pairs": sizes.motifs**2,
        "corpus_mb": sizes.corpus_bytes() / 1e6,
    }


def _download(rule: str, names: Names, sizes: Sizes, config: Config) -> Load:
    size = sizes.fetched[names["place"]]
    return Load(rule, {"input_mb": size / 1e6}, result_bytes=size)


def _peaks(rule: str, names: Names, sizes: Sizes, config: Config) -> Load:
    return Load(rule, {"peaks": sizes.peaks[names["sample"]]})


def _task(rule: str, names: Names, sizes: Sizes, config: Config) -> Load:
    task = sizes.tasks[names["task"]]
    units = {
        "examples": task.examples,
        "records": task.records,
        "gtf_lines": task.gtf_lines,
        "regions": sizes.regions,
    }
    return Load(rule, units)


def _gathering(rule: str, names: Names, sizes: Sizes, config: Config) -> Load:
    """Return the load of the table and of the page."""
    runs = config.runs()
    units = {
        **_units(sizes, 1),
        "part_hits": sizes.hits / config.motifs.chunks,
        "predictions": sum(sizes.tasks[task].held_out for task, _, _ in runs),
        "runs": len(runs),
        "drawn": len(config.benchmarks.tasks) + len(config.pretrain.variants),
    }
    return Load(rule, units)


def _pretrain(rule: str, names: Names, sizes: Sizes, config: Config) -> Load:
    variant, settings = config.pretrain.variants[names["variant"]], config.pretrain
    # Without training, all is judged.
    wanted = list(variant.weights()) or ["masked_sequence", "masked_region", "matching"]
    view = training.pretraining_view(
        config.model, sizes.motifs, sizes.width, settings.matching_group, wanted
    )
    steps = settings.steps if variant.trained else 0
    evaluations = steps // settings.evaluate_every + 1
    passes = 1 + 2 * ("matching" in wanted)  # matching is judged apart, on unmasked input
    compute = config.compute
    gpus = compute.gpus * compute.nodes if variant.trained else min(1, compute.gpus)
    at_a_time = min(compute.batch_per_device, settings.batch_size)
    return Load(
        rule,
        {**_units(sizes, 1), "fitted": min(sizes.regions, _FITTED)},
        work=view.times(steps * settings.batch_size)
        + view.times(evaluations * settings.evaluation_views, FORWARD * passes)
        + Work(steps=steps * ceil(settings.batch_size / at_a_time)),
        held_mb=_held(sizes, config, view, at_a_time, copies=4),
        result_bytes=4 * training.weights(config.model, sizes.motifs),
        gpus=gpus,
        threads=settings.threads,
        workers=max(1, compute.gpus if variant.trained else 1),
    )


def _held(sizes: Sizes, config: Config, view: Work, views: float, copies: float) -> float:
    """Return the MB of copies of the weights, and without a GPU of activations."""
    weights = copies * 4 * training.weights(config.model, sizes.motifs) / 1e6
    return weights if config.compute.gpus else weights + training.activations_mb(view, views)


def _looking(rule: str, names: Names, sizes: Sizes, config: Config) -> Load:
    """Return the load of a rule that shows a sample of the corpus to a trained network."""
    model, each = config.model, sizes.openings / max(1, sizes.cell_types)
    rows = sizes.cell_types * sum(min(_EMBEDDED, share * each) for share in SHARES)
    features = model.region.width * 2 ** (len(model.region.depths) - 1) + model.projection
    units = {**_units(sizes, 1), "embedded": rows * features}
    # Each base of one region, changed to each other one.
    changed = 3 * sizes.width if rule == "attribution" else 0
    work = training.example(model, sizes.motifs, sizes.width, "sequence").times(changed, FORWARD)
    held = _held(sizes, config, Work(), 0, copies=1)
    gpus = min(1, config.compute.gpus)
    return Load(rule, units, work, held, gpus=gpus, threads=config.pretrain.threads)


def _benchmark(rule: str, names: Names, sizes: Sizes, config: Config) -> Load:
    task, text = sizes.tasks[names["task"]], config.model_texts().get(names["model"], names["model"])
    model = config.checked_model(names["task"], text)
    units = {
        "examples": task.examples,
        "bases": task.examples * task.bases,
        "predictions": task.held_out,
        "motifs": sizes.motifs,
        "corpus_mb": 0.0 if model.inputs == "sequence" else sizes.corpus_bytes() / 1e6,
    }
    if model.name in DETERMINISTIC:
        regression = model.name in _REGRESSIONS
        return Load(f"benchmark.{model.name if regression else 'scores'}", units)
    return _network(model, names["task"], units, sizes, config)


def _network(
    model: ModelName, name: str, units: Mapping[str, float], sizes: Sizes, config: Config
) -> Load:
    """Return the load of a run of a network: trained, or only looked at."""
    settings, task = config.benchmarks.finetune, sizes.tasks[name]
    gpus, threads = min(1, config.compute.gpus), settings.threads
    batches = max(1, ceil(task.training / settings.batch_size))
    steps = min(settings.epochs * batches, settings.max_steps or settings.epochs * batches)
    trials = len(settings.learning_rates)
    # Early stopping is not foreseen: these are the most.
    learnt = trials * steps * min(settings.batch_size, task.training)
    judged = trials * ceil(steps / batches) * task.validation + task.held_out
    if model.name in _NETWORKS:
        # What they compute was measured on the CPU alone; a GPU takes them for the launching of steps.
        seen = 0 if gpus else (learnt + judged * FORWARD) * task.bases
        work = Work(steps=trials * steps)
        units = {**units, "bases_seen": seen}
        return Load(f"benchmark.{model.name}", units, work, gpus=gpus, threads=threads)
    view = training.example(config.model, sizes.motifs, task.bases, model.inputs or "both")
    readout = model.readout or "probe"
    stage = f"benchmark.{readout}"
    judged_mb = _held(sizes, config, view, _JUDGED * training.KEPT_FORWARD, copies=1)
    if readout != "fine_tuned":
        work = view.times(_PASSES[readout] * task.examples, FORWARD)
        return Load(stage, units, work, judged_mb, gpus=gpus, threads=threads)
    work = view.times(learnt) + view.times(judged, FORWARD) + Work(steps=trials * steps)
    # Weights, gradients, two moments, the best so far, and the network of the trial before.
    held = _held(sizes, config, view, min(settings.batch_size, task.training), copies=6)
    return Load(stage, units, work, max(held, judged_mb), gpus=gpus, threads=threads)


_LOADS: dict[str, Callable[[str, Names, Sizes, Config], Load]] = {
    "download": _download,
    "checksums": _whole,
    "index_genome": _whole,
    "preflight": _whole,
    "preflight_task": _task,
    "peaks": _peaks,
    "regions": _whole,
    "motifs": _whole,
    "scan_motifs": _chunk,
    "corpus": _chunk,
    "manifest": _manifest,
    "npmi": _whole,
    "pretrain": _pretrain,
    "embed": _looking,
    "attribution": _looking,
    "task": _task,
    "benchmark": _benchmark,
    "leakage": _task,
    "summary": _gathering,
    "report": _gathering,
}
