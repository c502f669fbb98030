"""The committed demo data of the downstream tasks, checked against the genome slice and each other."""

import csv
import gzip
import hashlib
import io
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pysam
import pytest
from sklearn.metrics import roc_auc_score

from genebert.genome import reverse_complement

PARTS = {"train": (0, 42_000_000), "dev": (42_000_000, 44_000_000), "test": (44_000_000, 50_000_000)}
CELL_LINES = ("K562", "hESCT0", "HepG2", "GM12878")


@pytest.fixture(scope="module")
def data(repository: Path) -> Path:
    return repository / "resources/demo"


@pytest.fixture(scope="module")
def chromosome(demo_genome: Path) -> str:
    return pysam.FastaFile(str(demo_genome)).fetch("chr20")


@pytest.fixture(scope="module")
def genotypes(data: Path) -> pd.DataFrame:
    """Dosages of ALT: a row a variant (position, REF, ALT), a column a person."""
    with pysam.VariantFile(str(data / "cohort.vcf.gz")) as vcf:
        assert vcf.header.contigs["chr20"].length == 63_025_520
    # The file as text, not through pysam's objects: three million of them take a minute.
    with gzip.open(data / "cohort.vcf.gz", "rt") as lines:
        text = "".join(line for line in lines if not line.startswith("##"))
    table = pd.read_csv(io.StringIO(text), sep="\t")
    assert (table["#CHROM"] == "chr20").all()
    table = table.set_index(["POS", "REF", "ALT"]).iloc[:, 6:]
    assert set(np.unique(table.to_numpy(str))) <= {
        f"{a}{by}{b}" for a in "01" for by in "|/" for b in "01"
    }
    return table.apply(lambda person: person.str.count("1"))


def test_every_file_is_pinned(repository: Path) -> None:
    for folder in (repository / "resources/demo", repository / "resources/motifs"):
        lines = (folder / "SHA256SUMS").read_text().splitlines()
        pins = {name: digest for digest, name in (line.split("  ") for line in lines)}
        made = {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.rglob("*")
            if path.is_file() and path.suffix not in {".py", ".pyc", ".md"} and path.name != "SHA256SUMS"
        }
        assert made == pins


def test_readme_shows_every_pin(data: Path) -> None:
    readme = (data / "README.md").read_text()
    for line in (data / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        (row,) = [row for row in readme.splitlines() if row.startswith(f"| `{name}` |")]
        assert f"`{digest[:12]}`" in row


def test_ctcf_peaks_are_the_genome_s_sequences(data: Path, chromosome: str) -> None:
    with pysam.FastxFile(str(data / "ctcf_gm12878.fa.gz")) as fasta:
        peaks = [(record.name, record.sequence) for record in fasta]
    places = [name.replace("-", ":").split(":") for name, _ in peaks]
    order = [f"chr{name}" for name in (*range(1, 23), "X")]
    keys = [(order.index(contig), int(start)) for contig, start, _ in places]
    assert len(peaks) == 500 and keys == sorted(keys)
    within = 0
    for (contig, start, end), (_, sequence) in zip(places, peaks, strict=True):
        assert len(sequence) == int(end) - int(start) == 200 and set(sequence) <= set("ACGT")
        if contig == "chr20" and "N" not in (here := chromosome[int(start) : int(end)]):
            assert sequence == here
            within += 1
    assert within == 18


def test_introns_begin_with_gt_and_end_with_ag(data: Path, chromosome: str) -> None:
    genes = pd.read_csv(data / "exons.tsv.gz", sep="\t")
    assert list(genes) == ["gene", "chrom", "strand", "start", "end", "exon_starts", "exon_ends"]
    assert len(genes) == 294 and genes.gene.is_unique and genes.start.is_monotonic_increasing
    donors, acceptors = [], []
    for gene in genes.itertuples():
        starts, ends = ([int(x) for x in cell.split(",")] for cell in (gene.exon_starts, gene.exon_ends))
        assert (starts[0], ends[-1]) == (gene.start, gene.end)
        assert not any("N" in chromosome[a:b] for a, b in zip(starts, ends, strict=True))
        for left, right in zip(ends, starts[1:], strict=False):
            intron = chromosome[left:right]
            read = intron if gene.strand == "+" else reverse_complement(intron)
            donors.append(read[:2])
            acceptors.append(read[-2:])
    assert (len(donors), donors.count("GT"), acceptors.count("AG")) == (2569, 2551, 2563)


def test_variants_are_matched(data: Path, chromosome: str) -> None:
    table = pd.read_csv(data / "hdl_variants.tsv.gz", sep="\t")
    cases, controls = table[table.label == 1], table[table.label == 0]
    assert table.id.is_unique and table.pos.is_monotonic_increasing
    assert all(chromosome[pos - 1] == ref for pos, ref in zip(table.pos, table.ref, strict=True))
    assert (cases.score > 2).all() and (cases.matched_to == cases.id).all()
    assert controls.score.isna().all()
    assert controls.matched_to.value_counts().to_dict() == dict.fromkeys(cases.id, 9)
    pairs = controls.merge(cases, left_on="matched_to", right_on="id")
    assert (pairs.pos_x - pairs.pos_y).abs().max() <= 5_000_000
    gaps = np.abs(controls.pos.to_numpy()[:, None] - cases.pos.to_numpy())
    assert gaps.min() > 50_000
    for case, control in zip(pairs.ref_y + pairs.alt_y, pairs.ref_x + pairs.alt_x, strict=True):
        assert control in {case, reverse_complement(case)[::-1]}
    with gzip.open(data / "tss.bed.gz", "rt") as lines:
        tss = np.array([int(line.split("\t")[1]) for line in lines])
    distance = np.abs(table.pos.to_numpy()[:, None] - 1 - tss).min(axis=1)
    assert abs(roc_auc_score(table.label, distance) - 0.5) < 0.01


def test_cohort_agrees_with_the_genome(genotypes: pd.DataFrame, chromosome: str) -> None:
    positions = [position for position, _, _ in genotypes.index]
    assert genotypes.shape == (6709, 503) and genotypes.columns.is_unique
    assert positions == sorted(set(positions))
    for position, ref, alt in genotypes.index:
        assert chromosome[position - 1] == ref and alt in "ACGT" and alt != ref
    frequency = genotypes.mean(axis=1) / 2
    assert frequency.between(0.05, 0.95).all()


def test_bgzip_blocks_are_those_of_htslib(data: Path, tmp_path: Path, genotypes: pd.DataFrame) -> None:
    vcf = tmp_path / "cohort.vcf.gz"
    vcf.write_bytes((data / "cohort.vcf.gz").read_bytes())
    pysam.tabix_index(str(vcf), preset="vcf")
    with pysam.VariantFile(str(vcf)) as indexed:
        inside = [record.pos for record in indexed.fetch("chr20", 3_500_000, 3_600_000)]
    positions = genotypes.index.get_level_values("POS")
    assert inside == positions[(positions > 3_500_000) & (positions <= 3_600_000)].tolist()
    assert vcf.read_bytes().endswith(bytes.fromhex("1b00 0300 00000000 00000000"))


def test_phenotype_follows_from_the_named_regions(data: Path, genotypes: pd.DataFrame) -> None:
    people = pd.read_csv(data / "cohort_phenotypes.tsv", sep="\t")
    assert list(people) == ["sample", "pc1", "pc2", "pc3", "simulated_phenotype"]
    assert people["sample"].tolist() == genotypes.columns.tolist()
    assert people.simulated_phenotype.value_counts().to_dict() == {0: 252, 1: 251}
    components = people[["pc1", "pc2", "pc3"]].to_numpy()
    np.testing.assert_allclose(components.T @ components / len(people), np.eye(3), atol=1e-3)

    positions = genotypes.index.get_level_values("POS")
    genetic = np.zeros(len(people))
    regions = pd.read_csv(data / "cohort_causal_regions.tsv", sep="\t")
    for region in regions.itertuples():
        inside = positions[(positions > region.start) & (positions <= region.end)]
        assert [int(x) for x in region.snv_positions.split(",")] == inside.tolist()
        effects = [float(x) for x in region.simulated_effects.split(",")]
        dosages = genotypes.loc[inside].to_numpy(float)
        standard = (dosages - dosages.mean(1, keepdims=True)) / dosages.std(1, keepdims=True)
        genetic += effects @ standard
    # Cases are the upper half of a liability of which the genetic part makes half the variance:
    # its correlation with the status is then sqrt(1/2) x sqrt(2/pi) = 0.564, give or take 1/sqrt(n).
    correlation = np.corrcoef(genetic, people.simulated_phenotype)[0, 1]
    assert correlation == pytest.approx(math.sqrt(1 / math.pi), abs=0.08)
    # The covariates must not carry what they are there to adjust for.
    assert np.abs(np.corrcoef(genetic, components.T)[0, 1:]).max() < 0.25


def test_causal_regions_are_rows_of_the_tracks(data: Path) -> None:
    rows = set()
    for track in (data / "peaks").glob("*.bed.gz"):
        with gzip.open(track, "rt") as lines:
            rows |= {tuple(line.rstrip("\n").split("\t")[:4]) for line in lines}
    with (data / "cohort_causal_regions.tsv").open() as lines:
        for region in csv.DictReader(lines, delimiter="\t"):
            assert (region["chrom"], region["start"], region["end"], region["name"]) in rows


def test_cell_line_sequences_are_those_of_their_track(data: Path, chromosome: str) -> None:
    found: set[str] = set()
    counts = []
    for label, cell_line in enumerate(CELL_LINES):
        with gzip.open(data / f"peaks/{cell_line}.dnase.bed.gz", "rt") as lines:
            sites = [tuple(int(x) for x in line.split("\t")[1:3]) for line in lines]
        for part, (left, right) in PARTS.items():
            table = pd.read_csv(data / f"cell_lines/{part}.csv")
            mine = table.sequence[table.label == label].tolist()
            assert set(mine) <= {chromosome[a:b] for a, b in sites if left <= a and b <= right}
            assert not found & set(mine)
            found |= set(mine)
            counts.append(len(mine))
    assert counts == [115, 15, 47, 68, 3, 14, 114, 19, 73, 80, 17, 37]
    assert sum(counts) == len(found)
