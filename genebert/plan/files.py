"""How much a file holds, without reading it all: a plan and a dry run must be quick."""

import codecs
import gzip
import io
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

_HEAD = 1 << 16  # bytes of text from which the length of a line is learnt
# A file may pack so many times as well as it begins; one that says it does still better was cut off.
_BETTER = 5


class Text(NamedTuple):
    """What a text file holds.

    Attributes
    ----------
    bytes
        Uncompressed.
    lines
        Counted in the first 64 kB, and taken to be as long in the rest.
    head
        Its first lines.
    """

    bytes: int
    lines: int
    head: list[str]


def text_of(path: str | Path) -> Text | None:
    """Return what a file, gzip or not, holds; None where it is not there or cannot be read as text."""
    try:
        with Path(path).open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            stream = gzip.GzipFile(fileobj=file) if packed else file
            head = stream.read(_HEAD)
            whole = len(head) < _HEAD
            size = len(head) if whole else _unpacked(file) if packed else file.seek(0, io.SEEK_END)
        # The head may end within a character.
        lines = codecs.getincrementaldecoder("utf-8")().decode(head, final=whole).splitlines()
    except (OSError, EOFError, zlib.error, struct.error, UnicodeDecodeError):
        return None
    if whole:
        return Text(size, len(lines), lines)
    full = lines[:-1] or lines
    return Text(size, round(size * len(full) / sum(len(one) + 1 for one in full)), full)


def _unpacked(file: io.BufferedReader) -> int:
    """Return the bytes that a gzip file unpacks to: of one member, or of many small ones (bgzip).

    Each ends in its size modulo 4 GiB; only members of bgzip say where they end.
    """
    total, place, end = 0, 0, file.seek(0, io.SEEK_END)
    while place < end:
        file.seek(place)
        header = file.read(18)
        if header[12:16] != b"BC\x02\x00":  # no bgzip: one member, as a rule
            return total + _of_member(file, place, end)
        place += struct.unpack("<H", header[16:18])[0] + 1
        file.seek(place - 4)
        total += struct.unpack("<I", file.read(4))[0]
    return total


def _of_member(file: io.BufferedReader, place: int, end: int) -> int:
    """Return the bytes that a gzip member unpacks to; raise EOFError where what it says cannot be."""
    file.seek(place)
    packed = file.read(_HEAD)
    member = zlib.decompressobj(wbits=31)
    unpacked = len(member.decompress(packed, 64 * _HEAD))
    ratio = unpacked / (len(packed) - len(member.unconsumed_tail) - len(member.unused_data))
    file.seek(end - 4)
    size: int = struct.unpack("<I", file.read(4))[0]
    if size > _BETTER * ratio * (end - place):
        raise EOFError("cut off")
    return max(size, end - place)
