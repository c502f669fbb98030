"""The genome, the open-chromatin regions, the transcription start sites and the blacklist."""

from collections import defaultdict
from collections.abc import Iterable

from recipes.packages import RebuildError
from recipes.tables import (
    CHROM,
    CHROM_LENGTH,
    KEPT,
    Row,
    kept_rows,
    reverse_complement,
    rows_of,
    text_of,
)

FASTA_WIDTH = 60
OPEN_ABOVE = 1.0  # matrix value above which a region counts as open in a cell type
SEED_LENGTH = 100  # half the length of a DNase sequence: every match covers one aligned seed

BLOOD_COLUMNS = {
    "Mono": "Mono",
    "CD4": "CD4",
    "CD8": "CD8",
    "NK": "Nkcell",
    "Bcell": "Bcell",
    "Ery": "Ery",
}
# Of the package dnadiffusion.
DNASE_MEMBER = "dnadiffusion-0.1.1/data/K562_hESCT0_HepG2_GM12878_12k_sequences_per_group.txt"
DNASE_TAGS = {
    "K562": "K562_ENCLB843GMH",
    "hESCT0": "hESCT0_ENCLB449ZZZ",
    "HepG2": "HepG2_ENCLB029COU",
    "GM12878": "GM12878_ENCLB441ZZZ",
}


def sequence_of(fasta: bytes) -> bytes:
    """The one sequence of a FASTA, with its length checked."""
    header, _, body = fasta.partition(b"\n")
    sequence = body.replace(b"\n", b"")
    if header != b">20" or len(sequence) != CHROM_LENGTH:
        raise RebuildError("vt-examples: not GRCh37 chromosome 20")
    return sequence


def build_genome(chromosome: bytes) -> bytes:
    """genome.fa.gz, from vt-examples: the kept intervals as they are, every other base N."""
    masked = bytearray(b"N" * len(chromosome))
    for start, end in KEPT:
        masked[start:end] = chromosome[start:end]
    lines = (bytes(masked[i : i + FASTA_WIDTH]) for i in range(0, len(masked), FASTA_WIDTH))
    return b">" + CHROM.encode() + b"\n" + b"\n".join(lines) + b"\n"


def build_broad_peaks(peaks: bytes) -> bytes:
    """peaks/CD4_*.broadPeak.gz, from ataqv: the kept rows, every line as it is."""
    return text_of(kept_rows(rows_of(peaks)))


def build_blood_peaks(matrix: bytes, cell_type: str) -> bytes:
    """peaks/{cell type}.bed.gz, from gimmemotifs: kept regions with a value > 1 there (BED5)."""
    header, *rows = rows_of(matrix)
    column = header.index(BLOOD_COLUMNS[cell_type])
    regions = []
    for row in rows:
        chrom, _, span = row[0].partition(":")
        value = float(row[column])
        if value > OPEN_ABOVE:
            regions.append([chrom, *span.split("-"), f"{value:.4f}"])
    numbered = enumerate(kept_rows(regions), start=1)
    return text_of([*row[:3], f"{cell_type}_{i}", row[3]] for i, row in numbered)


def find_all(queries: Iterable[bytes], chromosome: bytes) -> dict[bytes, set[int]]:
    """Every start at which each query, or its reverse complement, occurs exactly in the chromosome.

    A match of 2 x SEED_LENGTH bases covers at least one block of SEED_LENGTH bases that begins at
    a multiple of SEED_LENGTH, so looking these up among the queries' substrings misses none.
    """
    seeds: dict[bytes, list[tuple[bytes, bytes, int]]] = defaultdict(list)
    for query in queries:
        if len(query) != 2 * SEED_LENGTH:
            raise RebuildError(f"dnadiffusion: a sequence of {len(query)} bases")
        for strand in {query, reverse_complement(query)}:
            for offset in range(SEED_LENGTH + 1):
                seeds[strand[offset : offset + SEED_LENGTH]].append((query, strand, offset))
    starts: dict[bytes, set[int]] = defaultdict(set)
    for block in range(0, len(chromosome) - SEED_LENGTH + 1, SEED_LENGTH):
        for query, strand, offset in seeds.get(chromosome[block : block + SEED_LENGTH], ()):
            if block >= offset and chromosome.startswith(strand, block - offset):
                starts[query].add(block - offset)
    return starts


def relocate_dnase(table: bytes, chromosome: bytes) -> dict[str, list[Row]]:
    """Tag -> BED3 rows of the chr20 sequences that occur once, either strand, in GRCh37 chr20."""
    header, *rows = rows_of(table)
    chrom, sequence, tag = (header.index(name) for name in ("chr", "sequence", "TAG"))
    tags = {row[sequence].encode(): row[tag] for row in rows if row[chrom] == CHROM}
    relocated = defaultdict(list)
    for query, starts in find_all(tags, chromosome).items():
        if len(starts) == 1:
            start = min(starts)
            relocated[tags[query]].append([CHROM, str(start), str(start + len(query))])
    return relocated


def build_dnase_peaks(relocated: dict[str, list[Row]], cell_line: str) -> bytes:
    """peaks/{cell line}.dnase.bed.gz, from dnadiffusion: where its sequences lie in hg19 (BED4)."""
    numbered = enumerate(kept_rows(relocated[DNASE_TAGS[cell_line]]), start=1)
    return text_of([*row, f"{cell_line}.dnase_{i}"] for i, row in numbered)


def build_tss(tss: bytes) -> bytes:
    """tss.bed.gz, from ataqv: the kept rows of its RefSeq TSS file, every line as it is (BED6)."""
    return text_of(kept_rows(rows_of(tss)))


def build_blacklist(lists: Iterable[bytes]) -> bytes:
    """blacklist.bed.gz, from ataqv: all rows of its exclude lists on the chromosome (BED4)."""
    rows = [row[:4] for text in lists for row in rows_of(text) if row[0] == CHROM]
    return text_of(sorted(rows, key=lambda row: (int(row[1]), int(row[2]), row[3])))
