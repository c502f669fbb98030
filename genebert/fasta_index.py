"""The index of a FASTA (``.fai``): read strictly, and held to its FASTA."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from genebert.errors import GenebertError
from genebert.files import read_lines

_LONGEST_HEADER = 1 << 20
_WHOLE = re.compile("[0-9]{1,15}")
_REINDEX = "delete it and run `genebert index-genome`"


def read_index(fai: str | Path) -> dict[str, tuple[int, ...]]:
    """Return length in bp, offset in bytes, and bases and bytes of a line of each contig, in file order.

    Raises
    ------
    GenebertError
        If the file is missing, or no index of a FASTA.
    """
    found: dict[str, tuple[int, ...]] = {}
    for number, line in read_lines(fai):
        name, *cells = line.split("\t")
        where = f"{fai} line {number}"
        if len(cells) != 4 or not all(map(_WHOLE.fullmatch, cells)) or not name or name in found:
            raise GenebertError("no line of an index of a FASTA", _REINDEX, where)
        found[name] = tuple(map(int, cells))
        length, _, bases, width = found[name]
        if not 0 < bases < width or not length:
            raise GenebertError(f"contig '{name}' or its lines have no bases", _REINDEX, where)
    if not found or Path(fai).read_bytes().startswith(b"\x1f\x8b"):
        raise GenebertError(f"{fai} is empty, or compressed", _REINDEX)
    return found


def check_index(fasta: Path, index: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse the index of another FASTA: each contig must begin below its header, and end a line.

    Raises
    ------
    GenebertError
        Naming the first contig that does not.
    """
    with fasta.open("rb") as binary:
        for name, (length, offset, bases, width) in index.items():
            title = _header_before(binary, offset)
            binary.seek(offset + (length - 1) // bases * width + (length - 1) % bases + 1)
            after = binary.read(width - bases + 1).lstrip(b"\r\n")
            if title.split(maxsplit=1)[:1] != [f">{name}".encode()] or after not in (b"", b">"):
                raise GenebertError(f"{fasta}.fai does not fit its FASTA at contig '{name}'", _REINDEX)


def _header_before(binary: BinaryIO, offset: int) -> bytes:
    """Return the whole header line that ends where a contig begins; empty where there is none."""
    for most in (1 << 10, _LONGEST_HEADER):
        binary.seek(max(0, offset - most))
        before, feed, rest = binary.read(min(offset, most)).rpartition(b"\n")
        title = before.rpartition(b"\n")[2]
        if feed and not rest and title.startswith(b">"):
            return title
    return b""
