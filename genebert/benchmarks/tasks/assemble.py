"""The end of every task: places with labels -> ``dataset.parquet``."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from genebert.benchmarks.dataset import write_dataset
from genebert.benchmarks.tasks.columns import columns_beside, occupancy
from genebert.benchmarks.tasks.material import Material
from genebert.catalogue import catalogue_digest
from genebert.config import Task
from genebert.errors import GenebertError
from genebert.genome import SPLITS, Interval, reverse_complement
from genebert.motifs.scan import Scanner

PLACE = ["chrom", "start", "end", "strand"]
_TEXTS = ("sequence", "alternative")


def assemble(
    table: pd.DataFrame,
    classes: Sequence[str],
    settings: Task,
    material: Material,
    out: str | Path,
    columns: np.ndarray | None = None,
    needed_splits: Sequence[str] = SPLITS,
    **metadata: Any,
) -> str:
    """Cap, order, read, scan and write the examples of a task; return a line on them.

    Parameters
    ----------
    table
        chrom, start, end, strand, label, cell_type, split, and what else of the flat columns of the
        contract the task has. Sequences are read from the genome on the example's strand where there is
        no column ``sequence``. An example without a place has an empty chrom, or one that the genome
        lacks; it needs a sequence.
    classes
        Names of the labels.
    settings
        Of the task; kept with the dataset.
    material
        What tasks are built from.
    out
        ``dataset.parquet``.
    columns
        int64 [n, R], region ids of each row of ``table``, −1 for none and in the focal column; without
        it, the regions beside each place that are open in its cell type.
    needed_splits
        Splits that must have an example of each class.
    metadata
        More to keep with the dataset.

    Raises
    ------
    GenebertError
        If a split lacks a class, or a cell type is in no sample.
    """
    kept = np.arange(len(table))
    if settings.max_examples is not None:
        kept = first_by_hash(table, settings.max_examples, settings.seed)
    rows = table.iloc[kept].copy()
    ranks = {chrom: rank for rank, chrom in enumerate(material.genome.lengths)}
    rows["_rank"] = rows["chrom"].map(ranks).fillna(-1)
    rows["_row"] = kept
    order = ["_rank", "start", "end", "strand", "cell_type", "label", "_row"]
    rows = rows.sort_values(order, kind="stable").reset_index(drop=True)
    _check_splits(rows, classes, needed_splits, material)
    if "sequence" not in rows:
        rows["sequence"] = [oriented(material, row) for row in rows.itertuples(index=False)]
    if columns is None:
        beside = columns_beside(
            rows,
            material.regions,
            material.accessibility,
            material.index,
            material.columns,
            material.where,
        )
    else:
        beside = columns[rows["_row"].to_numpy()]
    assert (beside[:, material.columns // 2] == -1).all(), "a focal column would hold the label"
    if "occupancy" not in rows:
        rows["occupancy"] = occupancy(rows, material.regions, material.index)
    scanner = Scanner(material.motifs)
    alternatives = "alternative" in rows
    write_dataset(
        rows.drop(columns=["_rank", "_row"]),
        _hits(scanner, rows["sequence"]),
        beside,
        {
            "type": settings.type,
            "task": material.name,
            "classes": list(classes),
            "motif_digest": material.motifs.digest(),
            "catalogue": catalogue_digest(material.regions),
            "settings": settings.model_dump(exclude={"models"}),
            **metadata,
        },
        out,
        _hits(scanner, rows["alternative"]) if alternatives else None,
    )
    return label_counts(rows, classes)


def oriented(material: Material, row: Any) -> str:
    """Return the sequence of a row's chrom, start and end, on its strand."""
    sequence = material.genome.fetch(Interval(row.chrom, row.start, row.end))
    return sequence if row.strand == "+" else reverse_complement(sequence)


def label_counts(table: pd.DataFrame, classes: Sequence[str]) -> str:
    """Return ``split: class n, …`` for a log."""
    counts = table.groupby(["split", "label"]).size()
    return "; ".join(
        f"{split}: " + ", ".join(f"{name} {counts.get((split, i), 0)}" for i, name in enumerate(classes))
        for split in SPLITS
        if (table["split"] == split).any()
    )


def first_by_hash(table: pd.DataFrame, number: int, seed: int) -> np.ndarray:
    """Return int64 rows: of each label, split and cell type the first ``number`` by a keyed hash.

    The draw does not depend on the order of rows, and a smaller one is part of a larger.

    Parameters
    ----------
    table
        As for :func:`assemble`.
    number
        Rows to keep.
    seed
        Key of the hash.
    """
    names = [*PLACE, "cell_type", *(name for name in _TEXTS if name in table)]
    keys = [
        hashlib.sha256(f"{seed}\t{row}".encode()).hexdigest()
        for row in zip(*(table[name] for name in names), strict=True)
    ]
    order = np.argsort(np.array(keys, dtype="S64"), kind="stable")
    groups = table.iloc[order].groupby(["split", "label", "cell_type"], sort=False).cumcount()
    return np.sort(order[groups.to_numpy() < number])


def _check_splits(
    rows: pd.DataFrame, classes: Sequence[str], needed: Sequence[str], material: Material
) -> None:
    for split in needed:
        labels = set(rows.loc[rows["split"] == split, "label"])
        missing = [name for label, name in enumerate(classes) if label not in labels]
        if missing:
            raise GenebertError(
                f"task '{material.name}' has no {split} example of class {', '.join(missing)}",
                "hold out places (genome.split) that hold some, or give more intervals",
                material.where,
            )


def _hits(scanner: Scanner, sequences: pd.Series) -> tuple[list[np.ndarray], list[np.ndarray]]:
    found = scanner.scan(sequences.tolist())
    bounds = np.searchsorted(found.sequence, np.arange(1, len(sequences)))
    return np.split(found.motif, bounds), np.split(found.score, bounds)
