"""Variants: those that matter against those that do not, scored as they are or by cross-validation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from genebert.benchmarks.tasks.assemble import assemble, first_by_hash
from genebert.benchmarks.tasks.folds import folds_of, sets_of
from genebert.benchmarks.tasks.material import Material
from genebert.config import VariantsTask as Settings
from genebert.errors import GenebertError
from genebert.genome import Genome, Interval, SegmentIndex
from genebert.inputs.variants import (
    Variants,
    check_reference,
    is_indel,
    normal_label,
    read_variants,
)

CLASSES = ["control", "effect"]
LEFT_OUT = -1


def check(
    settings: Settings, name: str, files: Mapping[str, Path], lengths: Mapping[str, int], contigs: str
) -> dict[str, int]:
    """Read every file of the task in full; return how many variants each holds.

    Reference alleles are compared with the genome when the task is built.

    Raises
    ------
    GenebertError
        If one does not fit the genome, or a class has no variant.
    """
    found = _read(settings, f"benchmarks.tasks.{name}", files, lengths, contigs)
    labels_of(found.table["label"], settings, files["variants"])
    return {"variants": len(found.table)}


def build(settings: Settings, files: Mapping[str, Path], material: Material, out: str | Path) -> str:
    """Write the dataset of the task; return a line on it.

    Every variant is in the test split, whatever its chromosome: a model that learns from no label needs
    no other. ``subset`` is ``held_out`` where pre-training did not see the stretch that the window lies
    in, else ``pretraining``; ``fold`` is that of a cross-validation, for models that learn from labels;
    it cuts no matched set.

    Parameters
    ----------
    settings
        Of the task.
    files
        ``variants``: VCF or table.
    material
        What tasks are built from.
    out
        ``dataset.parquet``. Its metadata say how many of its variants are ``in_pretraining`` (and
        ``in_pretraining_fraction``), and what :func:`indel_facts` tells.

    Raises
    ------
    GenebertError
        If a reference allele is not the genome's, a class has no variant, there are fewer chromosomes
        and blocks than folds, or the cell type is unknown.
    """
    genome, path = material.genome, files["variants"]
    found = _read(settings, material.where, files, genome.lengths, material.contigs)
    check_reference(found.table, genome, path)
    labels = labels_of(found.table["label"], settings, path)
    labelled = found.table.assign(label=labels)[labels != LEFT_OUT]
    table, unusable = windows(labelled, genome, settings.width)
    _check_classes(table, path, unusable)
    table = table.sort_values(["chrom", "position", "ref", "alt"]).assign(
        strand="+",
        cell_type=settings.cell_type,
        split="test",
    )
    if settings.max_examples is not None:
        # Before folds are made and variants counted; `assemble` then leaves it at that.
        table = table.iloc[first_by_hash(table, settings.max_examples, settings.seed)].copy()
    table["subset"] = subsets(table, material.index)
    sets = None if settings.group is None else sets_of(table)
    table["fold"], matching = folds_of(table, settings.folds, material.block_bp, material.where, sets)
    seen = int((table["subset"] == "pretraining").sum())
    counts = assemble(
        table.drop(columns=["line", "ref", "alt", "id", "position", "group"], errors="ignore"),
        CLASSES,
        settings,
        material,
        out,
        needed_splits=("test",),
        in_pretraining=seen,
        in_pretraining_fraction=seen / len(table),
        **indel_facts(table),
    )
    reasons = {"with another label": int((labels == LEFT_OUT).sum())} | found.dropped | unusable
    left_out = ", ".join(f"{number} {reason}" for reason, number in reasons.items() if number)
    return (
        f"{len(table)} variants of {len(labelled)} with a label of either class, {seen} of them in "
        f"stretches of pre-training; left out: {left_out or 'none'}\n"
        + (matching and f"{matching}\n")
        + counts
    )


def _read(
    settings: Settings,
    where: str,
    files: Mapping[str, Path],
    lengths: Mapping[str, int],
    contigs: str,
) -> Variants:
    return read_variants(
        files["variants"],
        settings.label,
        settings.indels,
        settings.contig_style,
        where,
        lengths,
        contigs,
        settings.group,
    )


def labels_of(values: pd.Series, settings: Settings, path: str | Path) -> pd.Series:
    """Return int64 labels: 1 and 0 as the settings name their values, −1 for any other.

    Raises
    ------
    GenebertError
        If a class has no variant; it names the values there are.
    """
    classes = [
        normal_label(pd.Series(names)).unique() for names in (settings.negative, settings.positive)
    ]
    both = sorted(set(classes[0]) & set(classes[1]))
    if both:
        raise GenebertError(f"label '{both[0]}' is both positive and negative", "name it once")
    labels = pd.Series(LEFT_OUT, index=values.index, dtype="int64")
    for label, (key, own) in enumerate(zip(("negative", "positive"), classes, strict=True)):
        labels[values.isin(own)] = label
        if not (labels == label).any():
            seen = values.value_counts().head(8)
            raise GenebertError(
                f"no variant has a label of `{key}` ({', '.join(own)}); '{settings.label}' is "
                + ", ".join(f"'{value}' ({number})" for value, number in seen.items()),
                f"correct `{key}` or `label`",
                str(path),
            )
    return labels


def windows(table: pd.DataFrame, genome: Genome, width: int) -> tuple[pd.DataFrame, dict[str, int]]:
    """Cut the window of each variant from the genome, with either allele.

    The variant's first base is base ``width // 2`` of the window, on the forward strand. The alternative
    begins where the window does and has its width too: an insertion pushes bases out on the right, where
    a deletion takes more from the genome.

    Parameters
    ----------
    table
        chrom, start, ref, alt, as :func:`genebert.inputs.variants.read_variants` returns them.
    genome
        Sequence.
    width
        In bp.

    Returns
    -------
    table
        The rows whose window can be used, under their own index: ``start`` and ``end`` are those of the
        window, ``position`` is the variant's (0-based); with ``sequence`` and ``alternative``.
    dropped
        How many others there are, by reason: the window leaves the contig, an allele is longer than the
        half of it, or there is an N.
    """
    before = width // 2
    longest = np.maximum(table["ref"].str.len(), table["alt"].str.len()).to_numpy(np.int64)
    first = table["start"].to_numpy(np.int64) - before
    deleted = (table["ref"].str.len() - table["alt"].str.len()).clip(lower=0).to_numpy(np.int64)
    long = longest > width - before
    ends = table["chrom"].map(genome.lengths).to_numpy(np.int64)
    outside = ~long & ((first < 0) | (first + width + deleted > ends))
    sequences, alternatives = [], []
    for row, start, more, usable in zip(
        table.itertuples(index=False), first, deleted, ~long & ~outside, strict=True
    ):
        if not usable:
            sequences.append("")
            alternatives.append("")
            continue
        bases = genome.fetch(Interval(row.chrom, int(start), int(start + width + more)))
        sequences.append(bases[:width])
        alternatives.append((bases[:before] + row.alt + bases[before + len(row.ref) :])[:width])
    cut = table.assign(
        start=first,
        end=first + width,
        position=table["start"],
        sequence=sequences,
        alternative=alternatives,
    )
    unknown = (cut["sequence"].str.contains("N") | cut["alternative"].str.contains("N")).to_numpy(bool)
    dropped = {
        "with an allele longer than half the window": int(long.sum()),
        "whose window leaves the contig": int(outside.sum()),
        "with N in the window": int(unknown.sum()),
    }
    cut = cut[~(long | outside | unknown)]
    assert (cut["sequence"].str.len() == width).all()
    assert (cut["alternative"].str.len() == width).all()
    return cut, dropped


def indel_facts(table: pd.DataFrame) -> dict[str, Any]:
    """Return for metadata how many ``indels`` there are, and the name of the ``first_indel``."""
    changed = table[is_indel(table)]
    if changed.empty:
        return {"indels": 0}
    first = changed.iloc[0]
    name = f"{first['chrom']}:{first['position'] + 1} {first['ref']}>{first['alt']}"
    return {"indels": len(changed), "first_indel": name}


def subsets(table: pd.DataFrame, index: SegmentIndex) -> list[str]:
    """Return ``held_out`` for windows within one validation or test segment, else ``pretraining``."""
    found = []
    for row in table.itertuples(index=False):
        segment = index.around(Interval(row.chrom, row.start, row.end))
        held_out = segment is not None and segment.split != "train"
        found.append("held_out" if held_out else "pretraining")
    return found


def _check_classes(table: pd.DataFrame, path: str | Path, unusable: Mapping[str, int]) -> None:
    for label, name in enumerate(CLASSES):
        if not (table["label"] == label).any():
            reasons = ", ".join(f"{number} {reason}" for reason, number in unusable.items() if number)
            raise GenebertError(
                f"no window of class {name} can be used ({reasons})",
                "use variants of the genome's assembly, or a smaller `width`",
                str(path),
            )
