"""Peak and interval files: reading them strictly, and the cleaned peaks of one sample."""

import csv
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from genebert.errors import GenebertError
from genebert.files import open_text_for_writing, read_lines
from genebert.genome import rename_contig
from genebert.inputs.sheet import Sample

COLUMNS = ("chrom", "start", "end", "name", "signal", "summit")
_FIELDS = {"narrowPeak": 10, "broadPeak": 9, "bed": 3}


def read_bed(path: str | Path, fields: int = 3) -> pd.DataFrame:
    """Read a BED-like file, gzip or not; header, track, comment and empty lines are passed over.

    Parameters
    ----------
    path
        The file.
    fields
        Columns that every line must have.

    Returns
    -------
    DataFrame
        ``line`` (from 1), ``chrom``, ``start``, ``end`` (bp, 0-based half-open), ``rest`` (list of
        the further columns as text).

    Raises
    ------
    GenebertError
        Naming the line: too few columns, a coordinate that is no integer, start ≥ end, no lines.
    """
    rows = []
    for number, line in read_lines(path):
        if not line.strip() or line.startswith(("#", "track", "browser")):
            continue
        cells = line.split("\t") if "\t" in line else line.split()
        where = f"{path} line {number}"
        if len(cells) < fields:
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
        rows.append((number, cells[0], start, end, cells[3:]))
    if not rows:
        raise GenebertError(f"{path} has no intervals", "give a file with at least one")
    return pd.DataFrame(rows, columns=["line", "chrom", "start", "end", "rest"])


def _coordinate(text: str, where: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 10:
        return int(text)
    raise GenebertError(
        f"coordinate '{text}' is no whole number of bp from 0", "correct the line", where
    )


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
    for chrom in bed["chrom"].unique():
        if chrom in lengths:
            continue
        for style in ("ucsc", "ensembl"):
            if (renamed := rename_contig(chrom, style)) in lengths:
                raise GenebertError(
                    f"{what} name contig '{chrom}', the genome has '{renamed}'",
                    (f"set `contig_style: {style}` there, or " if can_rename else "rename them, or ")
                    + "use a genome with matching names",
                    where,
                )
        lines = bed.loc[bed["chrom"] == chrom, "line"]
        raise GenebertError(
            f"{what} name contig '{chrom}', the genome has {', '.join(list(lengths)[:5])} …",
            "use a file of the same assembly, or remove those lines",
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


def read_task_intervals(
    path: str | Path, contig_style: str, task: str, lengths: Mapping[str, int]
) -> pd.DataFrame:
    """Read the stranded intervals (BED6) of a task, checked against the genome.

    Returns
    -------
    DataFrame
        As :func:`read_bed`, contigs renamed to ``contig_style``, and ``strand``.

    Raises
    ------
    GenebertError
        If a line does not fit the genome or its strand is neither + nor -.
    """
    bed = read_bed(path, fields=6)
    bed["chrom"] = [rename_contig(chrom, contig_style) for chrom in bed["chrom"]]
    where = f"benchmarks.tasks.{task}"
    check_in_genome(bed, str(path), f"intervals of task '{task}'", lengths, where)
    bed["strand"] = [rest[2] for rest in bed["rest"]]
    bad = bed[~bed["strand"].isin(["+", "-"])]
    if len(bad):
        raise GenebertError(
            f"strand '{bad['strand'].iloc[0]}' of an interval of task '{task}' is neither + nor -",
            "give the strand in column 6",
            f"{path} line {bad['line'].iloc[0]}",
        )
    return bed


def read_peaks(sample: Sample, lengths: Mapping[str, int]) -> pd.DataFrame:
    """Read the peak file of a sample as it is, checked against the genome.

    Parameters
    ----------
    sample
        Row of the sheet.
    lengths
        Contig lengths in bp.

    Returns
    -------
    DataFrame
        ``COLUMNS``: chrom, start, end (bp, 0-based half-open), name, signal (signalValue; of a BED
        its fifth column, 1 where it has none), summit (position in bp; the centre where the
        format has none).
    """
    try:
        bed = read_bed(sample.path, _FIELDS[sample.format])
    except GenebertError as error:
        where = f"{error.where}, named in {sample.where}".removeprefix(", ")
        raise GenebertError(f"peaks for '{sample.sample}': {error.what}", error.fix, where) from None
    bed["chrom"] = [rename_contig(chrom, sample.contig_style) for chrom in bed["chrom"]]
    check_in_genome(bed, sample.path, f"peaks for '{sample.sample}'", lengths, sample.where)
    details = [
        _details(sample, row.line, row.start, row.end, row.rest) for row in bed.itertuples(index=False)
    ]
    bed["name"], bed["signal"], bed["summit"] = zip(*details, strict=True)
    return bed[list(COLUMNS)]


def _details(sample: Sample, line: int, start: int, end: int, rest: list[str]) -> tuple[str, float, int]:
    where = f"{sample.path} line {line}"
    column = 1 if sample.format == "bed" else 3
    name = rest[0] if rest and rest[0] not in ("", ".") else f"{sample.sample}_{line}"
    try:
        signal = float(rest[column]) if len(rest) > column and rest[column] != "." else 1.0
        offset = int(rest[6]) if sample.format == "narrowPeak" else -1
    except ValueError as error:
        raise GenebertError(
            f"peaks for '{sample.sample}': {error}", "correct the line or the format", where
        ) from None
    if not abs(signal) < float("inf"):
        raise GenebertError(f"signal {signal} is not finite", "correct the line", where)
    if not -1 <= offset < end - start:
        raise GenebertError(
            f"summit offset {offset} lies outside the {end - start} bp of its peak",
            "correct the line; narrowPeak column 10 counts from the peak's start, -1 is none",
            where,
        )
    return name, signal, start + offset if offset >= 0 else (start + end) // 2


def clean_peaks(
    peaks: pd.DataFrame, lengths: Mapping[str, int], blacklist: str | Path | None
) -> pd.DataFrame:
    """Drop blacklisted peaks, keep the strongest of equal ones, sort in genome order.

    Peaks are equal when start, end and summit are: peak callers give one line for each summit of a peak.

    Returns
    -------
    DataFrame
        ``COLUMNS``, as read.
    """
    if blacklist is not None:
        peaks = peaks[~_touches(peaks, blacklist)]
    order = {chrom: rank for rank, chrom in enumerate(lengths)}
    peaks = peaks.assign(rank=peaks["chrom"].map(order)).sort_values(
        ["rank", "start", "end", "summit", "signal", "name"],
        ascending=[True, True, True, True, False, True],
    )
    return peaks.drop_duplicates(["rank", "start", "end", "summit"])[list(COLUMNS)].reset_index(
        drop=True
    )


def _touches(peaks: pd.DataFrame, blacklist: str | Path) -> pd.Series:
    import pybedtools  # noqa: PLC0415 (a GPU node has none)

    indexed = peaks[["chrom", "start", "end"]].assign(index=range(len(peaks)))
    listed = read_bed(blacklist)[["chrom", "start", "end"]]  # bedtools itself reads tabs only
    bed, off = (pybedtools.BedTool.from_dataframe(table) for table in (indexed, listed))
    touching = {int(hit.name) for hit in bed.intersect(off, u=True)}
    pybedtools.cleanup()
    return pd.Series([index in touching for index in range(len(peaks))], index=peaks.index)


def write_peaks(peaks: pd.DataFrame, out: str | Path) -> None:
    """Write cleaned peaks as gzip BED with a ``#`` header, the same bytes for the same peaks."""
    with open_text_for_writing(out) as text:
        text.write("#" + "\t".join(COLUMNS) + "\n")
        for row in peaks.itertuples(index=False):
            text.write(
                f"{row.chrom}\t{row.start}\t{row.end}\t{row.name}\t{row.signal!r}\t{row.summit}\n"
            )


def read_cleaned(path: str | Path) -> pd.DataFrame:
    """Read what :func:`write_peaks` wrote."""
    return pd.read_csv(
        path,
        sep="\t",
        header=0,
        names=list(COLUMNS),
        dtype={"chrom": str, "name": str},
        quoting=csv.QUOTE_NONE,
        keep_default_na=False,
    )


def clean_sample(
    sample: Sample, lengths: Mapping[str, int], blacklist: str | Path | None, out: str | Path
) -> str:
    """Write the cleaned peaks of one sample and return a line that says what became of them."""
    raw = read_peaks(sample, lengths)
    peaks = clean_peaks(raw, lengths, blacklist)
    if peaks.empty:
        raise GenebertError(
            f"no peak of '{sample.sample}' is left off the blacklist",
            "check that file and blacklist are of one assembly",
            sample.where,
        )
    write_peaks(peaks, out)
    return f"{sample.sample}: {len(peaks)} of {len(raw)} peaks kept (off the blacklist, each place once)"


def read_blacklist(path: str | Path, lengths: Mapping[str, int]) -> pd.DataFrame:
    """Read a blacklist and check it against the genome."""
    bed = read_bed(path)
    where = "genome.blacklist"
    check_in_genome(bed, str(path), "the blacklist's lines", lengths, where, can_rename=False)
    return bed
