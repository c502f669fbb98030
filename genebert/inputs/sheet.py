"""The sheet of samples: one row a peak file."""

import csv
import re
from dataclasses import dataclass
from pathlib import Path

from genebert.errors import GenebertError
from genebert.files import read_lines

REQUIRED = ("sample", "cell_type", "assay", "format", "path")
OPTIONAL = ("contig_style",)
FORMATS = ("narrowPeak", "broadPeak", "bed")
STYLES = ("as_is", "ucsc", "ensembl")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Sample:
    """One peak file.

    Attributes
    ----------
    sample
        Unique name, used in file names.
    cell_type
        Samples of one cell type are merged.
    assay
        ATAC-seq, DNase-seq, …; kept as provenance.
    format
        ``narrowPeak``, ``broadPeak`` or ``bed`` (3 columns or more).
    path
        The file, gzip or not.
    contig_style
        ``as_is``, or the style that the file's contigs are renamed to.
    where
        Sheet and line, for messages.
    """

    sample: str
    cell_type: str
    assay: str
    format: str
    path: str
    contig_style: str
    where: str


def read_samples(sheet: str | Path) -> list[Sample]:
    """Read the tab-separated sheet.

    Raises
    ------
    GenebertError
        Naming file, line, column and value of the first thing wrong.
    """
    lines = [(number, line) for number, line in read_lines(sheet) if line and not line.startswith("#")]
    if not lines:
        raise GenebertError(f"{sheet} is empty", f"give a header: {' '.join(REQUIRED)}")
    rows = list(csv.reader([line for _, line in lines], delimiter="\t", quoting=csv.QUOTE_NONE))
    header = [name.strip() for name in rows[0]]
    _check_header(header, sheet)
    samples: list[Sample] = []
    for (number, _), row in zip(lines[1:], rows[1:], strict=True):
        where = f"{sheet} line {number}"
        if len(row) != len(header):
            raise GenebertError(
                f"the row has {len(row)} columns, the header {len(header)}",
                "separate columns by single tabs",
                where,
            )
        values = {name: cell.strip() for name, cell in zip(header, row, strict=True)}
        samples.append(_sample(values, where))
    if not samples:
        raise GenebertError(f"{sheet} has no samples", "add a row a peak file")
    names: dict[str, Sample] = {}
    paths: dict[str, Sample] = {}
    for sample in samples:
        if first := names.get(sample.sample):
            raise GenebertError(
                f"sample '{sample.sample}' is named twice ({first.where})",
                "give each row a sample name of its own; rows of one cell_type are merged",
                sample.where,
            )
        if first := paths.get(sample.path):
            raise GenebertError(
                f"'{sample.sample}' and '{first.sample}' have the same file {sample.path}",
                "correct the path of one of them",
                sample.where,
            )
        names[sample.sample] = paths[sample.path] = sample
    return samples


def _check_header(header: list[str], sheet: str | Path) -> None:
    if len(header) == 1:
        raise GenebertError(
            "the columns are not separated by tabs", "write one tab between columns", f"{sheet} header"
        )
    for name in REQUIRED:
        if name not in header:
            raise GenebertError(
                f"column '{name}' is missing",
                f"the columns are {', '.join(REQUIRED)}",
                f"{sheet} header",
            )
    for name in header:
        if name not in REQUIRED + OPTIONAL or header.count(name) > 1:
            raise GenebertError(
                f"column '{name}' is unknown or named twice",
                f"the columns are {', '.join(REQUIRED)}, and if needed {', '.join(OPTIONAL)}",
                f"{sheet} header",
            )


def _sample(values: dict[str, str], where: str) -> Sample:
    for column in ("sample", "cell_type"):
        if not _NAME.fullmatch(values[column]):
            raise GenebertError(
                f"{column} '{values[column]}' cannot be part of a file name",
                "use letters, digits, '_', '.' and '-'",
                where,
            )
    values["contig_style"] = values.get("contig_style") or "as_is"
    for column, allowed in (("format", FORMATS), ("contig_style", STYLES)):
        if values[column] not in allowed:
            raise GenebertError(
                f"{column} '{values[column]}' is unknown", f"use one of {', '.join(allowed)}", where
            )
    if not values["path"]:
        raise GenebertError("path is empty", "name the peak file", where)
    return Sample(**values, where=where)


def find_sample(sheet: str | Path, name: str) -> Sample:
    """Return one row of the sheet by its sample name."""
    for sample in read_samples(sheet):
        if sample.sample == name:
            return sample
    raise GenebertError(f"sample '{name}' is not in the sheet", "correct the name", str(sheet))
