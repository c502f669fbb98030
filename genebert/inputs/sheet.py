"""The sheet of samples: one row a peak file."""

import difflib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genebert.errors import GenebertError
from genebert.files import read_lines
from genebert.inputs.source import Source, source_of


@dataclass(frozen=True)
class Column:
    """One column of the sheet: what it holds, what it looks like, and the fix where it does not."""

    name: str
    meaning: str
    pattern: str
    fix: str
    needed: bool = True


_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
# File systems take 255 bytes; a file is called by more than the name alone.
LONGEST_NAME = 100
_NAME_FIX = "use letters, digits, '_', '.' and '-', not '.' or '-' first"

COLUMNS = (
    Column("sample", "unique name, used in file names", _NAME, _NAME_FIX),
    Column("cell_type", "samples of one cell type are merged", _NAME, _NAME_FIX),
    Column("assay", "ATAC-seq, DNase-seq, …; kept in `reference/checksums.tsv`", ".+", "name the assay"),
    Column(
        "format",
        "`narrowPeak` (summit in column 10), `broadPeak` or `bed` (3 columns or more; the signal is "
        "column 5, the summit the centre; without signal all peaks count as middling)",
        "narrowPeak|broadPeak|bed",
        "use narrowPeak, broadPeak or bed",
    ),
    Column(
        "source",
        "the file, gzip or not: a path, a URL, or an ENCODE accession (ENCFF…)",
        ".+",
        "give a path, a URL or an ENCODE accession",
    ),
    Column(
        "checksum",
        "`md5:…` or `sha256:…` of the file as it is fetched; a file with another is refused",
        r"((md5[:=])?[0-9a-fA-F]{32}|(sha256[:=])?[0-9a-fA-F]{64})?",
        "copy the whole md5 (32 digits) or sha256 (64), or leave it empty",
        needed=False,
    ),
    Column(
        "assembly",
        "assembly of the coordinates; must be that of `genome.name` (hg38 and GRCh38 are one)",
        ".*",
        "name the assembly",
        needed=False,
    ),
    Column(
        "contig_style",
        "`ucsc` renames 20 to chr20, `ensembl` chr20 to 20, `as_is` nothing",
        "(as_is|ucsc|ensembl)?",
        "use as_is, ucsc or ensembl",
        needed=False,
    ),
)
REQUIRED = tuple(column.name for column in COLUMNS if column.needed)
OPTIONAL = tuple(column.name for column in COLUMNS if not column.needed)


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
    source
        Where the file comes from, with its checksum if there is one.
    path
        Where it lies, gzip or not.
    assembly
        Assembly of the coordinates; empty where the sheet does not say.
    contig_style
        ``as_is``, or the style that the file's contigs are renamed to.
    where
        Sheet and line, for messages.
    """

    sample: str
    cell_type: str
    assay: str
    format: str
    source: Source
    path: str
    assembly: str
    contig_style: str
    where: str


def as_schema() -> dict[str, Any]:
    """Return the JSON schema of one row."""
    return {
        "title": "A row of the sheet of samples",
        "type": "object",
        "properties": {
            column.name: {
                "type": "string",
                "pattern": f"^({column.pattern})$",
                "description": column.meaning,
            }
            for column in COLUMNS
        },
        "required": list(REQUIRED),
        "additionalProperties": False,
    }


def as_table() -> str:
    """Return a Markdown table of the columns."""
    rows = [
        f"| `{column.name}` | {'' if column.needed else 'optional: '}{column.meaning} |"
        for column in COLUMNS
    ]
    return "\n".join(["| column | meaning |", "|---|---|", *rows]) + "\n"


def read_samples(sheet: str | Path, folder: str = "data") -> list[Sample]:
    """Read the tab-separated sheet.

    Parameters
    ----------
    sheet
        The file.
    folder
        Where files named by URL or accession are fetched to.

    Raises
    ------
    GenebertError
        Naming file, line, column and value of the first thing wrong.
    """
    lines = [
        (number, line) for number, line in read_lines(sheet) if line.strip() and not line.startswith("#")
    ]
    if any("\r" in line for _, line in lines):
        raise GenebertError(
            f"{sheet} ends its lines in carriage returns", "save it as tab-delimited text, UTF-8"
        )
    if not lines:
        raise GenebertError(f"{sheet} is empty", f"give a header: {' '.join(REQUIRED)}")
    rows = [line.split("\t") for _, line in lines]
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
        samples.append(_sample(values, folder, where))
    if not samples:
        raise GenebertError(f"{sheet} has no samples", "add a row a peak file")
    _check_unique(samples)
    return samples


def _check_header(header: Sequence[str], sheet: str | Path) -> None:
    if len(header) == 1:
        raise GenebertError(
            "the columns are not separated by tabs", "write one tab between columns", f"{sheet} header"
        )
    for name in REQUIRED:
        if name not in header:
            close = difflib.get_close_matches(name, header, n=1)
            raise GenebertError(
                f"column '{name}' is missing" + (f" (there is '{close[0]}')" if close else ""),
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


def _sample(values: dict[str, str], folder: str, where: str) -> Sample:
    for column in COLUMNS:
        value = values.setdefault(column.name, "")
        if column.pattern == _NAME and len(value) > LONGEST_NAME:
            raise GenebertError(
                f"{column.name} '{value}' has {len(value)} characters",
                f"shorten it to {LONGEST_NAME}: it becomes the name of a file",
                where,
            )
        if not re.fullmatch(column.pattern, value):
            raise GenebertError(f"{column.name} '{value}' is not valid", column.fix, where)
    source = source_of(values["source"], where, values["checksum"])
    return Sample(
        sample=values["sample"],
        cell_type=values["cell_type"],
        assay=values["assay"],
        format=values["format"],
        source=source,
        path=source.path(folder),
        assembly=values["assembly"],
        contig_style=values["contig_style"] or "as_is",
        where=where,
    )


def _check_unique(samples: Sequence[Sample]) -> None:
    names: dict[str, Sample] = {}
    paths: dict[str, Sample] = {}
    for sample in samples:
        if first := names.get(sample.sample):
            raise GenebertError(
                f"sample '{sample.sample}' is named twice ({first.where})",
                "give each row a sample name of its own; rows of one cell_type are merged",
                sample.where,
            )
        path = os.path.normpath(sample.path)
        if first := paths.get(path):
            raise GenebertError(
                f"'{sample.sample}' and '{first.sample}' have the same file {sample.path}",
                "correct the source of one of them",
                sample.where,
            )
        names[sample.sample] = paths[path] = sample


def find_sample(sheet: str | Path, name: str, folder: str = "data") -> Sample:
    """Return one row of the sheet by its sample name."""
    for sample in read_samples(sheet, folder):
        if sample.sample == name:
            return sample
    raise GenebertError(f"sample '{name}' is not in the sheet", "correct the name", str(sheet))
