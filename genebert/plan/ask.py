"""What a rule asks of a scheduler: what a job is expected to take, and a margin."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import ceil
from pathlib import Path

from genebert.config import Config
from genebert.plan.constants import line
from genebert.plan.files import text_of
from genebert.plan.needs import Names, Need, need
from genebert.plan.sizes import Sizes

# The plan is right within a factor of two where it was checked: rules ask for twice of what it says, and
# for what Snakemake itself takes in a job of SLURM (twice 165 MB, some seconds to start).
MARGIN = 2.0
_LEAST_MB, _SNAKEMAKE_MB, _START_MINUTES = 700, 400, 10


def memory_mb(expected: Need, attempt: int) -> int:
    """Return the MB to ask for at an attempt, from 1."""
    return attempt * max(_LEAST_MB, ceil(MARGIN * expected.mb) + _SNAKEMAKE_MB)


def runtime_minutes(expected: Need, attempt: int) -> int:
    """Return the minutes to ask for at an attempt, from 1."""
    return attempt * (_START_MINUTES + ceil(MARGIN * expected.seconds / 60))


def need_of_job(
    rule: str, names: Names, files: Mapping[str, Iterable[str]], sizes: Sizes, config: Config
) -> Need:
    """Return what to expect of a job, its sizes corrected by those of its inputs that are there.

    Parameters
    ----------
    rule, names, config
        As for :func:`genebert.plan.needs.need`.
    files
        Its input files, by the names that the rule gives them.
    sizes
        As expected before anything ran.
    """
    known = {name: _bytes(paths) for name, paths in files.items()}
    if rule == "peaks":
        text = text_of(*files["raw"])
        if text is not None:
            sizes = replace(sizes, peaks={**sizes.peaks, names["sample"]: max(1, text.lines)})
    elif rule == "regions" and known["peaks"]:
        foreseen = sum(line("peaks", "bytes", {"peaks": number}) for number in sizes.peaks.values())
        more = known["peaks"] / foreseen
        sizes = replace(sizes, peaks={name: ceil(more * n) for name, n in sizes.peaks.items()})
    elif known.get("parts"):
        foreseen = config.motifs.chunks * need("corpus", names, sizes, config).disk_bytes
        sizes = sizes.scaled(known["parts"] / foreseen)
    elif known.get("regions"):
        foreseen = line("catalogue", "bytes", {"regions": sizes.regions})
        sizes = sizes.scaled(known["regions"] / foreseen)
    if known.get("dataset"):
        task = sizes.tasks[names["task"]]
        foreseen = line(f"task_{task.kind}", "bytes", {"examples": task.examples})
        task = task.scaled(known["dataset"] / foreseen)
        sizes = replace(sizes, tasks={**sizes.tasks, names["task"]: task})
    return need(rule, names, sizes, config)


def _bytes(paths: Iterable[str]) -> int:
    """Return the bytes of files together; 0 where one is not there yet."""
    try:
        return sum(Path(path).stat().st_size for path in paths)
    except OSError:
        return 0
