import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from genebert.benchmarks.checks import Check
from genebert.benchmarks.dataset import Dataset, Hits, write_dataset
from genebert.benchmarks.individuals import Individuals, write_individuals
from genebert.benchmarks.leakage import check_dataset, rounds_of, write_leakage
from genebert.corpus.read import Corpus
from genebert.errors import GenebertError
from genebert.genome import SPLITS
from genebert.sequence.codes import decode, encode_all

NUMBER, WIDTH, COLUMNS = 900, 200, 5
FOCAL = COLUMNS // 2


@pytest.fixture(scope="session")
def corpus_folder(
    synthetic_corpus: Corpus, write_corpus: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Write the synthetic corpus, in three parts."""
    return write_corpus(synthetic_corpus, tmp_path_factory.mktemp("leakage") / "corpus")


@pytest.fixture
def clean(synthetic_corpus: Corpus) -> Dataset:
    """Random sequences at places of contigs of their own, columns of their own split."""
    rng = np.random.default_rng(11)
    split = np.repeat(SPLITS, NUMBER // 3)
    columns = np.full((NUMBER, COLUMNS), -1)
    for number, name in enumerate(SPLITS):
        ids = np.flatnonzero(synthetic_corpus.split == number)
        rows = split == name
        columns[rows] = rng.choice(ids, (rows.sum(), COLUMNS))
    columns[rng.random(columns.shape) < 0.3] = -1
    columns[:, FOCAL] = -1
    start = np.tile(np.arange(NUMBER // 3) * 1000, 3)
    table = pd.DataFrame(
        {
            "chrom": "of_" + pd.Series(split),
            "start": start,
            "end": start + WIDTH,
            "strand": "+",
            "alternative": None,
            "label": rng.integers(2, size=NUMBER),
            "cell_type": "any",
            "split": split,
            "subset": "",
            "fold": -1,
            "occupancy": rng.random(NUMBER).astype(np.float32),
        }
    )
    codes = rng.integers(0, 4, (NUMBER, WIDTH)).astype(np.uint8)
    metadata = {
        "type": "promoter",
        "task": "toy",
        "classes": ["no", "yes"],
        "motif_digest": synthetic_corpus.metadata.motif_digest,
        "catalogue": synthetic_corpus.metadata.catalogue,
    }
    hits = Hits(np.zeros(NUMBER + 1, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    return _with(Dataset(table, metadata, codes, hits, columns), codes)


def _with(dataset: Dataset, codes: np.ndarray, **columns: Any) -> Dataset:
    table = dataset.table.assign(sequence=decode(codes), **columns)
    return replace(dataset, codes=codes, table=table)


def _found(dataset: Dataset, corpus_folder: Path) -> dict[str, Check]:
    return {check.check: check for check in check_dataset(dataset, corpus_folder)}


def _flagged(dataset: Dataset, corpus_folder: Path) -> set[str]:
    return {name for name, check in _found(dataset, corpus_folder).items() if check.flagged}


def _rows(dataset: Dataset, split: str) -> np.ndarray:
    return dataset.in_split(split)


def test_nothing_is_flagged_in_a_clean_dataset(clean: Dataset, corpus_folder: Path) -> None:
    found = _found(clean, corpus_folder)
    assert list(found) == [
        "copies",
        "overlap_with_training",
        "related_to_training",
        "overlap_with_pretraining",
        "related_to_pretraining",
        "focal_column",
        "own_region",
        "columns_of_other_splits",
        "contradictions",
        "gc_of_classes",
        "length_of_classes",
        "gc_alone",
        "length_alone",
        "occupancy_alone",
        "columns_alone",
    ]
    assert not any(check.flagged for check in found.values())
    assert found["length_alone"].value == 0.5
    assert found["length_of_classes"].value == 0


@pytest.mark.parametrize("reverse", [False, True], ids=["as it is", "other strand"])
@pytest.mark.parametrize("into", ["validation", "test"])
def test_rows_copied_across_splits_are_flagged(
    clean: Dataset, corpus_folder: Path, reverse: bool, into: str
) -> None:
    copies = clean.codes[_rows(clean, "train")[:3]]
    codes = clean.codes.copy()
    codes[_rows(clean, into)[:3]] = 3 - copies[:, ::-1] if reverse else copies
    leaky = _with(clean, codes, label=0)
    assert _flagged(leaky, corpus_folder) == {"copies"}
    assert _found(leaky, corpus_folder)["copies"].value == pytest.approx(3 / 600)


def test_a_copy_between_validation_and_test_is_flagged(clean: Dataset, corpus_folder: Path) -> None:
    codes = clean.codes.copy()
    codes[_rows(clean, "test")[0]] = codes[_rows(clean, "validation")[0]]
    assert "copies" in _flagged(_with(clean, codes), corpus_folder)


def test_copies_with_mutations_are_flagged_as_relatives(clean: Dataset, corpus_folder: Path) -> None:
    rng = np.random.default_rng(1)
    codes = clean.codes.copy()
    test = _rows(clean, "test")[:150]
    codes[test] = codes[_rows(clean, "train")[:150]]
    hit = rng.random((150, WIDTH)) < 0.05
    codes[test] = np.where(hit, (codes[test] + rng.integers(1, 4, hit.shape)) % 4, codes[test])
    found = _found(_with(clean, codes), corpus_folder)
    assert {name for name, check in found.items() if check.flagged} == {"related_to_training"}
    assert found["related_to_training"].value == pytest.approx(150 / 600, abs=0.05)


def test_one_shared_base_is_an_overlap(clean: Dataset, corpus_folder: Path) -> None:
    row, other = _rows(clean, "test")[5], _rows(clean, "train")[8]
    moved = clean.table.copy()
    for start, flagged in ((8000 + WIDTH - 1, True), (8000 + WIDTH, False)):
        moved.loc[row, ["chrom", "start", "end"]] = ["of_train", start, start + 9]
        leaky = replace(clean, table=moved)
        assert ("overlap_with_training" in _flagged(leaky, corpus_folder)) == flagged
    assert clean.table.loc[other, "start"] == 8000


def test_what_pretraining_saw_is_flagged_unless_the_places_were_published(
    clean: Dataset, corpus_folder: Path, synthetic_corpus: Corpus
) -> None:
    rows = _rows(clean, "test")[:60]
    region = int(np.flatnonzero(synthetic_corpus.split == 0)[3])
    start = int(synthetic_corpus.start[region])
    chrom = synthetic_corpus.contigs[synthetic_corpus.contig[region]]
    table = clean.table.copy()
    table.loc[rows, ["chrom", "start", "end"]] = [chrom, start + 50, start + 250]
    codes = clean.codes.copy()
    codes[rows, :60] = synthetic_corpus.sequence[region]
    leaky = _with(replace(clean, table=table, columns=np.full_like(clean.columns, -1)), codes)
    found = _found(leaky, corpus_folder)
    assert found["overlap_with_pretraining"].flagged
    assert found["overlap_with_pretraining"].value == pytest.approx(0.1)
    published = replace(leaky, metadata={**leaky.metadata, "type": "variants"})
    told = _found(published, corpus_folder)["overlap_with_pretraining"]
    assert (told.value, told.flagged) == (pytest.approx(0.1), False)


def test_sequences_of_training_regions_are_related_to_pretraining(
    clean: Dataset, corpus_folder: Path, synthetic_corpus: Corpus
) -> None:
    codes = clean.codes.copy()
    for number in range(len(SPLITS)):
        ids = np.flatnonzero(synthetic_corpus.split == number)[:10]
        codes[_rows(clean, "test")[number * 10 : number * 10 + 10], :60] = synthetic_corpus.sequence[ids]
    short = _with(clean, np.concatenate([codes[:, :60], np.full((NUMBER, 140), 4, np.uint8)], axis=1))
    found = _found(short, corpus_folder)["related_to_pretraining"]
    # Of the three splits pre-training saw one.
    assert found.value == pytest.approx(10 / 600)


def test_columns_that_tell_the_label_are_flagged(
    clean: Dataset, corpus_folder: Path, synthetic_corpus: Corpus
) -> None:
    row = _rows(clean, "test")[0]
    columns = clean.columns.copy()
    columns[row, FOCAL] = np.flatnonzero(synthetic_corpus.split == 2)[0]
    assert _flagged(replace(clean, columns=columns), corpus_folder) == {"focal_column"}

    columns = clean.columns.copy()
    columns[row, 0] = np.flatnonzero(synthetic_corpus.split == 0)[0]
    leaky = replace(clean, columns=columns)
    assert _flagged(leaky, corpus_folder) == {"columns_of_other_splits"}

    region = int(np.flatnonzero(synthetic_corpus.split == 2)[0])
    start = int(synthetic_corpus.start[region])
    table = clean.table.copy()
    table.loc[row, ["chrom", "start", "end"]] = ["chr1", start + 59, start + 99]
    columns = clean.columns.copy()
    columns[row, [0, 1]] = region, -1
    assert _flagged(replace(clean, columns=columns, table=table), corpus_folder) == {"own_region"}
    table.loc[row, "start"] = start + 60
    assert _flagged(replace(clean, columns=columns, table=table), corpus_folder) == set()


def test_columns_follow_the_rule_of_the_task(
    clean: Dataset, corpus_folder: Path, synthetic_corpus: Corpus
) -> None:
    training = np.flatnonzero(synthetic_corpus.split == 0)
    columns = np.where(clean.columns >= 0, training[clean.columns % len(training)], -1)
    of_type = {
        kind: replace(clean, columns=columns, metadata={**clean.metadata, "type": kind})
        for kind in ("promoter", "accessibility", "variants")
    }
    name = "columns_of_other_splits"
    assert name in _flagged(of_type["promoter"], corpus_folder)
    assert name not in _flagged(of_type["accessibility"], corpus_folder)
    assert name not in _flagged(of_type["variants"], corpus_folder)
    mixed = columns.copy()
    mixed[0, :2] = training[0], np.flatnonzero(synthetic_corpus.split == 2)[0]
    leaky = replace(of_type["variants"], columns=mixed)
    assert name in _flagged(leaky, corpus_folder)


def test_shortcuts_are_flagged(clean: Dataset, corpus_folder: Path) -> None:
    labels = clean.labels
    rng = np.random.default_rng(2)
    occupied = np.where(rng.random(NUMBER) < np.where(labels == 1, 0.6, 0.05), 1, 0)
    table = clean.table.assign(occupancy=occupied.astype(np.float32))
    assert _flagged(replace(clean, table=table), corpus_folder) == {"occupancy_alone"}

    columns = clean.columns.copy()
    columns[(labels == 1) & (rng.random(NUMBER) < 0.7)] = -1
    assert _flagged(replace(clean, columns=columns), corpus_folder) == {"columns_alone"}

    codes = clean.codes.copy()
    rich = rng.random(codes.shape) < 0.15
    codes[rich & (labels == 1)[:, None]] = 2
    assert _flagged(_with(clean, codes), corpus_folder) == {"gc_of_classes", "gc_alone"}

    text = [s[: 150 if label else 200] for s, label in zip(decode(clean.codes), labels, strict=True)]
    short = replace(clean, codes=encode_all(text), table=clean.table.assign(sequence=text))
    assert _flagged(short, corpus_folder) >= {"length_of_classes", "length_alone"}


def test_a_property_that_is_extreme_in_one_class_is_a_shortcut_too(
    clean: Dataset, corpus_folder: Path
) -> None:
    """As much occupancy as the mean is class 0, more and less class 1: its order alone says nothing."""
    rng = np.random.default_rng(3)
    far = rng.choice([0.1, 0.9], NUMBER)
    occupancy = np.where(clean.labels == 1, far, 0.5) + rng.normal(0, 0.01, NUMBER)
    table = clean.table.assign(occupancy=occupancy.astype(np.float32))
    assert _found(replace(clean, table=table), corpus_folder)["occupancy_alone"].value > 0.95


def test_a_property_that_few_examples_have_counts_as_much_as_it_tells(
    clean: Dataset, corpus_folder: Path
) -> None:
    few = (clean.labels == 1) & (np.arange(NUMBER) % 20 == 0)
    table = clean.table.assign(occupancy=few.astype(np.float32))
    test = _rows(clean, "test")
    share = few[test].sum() / (clean.labels[test] == 1).sum()
    found = _found(replace(clean, table=table), corpus_folder)["occupancy_alone"]
    assert found.value == pytest.approx(0.5 + share / 2)


def test_contradicting_labels_are_flagged(clean: Dataset, corpus_folder: Path) -> None:
    codes = clean.codes.copy()
    train = _rows(clean, "train")
    codes[train[1]] = codes[train[0]]
    label = clean.table["label"].to_numpy().copy()
    for second, flagged in ((0, set()), (1, {"contradictions"})):
        label[train[:2]] = 0, second
        leaky = _with(clean, codes, label=label.copy())
        assert _flagged(leaky, corpus_folder) == flagged
    cell_type = np.where(np.arange(NUMBER) == train[1], "other", "any")
    assert _flagged(_with(clean, codes, label=label, cell_type=cell_type), corpus_folder) == set()
    alternative = np.where(np.arange(NUMBER) == train[1], "A", "C")
    assert _flagged(_with(clean, codes, label=label, alternative=alternative), corpus_folder) == set()


def test_folds_are_compared_with_one_another(clean: Dataset, corpus_folder: Path) -> None:
    metadata = {**clean.metadata, "type": "variants"}
    fold = np.arange(NUMBER) % 5
    table = clean.table.assign(split="test", fold=fold)
    folded = replace(clean, table=table, metadata=metadata)
    columns = np.full_like(clean.columns, -1)
    folded = replace(folded, columns=columns)
    assert _flagged(folded, corpus_folder) == set()
    codes = folded.codes.copy()
    codes[5], codes[1] = codes[0], 3 - codes[0, ::-1]  # the same fold; another
    found = _found(_with(folded, codes, label=0), corpus_folder)
    assert found["copies"].value == pytest.approx(3 / NUMBER)
    moved = folded.table.copy()
    moved.loc[7, ["chrom", "start", "end"]] = moved.loc[13, ["chrom", "start", "end"]].to_numpy()
    found = _found(replace(folded, table=moved), corpus_folder)
    assert found["overlap_with_training"].value == pytest.approx(2 / NUMBER)
    uneven = folded.table.assign(fold=np.where(folded.labels == 1, fold, fold // 3))
    found = _found(replace(folded, table=uneven), corpus_folder)
    assert found["length_alone"].value == 0.5  # whatever the share of a class in a fold
    shortcut = folded.table.assign(occupancy=folded.labels.astype(np.float32))
    assert _found(replace(folded, table=shortcut), corpus_folder)["occupancy_alone"].value == 1


def test_rounds_are_those_of_training(clean: Dataset) -> None:
    ((held_out, train),) = rounds_of(clean.table)
    assert set(clean.table["split"].iloc[held_out]) == {"validation", "test"}
    assert set(clean.table["split"].iloc[train]) == {"train"}
    folds = rounds_of(clean.table.assign(split="test", fold=np.arange(NUMBER) % 3))
    assert [held[:2].tolist() for held, _ in folds] == [[0, 3], [1, 4], [2, 5]]
    assert all(len(np.intersect1d(held, train)) == 0 for held, train in folds)
    assert rounds_of(clean.table.assign(split="test")) == []


def test_without_places_folds_or_classes_the_rest_is_checked(
    clean: Dataset, corpus_folder: Path
) -> None:
    nowhere = clean.table.assign(chrom="", start=0, end=0, occupancy=np.float32("nan"))
    labelled = replace(clean, table=nowhere, metadata={**clean.metadata, "type": "labelled"})
    found = _found(labelled, corpus_folder)
    for name in ("overlap_with_training", "overlap_with_pretraining", "occupancy_alone"):
        assert found[name].value is None
    assert not any(check.flagged for check in found.values())
    alone = replace(clean, table=clean.table.assign(split="test"))
    alone.table["label"] = 0
    assert set(_found(alone, corpus_folder)) == {
        "overlap_with_pretraining",
        "related_to_pretraining",
        "focal_column",
        "own_region",
        "columns_of_other_splits",
        "contradictions",
    }


def test_three_classes_are_compared_one_against_the_rest(clean: Dataset, corpus_folder: Path) -> None:
    labels = np.random.default_rng(5).integers(3, size=NUMBER)
    metadata = {**clean.metadata, "classes": ["neither", "donor", "acceptor"]}
    three = replace(clean, metadata=metadata, table=clean.table.assign(label=labels))
    assert _flagged(three, corpus_folder) == set()
    shortcut = three.table.assign(occupancy=(labels == 1).astype(np.float32))
    found = _found(replace(three, table=shortcut), corpus_folder)["occupancy_alone"]
    assert found.flagged
    # Of donors all is known; the two others, told apart from them alone, gain 1/4 each.
    assert found.value == pytest.approx((1 + 0.75 + 0.75) / 3, abs=0.03)


def test_the_table_says_what_was_found(clean: Dataset, corpus_folder: Path, tmp_path: Path) -> None:
    columns = clean.columns.copy()
    columns[_rows(clean, "test")[0], FOCAL] = 70
    none = [np.empty(0)] * NUMBER
    table = clean.table.assign(open_in_training=np.float32("nan"))
    write_dataset(table, (none, none), columns, clean.metadata, tmp_path / "dataset.parquet")
    line = write_leakage(tmp_path / "dataset.parquet", corpus_folder, tmp_path / "leakage.tsv")
    assert line == "15 checks; flagged: focal_column"
    with (tmp_path / "leakage.tsv").open(newline="") as text:
        rows = {row["check"]: row for row in csv.DictReader(text, delimiter="\t")}
    assert [name for name, row in rows.items() if row["flagged"] == "yes"] == ["focal_column"]
    assert rows["focal_column"]["limit"] == "0"
    assert float(rows["focal_column"]["value"]) == pytest.approx(1 / NUMBER, rel=1e-3)
    assert all(len(row["meaning"]) > 20 for row in rows.values())


def test_a_dataset_of_another_corpus_is_refused(clean: Dataset, corpus_folder: Path) -> None:
    other = replace(clean, metadata={**clean.metadata, "catalogue": "another"})
    with pytest.raises(GenebertError, match="dataset and corpus have other regions"):
        check_dataset(other, corpus_folder)


def _cohort(people: int, kin: dict[int, tuple[int, int]]) -> Individuals:
    """Unrelated individuals of NUMBER variants, but children of two others; fold by fold in turn."""
    rng = np.random.default_rng(8)
    alleles = (rng.random((people, 2, NUMBER)) < rng.uniform(0.1, 0.9, NUMBER)).astype(np.int8)
    for child, parents in kin.items():
        for side, parent in enumerate(parents):
            alleles[child, side] = alleles[parent, rng.integers(0, 2, NUMBER), np.arange(NUMBER)]
    table = pd.DataFrame(
        {
            "sample": [f"s{number}" for number in range(people)],
            "label": rng.integers(0, 2, people).astype(np.int32),
            "fold": (np.arange(people) % 5).astype(np.int32),
            "inner_fold": np.zeros(people, np.int32),
        }
    )
    return Individuals(table, alleles.sum(1), np.zeros(NUMBER, np.int64), {0: "chr1:0-9"})


@pytest.mark.parametrize("apart", [True, False], ids=["in other folds", "in one fold"])
def test_copies_and_relatives_in_other_folds_are_flagged_in_a_cohort(
    clean: Dataset, corpus_folder: Path, tmp_path: Path, *, apart: bool
) -> None:
    cohort = _cohort(200, {10: (11, 12), 20: (21, 22), 23: (21, 22)} if apart else {10: (15, 20)})
    cohort.dosage[31 if apart else 35] = cohort.dosage[30]
    metadata = {**clean.metadata, "type": "cohort"}
    none = [np.empty(0)] * NUMBER
    table = clean.table.assign(split="test", label=0, open_in_training=np.float32("nan"))
    write_dataset(
        table, (none, none), np.full_like(clean.columns, -1), metadata, tmp_path / "dataset.parquet"
    )
    write_individuals(cohort, tmp_path / "individuals.parquet")
    files = (tmp_path / "dataset.parquet", corpus_folder, tmp_path / "leakage.tsv")
    with pytest.raises(GenebertError, match="name it with --companion"):
        write_leakage(*files)
    line = write_leakage(*files, tmp_path / "individuals.parquet")
    names = ["copies_of_individuals", "related_individuals"]
    assert line == f"8 checks; flagged: {', '.join(names) if apart else 'none'}"
    rows = pd.read_table(tmp_path / "leakage.tsv").set_index("check")["value"]
    # The trio, two parents and two children, the copies.
    expected = [2 / 200, (3 + 4 + 2) / 200] if apart else [0, 0]
    assert rows[names].tolist() == pytest.approx(expected)


def test_individuals_of_another_dataset_are_refused(
    clean: Dataset, corpus_folder: Path, tmp_path: Path
) -> None:
    cohort = _cohort(20, {})
    other = replace(cohort, dosage=cohort.dosage[:, 1:], region=cohort.region[1:])
    write_individuals(other, tmp_path / "individuals.parquet")
    cohort_dataset = replace(clean, metadata={**clean.metadata, "type": "cohort"})
    with pytest.raises(GenebertError, match="genotypes of 899 variants, the dataset has 900"):
        check_dataset(cohort_dataset, corpus_folder, tmp_path / "individuals.parquet")
