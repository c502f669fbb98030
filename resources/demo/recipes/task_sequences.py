"""Labelled sequences and exons: what the tasks tfbs, labelled and splicing read."""

from collections.abc import Mapping
from itertools import pairwise

from recipes.packages import RebuildError
from recipes.tables import CHROM, Row, kept_rows, rows_of, text_of

CONTIGS = [f"chr{name}" for name in (*range(1, 23), "X", "Y")]
# Parts by position, as the demo's config splits the genome; a site wholly elsewhere is for training.
PARTS = {"dev": (42_000_000, 44_000_000), "test": (44_000_000, 50_000_000)}
EXON_HEADER = ["gene", "chrom", "strand", "start", "end", "exon_starts", "exon_ends"]

Site = tuple[int, int, str]  # start, end, cell line


def build_ctcf(fasta: bytes, chromosome: bytes) -> bytes:
    """ctcf_gm12878.fa.gz, from gimmemotifs: its peaks in genome order and upper case."""
    peaks = []
    for record in fasta.decode().split(">")[1:]:
        header, *lines = record.split()
        contig, _, span = header.partition(":")
        start, end = (int(number) for number in span.split("-"))
        sequence = "".join(lines).upper()
        if len(sequence) != end - start:
            raise RebuildError(f"gimmemotifs: {header} has {len(sequence)} bases")
        if contig == CHROM and sequence.encode() != chromosome[start:end]:
            raise RebuildError(f"gimmemotifs: {header} is not the sequence of hg19 there")
        peaks.append((CONTIGS.index(contig), start, end, sequence))
    return "".join(
        f">{CONTIGS[contig]}:{start}-{end}\n{sequence}\n"
        for contig, start, end, sequence in sorted(peaks)
    ).encode()


def build_exons(annotation: bytes) -> bytes:
    """exons.tsv.gz, from spliceai: the genes that lie wholly in the kept intervals."""
    header, *rows = rows_of(annotation)
    columns = ["#NAME", "CHROM", "STRAND", "TX_START", "TX_END", "EXON_START", "EXON_END"]
    if header != columns:
        raise RebuildError(f"spliceai: the annotation has columns {' '.join(header)}")
    genes = kept_rows(
        [f"chr{contig}", start, end, gene, strand, exon_starts.strip(","), exon_ends.strip(",")]
        for gene, contig, strand, start, end, exon_starts, exon_ends in rows
    )
    table = [EXON_HEADER]
    for chrom, start, end, gene, strand, exon_starts, exon_ends in genes:
        check_exons(gene, (start, end), exon_starts.split(","), exon_ends.split(","))
        table.append([gene, chrom, strand, start, end, exon_starts, exon_ends])
    return text_of(table)


def check_exons(gene: str, span: tuple[str, str], starts: Row, ends: Row) -> None:
    """Refuse exons that overlap, are out of order, or do not reach from end to end of their gene."""
    borders = [int(border) for exon in zip(starts, ends, strict=True) for border in exon]
    ascending = all(left < right for left, right in pairwise(borders))
    if not ascending or (starts[0], ends[-1]) != span:
        raise RebuildError(f"spliceai: the exons of {gene} do not make up its transcript")


def part_of(start: int, end: int) -> str | None:
    """Which part a site belongs to; None where it straddles a border."""
    for part, (left, right) in PARTS.items():
        if left <= start and end <= right:
            return part
        if start < right and left < end:
            return None
    return "train"


def alone(sites: list[Site]) -> list[Site]:
    """The sites, in order, that overlap none of another cell line."""
    shared = {
        site
        for left in sites
        for right in sites
        if left[0] < right[1] and right[0] < left[1] and left[2] != right[2]
        for site in (left, right)
    }
    return [site for site in sites if site not in shared]


def build_cell_lines(bed: Mapping[str, bytes], chromosome: bytes) -> dict[str, bytes]:
    """cell_lines/{train,dev,test}.csv: our sequence of each DNase site, labelled by its cell line.

    `bed` holds the four contents of peaks/*.dnase.bed.gz; labels count its cell lines from 0.
    """
    sites = sorted(
        (int(row[1]), int(row[2]), line) for line, text in bed.items() for row in rows_of(text)
    )
    labels = {line: label for label, line in enumerate(bed)}
    lines = {part: ["sequence,label\n"] for part in ("train", *PARTS)}
    for start, end, cell_line in alone(sites):
        part = part_of(start, end)
        if part is not None:
            lines[part].append(f"{chromosome[start:end].decode()},{labels[cell_line]}\n")
    return {part: "".join(rows).encode() for part, rows in lines.items()}
