"""Probability matrices in MEME text format: minimal, or in the report that MEME itself writes."""

import re
from collections.abc import Iterable

import numpy as np

from genebert.errors import GenebertError
from genebert.motifs.motif import DEFAULT_SITES, TOLERANCE, Motif, as_counts, checked, read_numbers

_SETTING = re.compile(r"(\w+)\s*=\s*(\S+)")
_NUMBER = re.compile(r"\s*[-+.\d]")
# MEME's own report draws a line under each matrix, and says more behind the id and name of a motif.
_RULE = re.compile(r"-{4,}\s*$")
_FIGURES = re.compile(r"\s+width\s*=.*")


def parse_meme(lines: Iterable[tuple[int, str]], path: str) -> list[Motif]:
    """Return the motifs of a MEME file, as counts: probabilities × ``nsites`` (20 where not given).

    Background lines are passed over: scores are against the background that the settings name.

    Parameters
    ----------
    lines
        (number from 1, text) of each line.
    path
        The file, for messages.

    Raises
    ------
    GenebertError
        Naming the line: another alphabet, a matrix without its MOTIF line or the reverse, columns
        that are fewer or more than ``w``, probabilities that do not add up to 1.
    """
    motifs: list[Motif] = []
    header, started = "", 0
    numbered = list(lines)
    for index, (number, line) in enumerate(numbered):
        where = f"{path} line {number}"
        if line.startswith("ALPHABET"):
            _check_alphabet(line, where)
        elif line.startswith("MOTIF"):
            if header:
                raise _no_matrix(header, f"{path} line {started}")
            header, started = _FIGURES.sub("", line.removeprefix("MOTIF")).strip(), number
            if not header:
                raise GenebertError("a motif has no id", "write `MOTIF id name`", where)
        elif line.startswith("letter-probability matrix:"):
            if not header:
                raise GenebertError(
                    "a matrix without a MOTIF line of its own", "write `MOTIF id name` above it", where
                )
            settings = dict(_SETTING.findall(line))
            columns = _columns(numbered[index + 1 :], settings, where, path)
            matrix_id, *rest = header.split()
            counts = as_counts(columns.T, _sites(settings, where))
            motif = Motif(matrix_id, rest[0] if rest else matrix_id, counts)
            motifs.append(checked(motif, where))
            header = ""
    if header:
        raise _no_matrix(header, f"{path} line {started}")
    return motifs


def _check_alphabet(line: str, where: str) -> None:
    letters = line.removeprefix("ALPHABET").replace("=", " ").strip()
    if letters != "ACGT":
        raise GenebertError(
            f"alphabet '{letters}' is not ACGT", "give DNA motifs under `ALPHABET= ACGT`", where
        )


def _no_matrix(header: str, where: str) -> GenebertError:
    return GenebertError(
        f"motif '{header.split(maxsplit=1)[0]}' has no letter-probability matrix",
        "give its matrix or remove the motif",
        where,
    )


def _sites(settings: dict[str, str], where: str) -> float:
    (sites,) = read_numbers([settings.get("nsites", str(DEFAULT_SITES))], where, "number of sites")
    if sites == 0:
        raise GenebertError(
            "nsites is 0",
            f"write the number of sites; without nsites it is {DEFAULT_SITES:g}",
            where,
        )
    return sites


def _columns(
    following: list[tuple[int, str]], settings: dict[str, str], where: str, path: str
) -> np.ndarray:
    """Return the matrix's probabilities, float64 [length, 4]."""
    columns: list[list[float]] = []
    ends_with = ""
    for number, line in following:
        if _RULE.match(line):
            break
        if not _NUMBER.match(line):
            ends_with = line.strip()
            break
        here = f"{path} line {number}"
        column = read_numbers(line.split(), here, "probability")
        if len(column) != 4:
            raise GenebertError(
                f"{len(column)} probabilities where A, C, G, T are needed", "correct the line", here
            )
        if abs(sum(column) - 1) > TOLERANCE:
            raise GenebertError(f"probabilities add up to {sum(column):g}", "make it 1", here)
        columns.append(column)
    width = settings.get("w")
    if width is None and ends_with:
        raise GenebertError(
            f"the matrix ends with '{ends_with[:30]}'", "write its width `w=` or an empty line", where
        )
    if width is not None and width != str(len(columns)):
        raise GenebertError(
            f"w= {width}, but {len(columns)} lines of probabilities follow", "correct one of them", where
        )
    return np.array(columns).reshape(-1, 4)
