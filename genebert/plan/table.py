"""The plan as a table: what each rule, each stage and the whole run will take."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from genebert.config import Config
from genebert.errors import GenebertError
from genebert.inputs.missing import refuse_missing
from genebert.inputs.sheet import Sample
from genebert.plan.constants import constants
from genebert.plan.jobs import STAGE_OF, Job, jobs
from genebert.plan.needs import Need, need
from genebert.plan.sizes import Sizes, expected


@dataclass(frozen=True)
class Row:
    """What all jobs of a rule take.

    Attributes
    ----------
    stage, rule
        Names; ``rule`` is empty where the row sums up a stage.
    jobs
        How many.
    cpu_hours, gpu_hours
        Of all of them.
    mb
        Peak memory of the greatest one.
    disk_bytes
        Of their results.
    longest_hours
        On the clock, of the longest one.
    """

    stage: str
    rule: str
    jobs: int
    cpu_hours: float
    gpu_hours: float
    mb: float
    disk_bytes: float
    longest_hours: float


@dataclass(frozen=True)
class Plan:
    """What a whole run takes.

    Attributes
    ----------
    rows
        A row a rule, in the order in which they run.
    sizes
        That they follow from.
    gpus
        Of the job that asks for most.
    """

    rows: list[Row]
    sizes: Sizes
    gpus: int

    def total(self) -> Row:
        """Return the sum of all rows."""
        return summed("total", "", self.rows)

    def stages(self) -> list[Row]:
        """Return a row a stage."""
        names = dict.fromkeys(row.stage for row in self.rows)
        return [summed(name, "", [row for row in self.rows if row.stage == name]) for name in names]


def make_plan(config: Config, samples: Sequence[Sample]) -> Plan:
    """Return what a whole run of a configuration will take, nothing of it being done yet.

    Parameters
    ----------
    config
        The configuration; its paths count from the working folder.
    samples
        Rows of its sheet.

    Raises
    ------
    GenebertError
        If a file that will not be fetched is missing: what would be planned is no run.
    """
    refuse_missing(config, samples)
    sizes = expected(config, samples)
    needs: dict[tuple[str, str], list[Need]] = {}
    for job in jobs(config, samples, sizes):
        needs.setdefault((job.stage, job.rule), []).append(_need(job, sizes, config))
    order = list(STAGE_OF)
    rows = [_row(stage, rule, own) for (stage, rule), own in needs.items()]
    rows.sort(key=lambda row: order.index(row.rule if row.rule in STAGE_OF else "task"))
    return Plan(rows, sizes, max(one.gpus for own in needs.values() for one in own))


def _need(job: Job, sizes: Sizes, config: Config) -> Need:
    return need(job.rule, job.names, sizes, config)


def _row(stage: str, rule: str, needs: Sequence[Need]) -> Row:
    return Row(
        stage,
        rule,
        len(needs),
        sum(own.cpu_seconds for own in needs) / 3600,
        sum(own.gpu_seconds for own in needs) / 3600,
        max(own.mb for own in needs),
        sum(own.disk_bytes for own in needs),
        max(own.seconds for own in needs) / 3600,
    )


def summed(stage: str, rule: str, rows: Sequence[Row]) -> Row:
    """Return the sum of rows: of memory and of time on the clock the greatest."""
    return Row(
        stage,
        rule,
        sum(row.jobs for row in rows),
        sum(row.cpu_hours for row in rows),
        sum(row.gpu_hours for row in rows),
        max(row.mb for row in rows),
        sum(row.disk_bytes for row in rows),
        max(row.longest_hours for row in rows),
    )


def as_text(plan: Plan) -> str:
    """Return the table as a person reads it, with what is assumed below it."""
    header = (
        "stage",
        "rule",
        "jobs",
        "CPU hours",
        "GPU hours",
        "memory of a job",
        "disk",
        "longest job",
    )
    lines: list[tuple[str, ...]] = [header]
    for stage in plan.stages():
        lines += [_cells(row) for row in plan.rows if row.stage == stage.stage]
    lines.append(_cells(plan.total()))
    widths = [max(len(cells[place]) for cells in lines) for place in range(len(header))]
    table = [_aligned(cells, widths) for cells in lines]
    table.insert(1, "-" * len(table[0]))
    table.insert(-1, "-" * len(table[0]))
    return "\n".join([*table, "", *_notes(plan)])


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.stage,
        row.rule,
        f"{row.jobs:,}",
        hours(row.cpu_hours),
        hours(row.gpu_hours),
        megabytes(row.mb * 1e6),
        megabytes(row.disk_bytes),
        clock(row.longest_hours),
    )


def _aligned(cells: Iterable[str], widths: Sequence[int]) -> str:
    texts = [
        cell.ljust(width) if place < 2 else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(texts).rstrip()


def hours(value: float) -> str:
    """Return hours with two digits that matter; nothing for none."""
    return "" if value == 0 else f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def clock(value: float) -> str:
    """Return a time on the clock: seconds, minutes or hours."""
    seconds = value * 3600
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{value:,.0f} h"


def megabytes(value: float) -> str:
    """Return bytes as MB, GB or TB."""
    if value < 1e6:
        return f"{value / 1e6:.1f} MB" if value >= 1e5 else ""
    for unit, size in (("TB", 1e12), ("GB", 1e9)):
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value / 1e6:.0f} MB"


def _notes(plan: Plan) -> list[str]:
    known, sizes = constants(), plan.sizes
    gpu = known["gpu"]
    lines = [
        f"expected: {sizes.regions:,} regions of {sum(sizes.peaks.values()):,} peaks in "
        f"{len(sizes.peaks)} samples of {sizes.cell_types} cell types, {sizes.hits:,} hits of "
        f"{sizes.motifs:,} motifs, {sum(task.examples for task in sizes.tasks.values()):,} examples",
        f"measured on {known['machine']}, {known['date']}; other processors take other times",
        "fine-tuning is counted without early stopping; rules ask for twice the memory and time",
    ]
    if plan.gpus:
        source = "measured" if gpu["measured"] else "ASSUMED, not measured"
        lines.append(
            f"GPU hours are {source}: operations of the networks at {gpu['utilisation']:.0%} of the "
            f"peak of {gpu['card']} ({gpu['peak_bf16_tflops']} TFLOP/s); --gpus 0 plans without"
        )
    return [*lines, *(f"assumed: {text}" for text in sizes.assumptions)]


def time_on(plan: Plan, cores: int, gpus: int | None) -> str:
    """Return a line that says about how long a run takes.

    Parameters
    ----------
    plan
        Of the run.
    cores
        That there are.
    gpus
        That there are; None: as many as a job asks for.

    Raises
    ------
    GenebertError
        If a job asks for more GPUs: there the run would not start.
    """
    gpus = plan.gpus if gpus is None else gpus
    if gpus < plan.gpus:
        raise GenebertError(
            f"--gpus {gpus} is too few: a job of this run asks for {plan.gpus}",
            f"give --gpus {plan.gpus} or more, 0 to plan without GPUs, or lower compute.gpus",
        )
    took = clock(wall_hours(plan, cores, gpus))
    if not plan.gpus:
        return f"on {cores} cores: about {took}; no job asks for a GPU"
    return f"on {cores} cores and {gpus} GPUs: about {took}"


def wall_hours(plan: Plan, cores: int, gpus: int) -> float:
    """Return about how long a run takes on so many cores and GPUs: no less than its longest job.

    Jobs that wait for others are not foreseen: stages are taken one after the other, each filling all
    cores and GPUs.
    """
    return sum(
        max(row.cpu_hours / cores, row.gpu_hours / max(1, gpus), row.longest_hours)
        for row in plan.stages()
    )
