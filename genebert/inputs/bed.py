"""BED files and their kin: read strictly, compared with the genome."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from genebert.errors import GenebertError
from genebert.files import read_blocks, read_lines
from genebert.genome import rename_contig
from genebert.inputs.annotation import is_gtf, read_gtf_tss

_COORDINATE = "[0-9]{1,10}"
_PASSED_OVER = re.compile(r"\s*$|#|(track|browser)(\s|$)")


def read_bed(path: str | Path, fields: int = 3, texts: Mapping[str, int] | None = None) -> pd.DataFrame:
    """Read a BED-like file, gzip or not, whose columns are separated by tabs, or by blanks.

    Comments (``#``), ``track`` and ``browser`` lines and empty lines are passed over, and so is a header
    without ``#``: a first line whose second column speaks of the start and whose third of the end or
    stop (``chrom start end``, ``chr chromStart chromEnd``).

    Parameters
    ----------
    path
        The file.
    fields
        Columns that every line must have.
    texts
        Further columns to return, as text: number of the column (from 1) by name.

    Returns
    -------
    DataFrame
        ``line`` (from 1), ``chrom``, ``start``, ``end`` (bp, 0-based half-open), and ``texts``: null
        where a line has fewer columns.

    Raises
    ------
    GenebertError
        Naming the line: too few columns, a coordinate that is no whole number, start ≥ end, no lines.
    """
    columns = {"chrom": 1, "start": 2, "end": 3} | dict(texts or {})
    table = _read_whole(path, fields, columns)
    if table is None:
        table = _read_line_by_line(path, fields, columns)
    bed: pd.DataFrame = table.to_pandas()
    return bed


def _read_whole(path: str | Path, fields: int, columns: Mapping[str, int]) -> pa.Table | None:
    """Read a file whose lines, after a head, have equally many columns separated by tabs.

    None for any other file, and where anything is wrong: reading line by line tells what and where.
    """
    data = b"".join(read_blocks(path)).removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")
    data = data.rstrip(b"\n")
    passed, begin = _head(data)
    width = data.count(b"\t", begin, _line_end(data, begin)) + 1
    if width < max(fields, 3) or b"\r" in data:
        return None
    names = [str(number) for number in range(1, width + 1)]
    present = {name: str(number) for name, number in columns.items() if number <= width}
    try:
        found = pyarrow.csv.read_csv(
            pa.BufferReader(memoryview(data)[begin:]),
            pyarrow.csv.ReadOptions(column_names=names, use_threads=False),
            pyarrow.csv.ParseOptions(delimiter="\t", quote_char=False, ignore_empty_lines=False),
            pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), include_columns=list(present.values())
            ),
        )
    except pa.ArrowInvalid:
        return None
    table = {name: found[number] for name, number in present.items()}
    if any(map(_PASSED_OVER.match, table["chrom"].unique().to_pylist())):
        return None
    for name in ("start", "end"):
        if not pc.all(pc.match_substring_regex(table[name], f"^{_COORDINATE}$")).as_py():
            return None
        table[name] = table[name].cast(pa.int64())
    if not pc.all(pc.less(table["start"], table["end"])).as_py():
        return None
    absent = {name: pa.nulls(len(found), pa.string()) for name in columns if name not in present}
    line = pa.array(np.arange(passed + 1, passed + 1 + len(found)))
    return pa.table({"line": line} | table | absent).select(["line", *columns])


def _head(data: bytes) -> tuple[int, int]:
    """Return how many lines come before the first interval, and where it begins."""
    passed = begin = 0
    while begin < len(data):
        end = _line_end(data, begin)
        line = data[begin:end].decode(errors="replace")
        header = _is_header(_cells(line))
        if not (header or _PASSED_OVER.match(line)):
            break
        passed, begin = passed + 1, end + 1
        if header:
            break
    return passed, begin


def _line_end(data: bytes, begin: int) -> int:
    end = data.find(b"\n", begin)
    return end if end >= 0 else len(data)


def _is_header(cells: list[str]) -> bool:
    return (
        len(cells) >= 3
        and "start" in cells[1].lower()
        and bool(re.search("end|stop", cells[2], re.IGNORECASE))
    )


def _cells(line: str) -> list[str]:
    return line.split("\t") if "\t" in line else line.split()


def _read_line_by_line(path: str | Path, fields: int, columns: Mapping[str, int]) -> pa.Table:
    rows: list[tuple[object, ...]] = []
    header_may_come = True
    for number, line in read_lines(path):
        if _PASSED_OVER.match(line):
            continue
        cells, where = _cells(line), f"{path} line {number}"
        if header_may_come and _is_header(cells):
            header_may_come = False
            continue
        header_may_come = False
        if "\r" in line:
            raise GenebertError(
                "a carriage return within the line",
                "end lines with a line feed (`dos2unix -c mac`)",
                where,
            )
        if len(cells) < max(fields, 3):
            raise GenebertError(
                f"{len(cells)} columns where {fields} are needed",
                "correct the line, or the format given for the file",
                where,
            )
        start, end = (_coordinate(cell, where) for cell in cells[1:3])
        if start >= end:
            raise GenebertError(
                f"start {start} is not smaller than end {end}",
                "correct the line; intervals are 0-based half-open",
                where,
            )
        texts = [cells[n - 1] if n <= len(cells) else None for n in list(columns.values())[3:]]
        rows.append((number, cells[0], start, end, *texts))
    if not rows:
        raise GenebertError(f"{path} has no intervals", "give a file with at least one")
    types = [pa.int64(), pa.string(), pa.int64(), pa.int64()] + [pa.string()] * (len(columns) - 3)
    arrays = [pa.array(cells, type) for cells, type in zip(zip(*rows, strict=True), types, strict=True)]
    return pa.table(arrays, names=["line", *columns])


def _coordinate(text: str, where: str) -> int:
    if re.fullmatch(_COORDINATE, text):
        return int(text)
    raise GenebertError(
        f"coordinate '{text}' is no whole number of bp from 0", "correct the line", where
    )


def rename_contigs(bed: pd.DataFrame, style: str) -> pd.DataFrame:
    """Return intervals with their contigs renamed to a style."""
    names = {name: rename_contig(name, style) for name in bed["chrom"].unique()}
    if all(old == new for old, new in names.items()):
        return bed
    return bed.assign(chrom=bed["chrom"].map(names))


def on_contigs(
    bed: pd.DataFrame, what: str, contigs: str, where: str, *, can_rename: bool = True
) -> pd.DataFrame:
    """Return the intervals on contigs in use.

    Parameters
    ----------
    bed
        Intervals from :func:`read_bed`, contigs already renamed.
    what, where
        What the file holds ("peaks for 'K562'") and where it was named, for messages.
    contigs
        Regular expression that must match the whole name of a contig.
    can_rename
        Whether ``contig_style`` can be set where the file was named.

    Raises
    ------
    GenebertError
        If a contig would be in use under its name of another style: its lines would be lost unnoticed.
    """
    unused = [name for name in bed["chrom"].unique() if not re.fullmatch(contigs, name)]
    for name in unused:
        refuse_other_style(name, lambda renamed: re.fullmatch(contigs, renamed), what, where, can_rename)
    return bed[~bed["chrom"].isin(unused)]


def check_in_genome(
    bed: pd.DataFrame,
    path: str,
    what: str,
    lengths: Mapping[str, int],
    where: str,
    *,
    can_rename: bool = True,
) -> None:
    """Raise GenebertError where an interval names an unknown contig or leaves the genome.

    Parameters
    ----------
    bed
        Intervals from :func:`read_bed`, contigs already renamed.
    path, what, where
        The file, what it holds ("peaks for 'K562'") and where it was named, for messages.
    lengths
        Contig lengths in bp.
    can_rename
        Whether ``contig_style`` can be set where the file was named.
    """
    if bed.empty:
        return
    for chrom in bed["chrom"].unique():
        if chrom in lengths:
            continue
        refuse_other_style(chrom, lengths.__contains__, what, where, can_rename)
        lines = bed.loc[bed["chrom"] == chrom, "line"]
        raise GenebertError(
            f"{what} name contig '{chrom}', the genome has {', '.join(list(lengths)[:5])} …",
            "use a file of the same assembly, or leave that contig out by `genome.contigs`",
            f"{len(lines)} of {len(bed)} lines, first {path} line {lines.iloc[0]}; {where}",
        )
    outside = bed[bed["end"] > bed["chrom"].map(lengths)]
    if len(outside):
        row = outside.iloc[0]
        raise GenebertError(
            f"{what}: {row.chrom}:{row.start}-{row.end} ends after the contig's {lengths[row.chrom]} bp",
            "use a file of the same assembly as the genome",
            where=f"{path} line {row.line}",
        )


def refuse_other_style(
    name: str, known: Callable[[str], object], what: str, where: str, can_rename: bool
) -> None:
    """Raise GenebertError where a contig is known by its name of another style."""
    for style in ("ucsc", "ensembl"):
        if known(renamed := rename_contig(name, style)):
            raise GenebertError(
                f"{what} name contig '{name}', the genome has '{renamed}'",
                (f"set `contig_style: {style}` there, or " if can_rename else "rename them, or ")
                + "use a genome with matching names",
                where,
            )


def read_blacklist(
    path: str | Path, lengths: Mapping[str, int], contigs: str, key: str = "genome.blacklist"
) -> pd.DataFrame:
    """Read the intervals on contigs in use that a key of the configuration names, and check them.

    Raises
    ------
    GenebertError
        If a line does not fit the genome, or none is on a contig in use: a file of another genome, or
        of other names, must not pass for one that lists nothing.
    """
    what = f"the lines of {key}"
    everywhere = read_bed(path)
    bed = on_contigs(everywhere, what, contigs, key, can_rename=False)
    if bed.empty:
        kind = "blacklist" if key == "genome.blacklist" else "BED"
        raise GenebertError(
            f"none of {what} is on a contig in use: they are on "
            + ", ".join(everywhere["chrom"].unique()[:5]),
            f"give a {kind} of this genome, or remove {key}",
            str(path),
        )
    check_in_genome(bed, str(path), what, lengths, key, can_rename=False)
    return bed


def read_task_intervals(
    path: str | Path,
    contig_style: str,
    task: str,
    lengths: Mapping[str, int],
    contigs: str = ".+",
) -> pd.DataFrame:
    """Read the stranded intervals of a task on contigs in use, checked against the genome.

    Parameters
    ----------
    path
        BED6; or GTF, of which the TSS of protein-coding genes are taken.
    contig_style
        The style to rename contigs to.
    task
        Its name, for messages.
    lengths
        Contig lengths in bp.
    contigs
        Regular expression of the contigs in use.

    Returns
    -------
    DataFrame
        ``line`` (from 1), ``chrom``, ``start``, ``end`` (bp, 0-based half-open), ``name``, ``strand``.

    Raises
    ------
    GenebertError
        If a line does not fit the genome, its strand is neither + nor -, or no line is left.
    """
    what, where = f"intervals of task '{task}'", f"benchmarks.tasks.{task}"
    bed = read_gtf_tss(path) if is_gtf(path) else read_bed(path, 6, {"name": 4, "strand": 6})
    bed = on_contigs(rename_contigs(bed, contig_style), what, contigs, where)
    if bed.empty:
        raise GenebertError(f"no {what} are on the contigs in use", "check `genome.contigs`", str(path))
    check_in_genome(bed, str(path), what, lengths, where)
    bad = bed[~bed["strand"].isin(["+", "-"])]
    if len(bad):
        raise GenebertError(
            f"strand '{bad['strand'].iloc[0]}' of an interval of task '{task}' is neither + nor -",
            "give the strand in column 6",
            f"{path} line {bad['line'].iloc[0]}",
        )
    return bed.reset_index(drop=True)
