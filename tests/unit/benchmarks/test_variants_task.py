"""The task of variants: windows by hand, labels, folds, and the demo's."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from genebert.benchmarks.dataset import Dataset, read_dataset
from genebert.benchmarks.tasks.material import Material
from genebert.benchmarks.tasks.variants import (
    CLASSES,
    build,
    check,
    indel_facts,
    labels_of,
    windows,
)
from genebert.config import VariantsTask
from genebert.errors import GenebertError
from genebert.genome import Genome, Interval, index_genome, split_segments
from genebert.motifs.table import MotifTable

BLOCK = 1000
CONTIGS = {f"chr{number}": 4000 - 300 * number for number in range(1, 9)}


def task(**changes: object) -> VariantsTask:
    return VariantsTask(type="variants", variants="a.tsv", **({"width": 60} | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Genome:
    """Eight contigs; chr1 has some N, chr8 is held out for testing."""
    rng = np.random.default_rng(3)
    folder = tmp_path_factory.mktemp("genome")
    text = ""
    for name, length in CONTIGS.items():
        dna = "".join(rng.choice(list("ACGT"), length))
        text += f">{name}\n{dna[:200] + 'N' + dna[201:] if name == 'chr1' else dna}\n"
    (folder / "source.fa").write_text(text)
    index_genome(folder / "source.fa", folder / "genome.fa")
    return Genome(folder / "genome.fa")


@pytest.fixture(scope="module")
def material(
    genome: Genome, few_table: MotifTable, tmp_path_factory: pytest.TempPathFactory
) -> Material:
    """What the task is built from, with regions of 100 bp here and there."""
    folder = tmp_path_factory.mktemp("material")
    segments = split_segments(genome.lengths, ["chr7:0-1000"], ["chr8", "chr7:1000-1500"])
    starts = [
        (chrom, start) for chrom, length in CONTIGS.items() for start in range(0, length - 100, 250)
    ]
    pd.DataFrame(
        {
            "region_id": np.arange(len(starts), dtype=np.uint32),
            "chrom": [chrom for chrom, _ in starts],
            "start": [start for _, start in starts],
            "end": [start + 100 for _, start in starts],
            "split": "train",
        }
    ).to_parquet(folder / "regions.parquet")
    pd.DataFrame({"region_id": [0], "cell_type": ["one"], "signal": [1.0]}).to_parquet(folder / "open")
    return Material(
        name="variants.toy",
        fasta=genome._path,
        contigs=".+",
        segments=segments,
        regions=folder / "regions.parquet",
        accessibility=folder / "open",
        motifs=few_table,
        columns=4,
        cell_types={},
        block_bp=BLOCK,
    )


def some(genome: Genome, number: int = 400, contigs: list[str] | None = None) -> pd.DataFrame:
    """Return variants of one base at places drawn, far from ends and from N."""
    rng = np.random.default_rng(5)
    rows = []
    for row in range(number):
        chrom = str(rng.choice(contigs or list(CONTIGS)))
        position = int(rng.integers(300, CONTIGS[chrom] - 100))
        base = genome.fetch(Interval(chrom, position, position + 1))
        other = "ACGT"[("ACGT".index(base) + int(rng.integers(1, 4))) % 4]
        rows.append((chrom, position + 1, base, other, row % 3 == 0))
    table = pd.DataFrame(rows, columns=["chrom", "pos", "ref", "alt", "label"])
    return table.drop_duplicates(["chrom", "pos", "ref", "alt"])


def built(
    table: pd.DataFrame, material: Material, folder: Path, **changes: object
) -> tuple[Dataset, str]:
    table.to_csv(folder / "a.tsv", sep="\t", index=False)
    line = build(task(**changes), {"variants": folder / "a.tsv"}, material, folder / "dataset.parquet")
    return read_dataset(folder / "dataset.parquet"), line


def test_each_variant_is_its_window_with_either_allele(
    genome: Genome, material: Material, tmp_path: Path
) -> None:
    given_ = some(genome)
    dataset, _ = built(given_, material, tmp_path)
    assert dataset.classes == CLASSES
    labels = {(row.chrom, row.pos - 1, row.alt): int(row.label) for row in given_.itertuples()}
    assert len(dataset.table) == len(labels)
    for row in dataset.table.itertuples():
        forward = genome.fetch(Interval(row.chrom, row.start, row.end))
        assert (row.sequence, row.strand, row.end - row.start) == (forward, "+", 60)
        differ = [at for at in range(60) if row.sequence[at] != row.alternative[at]]
        assert differ == [30]
        assert labels.pop((row.chrom, row.start + 30, row.alternative[30])) == row.label
    assert not labels
    assert set(dataset.table["split"]) == {"test"}
    assert dataset.alternative_hits is not None
    assert len(dataset.alternative_hits.offsets) == len(dataset.table) + 1
    assert not np.array_equal(dataset.alternative_hits.best(3), dataset.hits.best(3))
    assert (dataset.columns >= 0).any()


def test_held_out_stretches_are_told_from_those_of_pre_training(
    genome: Genome, material: Material, tmp_path: Path
) -> None:
    dataset, line = built(some(genome), material, tmp_path)
    table = dataset.table
    inside = (table["chrom"] == "chr8") | (
        (table["chrom"] == "chr7")
        & ((table["end"] <= 1000) | ((table["start"] >= 1000) & (table["end"] <= 1500)))
    )
    assert inside.sum() > 20
    assert table["subset"].tolist() == np.where(inside, "held_out", "pretraining").tolist()
    seen = int((~inside).sum())
    assert dataset.metadata["in_pretraining"] == seen
    assert dataset.metadata["in_pretraining_fraction"] == seen / len(table)
    assert f"{seen} of them in stretches of pre-training" in line


def test_folds_share_no_chromosome_and_are_even(
    genome: Genome, material: Material, tmp_path: Path
) -> None:
    table = built(some(genome), material, tmp_path, folds=4)[0].table
    assert (table.groupby("chrom")["fold"].nunique() == 1).all()
    sizes = table["fold"].value_counts()
    assert sorted(sizes.index) == [0, 1, 2, 3]
    assert sizes.max() - sizes.min() <= table["chrom"].value_counts().max()


def test_folds_share_no_block_where_chromosomes_are_few(
    genome: Genome, material: Material, tmp_path: Path
) -> None:
    few = some(genome, contigs=["chr1", "chr2"])
    table = built(few, material, tmp_path, folds=5)[0].table
    block = table["chrom"] + ":" + (table["start"] // BLOCK).astype(str)
    assert (table.groupby(block)["fold"].nunique() == 1).all()
    assert sorted(table["fold"].unique()) == [0, 1, 2, 3, 4]
    with pytest.raises(GenebertError, match=r"lie in 8 blocks of 1000 bp, too few for 9 folds"):
        built(few, material, tmp_path, folds=9)


def test_matched_sets_are_not_cut(genome: Genome, material: Material, tmp_path: Path) -> None:
    """Sets across chromosomes: a case that names none or itself, and its controls."""
    table = some(genome).assign(label=lambda own: np.arange(len(own)) % 4 == 0)
    names = "v" + pd.Series(np.arange(len(table)) // 4).astype(str)
    table["id"] = np.where(table["label"], names, "other")
    table["match"] = np.where(table["label"] & (np.arange(len(table)) % 8 == 0), "", names)
    dataset, line = built(table, material, tmp_path, group="match", folds=4)
    first = (tmp_path / "dataset.parquet").read_bytes()
    key = {
        (row.chrom, row.pos - 31, row.alt): row.name
        for row in table.assign(name=names.to_numpy()).itertuples(index=False)
    }
    own = dataset.table
    sets = pd.Series([key[row.chrom, row.start, row.alternative[30]] for row in own.itertuples()])
    assert (own.groupby(sets)["fold"].nunique() == 1).all()
    homes = own[own["label"] == 1]
    assert (homes.groupby("chrom")["fold"].nunique() == 1).all()
    lacking = int((own.groupby(sets)["label"].nunique() == 1).sum())
    assert f"{sets.nunique()} matched sets, {lacking} of them without a case or a control" in line
    assert "beyond the chromosome of their first case" in line
    built(table.sample(frac=1, random_state=1), material, tmp_path, group="match", folds=4)
    assert (tmp_path / "dataset.parquet").read_bytes() == first
    fewer, line = built(table, material, tmp_path, group="match", folds=4, max_examples=30)
    lacking = int(line.split(" matched sets, ")[1].split()[0])
    assert len(fewer.table) == 60
    assert lacking > 0, "a draw cuts sets"


def test_the_order_of_the_file_and_its_form_do_not_matter(
    genome: Genome, material: Material, tmp_path: Path
) -> None:
    table = some(genome)
    built(table, material, tmp_path)
    first = (tmp_path / "dataset.parquet").read_bytes()
    built(table.sample(frac=1, random_state=1), material, tmp_path)
    assert (tmp_path / "dataset.parquet").read_bytes() == first
    table.assign(label=table["label"].astype(float)).to_parquet(tmp_path / "a.parquet")
    build(task(), {"variants": tmp_path / "a.parquet"}, material, tmp_path / "other")
    assert (tmp_path / "other").read_bytes() == first


def cut(genome: Genome, *rows: tuple[str, int, str, str], width: int = 20) -> tuple[pd.DataFrame, dict]:
    return windows(pd.DataFrame(rows, columns=["chrom", "start", "ref", "alt"]), genome, width)


def test_alternatives_keep_start_and_width(genome: Genome) -> None:
    at = 500
    around = genome.fetch(Interval("chr2", at - 10, at + 40))
    base, rest = around[10], around[11:]
    found, dropped = cut(
        genome,
        ("chr2", at, base, "T" if base != "T" else "G"),
        ("chr2", at, base, base + "ACGT"),
        ("chr2", at, base + rest[:3], base),
        ("chr2", at, base + rest[:1], "CC"),
        width=21,
    )
    before = around[:10]
    assert found["sequence"].unique().tolist() == [around[:21]]
    assert found["alternative"].tolist() == [
        before + ("T" if base != "T" else "G") + rest[:10],
        before + base + "ACGT" + rest[:6],
        before + base + rest[3:13],
        before + "CC" + rest[1:10],
    ]
    assert (found["start"] == at - 10).all()
    assert (found["end"] == at + 11).all()
    assert (found["position"] == at).all()
    assert not any(dropped.values())
    assert indel_facts(found.reset_index()) == {
        "indels": 2,
        "first_indel": f"chr2:501 {base}>{base}ACGT",
    }
    assert indel_facts(found.iloc[[0, 3]]) == {"indels": 0}


def test_windows_that_cannot_be_used_are_counted(genome: Genome) -> None:
    end = CONTIGS["chr2"]
    base = genome.fetch(Interval("chr2", 0, end))
    found, dropped = cut(
        genome,
        ("chr2", 9, base[9], "A"),  # leaves on the left
        ("chr2", 10, base[10], "A"),
        ("chr2", end - 10, base[end - 10], "A"),
        ("chr2", end - 9, base[end - 9], "A"),  # leaves on the right
        ("chr2", end - 10, base[end - 10 : end - 8], base[end - 10]),  # needs one base more
        ("chr2", 100, base[100:111], base[100]),  # an allele of 11 bp in a half of 10
        ("chr2", 100, base[100:110], base[100]),
        ("chr1", 191, "A", "C"),  # N at 200
        ("chr1", 190, "A", "C"),
        ("chr1", 190, "AT", "A"),  # N comes in from the right
        ("chr1", 211, "A", "C"),
        ("chr1", 210, "A", "C"),
    )
    assert found.index.tolist() == [1, 2, 6, 8, 10]
    assert dropped == {
        "with an allele longer than half the window": 1,
        "whose window leaves the contig": 3,
        "with N in the window": 3,
    }


@pytest.mark.parametrize(
    ("values", "changes", "expected"),
    [
        ([True, False, True], {}, [1, 0, 1]),
        ([1.0, 0.0, np.nan], {}, [1, 0, -1]),
        (["1", "0", "VUS"], {}, [1, 0, -1]),
        (
            ["Pathogenic", "Benign", "Likely_benign"],
            {"positive": ["Pathogenic"], "negative": ["Benign", "Likely_benign"]},
            [1, 0, 0],
        ),
        (["2", "1", "1"], {"positive": ["2.0"], "negative": ["1"]}, [1, 0, 0]),
    ],
)
def test_labels_are_compared_as_text(
    genome: Genome,
    material: Material,
    tmp_path: Path,
    values: list[object],
    changes: dict[str, object],
    expected: list[int],
) -> None:
    table = some(genome, 12)
    table["label"] = (values * 12)[: len(table)]
    for name in ("a.tsv", "a.parquet"):
        if name == "a.tsv":
            table.to_csv(tmp_path / name, sep="\t", index=False, na_rep="NA")
        else:
            table.to_parquet(tmp_path / name)
        line = build(
            task(folds=2, **changes), {"variants": tmp_path / name}, material, tmp_path / "dataset"
        )
        kept = [label for label in (expected * 12)[: len(table)] if label >= 0]
        found = read_dataset(tmp_path / "dataset")
        assert Counter(found.labels.tolist()) == Counter(kept)
        others = len(table) - len(kept)
        assert (f"{others} with another label" in line) == (others > 0)


def test_a_class_without_variants_is_named_with_the_labels_there_are() -> None:
    labels = pd.Series(["a", "b", "b", "1"])
    with pytest.raises(
        GenebertError,
        match=r"no variant has a label of `negative` \(0, false\); 'label' is 'b' \(2\), 'a' \(1\)",
    ):
        labels_of(labels, task(), "a.tsv")
    with pytest.raises(GenebertError, match="label 'b' is both positive and negative"):
        labels_of(labels, task(positive=["a", "b"], negative=["b"]), "a.tsv")


def test_check_reads_the_file_without_the_genome(genome: Genome, tmp_path: Path) -> None:
    table = some(genome)
    table.to_csv(tmp_path / "a.tsv", sep="\t", index=False)
    files = {"variants": tmp_path / "a.tsv"}
    assert check(task(), "variants.toy", files, genome.lengths, ".+") == {"variants": len(table)}
    with pytest.raises(GenebertError, match=r"no variant has a label of `positive` .*'True'|'true'"):
        check(task(positive=["yes"]), "variants.toy", files, genome.lengths, ".+")
    with pytest.raises(
        GenebertError,
        match=r"no column `match_group` \(the group\).*\nfix: name it so, or correct `group`",
    ):
        check(task(group="match_group"), "variants.toy", files, genome.lengths, ".+")
    with pytest.raises(
        GenebertError, match=r"no column `clinical`.*\nfix: name it so, or correct `label`"
    ):
        check(task(label="clinical"), "variants.toy", files, genome.lengths, ".+")


def test_a_reference_that_is_not_the_genome_s_stops_the_task(
    genome: Genome, material: Material, tmp_path: Path
) -> None:
    table = some(genome, 50).reset_index(drop=True)
    table.loc[7, ["ref", "alt"]] = table.loc[7, ["alt", "ref"]].tolist()
    with pytest.raises(GenebertError, match=r"REF of .* is '.', the genome has '.' .*a\.tsv line 9"):
        built(table, material, tmp_path)
    assert not (tmp_path / "dataset.parquet").exists()


def test_indels_are_kept_on_demand_and_told_of(
    genome: Genome, material: Material, tmp_path: Path
) -> None:
    table = some(genome, 60).reset_index(drop=True)
    table.loc[3, "alt"] = table.loc[3, "ref"] + "AC"
    assert built(table, material, tmp_path)[0].metadata["indels"] == 0
    dataset, _ = built(table, material, tmp_path, indels="keep")
    assert dataset.metadata["indels"] == 1
    assert dataset.metadata["first_indel"].endswith(f"{table.loc[3, 'ref']}>{table.loc[3, 'alt']}")
    with pytest.raises(GenebertError, match=r"is an indel .*a\.tsv line 5"):
        built(table, material, tmp_path, indels="refuse")


def test_fewer_examples_are_a_draw_of_all(genome: Genome, material: Material, tmp_path: Path) -> None:
    every = built(some(genome), material, tmp_path)[0].table
    dataset, _ = built(some(genome), material, tmp_path, max_examples=50)
    table = dataset.table
    assert table["label"].value_counts().tolist() == [50, 50]
    place = ["chrom", "start", "alternative", "label"]
    assert len(table.merge(every, on=place)) == 100
    assert dataset.metadata["in_pretraining"] == (table["subset"] == "pretraining").sum()
    sizes = table["fold"].value_counts()
    assert sizes.max() - sizes.min() <= table["chrom"].value_counts().max()


def test_the_demo_s_variants_become_a_task(
    demo: SimpleNamespace, few_table: MotifTable, repository: Path, tmp_path: Path
) -> None:
    material = Material(
        name="variants.HDL",
        fasta=demo.fasta,
        contigs=".+",
        segments=demo.segments,
        regions=demo.regions,
        accessibility=demo.accessibility,
        motifs=few_table,
        columns=8,
        cell_types={},
        block_bp=1_000_000,
    )
    files = {"variants": repository / "resources/demo/hdl_variants.tsv.gz"}
    assert check(task(), "variants.HDL", files, demo.lengths, ".+") == {"variants": 510}
    line = build(task(width=300, group="matched_to"), files, material, tmp_path / "dataset")
    assert "51 matched sets, 0 of them without a case or a control, 51 beyond the block" in line
    dataset = read_dataset(tmp_path / "dataset")
    assert dataset.codes.shape == (510, 300)
    assert (dataset.codes != dataset.alternative_codes).sum() == 510
    assert dataset.table["label"].value_counts().to_dict() == {0: 459, 1: 51}
    cases = dataset.table[dataset.table["label"] == 1]
    assert (cases.groupby(cases["start"] // 1_000_000)["fold"].nunique() == 1).all()
    assert (dataset.table.groupby("fold")["label"].mean() == 0.1).all(), "each set has one case of ten"
    assert dataset.table["fold"].nunique() == 5
