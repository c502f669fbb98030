"""How many examples each task will have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import NamedTuple

from genebert.config import Config, Task, TaskType
from genebert.plan.constants import assumed, constants
from genebert.plan.files import Text

# Of the genome that training, validation and test are taken to have.
SHARES = (0.8, 0.1, 0.1)
_GTF = (".gtf", ".gtf.gz", ".gff3.gz")


@dataclass(frozen=True)
class TaskSizes:
    """How much there will be of a task.

    Attributes
    ----------
    kind
        Type of the task.
    records, gtf_lines
        Lines of its files; those of annotations apart.
    training, validation, test
        Examples of each split; those of a cross-validation are all ``test``.
    bases
        Of an example, in bp.
    """

    kind: TaskType
    records: int
    gtf_lines: int
    training: int
    validation: int
    test: int
    bases: int

    def scaled(self, more: float) -> "TaskSizes":
        """Return the sizes with so many times the examples."""
        counts = (round(more * number) for number in (self.training, self.validation, self.test))
        training, validation, test = counts
        return replace(self, training=training, validation=validation, test=test)

    @property
    def examples(self) -> int:
        """Of all splits."""
        return self.training + self.validation + self.test

    @property
    def held_out(self) -> int:
        """Of those that are predicted."""
        return self.validation + self.test


class _File(NamedTuple):
    lines: int
    is_gtf: bool
    head: list[str]


_Files = Sequence[_File]


@dataclass(frozen=True)
class Catalogue:
    """Sizes of genome and catalogue that decide how many examples there are."""

    regions: int
    openings: int
    cell_types: int
    width: int
    known_bp: int


def task_sizes(
    name: str,
    config: Config,
    files: Mapping[str, Text | None],
    paths: Mapping[str, str],
    catalogue: Catalogue,
    said: list[str],
) -> TaskSizes:
    """Return the sizes of one task.

    Parameters
    ----------
    name
        Of the task.
    config
        The configuration.
    files
        What the files by path hold; None for those that are still to be fetched.
    paths
        Where the file of each key of the configuration lies.
    catalogue
        What else decides.
    said
        Gets a line for each assumption.
    """
    task = config.benchmarks.tasks[name]
    found = []
    for key in task.sources():
        path = paths[f"benchmarks.tasks.{name}.{key}"]
        text, gtf = files[path], path.endswith(_GTF)
        if text is None:
            lines = _usual_lines("gtf" if gtf else task.type)
            said.append(f"{path} is not there yet, or no text: {lines:,} lines")
            found.append(_File(lines, gtf, []))
        else:
            found.append(_File(text.lines, gtf, text.head))
    training, validation, test = _SPLIT[task.type](task, found, catalogue)
    bases = task.bases() or (catalogue.width if task.type == "accessibility" else _longest(found))
    records, annotated = (sum(own.lines for own in found if own.is_gtf == gtf) for gtf in (False, True))
    return TaskSizes(task.type, records, annotated, training, validation, test, bases)


def _usual_lines(kind: str) -> int:
    known: dict[str, int] = constants()["assumed"]["task_lines"]["value"]
    return known[kind]


def _longest(files: _Files) -> int:
    """Return the bp of the longest sequence before a comma."""
    lengths = [len(row.partition(",")[0]) for own in files for row in own.head[1:]]
    return max(lengths, default=round(assumed("bases_of_a_labelled_sequence")))


def _capped(task: Task, number: float, classes: int) -> int:
    """Return how many of a split are kept, shared out among classes."""
    most = float("inf") if task.max_examples is None else task.max_examples
    return round(classes * min(number / classes, most))


_Counts = tuple[int, int, int]


def _split(task: Task, number: float, classes: int) -> _Counts:
    train, validation, test = (_capped(task, number * share, classes) for share in SHARES)
    return train, validation, test


def _promoter(task: Task, files: _Files, catalogue: Catalogue) -> _Counts:
    """Each TSS with a place that is none."""
    per_line = {True: assumed("promoters_of_a_gtf_line"), False: 1.0}
    positives = sum(own.lines * per_line[own.is_gtf] for own in files)
    return _split(task, 2 * positives, 2)


def _tfbs(task: Task, files: _Files, catalogue: Catalogue) -> _Counts:
    """Each peak with an open region of its cell type that has none; all but one cell type only test."""
    open_there = catalogue.openings / max(1, catalogue.cell_types)
    pairs = [min(own.lines, open_there) for own in files]
    of_training = getattr(task, "train_in", "")
    chosen = [cell_type == of_training for cell_type in task.cell_types()]
    train, validation, test = _split(task, 2 * sum(compress(pairs, chosen)), 2)
    elsewhere = sum(_split(task, 2 * n, 2)[2] for n, here in zip(pairs, chosen, strict=True) if not here)
    return train, validation, test + elsewhere


def _splicing(task: Task, files: _Files, catalogue: Catalogue) -> _Counts:
    """Donors, acceptors and, for each, decoys."""
    per_line = {
        True: assumed("splice_sites_of_a_gtf_line"),
        False: assumed("splice_sites_of_a_gene"),
    }
    sites = sum(own.lines * per_line[own.is_gtf] for own in files)
    return _split(task, sites * (1 + getattr(task, "decoys", 1)), 3)


def _accessibility(task: Task, files: _Files, catalogue: Catalogue) -> _Counts:
    """Regions open in another cell type, in each cell type: open in it, or closed."""
    shared = max(0.0, 1 - catalogue.regions / max(1, catalogue.openings))
    opened = catalogue.openings / max(1, catalogue.cell_types) * shared
    closed = max(0.0, catalogue.regions - opened)
    held_out = min(catalogue.cell_types, 2)
    counts = {"train": catalogue.cell_types - held_out, "validation": 1, "test": held_out - 1}
    train, validation, test = (
        number * (_capped(task, opened * share, 1) + _capped(task, closed * share, 1))
        for number, share in zip(counts.values(), SHARES, strict=True)
    )
    return train, validation, test


def _labelled(task: Task, files: _Files, catalogue: Catalogue) -> _Counts:
    """Rows of the files, which are the splits."""
    classes = max(2, len({row.rsplit(",", 1)[-1] for own in files for row in own.head[1:]}))
    train, *others = (_capped(task, own.lines - 1, classes) for own in files)
    return train, others[0] if len(others) > 1 else train // 10, others[-1]


def _variants(task: Task, files: _Files, catalogue: Catalogue) -> _Counts:
    """Every variant is tested, by cross-validation."""
    return 0, 0, _capped(task, sum(own.lines for own in files), 2)


def _cohort(task: Task, files: _Files, catalogue: Catalogue) -> _Counts:
    """Variants that lie in a region."""
    covered = min(1.0, catalogue.regions * catalogue.width / max(1, catalogue.known_bp))
    return 0, 0, round(files[0].lines * covered)


_SPLIT = {
    "promoter": _promoter,
    "tfbs": _tfbs,
    "splicing": _splicing,
    "accessibility": _accessibility,
    "labelled": _labelled,
    "variants": _variants,
    "cohort": _cohort,
}
