"""Real genotypes with a SIMULATED phenotype: what the task disease reads of individuals."""

import gzip
import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from recipes.packages import RebuildError
from recipes.tables import CHROM, CHROM_LENGTH, Row, rows_of, text_of

COMMON_FROM = 0.05  # minor-allele frequency among the people of the cohort
COMPONENTS = 3
UNLINKED_BELOW = 0.1  # r2 among the variants that make the principal components
LEAST_SNVS = 2  # in a causal region
HERITABILITY = 0.5  # share of the liability's variance that the causal variants make
SEED = 20
VCF_HEADER = f"""\
##fileformat=VCFv4.2
##contig=<ID={CHROM},length={CHROM_LENGTH}>
##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">
"""


@dataclass(frozen=True)
class Site:
    """A variant (0-based position) and the genotype of every person, as written in a VCF."""

    position: int
    id: str
    ref: str
    alt: str
    genotypes: list[str]


@dataclass(frozen=True)
class CausalRegion:
    """An open region, and the indices of the cohort's variants in it."""

    name: str
    start: int
    end: int
    snvs: range


def panel_rows(vcf: bytes) -> Iterator[Row]:
    """Header, then records: the five columns up to ALT and a genotype a person (no subfields)."""
    for row in rows_of(gzip.decompress(vcf)):
        if not row[0].startswith("##"):
            yield [*row[:5], *(cell.partition(":")[0] for cell in row[9:])]


def merge_panels(panels: Sequence[bytes]) -> tuple[list[str], list[Site]]:
    """The people of all panels and their sites; the panels must list the same ones in one order."""
    merged = []
    for rows in zip(*map(panel_rows, panels), strict=True):
        if any(row[:5] != rows[0][:5] for row in rows):
            raise RebuildError(f"shapeit4-example: panels differ at {' '.join(rows[0][:5])}")
        merged.append((rows[0][:5], [cell for row in rows for cell in row[5:]]))
    (_, samples), *records = merged
    sites = [
        Site(int(position) - 1, name, ref, alt, genotypes)
        for (_, position, name, ref, alt), genotypes in records
    ]
    if len(set(samples)) != len(samples):
        raise RebuildError("shapeit4-example: one person is in both panels")
    return samples, sites


def is_common(site: Site) -> bool:
    """Whether its minor allele is frequent enough; every genotype must be known."""
    alleles = Counter("".join(site.genotypes))
    known = alleles["0"] + alleles["1"]
    if known != 2 * len(site.genotypes):
        raise RebuildError(f"shapeit4-example: {CHROM}:{site.position + 1} has unknown genotypes")
    return min(alleles["0"], alleles["1"]) >= COMMON_FROM * known


def common_snvs(sites: list[Site], chromosome: bytes) -> list[Site]:
    """The common SNVs of two alleles by position, after a check of every REF against the genome."""
    alleles = Counter(site.position for site in sites)
    for site in sites:
        if not chromosome.startswith(site.ref.encode(), site.position):
            raise RebuildError(f"shapeit4-example: REF at {CHROM}:{site.position + 1} is not hg19")
    snvs = [
        site
        for site in sites
        if len(site.ref) == len(site.alt) == alleles[site.position] == 1 and is_common(site)
    ]
    return sorted(snvs, key=lambda site: site.position)


def build_vcf(samples: list[str], snvs: list[Site]) -> bytes:
    """cohort.vcf.gz: genotypes alone, in the order of the source's people."""
    header = ["#CHROM", *["POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT"], *samples]
    rows = (
        [CHROM, str(snv.position + 1), snv.id, snv.ref, snv.alt, ".", ".", ".", "GT", *snv.genotypes]
        for snv in snvs
    )
    return VCF_HEADER.encode() + text_of([header, *rows])


def standardised_dosages(snvs: list[Site]) -> np.ndarray:
    """(snvs, people) counts of ALT, of mean 0 and variance 1 a row."""
    dosages = np.array([[cell.count("1") for cell in snv.genotypes] for snv in snvs], dtype=float)
    centred = dosages - dosages.mean(axis=1, keepdims=True)
    return centred / centred.std(axis=1, keepdims=True)


def unlinked(dosages: np.ndarray) -> np.ndarray:
    """The rows, taken in order, that are unlinked to every row taken before.

    Otherwise the first components of so short a stretch are its longest haplotype block, not people.
    """
    taken: list[int] = []
    for index, row in enumerate(dosages):
        squared = (dosages[taken] @ row / len(row)) ** 2
        if (squared < UNLINKED_BELOW).all():
            taken.append(index)
    return dosages[taken]


def principal_components(dosages: np.ndarray) -> np.ndarray:
    """(people, COMPONENTS) scores of variance 1; the largest of each component is positive."""
    _, _, right = np.linalg.svd(unlinked(dosages), full_matrices=False)
    scores = right[:COMPONENTS].T * math.sqrt(dosages.shape[1])
    largest = scores[np.abs(scores).argmax(axis=0), np.arange(COMPONENTS)]
    return scores * np.sign(largest)


def causal_regions(bed: Mapping[str, bytes], snvs: list[Site]) -> list[CausalRegion]:
    """Every open region of the given BED files that holds enough of the variants, by position."""
    positions = np.array([snv.position for snv in snvs])
    regions = []
    for text in bed.values():
        for _, start, end, name, *_ in rows_of(text):
            first, last = np.searchsorted(positions, [int(start), int(end)]).tolist()
            if last - first >= LEAST_SNVS:
                regions.append(CausalRegion(name, int(start), int(end), range(first, last)))
    return sorted(regions, key=lambda region: region.start)


def normal_draws(seed: int, count: int) -> list[float]:
    """Standard normal numbers: quantiles of `random()`, whose sequence Python keeps for a seed."""
    uniform = random.Random(seed)
    return [NormalDist().inv_cdf(uniform.random()) for _ in range(count)]


def simulate(regions: list[CausalRegion], dosages: np.ndarray) -> tuple[list[float], np.ndarray]:
    """Effects of the causal variants in order, and the phenotype of every person (0 or 1).

    liability = sqrt(h2) x standardised sum of effect x standardised dosage + sqrt(1 - h2) x noise;
    the upper half are cases. No model and no motif has a part in it.
    """
    causal = [index for region in regions for index in region.snvs]
    people = dosages.shape[1]
    draws = normal_draws(SEED, len(causal) + people)
    effects, noise = draws[: len(causal)], np.array(draws[len(causal) :])
    genetic = np.array(effects) @ dosages[causal]
    genetic = (genetic - genetic.mean()) / genetic.std()
    liability = math.sqrt(HERITABILITY) * genetic + math.sqrt(1 - HERITABILITY) * noise
    phenotype = np.zeros(people, dtype=int)
    phenotype[np.argsort(liability)[-(people // 2) :]] = 1
    return effects, phenotype


def phenotype_table(samples: list[str], components: np.ndarray, phenotype: np.ndarray) -> bytes:
    """cohort_phenotypes.tsv: a row a person."""
    rows = [["sample", *(f"pc{i + 1}" for i in range(COMPONENTS)), "simulated_phenotype"]]
    for sample, scores, case in zip(samples, components, phenotype, strict=True):
        rows.append([sample, *(f"{score:.4f}" for score in scores), str(case)])
    return text_of(rows)


def causal_table(regions: list[CausalRegion], snvs: list[Site], effects: list[float]) -> bytes:
    """cohort_causal_regions.tsv: the regions, their variants (1-based positions) and effects."""
    rows = [["chrom", "start", "end", "name", "snv_positions", "simulated_effects"]]
    left = iter(effects)
    for region in regions:
        positions = ",".join(str(snvs[index].position + 1) for index in region.snvs)
        of_region = ",".join(f"{next(left):.4f}" for _ in region.snvs)
        rows.append([CHROM, str(region.start), str(region.end), region.name, positions, of_region])
    return text_of(rows)


def build_cohort(
    panels: Sequence[bytes], open_regions: Mapping[str, bytes], chromosome: bytes
) -> dict[str, bytes]:
    """The cohort's three files by name, from shapeit4-example and our own BED files."""
    samples, sites = merge_panels(panels)
    snvs = common_snvs(sites, chromosome)
    dosages = standardised_dosages(snvs)
    regions = causal_regions(open_regions, snvs)
    effects, phenotype = simulate(regions, dosages)
    return {
        "cohort.vcf.gz": build_vcf(samples, snvs),
        "cohort_phenotypes.tsv": phenotype_table(samples, principal_components(dosages), phenotype),
        "cohort_causal_regions.tsv": causal_table(regions, snvs, effects),
    }
