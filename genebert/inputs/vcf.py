"""VCF files as text: one row an alternate allele, with its line.

Read here rather than by htslib: that reads no ordinary gzip, does not tell the line, and takes a record
whose genotypes are cut off for one that has none. Works alike on plain, gzip and bgzip files.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from genebert.errors import GenebertError
from genebert.files import read_lines

FIXED = ["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO"]
_INFO = re.compile(r"##INFO=<ID=([^,]+),Number=([^,]+),Type=([^,>]+)")
_MAGIC = "##fileformat=VCF"
# The empty block that ends every whole bgzip file, and the flags that all its blocks begin with.
_BGZIP_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
_BGZIP = b"\x1f\x8b\x08\x04"
_GENOTYPE = re.compile(r"([0-9]{1,9}|\.)(?:[/|]([0-9]{1,9}|\.))?")
MISSING, NONE = -1, -2


class _Vcf(NamedTuple):
    """An open VCF: (number, type) of each INFO key, sample names, and the lines of its records."""

    info: dict[str, tuple[str, str]]
    samples: list[str]
    lines: Iterator[tuple[int, str]]


def read_vcf(path: str | Path, label: str, group: str | None = None) -> pd.DataFrame:
    """Read the alternate alleles of a VCF with a label, and what they are grouped by, from INFO.

    Parameters
    ----------
    path
        The file.
    label
        INFO key. One with a value an allele (``Number=A`` or ``R``) gives each its own; a flag is
        ``true`` or ``false``; a record without the key has an empty label.
    group
        Another, likewise.

    Returns
    -------
    DataFrame
        ``line`` (from 1), ``chrom``, ``pos`` (text), ``id``, ``ref``, ``alt``, ``label`` and, if
        asked for, ``group``; a row an alternate allele.

    Raises
    ------
    GenebertError
        Naming the line that is no record; or if no record has one of the keys.
    """
    vcf = _open(path)
    keys = {"label": label} | ({} if group is None else {"group": group})
    rows: list[tuple[object, ...]] = []
    seen: set[str] = set()
    for line, text in vcf.lines:
        chrom, pos, name, ref, alt, _, _, info, *_ = text.split("\t", 8)
        alternates = alt.split(",")
        values = []
        for key in keys.values():
            number, kind = vcf.info.get(key, (".", "String"))
            value = _value(info, key)
            if value is None:
                values.append(["false" if kind == "Flag" else ""] * len(alternates))
            else:
                seen.add(key)
                values.append(_by_allele(value, number, len(alternates), key, f"{path} line {line}"))
        rows.extend((line, chrom, pos, name, ref, *own) for own in zip(alternates, *values, strict=True))
    for name, key in keys.items():
        if key not in seen and vcf.info.get(key, ("", ""))[1] != "Flag":
            raise GenebertError(
                f"no record has INFO key '{key}'; declared are {', '.join(sorted(vcf.info)) or 'none'}",
                f"correct `{name}`",
                str(path),
            )
    return pd.DataFrame(rows, columns=["line", "chrom", "pos", "id", "ref", "alt", *keys])


def read_calls(path: str | Path) -> tuple[pd.DataFrame, list[str], np.ndarray]:
    """Read the alternate alleles of a VCF with everyone's genotypes.

    Phase does not matter. A haploid call, as of a male's X chromosome, counts its one allele; a call
    with any allele missing is missing.

    Returns
    -------
    table
        As :func:`read_vcf`, all labels empty.
    samples
        Names of the individuals.
    dosage
        int8 [rows, individuals]: copies of the alternate allele (0, 1, 2), −1 where the call is missing.

    Raises
    ------
    GenebertError
        Naming the line that is no record, or has no genotypes.
    """
    vcf = _open(path)
    if not vcf.samples:
        raise GenebertError(f"{path} names no samples", "give a VCF with genotypes")
    rows: list[tuple[object, ...]] = []
    dosages: list[np.ndarray] = []
    numbers = _Genotypes()
    for line, text in vcf.lines:
        where = f"{path} line {line}"
        chrom, pos, name, ref, alt, _, _, _, form, calls = text.split("\t", 9)
        keys = form.split(":")
        if "GT" not in keys:
            raise GenebertError(
                f"the record has no genotypes: FORMAT is '{form}'", "give a VCF with GT", where
            )
        genotypes = calls.split("\t")
        if len(keys) > 1:
            place = keys.index("GT")
            genotypes = [(call.split(":") + ["."] * place)[place] for call in genotypes]
        first, second = numbers.of(genotypes, where)
        alternates = alt.split(",")
        if max(first.max(), second.max()) > len(alternates):
            raise GenebertError(
                f"a genotype names allele {max(first.max(), second.max())} of {len(alternates) + 1}",
                "correct the record; alleles count from 0, the reference",
                where,
            )
        missing = (first == MISSING) | (second == MISSING)
        for allele, alternate in enumerate(alternates, start=1):
            rows.append((line, chrom, pos, name, ref, alternate, ""))
            copies = (first == allele).astype(np.int8) + (second == allele)
            dosages.append(np.where(missing, MISSING, copies).astype(np.int8))
    table = pd.DataFrame(rows, columns=["line", "chrom", "pos", "id", "ref", "alt", "label"])
    empty = np.empty((0, len(vcf.samples)), np.int8)
    return table, vcf.samples, np.stack(dosages) if dosages else empty


class _Genotypes:
    """Allele numbers of genotypes: each text is parsed once."""

    def __init__(self) -> None:
        self._code_of: dict[str, int] = {}
        self._alleles: list[tuple[int, int]] = []

    def of(self, texts: list[str], where: str) -> tuple[np.ndarray, np.ndarray]:
        """Return int64 [n] twice: first and second allele, ``MISSING`` or, if haploid, ``NONE``."""
        for text in sorted(set(texts) - self._code_of.keys()):
            self._alleles.append(_parse_genotype(text, where))
            self._code_of[text] = len(self._alleles) - 1
        codes = np.fromiter(map(self._code_of.__getitem__, texts), np.int64, len(texts))
        first, second = np.array(self._alleles)[codes].T
        return first, second


def _parse_genotype(text: str, where: str) -> tuple[int, int]:
    parts = _GENOTYPE.fullmatch(text)
    if parts is None:
        raise GenebertError(
            f"'{text}' is no genotype of one or two alleles", "write them as `0/1`, `0|1` or `1`", where
        )
    first, second = (
        NONE if part is None else MISSING if part == "." else int(part) for part in parts.groups()
    )
    return first, second


def _value(info: str, key: str) -> str | None:
    """Return the value of an INFO key, ``true`` for a flag, None where it is not there."""
    keys = f";{info};"
    at = keys.find(f";{key}=")
    if at < 0:
        return "true" if f";{key};" in keys else None
    begin = at + len(key) + 2
    return keys[begin : keys.index(";", begin)]


def _by_allele(value: str, number: str, alternates: int, key: str, where: str) -> list[str]:
    """Return the INFO value of each alternate allele."""
    if number not in ("A", "R"):
        return [value] * alternates
    values = value.split(",")
    if len(values) != alternates + (number == "R"):
        raise GenebertError(
            f"INFO {key} has {len(values)} values for {alternates} alternate alleles",
            "correct the record",
            where,
        )
    return values[-alternates:]


def _open(path: str | Path) -> _Vcf:
    """Read a VCF's head; its records are checked for their number of columns as they are read."""
    _check_end(path)
    lines = read_lines(path)
    _, first = next(lines, (1, ""))
    if not first.startswith(_MAGIC):
        raise GenebertError(f"{path} is no VCF: it does not begin with `{_MAGIC}`", "give a VCF")
    info: dict[str, tuple[str, str]] = {}
    for number, text in lines:
        if text.startswith("##"):
            if found := _INFO.match(text):
                info[found[1]] = found[2], found[3]
            continue
        columns = text.split("\t")
        if columns[: len(FIXED)] != FIXED or len(columns) == len(FIXED) + 1:
            raise GenebertError(
                "no `#CHROM` line of VCF's columns before the first record",
                "give a whole VCF",
                f"{path} line {number}",
            )
        samples = columns[len(FIXED) + 1 :]
        _check_samples(samples, f"{path} line {number}")
        return _Vcf(info, samples, _records(lines, len(columns), path))
    raise GenebertError(f"{path} ends within its head", "fetch the file again")


def _records(
    lines: Iterable[tuple[int, str]], columns: int, path: str | Path
) -> Iterator[tuple[int, str]]:
    for number, text in lines:
        if not text:
            continue
        if text.count("\t") + 1 != columns:
            raise GenebertError(
                f"{text.count(chr(9)) + 1} columns where the head has {columns}",
                "fetch the file again if it is cut off here, or correct the line",
                f"{path} line {number}",
            )
        yield number, text


def _check_samples(samples: list[str], where: str) -> None:
    twice = sorted(name for name, times in Counter(samples).items() if times > 1)
    if twice:
        raise GenebertError(f"sample '{twice[0]}' is named twice", "give each a name of its own", where)


def _check_end(path: str | Path) -> None:
    """Refuse a bgzip file without its last block: cut between blocks, it unpacks without complaint."""
    path = Path(path)
    if not path.is_file():
        return  # read_lines says what is wrong
    with path.open("rb") as binary:
        head = binary.read(18)
        if not head.startswith(_BGZIP) or head[12:14] != b"BC":
            return
        binary.seek(-min(len(_BGZIP_END), path.stat().st_size), 2)
        if binary.read() != _BGZIP_END:
            raise GenebertError(f"{path} is a truncated bgzip file", "fetch the file again")
