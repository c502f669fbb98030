"""The slice that the demo keeps, and tables whose rows lie in it."""

from collections.abc import Iterable

CHROM = "chr20"
CHROM_LENGTH = 63_025_520
KEPT = ((1_000_000, 4_000_000), (30_000_000, 50_000_000))

Row = list[str]


def rows_of(text: bytes) -> list[Row]:
    """Tab-separated fields of every line."""
    return [line.split("\t") for line in text.decode().splitlines()]


def is_kept(start: int, end: int) -> bool:
    """Whether an interval lies wholly inside one kept interval."""
    return any(left <= start and end <= right for left, right in KEPT)


def kept_rows(rows: Iterable[Row]) -> list[Row]:
    """The BED-like rows on chr20 inside the kept intervals, by start and end, ties as they came."""
    kept = [row for row in rows if row[0] == CHROM and is_kept(int(row[1]), int(row[2]))]
    return sorted(kept, key=lambda row: (int(row[1]), int(row[2])))


def text_of(rows: Iterable[Row]) -> bytes:
    """Rows as tab-separated lines."""
    return "".join("\t".join(row) + "\n" for row in rows).encode()


def reverse_complement(sequence: bytes) -> bytes:
    """The other strand, read 5' to 3'."""
    return sequence[::-1].translate(bytes.maketrans(b"ACGT", b"TGCA"))
