"""Accessibility across cell types: is a region open in a cell type that nothing was learnt from?"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from genebert.benchmarks.tasks.assemble import assemble
from genebert.benchmarks.tasks.material import Material
from genebert.catalogue import read_accessibility, read_regions
from genebert.config import AccessibilityTask as Settings
from genebert.errors import GenebertError
from genebert.genome import SPLITS

CLASSES = ["closed", "open"]


class Catalogue(NamedTuple):
    """Where regions lie and in which cell types they are open.

    Attributes
    ----------
    regions
        DataFrame of region_id, chrom, start, end, split, in genome order.
    cell_types
        Their names, sorted.
    is_open
        bool [regions, cell types].
    training
        bool [cell types]: neither for validation nor for testing.
    """

    regions: pd.DataFrame
    cell_types: list[str]
    is_open: np.ndarray
    training: np.ndarray


def check(
    settings: Settings, name: str, files: Mapping[str, Path], lengths: Mapping[str, int], contigs: str
) -> dict[str, int]:
    """Return nothing: the task has no files of its own."""
    return {}


def build(settings: Settings, files: Mapping[str, Path], material: Material, out: str | Path) -> str:
    """Write the dataset of the task; return lines on it.

    An example is a region and a cell type; its label says whether the one is open in the other. Training
    examples are training regions in training cell types; validation and test examples are held-out
    regions in held-out cell types.

    The regions of a cell type's examples are those that are open in some *other* training cell type. A
    region that the catalogue has from one cell type alone is open there by construction: that it is
    listed would give the label away. ``open_in_training`` does not look at the example's own cell type,
    either. A region is of the subset ``variable`` if it is open in some but not all of the training cell
    types, else ``constant``; training examples have none, for theirs would speak of their label.

    The matrix describes the cell type: its columns are training regions that are open in it
    (:func:`describe`).

    Parameters
    ----------
    settings
        Of the task. With ``max_examples``, so many of each split, cell type and label are drawn before
        anything else is made of them.
    files
        None.
    material
        What tasks are built from.
    out
        ``dataset.parquet``.

    Raises
    ------
    GenebertError
        If a held-out cell type is in no sample, fewer than two are left to train in, or a split is left
        without examples of a class.
    """
    rng = np.random.default_rng(settings.seed)
    catalogue = read_catalogue(material)
    held_out = {split: list(material.cell_types.get(split, ())) for split in SPLITS[1:]}
    names = [n for n, kept in zip(catalogue.cell_types, catalogue.training, strict=True) if kept]
    tables, columns = [], []
    for split in SPLITS:
        for cell_type in held_out.get(split, names):
            table = _examples(catalogue, cell_type, split, settings.max_examples, rng)
            tables.append(table)
            columns.append(describe(catalogue, table, cell_type, material, rng))
    number = int(catalogue.is_open[:, catalogue.training].any(axis=1).sum())
    told = f"{number} of {len(catalogue.regions)} regions are open in a training cell type"
    counts = assemble(
        pd.concat(tables, ignore_index=True),
        CLASSES,
        settings,
        material,
        out,
        columns=np.concatenate(columns),
        training_cell_types=names,
        held_out_cell_types=held_out,
    )
    told += "".join(f"; {split} in {', '.join(held_out.get(split, names))}" for split in SPLITS)
    return f"{told}\n{counts}"


def read_catalogue(material: Material) -> Catalogue:
    """Read the catalogue, and check the cell types that are held out.

    Raises
    ------
    GenebertError
        If one is in no sample, or fewer than two are left to train in.
    """
    regions = read_regions(material.regions).to_pandas()
    views = read_accessibility(material.accessibility).to_pandas()
    code, names = pd.factorize(views["cell_type"], sort=True)
    cell_types = [str(name) for name in names]
    is_open = np.zeros((len(regions), len(cell_types)), dtype=bool)
    is_open[views["region_id"].to_numpy(), code] = True
    for split, held_out in material.cell_types.items():
        if unknown := [name for name in held_out if name not in cell_types]:
            raise GenebertError(
                f"the held-out cell type '{unknown[0]}' is in no sample",
                f"use some of {', '.join(cell_types)}",
                f"cell_types.{split}",
            )
    training = ~np.isin(cell_types, [name for held in material.cell_types.values() for name in held])
    if (left := int(training.sum())) < 2:
        raise GenebertError(
            f"task '{material.name}' trains across cell types, but {left} is left to train in",
            "hold out fewer, or add samples of other cell types",
            "cell_types",
        )
    return Catalogue(regions, cell_types, is_open, training)


def _examples(
    catalogue: Catalogue, cell_type: str, split: str, most: int | None, rng: np.random.Generator
) -> pd.DataFrame:
    """Return the examples of a cell type: at most ``most`` of each label, in genome order."""
    regions, is_open = catalogue.regions, catalogue.is_open
    own = catalogue.cell_types.index(cell_type)
    others = catalogue.training.copy()
    others[own] = False
    fraction = is_open[:, others].mean(axis=1)
    rows = np.flatnonzero((regions["split"] == split).to_numpy() & (fraction > 0))
    if most is not None:
        labels = is_open[rows, own]
        rows = np.sort(np.concatenate([_some(rows[labels == label], most, rng) for label in (0, 1)]))
    # Whether a training region varies depends on whether it is open here.
    variable = np.where(fraction[rows] < 1, "variable", "constant")
    return (
        regions.loc[rows, ["region_id", "chrom", "start", "end"]]
        .assign(
            strand="+",
            label=is_open[rows, own].astype(np.int64),
            cell_type=cell_type,
            split=split,
            subset="" if split == "train" else variable,
            open_in_training=fraction[rows].astype(np.float32),
        )
        .reset_index(drop=True)
    )


def _some(rows: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    return rows if len(rows) <= most else rng.choice(rows, most, replace=False)


def describe(
    catalogue: Catalogue,
    examples: pd.DataFrame,
    cell_type: str,
    material: Material,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return int64 [n, R], regions that describe the cell type, in genome order; −1 in the focal column.

    They are training regions that are open in it: of the n that there are, cut into as many stretches as
    there are columns, of equal numbers but for one, one of each stretch. None lies within a block
    (``block_bp``) of its example, so that none is the example's own region, and no neighbour of it.

    Every example of a cell type has as many columns, however many regions lie near it, and whether its
    own would have been among them.

    Parameters
    ----------
    catalogue
        All regions.
    examples
        chrom, start, end of examples in one cell type.
    cell_type
        Its name.
    material
        Number of columns and length of a block.
    rng
        Decides the draw.
    """
    regions = catalogue.regions
    is_open = catalogue.is_open[:, catalogue.cell_types.index(cell_type)]
    pool = regions[is_open & (regions["split"] == "train").to_numpy()].reset_index(drop=True)
    first, last = _near(pool, examples, material.block_bp)
    left = len(pool) - (last - first)
    number = int(min(material.columns - 1, left.min(initial=material.columns - 1)))
    found = np.full((len(examples), material.columns), -1, dtype=np.int64)
    if not number:
        return found
    # Columns beside the focal one, and as many on both sides where there are too few.
    focal = material.columns // 2
    slots = np.delete(np.arange(material.columns), focal)
    begin = (len(slots) - number) // 2
    # Whole numbers: stretches that shared a region could draw it twice.
    edges = np.arange(number + 1) * left[:, None] // number
    row = edges[:, :-1] + (rng.random((len(examples), number)) * np.diff(edges)).astype(np.int64)
    # Over the gap where regions near the example were.
    row += np.where(row >= first[:, None], (last - first)[:, None], 0)
    found[:, slots[begin : begin + number]] = pool["region_id"].to_numpy().astype(np.int64)[row]
    return found


def _near(pool: pd.DataFrame, examples: pd.DataFrame, distance: int) -> tuple[np.ndarray, np.ndarray]:
    """Return first and last-plus-one row of the pool's regions within a distance of each example."""
    first, last = (np.zeros(len(examples), dtype=np.int64) for _ in range(2))
    of_contig: Mapping[str, np.ndarray] = pool.groupby("chrom", sort=False).indices
    for chrom, rows in examples.groupby("chrom", sort=False).indices.items():
        if chrom in of_contig:
            own = of_contig[str(chrom)]
            starts, ends = pool["start"].to_numpy()[own], pool["end"].to_numpy()[own]
            low = examples["start"].to_numpy()[rows] - distance
            high = examples["end"].to_numpy()[rows] + distance
            first[rows] = own[0] + np.searchsorted(ends, low, side="right")
            last[rows] = own[0] + np.searchsorted(starts, high, side="left")
    return first, last
