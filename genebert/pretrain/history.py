"""What a pre-training reports: rows of step, split, metric, value."""

import csv
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from genebert.errors import GenebertError
from genebert.files import open_text_for_writing


class Row(NamedTuple):
    """A figure: steps done, ``train`` or ``validation``, the metric's name, its value."""

    step: int
    split: str
    metric: str
    value: float


class History:
    """Rows in the order in which they were found.

    Parameters
    ----------
    rows
        Of the part of the training that was done before.
    board
        A TensorBoard writer that is given each new row too.
    """

    def __init__(self, rows: Sequence[Sequence[Any]] = (), board: Any = None) -> None:
        self.rows: list[Row] = []
        self._values: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._append(Row(*row) for row in rows)
        self._board = board

    def add(self, step: int, split: str, figures: Mapping[str, float]) -> None:
        """Add the figures of a step."""
        self._append(Row(step, split, name, value) for name, value in figures.items())
        if self._board is not None:
            for name, value in figures.items():
                self._board.add_scalar(f"{name}/{split}", value, step)
            self._board.flush()

    def values(self, split: str, metric: str) -> list[float]:
        """Return the values of a metric, oldest first."""
        return self._values[split, metric]

    def _append(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self.rows.append(row)
            self._values[row.split, row.metric].append(row.value)

    def write(self, path: str | Path) -> None:
        """Write all rows as TSV, complete or absent."""
        with open_text_for_writing(path) as text:
            writer = csv.writer(text, delimiter="\t", lineterminator="\n")
            writer.writerow(Row._fields)
            writer.writerows((*row[:3], f"{row.value:.6g}") for row in self.rows)


def open_board(folder: Path, step: int) -> Any:
    """Return a TensorBoard writer; what a killed run wrote after ``step`` is hidden.

    Raises
    ------
    GenebertError
        If TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415
    except ImportError:
        raise GenebertError(
            "compute.tensorboard is true, but TensorBoard is not installed",
            "pip install genebert[tensorboard], or set `tensorboard: false`",
        ) from None
    return SummaryWriter(str(folder), purge_step=step + 1)


def say(what: str) -> None:
    """Say something in the log."""
    print(what, file=sys.stderr, flush=True)


def shown(figures: Mapping[str, float]) -> str:
    """Return figures as one line."""
    return ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
