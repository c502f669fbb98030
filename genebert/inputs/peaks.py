"""The peaks of one sample: read as they come, filtered, written clean."""

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from genebert.config import Peaks
from genebert.errors import GenebertError
from genebert.files import open_text_for_writing, read_blocks
from genebert.inputs.bed import check_in_genome, on_contigs, read_bed, rename_contigs
from genebert.inputs.sheet import Sample
from genebert.parquet import readable

COLUMNS = ("chrom", "start", "end", "name", "signal", "summit")
_HEADER = "#" + "\t".join(COLUMNS)
_FIELDS = {"narrowPeak": 10, "broadPeak": 9, "bed": 3}
_OFFSET = "summit offset"
_TEXTS = {
    "narrowPeak": {"name": 4, "signal": 7, _OFFSET: 10},
    "broadPeak": {"name": 4, "signal": 7},
    "bed": {"name": 4, "signal": 5},
}
_TYPES = {
    "chrom": pa.string(),
    "start": pa.int64(),
    "end": pa.int64(),
    "name": pa.string(),
    "signal": pa.float64(),
    "summit": pa.int64(),
}
_AGAIN = "delete the folder of cleaned peaks and run again"
_FLOAT = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"


def read_peaks(sample: Sample, lengths: Mapping[str, int], contigs: str) -> pd.DataFrame:
    """Read the peaks of a sample that are on contigs in use, checked against the genome.

    Parameters
    ----------
    sample
        Row of the sheet.
    lengths
        Contig lengths in bp.
    contigs
        Regular expression that must match the whole name of a contig, once renamed.

    Returns
    -------
    DataFrame
        ``line`` (from 1) and ``COLUMNS``: chrom, start, end (bp, 0-based half-open), name (sample and
        line where it has none), signal (signalValue; of a BED its fifth column; NaN where there is
        none on any line), summit (position in bp; the centre where the format has none).

    Raises
    ------
    GenebertError
        Naming the first line that is wrong, does not fit the genome, or has no signal where others have
        one; or if no peak is left.
    """
    return _in_use(_read_all(sample), sample, lengths, contigs)


def _read_all(sample: Sample) -> pd.DataFrame:
    try:
        bed = read_bed(sample.path, _FIELDS[sample.format], _TEXTS[sample.format])
    except GenebertError as error:
        where = f"{error.where}, named in {sample.where}".removeprefix(", ")
        raise GenebertError(f"peaks for '{sample.sample}': {error.what}", error.fix, where) from None
    nameless = bed["name"].isna() | bed["name"].isin(["", "."])
    bed.loc[nameless, "name"] = [f"{sample.sample}_{line}" for line in bed.loc[nameless, "line"]]
    bed["signal"] = _signals(bed, sample)
    bed["summit"] = _summits(bed, sample)
    return rename_contigs(bed, sample.contig_style)[["line", *COLUMNS]]


def _signals(bed: pd.DataFrame, sample: Sample) -> np.ndarray:
    texts = bed["signal"].where(bed["signal"] != ".")
    wrong = texts.notna() & ~texts.str.fullmatch(_FLOAT, na=False)
    _refuse(sample, bed, wrong, "signal", "is no number")
    signals: np.ndarray = texts.to_numpy(object, na_value="nan").astype(np.float64)
    _refuse(sample, bed, np.isinf(signals), "signal", "is too large")
    if texts.notna().any() and texts.isna().any():
        raise GenebertError(
            f"peaks for '{sample.sample}': {texts.isna().sum()} of {len(bed)} lines have no signal",
            "give every line its signal, or none",
            f"{sample.path} line {bed.loc[texts.isna(), 'line'].iloc[0]}",
        )
    return signals


def _summits(bed: pd.DataFrame, sample: Sample) -> pd.Series:
    centre = (bed["start"] + bed["end"]) // 2
    if _OFFSET not in bed:
        return centre
    wrong = ~bed[_OFFSET].str.fullmatch("-1|[0-9]{1,10}")
    _refuse(sample, bed, wrong, _OFFSET, "is no whole number of bp from the peak's start, nor -1")
    offset = bed[_OFFSET].astype(np.int64)
    outside = offset >= bed["end"] - bed["start"]
    _refuse(sample, bed, outside, _OFFSET, "lies outside its peak")
    return centre.where(offset < 0, bed["start"] + offset)


def _refuse(
    sample: Sample, bed: pd.DataFrame, bad: pd.Series | np.ndarray, column: str, what: str
) -> None:
    """Raise GenebertError for the first bad row, if there is one."""
    if bad.any():
        row = bed[bad].iloc[0]
        raise GenebertError(
            f"peaks for '{sample.sample}': {column} '{row[column]}' {what}",
            "correct the line, or the format given for the file",
            f"{sample.path} line {row['line']}",
        )


def _in_use(
    peaks: pd.DataFrame, sample: Sample, lengths: Mapping[str, int], contigs: str
) -> pd.DataFrame:
    what = f"peaks for '{sample.sample}'"
    used = on_contigs(peaks, what, contigs, sample.where)
    if used.empty:
        raise GenebertError(
            f"none of the {len(peaks)} {what} is on a contig in use: they are on "
            f"{', '.join(peaks['chrom'].unique()[:5])}",
            f"correct `genome.contigs` ({contigs}), or use a file of the same assembly",
            sample.where,
        )
    check_in_genome(used, sample.path, what, lengths, sample.where)
    return used


def clean_peaks(
    peaks: pd.DataFrame,
    lengths: Mapping[str, int],
    settings: Peaks,
    blacklist: str | Path | None,
    mappable: str | Path | None,
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Sort peaks in genome order, drop what the settings say, keep the strongest of equal ones.

    Peaks are equal when start, end and summit are: peak callers give one line for each summit of a peak.
    Of equally strong peaks around ``settings.top`` those that come first in the genome stay. A peak
    without a signal has signal 1.

    Parameters
    ----------
    peaks
        From :func:`read_peaks`.
    lengths
        Contig lengths in bp, in genome order.
    settings
        Which peaks are kept.
    blacklist
        BED; a peak with one base in it is dropped.
    mappable
        BED, for ``settings.min_mappable``; its lines may overlap.

    Returns
    -------
    peaks
        ``COLUMNS``, as read.
    dropped
        Number of peaks by the reason why they were dropped, in the order of the filters.
    """
    place = ["chrom", "start", "end", "summit"]
    filters: list[tuple[str, Callable[[pd.DataFrame], np.ndarray]]] = []
    if blacklist is not None:
        filters.append(("on the blacklist", lambda p: _bases_in(p, blacklist) == 0))
    if settings.min_signal is not None:
        least = settings.min_signal
        filters.append((f"of signal below {least:g}", lambda p: p["signal"].to_numpy() >= least))
    if settings.min_mappable > 0 and mappable is not None:
        filters.append(
            (
                f"less than {settings.min_mappable:.0%} mappable",
                lambda p: (
                    _bases_in(p, mappable) / (p["end"] - p["start"]).to_numpy() >= settings.min_mappable
                ),
            )
        )
    filters.append(("named twice", lambda p: ~p.duplicated(place).to_numpy()))
    if settings.top is not None:
        top = settings.top
        filters.append(
            (f"beyond the {top} strongest", lambda p: _stable_rank(-p["signal"].to_numpy()) < top)
        )
    kept = _sorted(peaks[list(COLUMNS)].fillna({"signal": 1.0}), list(lengths))
    dropped = {}
    for reason, keep in filters:
        rows = keep(kept)
        dropped[reason] = int((~rows).sum())
        kept = kept[rows]
    return kept.reset_index(drop=True), dropped


def _sorted(peaks: pd.DataFrame, contigs: Sequence[str]) -> pd.DataFrame:
    """Sort by place in genome order; at one place the strongest first, then by name."""
    keys = pa.table(
        {
            "chrom": pd.Categorical(peaks["chrom"], categories=contigs).codes,
            **{name: peaks[name] for name in ("start", "end", "summit", "name")},
            "weakness": -peaks["signal"],
        }
    )
    order = ["chrom", "start", "end", "summit", "weakness", "name"]
    return peaks.iloc[pc.sort_indices(keys, [(key, "ascending") for key in order]).to_numpy()]


def _stable_rank(values: np.ndarray) -> np.ndarray:
    """Return each value's place in ascending order; of equal values the first comes first."""
    rank = np.empty(len(values), np.int64)
    rank[np.argsort(values, kind="stable")] = np.arange(len(values))
    return rank


def need_bedtools() -> None:
    """Raise GenebertError where the program ``bedtools`` is not installed: lists of places need it."""
    if shutil.which("bedtools") is None:
        raise GenebertError(
            "bedtools, which compares peaks with the blacklist and mappable places, is not installed",
            "install bedtools (apt-get install bedtools, or conda install -c bioconda bedtools)",
        )


def _bases_in(peaks: pd.DataFrame, listed: str | Path) -> np.ndarray:
    """Return how many bases of each peak the intervals of a BED cover."""
    need_bedtools()
    import pybedtools  # noqa: PLC0415 (a GPU node has none)

    covered = np.zeros(len(peaks), np.int64)
    # By number: bedtools guesses what a file is from its first names, which may be anything.
    number_of = {name: f"c{number}" for number, name in enumerate(peaks["chrom"].unique())}
    intervals = read_bed(listed)[["chrom", "start", "end"]]
    intervals = intervals[intervals["chrom"].isin(number_of)]
    if intervals.empty:
        return covered
    with tempfile.TemporaryDirectory(prefix="genebert-") as folder:
        bed, cover = Path(folder) / "peaks.bed", Path(folder) / "cover.bed"
        for table, path in (
            (peaks[["chrom", "start", "end"]].assign(row=range(len(peaks))), bed),
            (intervals, cover),
        ):
            _write_bed(table.assign(chrom=table["chrom"].map(number_of)), path)
        found = pybedtools.BedTool(str(bed)).coverage(str(cover), sorted=True)
        columns = ["chrom", "start", "end", "row", "intervals", "bases", "width", "share"]
        table = pd.read_csv(found.fn, sep="\t", names=columns, usecols=["row", "bases"])
        covered[table["row"]] = table["bases"]
        pybedtools.cleanup()
    return covered


def _write_bed(intervals: pd.DataFrame, path: Path) -> None:
    """Write intervals as bedtools wants them: separated by tabs, sorted by name and start."""
    table = pa.Table.from_pandas(intervals, preserve_index=False)
    pyarrow.csv.write_csv(
        table.sort_by([("chrom", "ascending"), ("start", "ascending")]),
        path,
        pyarrow.csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none"),
    )


def write_peaks(peaks: pd.DataFrame, out: str | Path) -> None:
    """Write cleaned peaks as gzip BED with a ``#`` header, the same bytes for the same peaks."""
    cells = (pa.array(peaks[name]).cast(pa.string()) for name in COLUMNS)
    lines = pc.binary_join_element_wise(*cells, "\t")
    with open_text_for_writing(out) as text:
        text.write("\n".join([_HEADER, *lines.to_pylist()]) + "\n")


def read_cleaned(path: str | Path, columns: Sequence[str] = COLUMNS) -> pd.DataFrame:
    """Read columns of what :func:`write_peaks` wrote.

    Raises
    ------
    GenebertError
        If the file is missing or damaged.
    """
    data = b"".join(read_blocks(path))
    if not data.startswith(b"%b\n" % _HEADER.encode()):
        raise GenebertError(f"{path} does not begin with '{_HEADER}'", _AGAIN)
    with readable(path, _AGAIN):
        table = pyarrow.csv.read_csv(
            pa.BufferReader(data),
            pyarrow.csv.ReadOptions(skip_rows=1, column_names=list(COLUMNS), use_threads=False),
            pyarrow.csv.ParseOptions(delimiter="\t", quote_char=False),
            pyarrow.csv.ConvertOptions(
                column_types=_TYPES, include_columns=list(columns), null_values=[]
            ),
        )
        table.validate(full=True)
    peaks: pd.DataFrame = table.to_pandas()
    if "signal" in peaks and not np.isfinite(peaks["signal"]).all():
        raise GenebertError(f"{path}: a peak has no signal", _AGAIN)
    return peaks


def clean_sample(
    sample: Sample,
    lengths: Mapping[str, int],
    contigs: str,
    blacklist: str | Path | None,
    mappable: str | Path | None,
    settings: Peaks,
    out: str | Path,
) -> str:
    """Write the cleaned peaks of one sample and return a line that says what became of them.

    Parameters
    ----------
    sample, lengths, contigs
        For :func:`read_peaks`.
    blacklist, mappable, settings
        For :func:`clean_peaks`.
    out
        For :func:`write_peaks`.

    Raises
    ------
    GenebertError
        If the file is wrong, has no signal where a filter needs one, or no peak is left.
    """
    everywhere = _read_all(sample)
    peaks = _in_use(everywhere, sample, lengths, contigs)
    _check_signal(peaks, sample, settings)
    kept, dropped = clean_peaks(peaks, lengths, settings, blacklist, mappable)
    dropped = {"on contigs not in use": len(everywhere) - len(peaks)} | dropped
    reasons = ", ".join(f"{number} {reason}" for reason, number in dropped.items() if number)
    if kept.empty:
        raise GenebertError(
            f"no peak of '{sample.sample}' is left of {len(everywhere)}: {reasons}",
            "loosen `peaks` in the configuration; check that file and blacklist are of one assembly",
            sample.where,
        )
    write_peaks(kept, out)
    return f"{sample.sample}: {len(kept)} of {len(everywhere)} peaks kept; dropped: {reasons or 'none'}"


def _check_signal(peaks: pd.DataFrame, sample: Sample, settings: Peaks) -> None:
    missing = peaks["signal"].isna()
    if missing.any() and (settings.min_signal, settings.top) != (None, None):
        key = "top" if settings.min_signal is None else "min_signal"
        raise GenebertError(
            f"peaks for '{sample.sample}' have no signal, which `peaks.{key}` needs",
            "give a file with signals, or set the key to null",
            f"{sample.path} line {peaks.loc[missing, 'line'].iloc[0]}",
        )
