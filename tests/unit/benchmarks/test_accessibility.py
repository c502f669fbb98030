"""Accessibility across cell types: which examples there are, and that no feature holds their label."""

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from genebert.benchmarks.dataset import Dataset, read_dataset
from genebert.benchmarks.tasks.accessibility import CLASSES, build, check, describe, read_catalogue
from genebert.benchmarks.tasks.material import Material
from genebert.config import AccessibilityTask
from genebert.errors import GenebertError
from genebert.genome import SPLITS, Genome, Interval, SegmentIndex, index_genome, split_segments
from genebert.motifs.table import MotifTable
from genebert.versions import STAGES

WIDTH, STEP, COLUMNS, BLOCK = 60, 100, 8, 500
LENGTHS = {"chr1": 24_000, "chr2": 12_000}
CELL_TYPES = [f"cell{number}" for number in range(7)]
HELD_OUT = {"validation": ["cell1"], "test": ["cell4", "cell6"]}
TRAINING = [0, 2, 3, 5]


def _material(land: SimpleNamespace, **changes: Any) -> Material:
    values = {
        "name": "across",
        "fasta": land.folder / "genome.fa",
        "contigs": ".+",
        "segments": land.segments,
        "regions": land.folder / "regions.parquet",
        "accessibility": land.folder / "accessibility.parquet",
        "motifs": land.motifs,
        "columns": COLUMNS,
        "cell_types": HELD_OUT,
        "block_bp": BLOCK,
    }
    return Material(**(values | changes))


def _write_catalogue(folder: Path, is_open: np.ndarray, regions: pd.DataFrame) -> None:
    pq.write_table(pa.Table.from_pandas(regions, preserve_index=False), folder / "regions.parquet")
    row, cell = np.nonzero(is_open)
    names = pa.array(np.array(CELL_TYPES)[cell]).dictionary_encode()
    views = {"region_id": row.astype(np.uint32), "cell_type": names, "signal": np.ones(len(row))}
    pq.write_table(pa.table(views), folder / "accessibility.parquet")


@pytest.fixture(scope="module")
def land(tmp_path_factory: pytest.TempPathFactory, few_table: MotifTable) -> SimpleNamespace:
    """359 regions on two contigs, each open in some of seven cell types, independently."""
    rng, folder = np.random.default_rng(3), tmp_path_factory.mktemp("across")
    dna = {name: "".join(rng.choice(list("ACGT"), length)) for name, length in LENGTHS.items()}
    (folder / "source.fa").write_text("".join(f">{name}\n{text}\n" for name, text in dna.items()))
    index_genome(folder / "source.fa", folder / "genome.fa")
    segments = split_segments(LENGTHS, ["chr1:4000-8000"], ["chr1:18000-24000"])
    places = [(name, at) for name in LENGTHS for at in range(20, LENGTHS[name] - 80, STEP)]
    regions = pd.DataFrame(places, columns=["chrom", "start"])
    index = SegmentIndex(segments)
    regions = regions.assign(
        region_id=np.arange(len(regions), dtype=np.uint32),
        end=regions["start"] + WIDTH,
        split=[index.at(*place).split for place in places],
    )
    is_open = rng.random((len(regions), len(CELL_TYPES))) < rng.choice(
        [0.08, 0.5, 0.97], (len(regions), 1)
    )
    is_open[~is_open.any(axis=1), 0] = True
    _write_catalogue(folder, is_open, regions)
    return SimpleNamespace(
        folder=folder, segments=segments, regions=regions, is_open=is_open, motifs=few_table
    )


@pytest.fixture(scope="module")
def dataset(land: SimpleNamespace) -> Dataset:
    """The whole task."""
    settings = AccessibilityTask(type="accessibility")
    assert check(settings, "across", {}, LENGTHS, ".+") == {}
    told = build(settings, {}, _material(land), land.folder / "dataset.parquet")
    assert "train in cell0, cell2, cell3, cell5; validation in cell1; test in cell4, cell6" in told
    return read_dataset(land.folder / "dataset.parquet")


def _ids(table: pd.DataFrame, land: SimpleNamespace) -> np.ndarray:
    joined = table[["chrom", "start", "end"]].merge(land.regions, how="left")
    assert joined["region_id"].notna().all()
    return joined["region_id"].to_numpy()


def test_examples_are_those_of_the_definition(dataset: Dataset, land: SimpleNamespace) -> None:
    """Worked out one by one: nothing of the example's own cell type is in its features."""
    expected = {}
    for split in SPLITS:
        names = HELD_OUT.get(split, [CELL_TYPES[cell] for cell in TRAINING])
        for cell in map(CELL_TYPES.index, names):
            others = [other for other in TRAINING if other != cell]
            for row in np.flatnonzero(land.regions["split"] == split):
                states = [bool(land.is_open[row, other]) for other in others]
                if not any(states):
                    continue
                subset = "constant" if all(states) else "variable"
                expected[row, CELL_TYPES[cell]] = (
                    split,
                    int(land.is_open[row, cell]),
                    pytest.approx(sum(states) / len(others)),
                    "" if split == "train" else subset,
                )
    table = dataset.table
    names = ["split", "label", "open_in_training", "subset"]
    values = [tuple(row) for row in table[names].itertuples(index=False)]
    keys = list(zip(_ids(table, land).tolist(), table["cell_type"], strict=True))
    found = dict(zip(keys, values, strict=True))
    assert len(found) == len(table)
    assert found == expected
    assert dataset.classes == CLASSES == ["closed", "open"]
    assert set(table["subset"]) == {"", "constant", "variable"}
    assert dataset.metadata["held_out_cell_types"] == HELD_OUT


def test_regions_of_one_cell_type_alone_are_no_examples_of_it(
    dataset: Dataset, land: SimpleNamespace
) -> None:
    """They are in the catalogue because they are open there: that they are asked of would say so."""
    ids = _ids(dataset.table, land)
    alone = land.is_open[:, TRAINING].sum(axis=1) == 1
    only_held_out = ~land.is_open[:, TRAINING].any(axis=1)
    assert alone.sum() > 20
    assert only_held_out.sum() > 5
    assert not only_held_out[ids].any()
    training = (dataset.table["split"] == "train").to_numpy()
    own = training & alone[ids]
    assert own.any()
    assert (dataset.table["label"][own] == 0).all(), "asked of other cell types only"
    assert (dataset.table["open_in_training"] > 0).all()
    # Of an example's features none is certain of its label.
    for _, part in dataset.table.groupby(["split", "open_in_training"]):
        if len(part) > 60:
            assert part["label"].nunique() == 2


def test_sequences_are_the_regions_own(dataset: Dataset, land: SimpleNamespace) -> None:
    genome = Genome(land.folder / "genome.fa")
    for row in dataset.table.iloc[::17].itertuples():
        assert row.strand == "+"
        assert row.sequence == genome.fetch(Interval(row.chrom, row.start, row.end))


def test_columns_describe_the_cell_type_by_training_regions_away_from_the_example(
    dataset: Dataset, land: SimpleNamespace
) -> None:
    ids = _ids(dataset.table, land)
    chroms, starts, splits = (land.regions[name].to_numpy() for name in ("chrom", "start", "split"))
    for row, columns, own in zip(dataset.table.itertuples(), dataset.columns, ids, strict=True):
        assert columns[COLUMNS // 2] == -1
        chosen = columns[columns >= 0]
        assert len(chosen) == COLUMNS - 1
        assert (np.diff(chosen) > 0).all(), "in genome order, each once"
        assert land.is_open[chosen, CELL_TYPES.index(row.cell_type)].all()
        assert (splits[chosen] == "train").all()
        assert own not in chosen
        near = starts[chosen][chroms[chosen] == row.chrom]
        distance = np.maximum(near - row.end, row.start - (near + WIDTH))
        assert (distance >= BLOCK).all()


def test_columns_are_drawn_evenly_and_anew_for_each_example(
    dataset: Dataset, land: SimpleNamespace
) -> None:
    rows = (dataset.table["cell_type"] == "cell4").to_numpy()
    columns = dataset.columns[rows]
    assert len(np.unique(columns, axis=0)) == rows.sum() > 50
    pool = np.flatnonzero(land.is_open[:, 4] & (land.regions["split"] == "train"))
    counts = np.bincount(columns[columns >= 0], minlength=len(land.regions))[pool]
    expected = rows.sum() * (COLUMNS - 1) / len(pool)
    assert counts.sum() == rows.sum() * (COLUMNS - 1)
    assert ((counts - expected) ** 2 / expected).sum() < len(pool) + 4 * np.sqrt(2 * len(pool))


def test_columns_tell_nothing_of_the_label_of_a_training_example(
    dataset: Dataset, land: SimpleNamespace
) -> None:
    """Openness is independent here: where columns lie around an example must not depend on its own."""
    rows = np.flatnonzero(dataset.table["split"] == "train")
    ids, columns = _ids(dataset.table, land)[rows], dataset.columns[rows]
    labels = dataset.labels[rows]
    distance = np.where(columns >= 0, np.abs(columns - ids[:, None]), 10_000)
    below = ((columns >= 0) & (columns < ids[:, None])).sum(axis=1)
    for cell in TRAINING:
        own = dataset.table["cell_type"].to_numpy()[rows] == CELL_TYPES[cell]
        for feature in (distance.min(axis=1), distance.sum(axis=1), below, (columns >= 0).sum(axis=1)):
            area = roc_auc_score(labels[own], feature[own])
            spread = 0.5 / np.sqrt(min(np.bincount(labels[own])))
            assert abs(area - 0.5) < 3 * spread


@pytest.mark.parametrize("open_regions", [1, 3, 6, 7, 8, 9])
def test_where_a_cell_type_has_few_regions_all_its_examples_have_as_many_columns(
    land: SimpleNamespace, tmp_path: Path, open_regions: int
) -> None:
    """Else an example that lacks one would be known to be open: its own region was left out."""
    is_open = land.is_open.copy()
    training = np.flatnonzero((land.regions["split"] == "train") & (land.regions["chrom"] == "chr2"))
    is_open[:, 5] = False
    few = training[10 :: len(training) // 10][:open_regions]
    is_open[few, 5] = True
    is_open[few, 0] = True  # such that they are examples
    _write_catalogue(tmp_path, is_open, land.regions)
    # A block of nothing: only the region itself is left out.
    material = _material(
        land,
        regions=tmp_path / "regions.parquet",
        accessibility=tmp_path / "accessibility.parquet",
        block_bp=0,
        cell_types={"validation": ["cell1"], "test": ["cell4"]},
    )
    catalogue = read_catalogue(material)
    examples = land.regions.iloc[training].reset_index(drop=True)
    columns = describe(catalogue, examples, "cell5", material, np.random.default_rng(1))
    assert set((columns >= 0).sum(axis=1)) == {min(COLUMNS - 1, open_regions - 1)}
    assert len(np.unique(columns >= 0, axis=0)) == 1
    assert (columns[:, COLUMNS // 2] == -1).all()
    for own, row in zip(training, columns, strict=True):
        assert set(row[row >= 0]) <= set(few) - {own}
        assert (np.diff(row[row >= 0]) > 0).all()


def test_the_cap_is_a_fixed_draw(land: SimpleNamespace, dataset: Dataset, tmp_path: Path) -> None:
    def capped(seed: int, name: str) -> Dataset:
        settings = AccessibilityTask(type="accessibility", max_examples=12, seed=seed)
        build(settings, {}, _material(land), tmp_path / name)
        return read_dataset(tmp_path / name)

    first, again, other = capped(1, "first"), capped(1, "again"), capped(2, "other")
    pd.testing.assert_frame_equal(first.table, again.table)
    assert (first.columns == again.columns).all()
    names = ["split", "cell_type", "label"]
    sizes, whole = (d.table.groupby(names).size() for d in (first, dataset))
    assert sizes.to_dict() == {key: min(12, size) for key, size in whole.items()}
    shared = first.table[["chrom", "start", "cell_type"]].merge(other.table, how="inner")
    assert len(shared) < 0.8 * len(first.table)


@pytest.mark.parametrize(
    ("cell_types", "said", "where"),
    [
        ({"validation": ["cell1"], "test": ["Liver"]}, "cell type 'Liver' is in no sample", "test"),
        ({"validation": ["cell1"], "test": CELL_TYPES[2:]}, "but 1 is left to train in", ""),
    ],
)
def test_cell_types_that_do_not_fit_are_refused(
    land: SimpleNamespace, tmp_path: Path, cell_types: dict[str, list[str]], said: str, where: str
) -> None:
    with pytest.raises(GenebertError) as told:
        build(
            AccessibilityTask(type="accessibility"),
            {},
            _material(land, cell_types=cell_types),
            tmp_path / "d",
        )
    assert said in told.value.what
    assert told.value.where == f"cell_types.{where}".rstrip(".")
    assert not (tmp_path / "d").exists()


def test_the_dataset_is_that_of_this_version(dataset: Dataset) -> None:
    names = ["chrom", "start", "label", "cell_type", "split", "subset"]
    text = dataset.table[names].to_csv(index=False, lineterminator="\n") + str(dataset.columns.tolist())
    assert (STAGES["accessibility"], hashlib.sha256(text.encode()).hexdigest()[:16]) == (
        1,
        "a4aa6ff0baf149a5",
    ), "the task's examples changed: raise STAGES['accessibility'] in genebert/versions.py"
