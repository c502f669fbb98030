"""Coordinates, contig names and the genome's sequence."""

import bisect
import itertools
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from genebert.errors import GenebertError
from genebert.fasta_index import check_index, read_index
from genebert.files import complete_or_absent, read_blocks

SPLITS = ("train", "validation", "test")
_LINE = 60
_LONGEST_HEADER = 1 << 20
_CODES = b"ACGTURYSWKMBDHVNacgturyswkmbdhvn"
_COMPLEMENT = str.maketrans("ACGTNacgtn", "TGCANtgcan")


@dataclass(frozen=True, order=True)
class Interval:
    """A place on a contig, in bp, 0-based half-open."""

    chrom: str
    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end:
            raise ValueError(f"{self.chrom}:{self.start}-{self.end} is empty or negative")

    def __len__(self) -> int:
        return self.end - self.start

    def __str__(self) -> str:
        return f"{self.chrom}:{self.start}-{self.end}"

    def overlaps(self, other: "Interval") -> bool:
        """Return whether the two share at least one base."""
        return self.chrom == other.chrom and self.start < other.end and other.start < self.end


class Segment(NamedTuple):
    """A stretch of a contig that belongs to one split."""

    chrom: str
    start: int
    end: int
    split: str


def rename_contig(name: str, style: str) -> str:
    """Return a contig's name in a style: ``as_is``, ``ucsc`` (chr20, chrM), ``ensembl`` (20, MT).

    M, MT, chrM and chrMT all are the mitochondrial genome.
    """
    bare = name.removeprefix("chr")
    mitochondrial = bare in ("M", "MT")
    if style == "ucsc":
        return "chrM" if mitochondrial else f"chr{bare}"
    if style == "ensembl":
        return "MT" if mitochondrial else bare
    return name


def reverse_complement(sequence: str) -> str:
    """Return the other strand's sequence, 5' to 3'."""
    return sequence.translate(_COMPLEMENT)[::-1]


def read_lengths(fai: str | Path) -> dict[str, int]:
    """Return contig lengths in bp from a .fai index, in genome order.

    Raises
    ------
    GenebertError
        If the file is missing, or no such index.
    """
    return {name: length for name, (length, *_) in read_index(fai).items()}


def index_genome(source: str | Path, out: str | Path, contigs: str = ".+") -> None:
    """Copy the contigs in use of a FASTA to ``out``, 60 bases a line, and index it (``out``.fai).

    Case is kept. The same sequence gives the same bytes however the source is wrapped or packed. Several
    processes may do it at a time: each file appears whole, the index last.

    Parameters
    ----------
    source
        FASTA, plain, gzip or bgzip, of any length and end of lines.
    out
        Uncompressed FASTA to write.
    contigs
        Regular expression that must match the whole name of a contig.

    Raises
    ------
    GenebertError
        If the file is no DNA FASTA, names a contig twice, or has no contig in use; or if the folder
        cannot be written. Nothing is left behind then.
    """
    import pyfaidx  # noqa: PLC0415 (a GPU node has none)

    fai = Path(f"{out}.fai")
    with complete_or_absent(fai) as index, complete_or_absent(out) as fasta:
        _copy_fasta(source, contigs, fasta)
        pyfaidx.Faidx(str(fasta), indexname=str(index), build_index=True, rebuild=True).close()
    # Another process may just have renamed its own copy: no index must look older than its FASTA.
    os.utime(fai)


def _copy_fasta(source: str | Path, contigs: str, out: Path) -> None:
    names: list[str] = []
    with out.open("wb") as fasta:
        for name, pieces in itertools.groupby(_pieces(source), key=lambda piece: piece[0]):
            names.append(name)
            if not re.fullmatch(contigs, name):
                continue
            if not _copy_contig((piece for _, piece in pieces), fasta):
                raise GenebertError(
                    f"contig '{name}' of {source} has no sequence", "remove it from the FASTA"
                )
        nothing = not fasta.tell()
    if not names:
        raise GenebertError(f"{source} is empty", "give a FASTA with at least one contig")
    if nothing:
        raise GenebertError(
            f"no contig of {source} matches '{contigs}': it has {', '.join(names[:5])}"
            + (" …" if len(names) > 5 else ""),
            "correct `genome.contigs`",
        )


def _copy_contig(pieces: Iterator[bytes], fasta: BinaryIO) -> bool:
    """Copy the header and the bases of one contig; return whether it has any."""
    fasta.write(next(pieces) + b"\n")
    some, rest = False, b""
    for piece in pieces:
        bases = rest + piece
        whole = len(bases) // _LINE * _LINE
        lines = np.full((whole // _LINE, _LINE + 1), ord("\n"), np.uint8)
        lines[:, :_LINE] = np.frombuffer(bases, np.uint8, whole).reshape(-1, _LINE)
        fasta.write(lines.data)
        some, rest = True, bases[whole:]
    if rest:
        fasta.write(rest + b"\n")
    return some


def _pieces(source: str | Path) -> Iterator[tuple[str, bytes]]:
    """Yield (contig, header line), then (contig, bases) in blocks, for every contig of a FASTA."""
    names: set[str] = set()
    name, number = "", 1
    for header, piece in _cut(source):
        if header:
            name = _contig_name(piece, names, f"{source} line {number}")
            names.add(name)
            yield name, piece.rstrip(b"\n")
        elif bases := piece.translate(None, b"\n"):
            _check_bases(piece, name, source, number)
            yield name, bases
        number += piece.count(b"\n")


def _cut(source: str | Path) -> Iterator[tuple[bool, bytes]]:
    """Yield (True, a whole header line) and (False, sequence, cut anywhere), with line feeds only.

    A contig may be one line: no more of it than a block is held.
    """
    rest, within_line = b"", False
    for block in itertools.chain(read_blocks(source), [b""]):
        text = (rest + block).replace(b"\r\n", b"\n")
        rest, begin = b"", 0
        while begin < len(text):
            header = not within_line and text.startswith(b">", begin)
            end = text.find(b"\n" if header else b"\n>", begin) + 1
            if not end and block:
                # A header waits for its end, a carriage return for what follows.
                end = begin if header else len(text) - text.endswith(b"\r")
                text, rest = text[:end], text[end:]
                _check_header_length(rest, source)
            end = end or len(text)
            if piece := text[begin:end]:
                yield header, piece
                within_line = not piece.endswith(b"\n")
            begin = end


def _check_header_length(header: bytes, source: str | Path) -> None:
    if len(header) > _LONGEST_HEADER:
        raise GenebertError(
            f"line '{header[:30].decode(errors='replace')} …' of {source} has no end",
            "give a FASTA whose lines end with a line feed (`dos2unix -c mac`)",
        )


def _contig_name(header: bytes, names: Collection[str], where: str) -> str:
    try:
        text = header.decode()
    except UnicodeDecodeError:
        raise GenebertError("the line is not text", "give a FASTA", where) from None
    if "\r" in text:
        raise GenebertError(
            "a carriage return within the line", "end lines with a line feed (`dos2unix -c mac`)", where
        )
    name = (text[1:].split() or [""])[0]
    if not name or name in names:
        raise GenebertError(
            f"contig '{name}' is {'named twice' if name in names else 'nameless'}",
            "give every contig one name of its own",
            where,
        )
    return name


def _check_bases(piece: bytes, name: str, source: str | Path, number: int) -> None:
    if not name:
        raise GenebertError(
            "sequence before the first '>' line", "give a FASTA", f"{source} line {number}"
        )
    if others := piece.translate(None, _CODES + b"\n"):
        line = number + piece.count(b"\n", 0, piece.index(others[:1]))
        raise GenebertError(
            f"'{others[:1].decode('latin-1')}' is no nucleotide code",
            "give a DNA FASTA",
            f"{source} line {line}",
        )


class Genome:
    """Sequence of an indexed FASTA; a process forked off opens it anew.

    Parameters
    ----------
    fasta
        Uncompressed FASTA with an index that is not older (:func:`index_genome` makes both).
    """

    def __init__(self, fasta: str | Path) -> None:
        self._path = Path(fasta)
        fai = Path(f"{fasta}.fai")
        for path in (self._path, fai):
            if not path.is_file():
                raise GenebertError(f"{path} does not exist", "run `genebert index-genome` first")
        if fai.stat().st_mtime_ns < self._path.stat().st_mtime_ns:
            raise GenebertError(
                f"{fai} is older than its FASTA", "delete it and run `genebert index-genome`"
            )
        index = read_index(fai)
        check_index(self._path, index)
        self.lengths: dict[str, int] = {name: length for name, (length, *_) in index.items()}
        self._open()

    def _open(self) -> None:
        import pyfaidx  # noqa: PLC0415

        self._process = os.getpid()
        self._fasta = pyfaidx.Fasta(
            str(self._path), rebuild=False, as_raw=True, sequence_always_upper=True
        )

    def fetch(self, interval: Interval) -> str:
        """Return the upper-case forward-strand sequence; ambiguous bases as N.

        Raises
        ------
        GenebertError
            If the contig is unknown, the interval leaves it, or the index is another FASTA's.
        """
        check_inside(interval, self.lengths)
        if os.getpid() != self._process:
            # Processes that share a handle share its position, and read one another's bases.
            self._open()
        sequence: str = self._fasta[interval.chrom][interval.start : interval.end]
        if len(sequence) != len(interval) or sequence.encode().translate(None, _CODES):
            raise GenebertError(
                f"{self._path}.fai does not fit its FASTA at {interval}",
                "delete it and run `genebert index-genome`",
            )
        return re.sub("[^ACGT]", "N", sequence)

    def close(self) -> None:
        """Close the file."""
        self._fasta.close()


def check_inside(interval: Interval, lengths: Mapping[str, int]) -> None:
    """Raise GenebertError unless the interval lies within a known contig."""
    if interval.chrom not in lengths:
        raise GenebertError(
            f"contig '{interval.chrom}' is not in the genome ({', '.join(list(lengths)[:5])}, …)",
            "use the genome's contig names",
        )
    if interval.end > lengths[interval.chrom]:
        raise GenebertError(
            f"{interval} ends after {interval.chrom}, which has {lengths[interval.chrom]} bp",
            "use coordinates of the same assembly as the genome",
        )


def parse_interval(text: str, lengths: Mapping[str, int]) -> Interval:
    """Return the interval that ``chrom`` (the whole contig) or ``chrom:start-end`` names.

    It is 0-based half-open, as ``str`` of an interval; a genome browser's positions count from 1.
    """
    if text in lengths:
        return Interval(text, 0, lengths[text])
    parts = re.fullmatch(r"(.+):([0-9]+)-([0-9]+)", text)
    if parts and int(parts[2]) < int(parts[3]):
        interval = Interval(parts[1], int(parts[2]), int(parts[3]))
    elif ":" not in text:
        interval = Interval(text, 0, 1)
    else:
        raise GenebertError(
            f"'{text}' is no interval", "write `chrom` or `chrom:start-end`, start < end"
        )
    check_inside(interval, lengths)
    return interval


def split_segments(
    lengths: Mapping[str, int], validation: Iterable[str], test: Iterable[str]
) -> list[Segment]:
    """Cut the genome into stretches of one split each, in genome order, covering it.

    Parameters
    ----------
    lengths
        Contig lengths in bp, in genome order.
    validation, test
        Contigs or intervals (0-based half-open) held out; everything else is for training.

    Raises
    ------
    GenebertError
        If one is outside the genome or two overlap.
    """
    held_out: list[tuple[Interval, str]] = []
    for split, texts in (("validation", validation), ("test", test)):
        for text in texts:
            try:
                interval = parse_interval(text, lengths)
            except GenebertError as error:
                raise GenebertError(error.what, error.fix, f"genome.split.{split}") from None
            for other, _ in held_out:
                if interval.overlaps(other):
                    raise GenebertError(
                        f"{interval} and {other} overlap",
                        "hold out each place once",
                        "genome.split",
                    )
            held_out.append((interval, split))
    return list(_segments(lengths, sorted(held_out)))


def _segments(lengths: Mapping[str, int], held_out: list[tuple[Interval, str]]) -> Iterator[Segment]:
    for chrom, length in lengths.items():
        position = 0
        for interval, split in held_out:
            if interval.chrom != chrom:
                continue
            if position < interval.start:
                yield Segment(chrom, position, interval.start, "train")
            yield Segment(chrom, interval.start, interval.end, split)
            position = interval.end
        if position < length:
            yield Segment(chrom, position, length, "train")


class SegmentIndex:
    """Finds the segment of a place. Segments must cover the genome (:func:`split_segments`)."""

    def __init__(self, segments: Iterable[Segment]) -> None:
        self._of: dict[str, list[Segment]] = {}
        for segment in segments:
            self._of.setdefault(segment.chrom, []).append(segment)
        self._starts = {chrom: [s.start for s in found] for chrom, found in self._of.items()}

    @property
    def contigs(self) -> list[str]:
        """The contigs of the genome."""
        return list(self._of)

    def at(self, chrom: str, position: int) -> Segment:
        """Return the segment that holds the base at ``position``."""
        return self._of[chrom][bisect.bisect_right(self._starts[chrom], position) - 1]

    def around(self, interval: Interval) -> Segment | None:
        """Return the segment that holds the whole interval, None where it straddles two."""
        segment = self.at(interval.chrom, interval.start)
        return segment if interval.end <= segment.end else None
