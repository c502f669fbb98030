"""Build the input of config/dhs.yaml from one pinned package: a genome of N around 47,872 DNase sites.

    python resources/dhs/build.py [--out data/dhs] [--downloads DIR]

Writes `genome.fa.gz` (the 24 chromosomes of hg38 at their full length, bases only at the sites) and one
BED of sites for each of the four cell lines. Needs Python >= 3.11 and pip on PATH, 1 GB of memory and a
minute. Source, licence and limits are in the README beside this file.
All coordinates are hg38/GRCh38, 0-based and half-open.
"""

import argparse
import gzip
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# The package is the one that the demo takes its DNase sites from: pinned and fetched there.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "demo"))
from recipes.files import write
from recipes.packages import DNADIFFUSION, RebuildError, read_members
from recipes.tables import Row, rows_of, text_of
from recipes.tracks import DNASE_MEMBER, DNASE_TAGS

OUT = Path(__file__).resolve().parents[2] / "data/dhs"
WIDTH = 200
FASTA_WIDTH = 60
BLOCK = FASTA_WIDTH << 16  # bp that are cut into lines at a time
# GRCh38 (GCA_000001405), as in `human.hg38.genome` of bedtools 2.30.0.
LENGTHS = {
    "chr1": 248_956_422,
    "chr2": 242_193_529,
    "chr3": 198_295_559,
    "chr4": 190_214_555,
    "chr5": 181_538_259,
    "chr6": 170_805_979,
    "chr7": 159_345_973,
    "chr8": 145_138_636,
    "chr9": 138_394_717,
    "chr10": 133_797_422,
    "chr11": 135_086_622,
    "chr12": 133_275_309,
    "chr13": 114_364_328,
    "chr14": 107_043_718,
    "chr15": 101_991_189,
    "chr16": 90_338_345,
    "chr17": 83_257_441,
    "chr18": 80_373_285,
    "chr19": 58_617_616,
    "chr20": 64_444_167,
    "chr21": 46_709_983,
    "chr22": 50_818_468,
    "chrX": 156_040_895,
    "chrY": 57_227_415,
}


@dataclass(frozen=True)
class Site:
    """The sequenced window of one DNase I hypersensitive site, and its cell line."""

    chrom: str
    start: int
    sequence: bytes
    name: str
    cell_line: str


def window_start(start: int, end: int, summit: int) -> int:
    """Where the sequence of a site begins, as the source cut it (its `sequence_bounds`).

    The window is centred on the summit, unless the summit is within half a window of the site's start
    or end: there it begins at the start, or ends at the end.
    """
    half = WIDTH // 2
    if summit - start < half:
        return start
    if end - summit < half:
        return end - WIDTH
    return summit - half


def read_sites(table: bytes, lengths: Mapping[str, int]) -> list[Site]:
    """The sites of the source's table in the order of the chromosomes."""
    header, *rows = rows_of(table)
    line_of = {tag: line for line, tag in DNASE_TAGS.items()}
    sites = []
    for row in rows:
        cell = dict(zip(header, row, strict=True))
        start, end, summit = (int(cell[key]) for key in ("start", "end", "summit"))
        site = Site(
            chrom=cell["chr"],
            start=window_start(start, end, summit),
            sequence=cell["sequence"].encode(),
            name=cell["dhs_id"],
            cell_line=line_of.get(cell["TAG"], ""),
        )
        check(site, lengths)
        sites.append(site)
    order = list(lengths)
    return sorted(sites, key=lambda site: (order.index(site.chrom), site.start, site.name))


def check(site: Site, lengths: Mapping[str, int]) -> None:
    """Stop at a site that is not what the source is known to hold."""
    if not site.cell_line:
        raise RebuildError(f"{DNASE_MEMBER}: {site.name} is of an unknown cell line")
    if len(site.sequence) != WIDTH or site.sequence.strip(b"ACGT"):
        raise RebuildError(f"{DNASE_MEMBER}: {site.name} has no sequence of {WIDTH} bases")
    if not 0 <= site.start <= lengths.get(site.chrom, 0) - WIDTH:
        raise RebuildError(f"{DNASE_MEMBER}: {site.name} is not in the genome")


def chromosome(sites: list[Site], length: int) -> bytearray:
    """The sequences of one chromosome's sites in their places, N elsewhere.

    Sites that overlap must agree base by base: they do only if all are of the forward strand and lie
    where they are put.
    """
    bases = bytearray(b"N") * length
    for site in sites:
        place = slice(site.start, site.start + WIDTH)
        known = zip(bases[place], site.sequence, strict=True)
        if any(old not in (ord("N"), new) for old, new in known):
            raise RebuildError(f"{DNASE_MEMBER}: {site.name} and a site before it disagree")
        bases[place] = site.sequence
    return bases


def write_genome(sites: list[Site], lengths: Mapping[str, int], path: Path) -> None:
    """Write every chromosome, one in memory at a time, under a temporary name; then rename it."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as fasta:
        for chrom, length in lengths.items():
            fasta.write(f">{chrom}\n".encode())
            bases = chromosome([site for site in sites if site.chrom == chrom], length)
            for first in range(0, length, BLOCK):
                starts = range(first, min(first + BLOCK, length), FASTA_WIDTH)
                fasta.write(b"\n".join(bases[i : i + FASTA_WIDTH] for i in starts) + b"\n")
    partial.replace(path)


def peak_rows(sites: list[Site], cell_line: str) -> list[Row]:
    """BED4 of the windows of one cell line; the name is the source's, with the site's own bounds."""
    return [
        [site.chrom, str(site.start), str(site.start + WIDTH), site.name]
        for site in sites
        if site.cell_line == cell_line
    ]


def build(table: bytes, lengths: Mapping[str, int], out: Path) -> str:
    """Write genome and peaks of a table into a folder; return a line that says what was written."""
    sites = read_sites(table, lengths)
    out.mkdir(parents=True, exist_ok=True)
    write_genome(sites, lengths, out / "genome.fa.gz")
    counts = []
    for cell_line in DNASE_TAGS:
        rows = peak_rows(sites, cell_line)
        write(out / f"{cell_line}.bed", text_of(rows))
        counts.append(f"{cell_line} {len(rows)}")
    return f"{len(sites)} sites of {WIDTH} bp in {out}: {', '.join(counts)}"


def main() -> None:
    """Read the options, fetch the package, build."""
    parser = argparse.ArgumentParser(description="Build the input of config/dhs.yaml.")
    parser.add_argument("--out", type=Path, metavar="DIR", default=OUT, help="default: data/dhs")
    parser.add_argument(
        "--downloads", type=Path, metavar="DIR", help="keep the package here, not in --out"
    )
    options = parser.parse_args()
    downloads = (options.downloads or options.out).resolve()
    downloads.mkdir(parents=True, exist_ok=True)
    try:
        table = read_members(DNADIFFUSION, downloads, [DNASE_MEMBER])[DNASE_MEMBER]
        print(build(table, LENGTHS, options.out))
    except RebuildError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
