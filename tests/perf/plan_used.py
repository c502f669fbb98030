"""What a finished run took, to compare with its plan. For `plan_constants.py`, and for tests."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median_low

from genebert.config import load
from genebert.inputs.sheet import read_samples
from genebert.plan.jobs import STAGE_OF, Job, jobs
from genebert.plan.table import Row, make_plan, summed

# Snakemake looks at a job each half second at first, and each 30 s after the first 15 s: what a job
# does after the last look is in its seconds alone.
_OFTEN, _SELDOM = 15.0, 30.0
# Hours of CPU below which differences count nothing.
_SECONDS = 5 / 3600
# Times as slow, or as fast, that a processor may be before the plan is held to be wrong.
_SLOWEST = 4.0


def strays(config_file: str, results: Path) -> list[str]:
    """Return where a finished run without a GPU took what its plan did not foresee, a line each.

    Paths of the configuration count from the working folder.
    """
    settings = load(config_file)
    compute = settings.compute.model_copy(update={"gpus": 0})
    settings = settings.model_copy(update={"compute": compute})
    samples = read_samples(settings.samples)
    plan = make_plan(settings, samples)
    taken = used(results, list(jobs(settings, samples, plan.sizes)))
    # Where timings are missing, nothing strays.
    rules = {row.rule for row in taken}
    assert rules >= {"regions", "scan_motifs", "corpus", "pretrain", "benchmark", "summary"}
    planned = {row.rule: row.jobs for row in plan.rows}
    assert all(row.jobs == planned[row.rule] for row in taken)
    return strayed(plan.rows, taken)


def used(results: str | Path, run: Sequence[Job]) -> list[Row]:
    """Return a row a rule of those whose jobs left a timing.

    Parameters
    ----------
    results
        Folder of the results, with ``logs/timings``.
    run
        Its jobs.

    Notes
    -----
    CPU time is what Snakemake saw until its last look at a job, extended to the job's end at the same
    rate; memory is the greatest of its looks. Both miss what is shorter than its pauses.
    """
    found: dict[tuple[str, str], list[Row]] = {}
    for job in run:
        timing = Path(results, "logs/timings", timing_of(job))
        if timing.exists():
            disk = sum(path.stat().st_size for path in results_of(job, Path(results)))
            found.setdefault((job.stage, job.rule), []).append(_row(job, timing, disk))
    return [summed(stage, rule, rows) for (stage, rule), rows in found.items()]


def timing_of(job: Job) -> str:
    """Return the name of the file that a job's timing is in."""
    names = job.names
    known = {
        "benchmark": "benchmark.{task}.{model}.seed{seed}.tsv",
        "leakage": "leakage.{task}.tsv",
        "preflight_task": "preflight.{task}.tsv",
        "peaks": "peaks.{sample}.tsv",
        **{rule: rule + ".{chunk}.tsv" for rule in ("scan_motifs", "corpus")},
        **{rule: rule + ".{variant}.seed{seed}.tsv" for rule in ("pretrain", "embed", "attribution")},
    }
    if job.rule in known:
        return known[job.rule].format(**names)
    return f"task.{names['task']}.tsv" if job.rule not in STAGE_OF else f"{job.rule}.tsv"


def results_of(job: Job, results: Path) -> Iterator[Path]:
    """Yield the files that a job wrote and that stay."""
    pattern = _RESULTS.get(job.rule) or _RESULTS.get(job.rule.partition("_")[0])
    if pattern is not None:
        yield from results.glob(pattern.format(**job.names))


def _row(job: Job, timing: Path, disk: float) -> Row:
    with timing.open(encoding="utf-8") as lines:
        (row,) = csv.DictReader(lines, delimiter="\t")
    seconds, cpu, mb = (_number(row[name]) for name in ("s", "cpu_time", "max_rss"))
    looked = seconds if seconds < _OFTEN else _OFTEN + (seconds - _OFTEN) // _SELDOM * _SELDOM
    return Row(job.stage, job.rule, 1, cpu * seconds / looked / 3600, 0.0, mb, disk, seconds / 3600)


def _number(text: str) -> float:
    """Return a figure of a timing; 0 where the job was too short to be looked at."""
    return 0.0 if text in ("-", "NA") else float(text)


# Where the results of a rule lie.
_RESULTS = {
    "checksums": "reference/checksums.tsv",
    "index_genome": "reference/genome.fa*",
    "preflight": "reference/preflight.tsv",
    "preflight_task": "reference/preflight.{task}.tsv",
    "peaks": "peaks/{sample}.bed.gz",
    "regions": "regions/*",
    "motifs": "motifs/motifs.parquet",
    "corpus": "corpus/part-{chunk}.parquet",
    "manifest": "corpus/manifest.json",
    "npmi": "corpus/npmi.parquet",
    "pretrain": "pretrain/{variant}/seed{seed}/model/*",
    "embed": "pretrain/{variant}/seed{seed}/embeddings.parquet",
    "attribution": "pretrain/{variant}/seed{seed}/attribution.parquet",
    "task": "benchmarks/{task}/*.parquet",
    "benchmark": "benchmarks/{task}/{model}/seed{seed}/*",
    "leakage": "benchmarks/{task}/leakage.tsv",
    "summary": "benchmarks/summary.*",
    "report": "report.html",
}


def strayed(planned: Sequence[Row], taken: Sequence[Row], factor: float = 2.0) -> list[str]:
    """Return where a plan was wrong by more than a factor, a line each.

    Compared are CPU time and disk of each stage, and peak memory of each rule, of rules that left
    timings; differences of seconds, and of what a few files take, count nothing. Processors differ in
    speed: CPU times count by one factor for all stages, the lower median of their quotients of used and
    planned. It is a stage's own, so that of two stages their difference counts; of a single one, and
    where all are off alike, slow processors and wrong plans look the same: the factor itself must lie
    within 1/4 and 4.

    Parameters
    ----------
    planned
        Rows of the plan, a rule each.
    taken
        Of :func:`used`.
    factor
        Greatest quotient of the two that is right.
    """
    timed = {row.rule for row in taken}
    lines = []

    def judge(what: str, unit: str, foreseen: float, found: float, least: float) -> None:
        low, high = sorted((max(foreseen, least), max(found, least)))
        if high > factor * low:
            lines.append(f"{what}: planned {foreseen:.4g} {unit}, used {found:.4g} {unit}")

    stages = {
        stage: [
            summed(stage, "", [row for row in rows if row.stage == stage and row.rule in timed])
            for rows in (planned, taken)
        ]
        for stage in dict.fromkeys(row.stage for row in taken)
    }
    long = [pair for pair in stages.values() if min(row.cpu_hours for row in pair) >= _SECONDS]
    slower = median_low([found.cpu_hours / foreseen.cpu_hours for foreseen, found in long] or [1.0])
    if not 1 / _SLOWEST <= slower <= _SLOWEST:
        lines.append(f"CPU time of all stages: {slower:.2g} times what was planned")
    for stage, (foreseen, found) in stages.items():
        what = f"CPU time of {stage} (a processor {slower:.2g} times as slow as that of the plan)"
        judge(what, "hours", slower * foreseen.cpu_hours, found.cpu_hours, _SECONDS)
        judge(f"disk of {stage}", "MB", foreseen.disk_bytes / 1e6, found.disk_bytes / 1e6, 0.2)
    peaks = {row.rule: row.mb for row in planned}
    for row in taken:
        if row.mb:
            judge(f"memory of {row.rule}", "MB", peaks[row.rule], row.mb, 50)
    return lines
