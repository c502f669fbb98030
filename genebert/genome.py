"""Coordinates, contig names and the genome's sequence."""

import bisect
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from genebert.errors import GenebertError
from genebert.files import complete_or_absent, read_lines

SPLITS = ("train", "validation", "test")
_NOT_DNA = re.compile(r"[^ACGTURYSWKMBDHVNacgturyswkmbdhvn]")
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
    """Return a contig's name in a style: ``as_is``, ``ucsc`` (chr20, chrM), ``ensembl`` (20, MT)."""
    if style == "ucsc" and not name.startswith("chr"):
        return "chrM" if name == "MT" else f"chr{name}"
    if style == "ensembl" and name.startswith("chr"):
        return "MT" if name == "chrM" else name.removeprefix("chr")
    return name


def reverse_complement(sequence: str) -> str:
    """Return the other strand's sequence, 5' to 3'."""
    return sequence.translate(_COMPLEMENT)[::-1]


def read_lengths(fai: str | Path) -> dict[str, int]:
    """Return contig lengths in bp from a .fai index, in genome order."""
    return {line.split("\t")[0]: int(line.split("\t")[1]) for _, line in read_lines(fai)}


def index_genome(source: str | Path, out: str | Path) -> None:
    """Copy a FASTA, gzip or not, to ``out`` uncompressed and index it (``out``.fai).

    Raises
    ------
    GenebertError
        If the file is no FASTA, names a contig twice, or has lines that cannot be indexed; or if
        the folder cannot be written. Nothing is left behind then.
    """
    import pyfaidx  # noqa: PLC0415 (a GPU node has none)

    out = Path(out)
    try:
        with complete_or_absent(out) as fasta, complete_or_absent(f"{out}.fai") as fai:
            _copy_fasta(source, fasta)
            try:
                pyfaidx.Faidx(str(fasta), indexname=str(fai), build_index=True, rebuild=True).close()
            except pyfaidx.FastaIndexingError as error:
                raise GenebertError(
                    f"{source} cannot be indexed: {error}",
                    "wrap all lines of a contig to one length (`seqkit seq -w 60`)",
                ) from None
    except PermissionError as error:
        raise GenebertError(
            f"cannot write the genome and its index: {error.strerror}",
            "choose a results_dir that you may write to",
            where=str(out.parent),
        ) from None


def _copy_fasta(source: str | Path, out: Path) -> None:
    names: set[str] = set()
    longest = 0
    with out.open("w", encoding="utf-8", newline="\n") as fasta:
        for number, line in read_lines(source):
            if line.startswith(">"):
                name = (line[1:].split() or [""])[0]
                if not name or name in names:
                    raise GenebertError(
                        f"contig '{name}' is {'named twice' if name else 'nameless'}",
                        "give every contig one name of its own",
                        where=f"{source} line {number}",
                    )
                names.add(name)
                longest = 0
            elif bad := _NOT_DNA.search(line):
                raise GenebertError(
                    f"'{bad.group()}' is no nucleotide code",
                    "give a DNA FASTA",
                    where=f"{source} line {number}",
                )
            elif not names:
                raise GenebertError(
                    "sequence before the first '>' line", "give a FASTA", f"{source} line {number}"
                )
            elif len(line) > (longest := longest or len(line)):
                # An index built over it would point to the wrong bases.
                raise GenebertError(
                    f"{source} cannot be indexed: a line is longer than the first of its contig",
                    "wrap all lines of a contig to one length (`seqkit seq -w 60`)",
                    where=f"line {number}",
                )
            fasta.write(line + "\n")
    if not names:
        raise GenebertError(f"{source} is empty", "give a FASTA with at least one contig")


class Genome:
    """Sequence of an indexed FASTA. Open one in each process: the handle cannot be shared.

    Parameters
    ----------
    fasta
        Uncompressed FASTA with an index that is not older (:func:`index_genome` makes both).
    """

    def __init__(self, fasta: str | Path) -> None:
        import pyfaidx  # noqa: PLC0415

        fasta = Path(fasta)
        fai = Path(f"{fasta}.fai")
        for path in (fasta, fai):
            if not path.is_file():
                raise GenebertError(f"{path} does not exist", "run `genebert index-genome` first")
        if fai.stat().st_mtime_ns < fasta.stat().st_mtime_ns:
            raise GenebertError(
                f"{fai} is older than its FASTA", "delete it and run `genebert index-genome`"
            )
        self.lengths: dict[str, int] = read_lengths(fai)
        self._fasta = pyfaidx.Fasta(str(fasta), rebuild=False, as_raw=True, sequence_always_upper=True)

    def fetch(self, interval: Interval) -> str:
        """Return the upper-case forward-strand sequence; ambiguous bases as N.

        Raises
        ------
        GenebertError
            If the contig is unknown or the interval leaves it.
        """
        check_inside(interval, self.lengths)
        sequence: str = self._fasta[interval.chrom][interval.start : interval.end]
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
    """Return the interval that ``chrom`` (the whole contig) or ``chrom:start-end`` names."""
    chrom, colon, span = text.partition(":")
    if not colon and chrom in lengths:
        return Interval(chrom, 0, lengths[chrom])
    try:
        start, end = (int(part) for part in span.split("-")) if colon else (0, 1)
        interval = Interval(chrom, start, end)
    except ValueError:
        raise GenebertError(
            f"'{text}' is no interval", "write `chrom` or `chrom:start-end`, start < end"
        ) from None
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

    def at(self, chrom: str, position: int) -> Segment:
        """Return the segment that holds the base at ``position``."""
        return self._of[chrom][bisect.bisect_right(self._starts[chrom], position) - 1]

    def around(self, interval: Interval) -> Segment | None:
        """Return the segment that holds the whole interval, None where it straddles two."""
        segment = self.at(interval.chrom, interval.start)
        return segment if interval.end <= segment.end else None
