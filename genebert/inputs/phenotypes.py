"""The table of a cohort's individuals: who is a case, and the covariates of each."""

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from genebert.errors import GenebertError
from genebert.files import read_lines

SAMPLE = "sample"
COVARIATE = "covariate_"  # before the names of covariates in tables of ours
_MISSING = {"", ".", "na", "n/a", "nan", "none", "null"}


def read_phenotypes(
    path: str | Path, phenotype: str, covariates: Sequence[str], where: str
) -> pd.DataFrame:
    """Read a tab-separated table with a header, a row an individual.

    Parameters
    ----------
    path
        The file, gzip or not. Columns that are not asked for may hold anything.
    phenotype
        Column that is 1 for a case and 0 for a control.
    covariates
        Columns of numbers.
    where
        The task's key in the configuration, for messages.

    Returns
    -------
    DataFrame
        ``sample``, ``label`` (int32, 1 for a case) and ``covariate_<name>`` (float64) for each
        covariate, in the file's order.

    Raises
    ------
    GenebertError
        Naming line and column of the first value that is missing or no number, a label that is neither
        0 nor 1, or an individual named twice; or a column that is not there or asked for twice.
    """
    _check_asked(phenotype, covariates, where)
    labels: dict[str, int] = {}
    numbers: list[list[float]] = []
    lines: dict[str, int] = {}
    for number, cells in _rows(path, [SAMPLE, phenotype, *covariates], where):
        place = f"{path} line {number}"
        name = cells[SAMPLE]
        if name in lines:
            raise GenebertError(
                f"sample '{name}' is named twice (line {lines[name]})", "give each one row", place
            )
        lines[name] = number
        labels[name] = _label(cells[phenotype], phenotype, place)
        numbers.append([_number(cells[column], column, place) for column in covariates])
    if not lines:
        raise GenebertError(f"{path} has no individuals", "give a row an individual below the header")
    table = pd.DataFrame(numbers, columns=[COVARIATE + name for name in covariates], dtype="float64")
    table.insert(0, SAMPLE, list(labels))
    table.insert(1, "label", pd.array(list(labels.values())).astype("int32"))
    return table


def _check_asked(phenotype: str, covariates: Sequence[str], where: str) -> None:
    asked = [SAMPLE, phenotype, *covariates]
    for name in asked:
        if asked.count(name) > 1:
            raise GenebertError(
                f"column '{name}' is asked for twice: as sample, phenotype or covariate",
                "name each column once; a phenotype that is a covariate too would predict itself",
                f"{where}.covariates" if name in covariates else f"{where}.phenotype",
            )


def _rows(
    path: str | Path, columns: Sequence[str], where: str
) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Yield the line number and the cells of the columns asked for, none of them missing."""
    header: list[str] = []
    for number, line in read_lines(path):
        cells = [cell.strip() for cell in line.split("\t")]
        if not any(cells):
            continue
        place = f"{path} line {number}"
        if not header:
            header = cells
            _check_header(header, columns, place, where)
            continue
        if len(cells) != len(header):
            raise GenebertError(
                f"the row has {len(cells)} columns, the header {len(header)}",
                "separate columns by single tabs",
                place,
            )
        row = dict(zip(header, cells, strict=True))
        for column in columns:
            if row[column].lower() in _MISSING:
                raise GenebertError(
                    f"column '{column}' has no value ('{row[column]}')",
                    "fill it in, or leave the individual out of the table",
                    place,
                )
        yield number, row


def _check_header(header: Sequence[str], columns: Sequence[str], place: str, where: str) -> None:
    for column in columns:
        if header.count(column) == 1:
            continue
        if column in header:
            raise GenebertError(f"column '{column}' is there twice", "name each column once", place)
        close = difflib.get_close_matches(column, header, n=1)
        raise GenebertError(
            f"column '{column}' is missing" + (f" (there is '{close[0]}')" if close else ""),
            f"separate columns by tabs and name them in the first line; `{where}` says which are read",
            place,
        )


def _label(text: str, column: str, place: str) -> int:
    number = _number(text, column, place)
    if number not in (0, 1):
        raise GenebertError(
            f"{column} '{text}' is neither 1 nor 0", "write 1 for a case, 0 for a control", place
        )
    return int(number)


def _number(text: str, column: str, place: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.inf
    if not math.isfinite(number):
        raise GenebertError(
            f"{column} '{text}' is no number", "write numbers, such as 0 and 1 for two sexes", place
        )
    return number
