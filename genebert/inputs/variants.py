"""Variants from VCF files and tables: read strictly, a row an alternate allele, held to the genome."""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from genebert.errors import GenebertError, first_line
from genebert.files import read_blocks
from genebert.genome import Genome, Interval
from genebert.inputs.bed import check_in_genome, on_contigs, rename_contigs
from genebert.inputs.vcf import read_calls, read_vcf

Indels = Literal["refuse", "drop", "keep"]
KEY = ["chrom", "start", "ref", "alt"]
# What columns of tables are called, in any case.
_NAMES = {
    "chrom": ("chrom", "#chrom", "chr", "chromosome"),
    "pos": ("pos", "position"),
    "ref": ("ref", "reference"),
    "alt": ("alt", "alternate", "alternative"),
    "id": ("id", "rsid", "snp", "variant_id"),
}
_POSITION = "[1-9][0-9]{0,9}"
# Alternate alleles that are no bases, by what they are.
_NO_BASES = {
    "missing": re.compile(r"\.?"),
    "spanning deletion": re.compile(r"\*"),
    "symbolic": re.compile(r"<.*>"),
    "breakend": re.compile(r".*[\[\]].*|\.[A-Za-z]+|[A-Za-z]+\."),
}


class Variants(NamedTuple):
    """Variants, a row an alternate allele, in the order of their file.

    Attributes
    ----------
    table
        ``line`` (from 1, the head included; of Parquet the row), ``chrom``, ``start`` (0-based),
        ``ref``, ``alt`` (A, C, G, T), ``id``, ``label`` and, if asked for, ``group`` (text; empty
        where there is none).
    dropped
        How many alleles were left out, by reason.
    """

    table: pd.DataFrame
    dropped: dict[str, int]


class Genotypes(NamedTuple):
    """Variants of a cohort.

    Attributes
    ----------
    table, dropped
        As of :class:`Variants`.
    samples
        Names of the individuals.
    dosage
        int8 [rows of table, individuals]: copies of the alternate allele, −1 where the call is missing.
        A haploid call has 0 or 1.
    """

    table: pd.DataFrame
    samples: list[str]
    dosage: np.ndarray
    dropped: dict[str, int]


def read_variants(
    path: str | Path,
    label: str,
    indels: Indels,
    contig_style: str,
    where: str,
    lengths: Mapping[str, int],
    contigs: str = ".+",
    group: str | None = None,
) -> Variants:
    """Read the variants on contigs in use.

    An alternate allele that is no bases (``*``, ``<DEL>``, ``.``, a breakend) is dropped and counted.
    Substitutions of equal length, one base or several, are kept as they are; what changes the length is
    an indel.

    Parameters
    ----------
    path
        VCF (plain, gzip or bgzip), Parquet, or TSV or CSV (gzip or not) with a head that names
        ``chrom``, ``pos`` (from 1), ``ref``, ``alt`` (several joined by commas, as in a VCF), and the
        label, in any case; the content tells which.
    label
        Column, or INFO key of a VCF.
    indels
        What to do with them.
    contig_style
        The style to rename contigs to.
    where
        Where the file was named, for messages.
    lengths
        Contig lengths in bp.
    contigs
        Regular expression of the contigs in use.
    group
        Column, or INFO key, of matched sets, if they matter; of a variant on two lines the first counts.

    Raises
    ------
    GenebertError
        Naming the line that does not fit; or two lines of one variant whose labels differ.
    """
    raw = read_vcf(path, label, group) if _is_vcf(path) else _read_table(path, label, group)
    table, dropped = _cleaned(raw, path, indels, contig_style, where, lengths, contigs)
    table["label"] = normal_label(table["label"])
    first = _first_rows(table)
    other = np.flatnonzero(table["label"].to_numpy() != table["label"].to_numpy()[first])
    if len(other):
        _refuse_pair(table, int(first[other[0]]), int(other[0]), "labels", path)
    return Variants(*_once(table, dropped))


def read_genotypes(
    path: str | Path,
    contig_style: str,
    lengths: Mapping[str, int],
    contigs: str = ".+",
    indels: Indels = "keep",
    where: str = "",
) -> Genotypes:
    """Read the variants of a cohort on contigs in use, with everyone's genotypes.

    Parameters are those of :func:`read_variants`; the file is a VCF.

    Raises
    ------
    GenebertError
        Naming the line that does not fit, or lacks genotypes; or two lines of one variant whose
        genotypes differ.
    """
    raw, samples, dosage = read_calls(path)
    table, dropped = _cleaned(raw, path, indels, contig_style, where or str(path), lengths, contigs)
    dosage = dosage[table.index]
    first = _first_rows(table)
    for row in np.flatnonzero(first != np.arange(len(table))):
        if (dosage[row] != dosage[first[row]]).any():
            _refuse_pair(table, int(first[row]), int(row), "genotypes", path)
    once, reasons = _once(table, dropped)
    return Genotypes(once, samples, dosage[first == np.arange(len(table))], reasons)


def check_reference(table: pd.DataFrame, genome: Genome, path: str | Path) -> None:
    """Refuse variants whose reference allele is not what the genome has there.

    Bases that the genome does not know (N) are not compared.

    Raises
    ------
    GenebertError
        Naming the first line, with both alleles.
    """
    wrong = []
    for row in table.itertuples(index=False):
        found = genome.fetch(Interval(row.chrom, row.start, row.start + len(row.ref)))
        if found != row.ref and any(a not in (b, "N") for a, b in zip(found, row.ref, strict=True)):
            wrong.append((row, found))
    if wrong:
        row, found = wrong[0]
        raise GenebertError(
            f"REF of {row.chrom}:{row.start + 1} is '{row.ref}', the genome has '{found}' there "
            f"({len(wrong)} of {len(table)} variants differ)",
            "use variants of the genome's assembly (`bcftools norm -c w` lists those that differ)",
            f"{path} line {row.line}",
        )


def normal_label(labels: pd.Series) -> pd.Series:
    """Return labels as text in one form: ``1`` for ``1.0``, ``true`` for ``True``."""
    text = labels.astype(str).str.strip()
    text = text.str.replace(r"^(-?\d+)\.0*$", r"\1", regex=True)
    return text.where(~text.str.lower().isin(["true", "false"]), text.str.lower())


def _is_vcf(path: str | Path) -> bool:
    """Return whether a file calls itself a VCF, by its name or its first line."""
    if re.search(r"\.vcf(\.b?gz)?$", str(path), re.IGNORECASE):
        return True
    head = next(read_blocks(path), b"")[:16]
    if head.startswith(b"BCF"):
        raise GenebertError(f"{path} is a BCF", "convert it by `bcftools view -O z`")
    return head.startswith(b"##fileformat=VCF")


def _read_table(path: str | Path, label: str, group: str | None) -> pd.DataFrame:
    """Read a table as text: columns of a raw VCF, a row an alternate allele."""
    read = _read_parquet if next(read_blocks(path), b"").startswith(b"PAR1") else _read_text
    names, table, first = read(path, {"label": label} | ({} if group is None else {"group": group}))
    try:
        raw = pd.DataFrame({name: _as_text(table[column]) for name, column in names.items()})
    except pa.ArrowException as error:
        raise GenebertError(
            f"{path}: a column holds neither text nor numbers ({first_line(error)})",
            f"give {', '.join(names)} as text or numbers",
        ) from None
    raw.insert(0, "line", np.arange(first, first + len(raw)))
    if "id" not in raw:
        raw["id"] = "."
    if raw["alt"].str.contains(",").any():
        raw = raw.assign(alt=raw["alt"].str.split(",")).explode("alt", ignore_index=True)
    return raw


def _read_parquet(path: str | Path, own: Mapping[str, str]) -> tuple[dict[str, str], pa.Table, int]:
    try:
        names = _columns(pq.read_schema(path).names, own, path)
        return names, pq.read_table(path, columns=sorted(set(names.values()))), 1
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise GenebertError(
            f"{path} is a damaged Parquet file ({first_line(error)})", "fetch the file again"
        ) from None


def _read_text(path: str | Path, own: Mapping[str, str]) -> tuple[dict[str, str], pa.Table, int]:
    data = b"".join(read_blocks(path)).removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n")
    passed = 0
    while data.startswith(b"##"):
        data, passed = data.partition(b"\n")[2], passed + 1
    head, _, body = data.partition(b"\n")
    delimiter = "\t" if b"\t" in head else ","
    try:
        body.decode()
        cells = [cell.strip().strip('"') for cell in head.decode().split(delimiter)]
    except UnicodeDecodeError:
        raise GenebertError(f"{path} is not text", "give a VCF, TSV, CSV or Parquet file") from None
    names = _columns(cells, own, path)
    first = passed + 2
    if not body:
        raise GenebertError(f"{path} has no variants", "give a file with at least one")

    def refuse(row: pyarrow.csv.InvalidRow) -> str:
        # Rows count from 1.
        wrong.append((row.number, row.actual_columns))
        return "skip"

    wrong: list[tuple[int, int]] = []
    numbers = [str(number) for number in range(len(cells))]
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(body),
            pyarrow.csv.ReadOptions(column_names=numbers, use_threads=False),
            pyarrow.csv.ParseOptions(
                delimiter=delimiter, ignore_empty_lines=False, invalid_row_handler=refuse
            ),
            pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(numbers, pa.string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        raise GenebertError(
            f"{path} is no table ({first_line(error)})", "give a VCF, TSV, CSV or Parquet file"
        ) from None
    if wrong:
        raise GenebertError(
            f"{wrong[0][1]} columns where the head has {len(cells)}",
            "correct the line",
            f"{path} line {wrong[0][0] + first - 1}",
        )
    return {name: str(cells.index(column)) for name, column in names.items()}, table, first


def _columns(found: list[str], own: Mapping[str, str], path: str | Path) -> dict[str, str]:
    """Return which column of a file is which; what the settings name may be of another case too."""
    lower = [column.lower() for column in found]
    names = {}
    for name, known in (*_NAMES.items(), *((key, (column.lower(),)) for key, column in own.items())):
        which = [column for column, low in zip(found, lower, strict=True) if low in known]
        which = [own[name]] if own.get(name) in which else which
        if len(which) > 1:
            raise GenebertError(
                f"columns {' and '.join(which)} both say {name}", "remove or rename one", str(path)
            )
        if which:
            names[name] = which[0]
        elif name != "id":
            wanted = f"`{own[name]}` (the {name})" if name in own else f"`{name}`"
            raise GenebertError(
                f"no column {wanted}; the columns are {', '.join(found[:12])}",
                f"name it so, or correct `{name}`" if name in own else "name it so",
                str(path),
            )
    return names


def _as_text(column: pa.ChunkedArray) -> pd.Series:
    """Return a column as text: whole numbers without a point, nulls empty."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_finite(column), column, None)
        if pc.all(pc.equal(pc.round(column), column)).as_py() is not False:
            column = column.cast(pa.int64())
    return pc.fill_null(column.cast(pa.string()), "").to_pandas()


def _cleaned(
    raw: pd.DataFrame,
    path: str | Path,
    indels: Indels,
    contig_style: str,
    where: str,
    lengths: Mapping[str, int],
    contigs: str,
) -> tuple[pd.DataFrame, Counter[str]]:
    """Return the rows of a raw table that are variants on contigs in use, under its own index."""
    dropped: Counter[str] = Counter()
    _refuse_first(
        raw, ~raw["pos"].str.fullmatch(_POSITION).astype(bool), "position '{pos}' is no bp from 1", path
    )
    table = raw.assign(start=raw["pos"].astype("int64") - 1).drop(columns="pos")
    table = on_contigs(rename_contigs(table, contig_style), "variants", contigs, where)
    dropped["on contigs not in use"] = len(raw) - len(table)
    for kind, pattern in _NO_BASES.items():
        unusable = table["alt"].str.fullmatch(pattern).astype(bool)
        dropped[kind] = int(unusable.sum())
        table = table[~unusable]
    table = table.assign(ref=table["ref"].str.upper(), alt=table["alt"].str.upper())
    bases = table["ref"].str.fullmatch("[ACGT]+") & table["alt"].str.fullmatch("[ACGT]+")
    _refuse_first(table, ~bases.astype(bool), "alleles '{ref}' and '{alt}' are not all A, C, G, T", path)
    _refuse_first(table, table["ref"] == table["alt"], "both alleles are '{ref}'", path)
    check_in_genome(
        table.assign(end=table["start"] + table["ref"].str.len()), str(path), "variants", lengths, where
    )
    changes = is_indel(table)
    if indels == "refuse":
        _refuse_first(
            table, changes, "'{ref}' to '{alt}' is an indel", path, "set `indels` to drop or keep"
        )
    if indels == "drop":
        dropped["indel"] = int(changes.sum())
        table = table[~changes]
    if table.empty:
        left_out = ", ".join(f"{number} {kind}" for kind, number in (+dropped).items())
        raise GenebertError(
            f"{path} has no variant that can be used" + (f" ({left_out})" if left_out else ""),
            "check `genome.contigs`, `contig_style` and `indels`",
            where,
        )
    names = ["line", "chrom", "start", "ref", "alt", "id", "label", "group"]
    return table[[name for name in names if name in table]], dropped


def is_indel(table: pd.DataFrame) -> pd.Series:
    """Return bool [n]: which variants change the length."""
    return table["ref"].str.len() != table["alt"].str.len()


def _refuse_first(
    table: pd.DataFrame, wrong: pd.Series, what: str, path: str | Path, fix: str = "correct the line"
) -> None:
    if wrong.any():
        row = table[wrong.to_numpy()].iloc[0]
        raise GenebertError(what.format(**row), fix, f"{path} line {row['line']}")


def _first_rows(table: pd.DataFrame) -> np.ndarray:
    """Return int64 [n], the first row of the same variant."""
    group = table.groupby(KEY, sort=False).ngroup().to_numpy()
    _, first = np.unique(group, return_index=True)
    return first[group]


def _refuse_pair(table: pd.DataFrame, first: int, second: int, what: str, path: str | Path) -> None:
    one, other = table.iloc[first], table.iloc[second]
    values = f" '{one['label']}' and '{other['label']}'" if what == "labels" else ""
    raise GenebertError(
        f"{one['chrom']}:{one['start'] + 1} {one['ref']}>{one['alt']} has two {what}{values}",
        "remove one of the lines",
        f"{path} lines {one['line']} and {other['line']}",
    )


def _once(table: pd.DataFrame, dropped: Counter[str]) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return each variant once, rows numbered anew, and what was dropped."""
    once = table.drop_duplicates(KEY).reset_index(drop=True)
    dropped["duplicate"] = len(table) - len(once)
    return once, dict(+dropped)
