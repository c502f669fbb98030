from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert.benchmarks.dataset import Dataset, read_dataset
from genebert.benchmarks.tasks.assemble import PLACE, assemble, first_by_hash, label_counts
from genebert.benchmarks.tasks.material import Material
from genebert.catalogue import catalogue_digest
from genebert.config import PromoterTask
from genebert.errors import GenebertError
from genebert.genome import Interval, reverse_complement, split_segments
from genebert.motifs.scan import Scanner
from genebert.motifs.table import MotifTable
from genebert.regions import write_table

CLASSES = ["no", "yes"]
LENGTHS = {"chrA": 6000, "chrB": 3000, "chrC": 90}
Build = Callable[..., Dataset]


@pytest.fixture
def material(tiny_genome: Path, few_table: MotifTable, tmp_path: Path) -> Material:
    """The tiny genome with a region every 200 bp, half of them open in cell type A."""
    starts = [(chrom, start) for chrom in ("chrA", "chrB") for start in range(0, LENGTHS[chrom], 200)]
    regions = pd.DataFrame(starts, columns=["chrom", "start"])
    regions = regions.assign(region_id=range(len(regions)), end=regions["start"] + 80, split="train")
    write_table(regions, tmp_path / "regions.parquet")
    open_in = pd.DataFrame({"region_id": range(0, len(regions), 2), "cell_type": "A", "signal": 1.0})
    write_table(open_in, tmp_path / "accessibility.parquet")
    return Material(
        name="t",
        fasta=tiny_genome,
        contigs=".+",
        segments=split_segments(LENGTHS, ["chrB"], ["chrA:4000-6000"]),
        regions=tmp_path / "regions.parquet",
        accessibility=tmp_path / "accessibility.parquet",
        motifs=few_table,
        columns=5,
        cell_types={"validation": [], "test": []},
        block_bp=1000,
    )


def _places(number: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    chrom = rng.choice(["chrA", "chrB"], number)
    start = rng.permutation(2800)[:number] + np.where(chrom == "chrA", rng.choice([0, 3100], number), 0)
    table = pd.DataFrame({"chrom": chrom, "start": start, "end": start + 50})
    table["strand"] = rng.choice(["+", "-"], number)
    table["label"] = np.arange(number) % 2
    table["cell_type"] = rng.choice(["A", "any"], number)
    in_test = (table["chrom"] == "chrA") & (table["start"] >= 4000)
    table["split"] = np.where(table["chrom"] == "chrB", "validation", np.where(in_test, "test", "train"))
    return table


@pytest.fixture
def build(material: Material, tmp_path: Path) -> Build:
    """Assemble and read back."""

    def run(table: pd.DataFrame, *, columns: np.ndarray | None = None, **keys: object) -> Dataset:
        task = PromoterTask(type="promoter", tss="x", **keys)  # type: ignore[arg-type]
        assemble(table, CLASSES, task, material, tmp_path / "d.parquet", columns, more="kept")
        return read_dataset(tmp_path / "d.parquet")

    return run


def test_examples_are_in_genome_order_with_what_the_genome_and_catalogue_say(
    build: Build, material: Material
) -> None:
    places = _places()
    read = build(places)
    rank = read.table["chrom"].map({"chrA": 0, "chrB": 1})
    assert list(zip(rank, read.table["start"], strict=True)) == sorted(
        zip(rank, read.table["start"], strict=True)
    )
    key = [*PLACE, "label", "cell_type", "split"]
    pd.testing.assert_frame_equal(
        read.table[key].sort_values(key, ignore_index=True),
        places[key].sort_values(key, ignore_index=True),
        check_dtype=False,
    )
    for number, row in enumerate(read.table.itertuples()):
        forward = material.genome.fetch(Interval(row.chrom, row.start, row.end))
        assert row.sequence == (forward if row.strand == "+" else reverse_complement(forward))
        covered = sum(position % 200 < 80 for position in range(row.start, row.end)) / 50
        assert row.occupancy == pytest.approx(covered)
        shown = read.columns[number][read.columns[number] >= 0]
        assert (shown % 2 == 0).all() or row.cell_type == "any"
        hits = Scanner(material.motifs).scan([row.sequence])
        own = slice(*read.hits.offsets[number : number + 2])
        assert read.hits.motif[own].tolist() == sorted(set(hits.motif.tolist()))
    assert (read.columns >= 0).any(axis=1).all()
    assert read.metadata["motif_digest"] == material.motifs.digest()
    assert read.metadata["catalogue"] == catalogue_digest(material.regions)
    assert (read.metadata["type"], read.metadata["task"]) == ("promoter", "t")
    assert (read.metadata["classes"], read.metadata["more"]) == (CLASSES, "kept")
    assert read.metadata["settings"]["tss"] == "x"


@pytest.mark.parametrize("keys", [{}, {"max_examples": 6}])
def test_the_order_of_rows_does_not_matter(build: Build, tmp_path: Path, keys: dict[str, int]) -> None:
    build(_places(), **keys)
    first = (tmp_path / "d.parquet").read_bytes()
    build(_places().sample(frac=1, random_state=4), **keys)
    assert (tmp_path / "d.parquet").read_bytes() == first
    build(_places().sort_values("label", ascending=False), **keys)
    assert (tmp_path / "d.parquet").read_bytes() == first


def test_columns_and_alternatives_stay_with_their_examples(build: Build, material: Material) -> None:
    places = _places()
    columns = np.arange(len(places))[:, None] + np.array([0, 100, 0, 200, 300])
    columns[:, 2] = -1
    places["sequence"] = [
        material.genome.fetch(Interval(row.chrom, row.start, row.end)) for row in places.itertuples()
    ]
    places["alternative"] = places["sequence"].map(lambda dna: dna[:20] + "GATA" + dna[20:46])
    read = build(places, columns=columns, max_examples=8)
    number = {start: row for row, start in enumerate(places["start"])}
    rows = read.table["start"].map(number).to_numpy()
    assert np.array_equal(read.columns, columns[rows])
    assert read.table["alternative"].tolist() == places["alternative"].iloc[rows].tolist()
    assert read.alternative_hits is not None
    names = [motif.name for motif in material.motifs.motifs]
    assert (read.alternative_hits.dense(len(names))[:, names.index("GATA")] == 1).all()
    assert not (read.hits.dense(len(names))[:, names.index("GATA")] == 1).all()
    with pytest.raises(AssertionError, match="focal column"):
        build(places, columns=np.zeros_like(columns))


def test_a_split_without_a_class_is_refused(build: Build, material: Material, tmp_path: Path) -> None:
    places = _places()
    places = places[(places["split"] != "validation") | (places["label"] == 0)]
    with pytest.raises(GenebertError, match="task 't' has no validation example of class yes"):
        build(places)
    assert not (tmp_path / "d.parquet").exists()
    settings = PromoterTask(type="promoter", tss="x")
    out = tmp_path / "d.parquet"
    assemble(places, CLASSES, settings, material, out, needed_splits=("test", "train"))
    assert out.exists()


def test_examples_without_a_place_have_no_columns_and_no_occupancy(build: Build) -> None:
    places = _places().assign(chrom="", start=0, end=0, strand="+", cell_type="any")
    places["sequence"] = [f"ACGT{number:b}".translate({48: "A", 49: "G"}) for number in range(60)]
    read = build(places)
    assert (read.columns == -1).all()
    assert read.table["occupancy"].isna().all()
    assert sorted(read.table["sequence"]) == sorted(places["sequence"])
    assert len(build(places, max_examples=3).table) == 18


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 99), st.integers(0, 2), st.sampled_from(["train", "test"])),
             unique=True, max_size=40),
    st.integers(1, 6),
    st.integers(0, 3),
    st.randoms(),
)  # fmt: skip
def test_the_cap_is_a_fixed_draw(
    rows: list[tuple[int, int, str]], number: int, seed: int, random: object
) -> None:
    table = pd.DataFrame(rows, columns=["start", "label", "split"])
    table = table.assign(chrom="c", end=table["start"] + 5, strand="+", cell_type="any")

    def drawn(rows: pd.DataFrame, number: int) -> set[tuple[int, int, str]]:
        kept = rows.iloc[first_by_hash(rows, number, seed)]
        assert kept.index.tolist() == [row for row in rows.index if row in set(kept.index)]
        return set(zip(kept["start"], kept["label"], kept["split"], strict=True))

    found = drawn(table, number)
    for (label, split), group in table.groupby(["label", "split"]):
        own = [row for row in found if row[1:] == (label, split)]
        assert len(own) == min(number, len(group))
    assert found <= drawn(table, number + 1)
    order = list(range(len(table)))
    random.shuffle(order)  # type: ignore[attr-defined]
    assert drawn(table.iloc[order].reset_index(drop=True), number) == found


def test_another_seed_draws_others_and_every_row_is_as_likely() -> None:
    table = pd.DataFrame({"start": range(50), "label": 0, "split": "train"})
    table = table.assign(chrom="c", end=table["start"] + 5, strand="+", cell_type="any")
    drawn = np.concatenate([first_by_hash(table, 10, seed) for seed in range(100)])
    counts = np.bincount(drawn, minlength=50)
    # 20 of each expected, of a spread of 4.
    assert counts.min() > 4
    assert counts.max() < 40


def test_label_counts_name_the_splits_that_there_are() -> None:
    table = pd.DataFrame({"label": [1, 0, 1], "split": ["train", "train", "test"]})
    assert label_counts(table, CLASSES) == "train: no 1, yes 1; test: no 0, yes 1"
