"""What a task's held-out examples share with training and pre-training, and what gives labels away."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy.stats import ks_2samp
from sklearn.metrics import roc_auc_score

from genebert.benchmarks.checks import NONE, Check
from genebert.benchmarks.dataset import Dataset, read_dataset
from genebert.benchmarks.individuals import read_individuals_of
from genebert.benchmarks.kinship import checks_of_individuals
from genebert.benchmarks.overlaps import Places, canonical_ids, overlaps_any, places_of
from genebert.corpus.columns import refuse
from genebert.corpus.manifest import read_manifest
from genebert.errors import GenebertError, first_line
from genebert.files import open_text_for_writing
from genebert.genome import SPLITS
from genebert.sequence.codes import PADDING, encode_column
from genebert.sequence.sketch import containment

# A held-out example is related to others if they hold so much of its sketch: a copy that differs in 5
# bases of 100 keeps a third, unrelated sequence nothing.
RELATED = 0.2
# Relatives that a split by chromosome leaves, repeats above all; more are paralogs or copies.
RELATIVES = 0.1
# Distance of two distributions (Kolmogorov-Smirnov) that matching within a few per cent stays below.
DISTANCE = 0.1
# AUROC of one plain property: above it, a model need not read sequence to be called good.
AUROC = 0.6
# Standard errors (of 1 in 20 cases) added to these two limits, for few examples go further by chance.
_KS_ERRORS, _AUROC_ERRORS = 1.36, 1.645
_BINS = 10
_ROWS = 1 << 14
# Published examples lie where they lie: what pre-training saw of them is told, not held against them.
_TOLD = ("labelled", "variants", "cohort")


class _Regions(NamedTuple):
    """Where the catalogue's regions lie, by id, and in which split: 0 train, 1 validation, 2 test."""

    contigs: list[str]
    places: Places
    split: np.ndarray


def write_leakage(
    dataset_path: str | Path, corpus_folder: str | Path, out: str | Path, companion: Path | None = None
) -> str:
    """Write the checks of a task as TSV: check, value, limit, flagged, meaning; return a line on it.

    Parameters
    ----------
    dataset_path
        ``dataset.parquet``.
    corpus_folder
        Of the regions that columns are of and that pre-training saw. Read a block at a time.
    out
        TSV file.
    companion
        What the task keeps beside its examples; of a cohort its individuals, which are checked too.

    Raises
    ------
    GenebertError
        If a file is damaged, the dataset is of another corpus, or a cohort lacks its individuals.
    """
    checks = check_dataset(read_dataset(dataset_path), corpus_folder, companion)
    with open_text_for_writing(out) as text:
        rows = csv.writer(text, delimiter="\t", lineterminator="\n")
        rows.writerow(["check", "value", "limit", "flagged", "meaning"])
        for check in checks:
            value, limit = ("" if v is None else f"{v:.4g}" for v in (check.value, check.limit))
            rows.writerow([check.check, value, limit, "yes" if check.flagged else "no", check.meaning])
    flagged = [check.check for check in checks if check.flagged]
    return f"{len(checks)} checks; flagged: {', '.join(flagged) or 'none'}"


def check_dataset(
    dataset: Dataset, corpus_folder: str | Path, companion: Path | None = None
) -> list[Check]:
    """Return all checks that apply to a dataset.

    Raises
    ------
    GenebertError
        If the dataset is of another corpus, a part of the corpus is damaged, or a cohort lacks its
        individuals.
    """
    manifest = read_manifest(corpus_folder)
    if dataset.metadata["catalogue"] != manifest["metadata"]["catalogue"]:
        raise GenebertError("dataset and corpus have other regions", "rebuild the task")
    regions = _read_regions(Path(corpus_folder), manifest)
    rounds = rounds_of(dataset.table)
    return [
        *_between_splits(dataset, rounds),
        *_with_pretraining(dataset, regions, Path(corpus_folder), manifest),
        *_in_columns(dataset, regions),
        *_contradictions(dataset),
        *_between_classes(dataset),
        *_alone(dataset, rounds),
        *_between_individuals(dataset, companion),
    ]


def rounds_of(table: pd.DataFrame) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return rows that are predicted, and rows that are learnt from, of each time a model is trained.

    With splits there is one round; in a cross-validation, one a fold; otherwise none.
    """
    split, fold = table["split"].to_numpy(), table["fold"].to_numpy()
    if (split == "train").any():
        return [(np.flatnonzero(split != "train"), np.flatnonzero(split == "train"))]
    return [
        (np.flatnonzero(fold == number), np.flatnonzero((fold != number) & (fold >= 0)))
        for number in np.unique(fold[fold >= 0])
    ]


def _between_splits(dataset: Dataset, rounds: list[tuple[np.ndarray, np.ndarray]]) -> Iterator[Check]:
    table = dataset.table
    if not rounds:
        return
    held_out = np.unique(np.concatenate([held for held, _ in rounds]))
    group = table["split"].replace("across", "test").where(table["fold"] < 0, table["fold"].astype(str))
    ids = pd.Series(canonical_ids(dataset.codes))
    copied = (group.groupby(ids).transform("nunique") > 1).to_numpy()
    yield Check(
        "copies",
        _share(copied[held_out]),
        NONE,
        "share of held-out examples whose sequence, on either strand, another split or fold has too",
    )
    places = places_of(table, [])
    overlaps = [overlaps_any(places.rows(held), places.rows(train)) for held, train in rounds]
    yield Check(
        "overlap_with_training",
        _share(np.concatenate(overlaps)) if (places.contig >= 0).any() else None,
        NONE,
        "share of held-out examples that overlap a training example by 1 bp or more; "
        "empty: no places are known",
    )
    codes = dataset.codes
    related = [containment(codes[held], _blocks(codes[train])) for held, train in rounds]
    yield Check(
        "related_to_training",
        _share_related(np.concatenate(related)),
        RELATIVES,
        f"share of held-out examples of whose 21-mers training examples hold over {RELATED:.0%}: "
        "relatives, which can be recognised rather than understood",
    )


def _with_pretraining(
    dataset: Dataset, regions: _Regions, folder: Path, manifest: Mapping[str, Any]
) -> Iterator[Check]:
    held_out = np.flatnonzero((dataset.table["split"] != "train").to_numpy())
    told = dataset.metadata["type"] in _TOLD
    places = places_of(dataset.table, list(regions.contigs)).rows(held_out)
    training = regions.places.rows(np.flatnonzero(regions.split == 0))
    yield Check(
        "overlap_with_pretraining",
        _share(overlaps_any(places, training)) if (places.contig >= 0).any() else None,
        None if told else NONE,
        "share of held-out examples that overlap a region of the training split, whose sequences "
        "pre-training saw; empty: no places are known",
    )
    related = containment(dataset.codes[held_out], _training_sequences(folder, manifest))
    yield Check(
        "related_to_pretraining",
        _share_related(related),
        None,
        f"share of held-out examples of whose 21-mers such regions together hold over {RELATED:.0%}: "
        "repeats, for the most part; pre-training saw no labels",
    )


def _in_columns(dataset: Dataset, regions: _Regions) -> Iterator[Check]:
    columns = dataset.columns
    assert columns.max(initial=-1) < len(regions.split), "a column is no region of the corpus"
    places = places_of(dataset.table, list(regions.contigs))
    split = _split_of_columns(dataset)
    own, other = np.zeros(len(columns), bool), np.zeros(len(columns), bool)
    for first in range(0, len(columns), _ROWS):
        block = columns[first : first + _ROWS]
        there, rows = block >= 0, slice(first, first + _ROWS)
        place = Places(*(column[rows, None] for column in places))
        region = regions.places.rows(block)
        meets = (place.start < region.end) & (region.start < place.end)
        own[rows] = (there & meets & (place.contig == region.contig)).any(1)
        of = regions.split[block]
        # Where the example itself has no split, all its columns must be of one.
        single = np.where(there, of, -1).max(1)
        wanted = np.where(split[rows] < 0, single, split[rows])
        other[rows] = (there & (of != wanted[:, None])).any(1)
    for name, found, meaning in (
        ("focal_column", columns[:, columns.shape[1] // 2] >= 0, "have a region as focal column"),
        ("own_region", own, "have a column that overlaps them"),
        ("columns_of_other_splits", other, "have a column of a split that is not theirs"),
    ):
        yield Check(
            name,
            _share(found),
            NONE,
            f"share of examples that {meaning}: whether the catalogue holds a place says its label",
        )


def _split_of_columns(dataset: Dataset) -> np.ndarray:
    """Return int64 [n], the split that each example's columns must be of; −1 for any, but one."""
    if dataset.metadata["type"] == "accessibility":
        # They describe the cell type, by training regions only.
        return np.zeros(len(dataset.table), np.int64)
    if dataset.metadata["type"] in _TOLD:
        return np.full(len(dataset.table), -1)
    numbers = {name: number for number, name in enumerate(SPLITS)} | {"across": SPLITS.index("test")}
    return dataset.table["split"].map(numbers).to_numpy(np.int64)


def _contradictions(dataset: Dataset) -> Iterator[Check]:
    table = dataset.table
    same = table.groupby(["sequence", "alternative", "cell_type"], dropna=False, sort=False)
    yield Check(
        "contradictions",
        _share((same["label"].transform("nunique") > 1).to_numpy()),
        NONE,
        "share of examples that another one of the same sequence and cell type contradicts",
    )


def _between_classes(dataset: Dataset) -> Iterator[Check]:
    labels = dataset.labels
    present = [label for label in range(len(dataset.classes)) if (labels == label).any()]
    if len(present) < 2:
        return
    for name, values in _properties(dataset).items():
        if name not in ("gc", "length"):
            continue
        apart = [ks_2samp(values[labels == i], values[labels != i]).statistic for i in present]
        sizes = [(labels == i).sum() for i in present]
        error = max(np.sqrt(len(labels) / (n * (len(labels) - n))) for n in sizes)
        means = ", ".join(f"{dataset.classes[i]} {values[labels == i].mean():.4g}" for i in present)
        yield Check(
            f"{name}_of_classes",
            float(max(apart)),
            float(DISTANCE + _KS_ERRORS * error),
            f"largest distance (0 to 1) between distributions of {name}; means: {means}",
        )


def _alone(dataset: Dataset, rounds: list[tuple[np.ndarray, np.ndarray]]) -> Iterator[Check]:
    labels, is_test = dataset.labels, (dataset.table["split"] == "test").to_numpy()
    rounds = [(held[is_test[held]], train) for held, train in rounds]
    rows = np.concatenate([np.empty(0, np.int64), *(held for held, _ in rounds)])
    counts = np.bincount(labels[rows], minlength=len(dataset.classes))
    if (counts == 0).any():
        return
    error = max(np.sqrt((len(rows) + 1) / (12 * n * (len(rows) - n))) for n in counts)
    for name, values in _properties(dataset).items():
        known = np.isfinite(values)
        scores = np.concatenate(
            [_excess_by_bin(values, labels, held, train, len(counts)) for held, train in rounds]
        )
        areas = [roc_auc_score(labels[rows] == i, scores[:, i]) for i in range(len(counts))]
        yield Check(
            f"{name}_alone",
            float(np.mean(areas)) if known.any() else None,
            float(AUROC + _AUROC_ERRORS * error),
            f"test AUROC of {_WHAT[name]}",
        )


_WHAT = {
    "gc": "the GC content alone",
    "length": "the length alone",
    "occupancy": "how far the catalogue covers an example; models see it only if the columns tell it",
    "columns": "the number of columns that are there: every model with a matrix sees it",
}


def _properties(dataset: Dataset) -> dict[str, np.ndarray]:
    """Return float64 [n] of each plain property; NaN where it is unknown."""
    codes = dataset.codes
    known = np.maximum((codes < 4).sum(1), 1)
    return {
        "gc": ((codes == 1) | (codes == 2)).sum(1) / known,
        "length": (codes != PADDING).sum(1).astype(np.float64),
        "occupancy": dataset.table["occupancy"].to_numpy(np.float64),
        "columns": (dataset.columns >= 0).sum(1).astype(np.float64),
    }


def _excess_by_bin(
    values: np.ndarray, labels: np.ndarray, held: np.ndarray, train: np.ndarray, classes: int
) -> np.ndarray:
    """Return float64 [held, classes]: by how much more of the training examples alike are of a class.

    More than of all training examples, so that rounds compare. Alike are those at or between the same
    tenths of the training values; the unknown are alike, too.
    """
    values = np.where(np.isfinite(values), values, -np.inf)
    edges = np.unique(np.quantile(values[train], np.arange(1, _BINS) / _BINS, method="lower"))
    bins = np.searchsorted(edges, values, side="left") + np.searchsorted(edges, values, side="right")
    counts = np.zeros((2 * len(edges) + 1, classes))
    np.add.at(counts, (bins[train], labels[train]), 1)
    usual = counts.sum(0) / counts.sum()
    counts += usual  # a bin without examples says what all say
    # Rounded: what is equal but for the last bits is a tie.
    return (counts / counts.sum(1, keepdims=True) - usual).round(9)[bins[held]]


def _between_individuals(dataset: Dataset, companion: Path | None) -> Iterator[Check]:
    if dataset.metadata["type"] != "cohort":
        return
    if companion is None:
        raise GenebertError(
            "a cohort's individuals are in a second file beside its examples", "name it with --companion"
        )
    yield from checks_of_individuals(read_individuals_of(dataset, companion))


def _share(found: np.ndarray) -> float:
    return float(found.mean()) if len(found) else 0.0


def _share_related(shared: np.ndarray) -> float | None:
    """Return the share of sequences that have relatives; None where all are too short to tell."""
    known = shared[~np.isnan(shared)]
    return float((known > RELATED).mean()) if len(known) else None


def _blocks(codes: np.ndarray) -> Iterator[np.ndarray]:
    return (codes[first : first + _ROWS] for first in range(0, len(codes), _ROWS))


def _read_regions(folder: Path, manifest: Mapping[str, Any]) -> _Regions:
    columns = ["region_id", "chrom", "start", "end", "split"]
    table = pd.concat(
        [batch.to_pandas() for batch in _batches(folder, manifest, columns)], ignore_index=True
    )
    assert np.array_equal(table["region_id"], np.arange(manifest["regions"])), "region ids in order"
    contigs = list(manifest["contigs"])
    split = table["split"].map({name: number for number, name in enumerate(SPLITS)})
    return _Regions(contigs, places_of(table, contigs), split.to_numpy(np.int8))


def _training_sequences(folder: Path, manifest: Mapping[str, Any]) -> Iterator[np.ndarray]:
    """Yield uint8 [n, width], the base codes of the regions of the training split, in blocks."""
    for batch in _batches(folder, manifest, ["split", "sequence"]):
        own = batch.filter(pc.equal(batch["split"], "train"))
        yield encode_column(own["sequence"])


def _batches(folder: Path, manifest: Mapping[str, Any], columns: list[str]) -> Iterator[pa.RecordBatch]:
    for part in manifest["parts"]:
        path = folder / part["part"]
        try:
            with pq.ParquetFile(path) as file:
                yield from file.iter_batches(_ROWS, columns=columns)
        except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
            refuse(path, f"missing or damaged ({first_line(error)})")
