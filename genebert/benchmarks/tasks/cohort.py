"""Individuals with and without a phenotype: the variants of their open regions, and who they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from genebert.benchmarks.dataset import read_dataset
from genebert.benchmarks.individuals import Individuals, write_individuals
from genebert.benchmarks.nested_cv import INNER, stratified_folds
from genebert.benchmarks.tasks.assemble import assemble
from genebert.benchmarks.tasks.columns import open_regions
from genebert.benchmarks.tasks.material import Material
from genebert.benchmarks.tasks.variants import indel_facts, windows
from genebert.config import CohortTask as Settings
from genebert.errors import GenebertError
from genebert.inputs.phenotypes import SAMPLE, read_phenotypes
from genebert.inputs.variants import check_reference, read_genotypes

CLASSES = ["control", "case"]
# Of each class in each cell of the folds: with fewer, nothing is left to permute.
LEAST = 2
# What tells a variant of the dataset.
_KEY = ["chrom", "start", "end", "alternative"]
_NOWHERE = -1


@dataclass(frozen=True)
class _Cohort:
    """Individuals of both files, by name, and all usable variants.

    Attributes
    ----------
    people
        DataFrame of ``sample``, ``label`` and covariates.
    variants
        DataFrame of variants, rows numbered from 0.
    dosage
        int8 [individuals, variants].
    counts
        How many individuals are in one file only, and how many alleles were dropped, by reason.
    """

    people: pd.DataFrame
    variants: pd.DataFrame
    dosage: np.ndarray
    counts: dict[str, int]


def check(
    settings: Settings, name: str, files: Mapping[str, Path], lengths: Mapping[str, int], contigs: str
) -> dict[str, int]:
    """Read every file of the task in full; return how many variants and individuals of both there are.

    Reference alleles are compared with the genome when the task is built.

    Raises
    ------
    GenebertError
        If one does not fit the genome or the other, or a class has too few individuals.
    """
    cohort = _read(settings, f"benchmarks.tasks.{name}", files, lengths, contigs)
    return {"genotypes": len(cohort.variants), "phenotypes": len(cohort.people)}


def build(
    settings: Settings,
    files: Mapping[str, Path],
    material: Material,
    out: str | Path,
    companion: str | Path,
) -> str:
    """Write the variants and the individuals of the task; return a line on them.

    The dataset's rows are variants, which are neither cases nor controls: their ``label`` is 0 and means
    nothing. What is predicted are the individuals, in the companion.

    Parameters
    ----------
    settings
        Of the task.
    files
        ``genotypes``: VCF; ``phenotypes``: table of individuals.
    material
        What tasks are built from.
    out
        ``dataset.parquet``: the variants whose first base lies in an open region, and whose alternate
        allele is there but no more frequent than ``max_frequency`` among the individuals in use (two
        copies a call).
    companion
        ``individuals.parquet``, see :class:`genebert.benchmarks.individuals.Individuals`: those in both
        files, by name, in folds that the task's seed draws.

    Raises
    ------
    GenebertError
        If a reference allele is not the genome's, no variant can be used, or a class has too few
        individuals; or what the readers of the files raise.
    """
    genome, path = material.genome, files["genotypes"]
    cohort = _read(settings, material.where, files, genome.lengths, material.contigs)
    regions = open_regions(material.regions, material.accessibility, settings.cell_type, material.where)
    region = regions_of(cohort.variants, regions)
    frequency = frequencies(cohort.dosage)
    outside, frequent = region == _NOWHERE, frequency > settings.max_frequency
    usable = ~outside & (frequency > 0) & ~frequent
    reasons = cohort.counts | {
        "variants outside open regions": int(outside.sum()),
        "that nobody has": int((~outside & (frequency == 0)).sum()),
        f"above a frequency of {settings.max_frequency}": int((~outside & frequent).sum()),
    }
    table = cohort.variants.assign(region=region)[usable]
    _check_some(table, reasons, material)
    check_reference(table, genome, path)
    cut, dropped = windows(table, genome, settings.width)
    reasons |= dropped
    _check_some(cut, reasons, material)
    _check_distinct(cut, path)
    # In an order of their own: that of the VCF does not decide between alleles of one place.
    examples = cut[[*_KEY, "sequence"]].sort_values(_KEY)
    assemble(
        examples.assign(strand="+", label=0, cell_type=settings.cell_type, split="test"),
        CLASSES,
        settings,
        material,
        out,
        needed_splits=(),
        simulated=settings.simulated,
        phenotype=settings.phenotype,
        individuals=len(cohort.people),
        **indel_facts(cut),
    )
    individuals = _individuals(settings, cohort, in_dataset(cut, out), regions)
    write_individuals(individuals, companion)
    return (
        f"{len(cohort.people)} individuals, {int(individuals.labels.sum())} of them cases of "
        f"{'SIMULATED ' if settings.simulated else ''}'{settings.phenotype}'; "
        f"{len(individuals.region)} variants in {len(individuals.places)} open regions, "
        f"{int((individuals.dosage < 0).sum())} genotypes missing; left out: {_listed(reasons)}"
    )


def _read(
    settings: Settings,
    where: str,
    files: Mapping[str, Path],
    lengths: Mapping[str, int],
    contigs: str,
) -> _Cohort:
    people = read_phenotypes(files["phenotypes"], settings.phenotype, settings.covariates, where)
    found = read_genotypes(
        files["genotypes"], settings.contig_style, lengths, contigs, settings.indels, where
    )
    column = {sample: number for number, sample in enumerate(found.samples)}
    # By name: what order the files have must not decide the folds.
    both = people[people[SAMPLE].isin(column)].sort_values(SAMPLE).reset_index(drop=True)
    if both.empty:
        raise GenebertError(
            f"no sample of {files['phenotypes']} is in the VCF: '{people[SAMPLE].iloc[0]}' against "
            f"'{found.samples[0]}'",
            "name individuals alike in both files",
            where,
        )
    _check_classes(both["label"].to_numpy(), settings.folds, where)
    order = [column[sample] for sample in both[SAMPLE]]
    counts = {
        "individuals without genotypes": len(people) - len(both),
        "individuals without a phenotype": len(found.samples) - len(both),
        **{f"alleles: {reason}": number for reason, number in found.dropped.items()},
    }
    return _Cohort(both, found.table, np.ascontiguousarray(found.dosage[:, order].T), counts)


def _check_classes(labels: np.ndarray, folds: int, where: str) -> None:
    least = LEAST * INNER * folds
    cases = int(labels.sum())
    if min(cases, len(labels) - cases) < least:
        raise GenebertError(
            f"{cases} cases and {len(labels) - cases} controls are in both files; {folds} folds, with "
            f"{INNER} within each, need {least} of either",
            "lower `folds`, or give more individuals",
            where,
        )


def regions_of(variants: pd.DataFrame, regions: pd.DataFrame) -> np.ndarray:
    """Return int64 [variants], id of the region that holds a variant's first base; −1 for none.

    Parameters
    ----------
    variants
        ``chrom`` and ``start`` (0-based), in any order.
    regions
        ``region_id``, ``chrom``, ``start``, ``end``; sorted by start on each contig, without overlaps.
    """
    found = np.full(len(variants), _NOWHERE, dtype=np.int64)
    position = variants["start"].to_numpy(np.int64)
    of_contig = dict(iter(regions.groupby("chrom", sort=False)))
    for chrom, rows in variants.groupby("chrom", sort=False).indices.items():
        if chrom not in of_contig:
            continue
        own = of_contig[chrom]
        starts, ends, ids = (own[name].to_numpy(np.int64) for name in ("start", "end", "region_id"))
        assert (starts[1:] >= ends[:-1]).all(), "regions are sorted and do not overlap"
        last = np.searchsorted(starts, position[rows], side="right") - 1
        inside = (last >= 0) & (position[rows] < ends[last])
        found[rows[inside]] = ids[last[inside]]
    return found


def frequencies(dosage: np.ndarray) -> np.ndarray:
    """Return float64 [variants], the alternate alleles' share of known calls, two copies a call.

    0 where no call of int8 [individuals, variants] is known.
    """
    known = dosage >= 0
    copies = np.where(known, dosage, 0).sum(0, dtype=np.int64)
    return copies / np.maximum(2 * known.sum(0, dtype=np.int64), 1)


def _check_some(table: pd.DataFrame, reasons: Mapping[str, int], material: Material) -> None:
    if table.empty:
        raise GenebertError(
            f"task '{material.name}' has no variant in an open region (left out: {_listed(reasons)})",
            "give variants of the genome's assembly in regions of `cell_type`, or raise `max_frequency`",
            f"{material.where}.genotypes",
        )


def _listed(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {reason}" for reason, number in reasons.items() if number) or "none"


def _check_distinct(cut: pd.DataFrame, path: str | Path) -> None:
    """Refuse two lines that say the same of the sequence, such as A>G and AT>GT."""
    again = cut.duplicated(_KEY, keep=False)
    if again.any():
        pair = cut[again].sort_values([*_KEY, "line"]).iloc[:2]
        first, second = (f"{row.ref}>{row.alt}" for row in pair.itertuples())
        raise GenebertError(
            f"{first} and {second} at {pair['chrom'].iloc[0]}:{pair['position'].iloc[0] + 1} are one "
            "change of the sequence",
            "normalise the VCF (`bcftools norm`), and remove one of the lines",
            f"{path} lines {pair['line'].iloc[0]} and {pair['line'].iloc[1]}",
        )


def in_dataset(cut: pd.DataFrame, dataset: str | Path) -> pd.DataFrame:
    """Return the dataset's variants in its order: ``row`` (the index in ``cut``) and ``region``.

    The dataset may hold fewer variants, and in another order: they are joined by what they are.
    """
    written = read_dataset(dataset).table
    assert (written["example_id"].to_numpy() == np.arange(len(written))).all()
    own = cut[[*_KEY, "region"]].assign(row=cut.index)
    joined = written[_KEY].merge(own, on=_KEY, how="left", validate="one_to_one")
    assert len(joined) == len(written)
    assert joined["row"].notna().all(), "each variant of the dataset is one of the cohort"
    return joined[["row", "region"]].astype("int64")


def _individuals(
    settings: Settings, cohort: _Cohort, variants: pd.DataFrame, regions: pd.DataFrame
) -> Individuals:
    folds = stratified_folds(cohort.people["label"].to_numpy(), settings.folds, settings.seed)
    own = regions[regions["region_id"].isin(variants["region"])]
    return Individuals(
        table=cohort.people.assign(fold=folds.outer, inner_fold=folds.inner),
        dosage=cohort.dosage[:, variants["row"].to_numpy()],
        region=variants["region"].to_numpy(),
        places={
            int(row.region_id): f"{row.chrom}:{row.start}-{row.end}"
            for row in own.itertuples(index=False)
        },
    )
