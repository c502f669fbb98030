import gzip
import hashlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from genebert.benchmarks.dataset import Dataset, read_dataset
from genebert.benchmarks.negatives import GC_TOLERANCE
from genebert.benchmarks.tasks.promoter import CLASSES, build, promoter_windows
from genebert.catalogue import catalogue_digest
from genebert.config import PromoterTask
from genebert.errors import GenebertError
from genebert.genome import Genome, Interval, SegmentIndex, reverse_complement
from genebert.inputs.bed import read_task_intervals
from genebert.motifs.scan import Scanner
from genebert.motifs.table import MotifTable
from genebert.versions import STAGES

COLUMNS = 8


def _build(demo: SimpleNamespace, motifs: MotifTable, out: Path, **settings: object) -> Dataset:
    build(
        PromoterTask(tss=str(demo.tss), **settings),  # type: ignore[arg-type]
        "promoter",
        demo.tss,
        ".+",
        demo.fasta,
        demo.segments,
        demo.regions,
        demo.accessibility,
        motifs,
        COLUMNS,
        out,
    )
    return read_dataset(out)


@pytest.fixture(scope="module")
def motifs(jaspar_table: MotifTable) -> MotifTable:
    """A tenth of JASPAR: enough to compare hits by."""
    return MotifTable(jaspar_table.motifs[::10], [], jaspar_table.background, 1.0, 1e-4)


@pytest.fixture(scope="module")
def dataset(
    demo: SimpleNamespace, motifs: MotifTable, tmp_path_factory: pytest.TempPathFactory
) -> Dataset:
    """The task on the demo's data."""
    return _build(demo, motifs, tmp_path_factory.mktemp("promoter") / "dataset.parquet")


@pytest.fixture(scope="module")
def tss(demo: SimpleNamespace) -> list[tuple[int, str]]:
    """Position and strand of every TSS, read by hand."""
    lines = gzip.decompress(demo.tss.read_bytes()).decode().splitlines()
    return [(int(cells[1]), cells[5]) for cells in (line.split("\t") for line in lines)]


def test_positives_are_the_windows_of_tss_on_their_strand(
    dataset: Dataset, tss: list[tuple[int, str]]
) -> None:
    expected = {
        (at - 249, at + 51, strand) if strand == "+" else (at - 50, at + 250, strand)
        for at, strand in tss
    }
    positives = dataset.table[dataset.table["label"] == 1]
    found = set(zip(positives["start"], positives["end"], positives["strand"], strict=True))
    assert found <= expected
    assert len(found) == len(positives) > 300
    assert dataset.classes == CLASSES == ["background", "promoter"]


def test_sequences_are_those_of_the_genome_on_their_strand_without_n(
    dataset: Dataset, demo: SimpleNamespace
) -> None:
    genome = Genome(demo.fasta)
    for row in dataset.table.itertuples():
        forward = genome.fetch(Interval(row.chrom, row.start, row.end))
        assert row.sequence == (forward if row.strand == "+" else reverse_complement(forward))
    assert not dataset.table["sequence"].str.contains("N").any()
    assert set(dataset.table["sequence"].str.len()) == {300}


def test_both_classes_have_the_same_strands_and_splits(dataset: Dataset) -> None:
    counts = dataset.table.groupby(["label", "strand", "split"]).size()
    assert counts[0].to_dict() == counts[1].to_dict()
    assert len(counts) == 12, "both strands and all splits in both classes"


def test_negatives_keep_off_every_tss_window_and_one_another(
    dataset: Dataset, tss: list[tuple[int, str]]
) -> None:
    negatives = dataset.table[dataset.table["label"] == 0].sort_values("start")
    for at, strand in tss:
        low, high = (at - 249, at + 51) if strand == "+" else (at - 50, at + 250)
        near = (negatives["start"] < high + 1000) & (low - 1000 < negatives["end"])
        assert not near.any()
    assert (negatives["start"].to_numpy()[1:] >= negatives["end"].to_numpy()[:-1]).all()


def test_gc_content_does_not_tell_the_classes_apart(dataset: Dataset) -> None:
    gc = dataset.table["sequence"].map(lambda dna: (dna.count("G") + dna.count("C")) / len(dna))
    for split in ("train", "validation", "test"):
        rows = dataset.table["split"] == split
        negative, positive = (np.sort(gc[rows & (dataset.table["label"] == label)]) for label in (0, 1))
        # Each pair is within the tolerance, so the sorted lists are too.
        assert np.abs(negative - positive).max() <= GC_TOLERANCE + 1e-9
        cuts = np.concatenate([negative, positive])
        distance = np.abs(
            np.searchsorted(negative, cuts, "right") - np.searchsorted(positive, cuts, "right")
        ).max() / len(positive)
        assert distance < 0.2
        assert abs(negative.mean() - positive.mean()) < 0.005


def test_examples_are_of_the_split_they_lie_in(dataset: Dataset) -> None:
    for row in dataset.table.itertuples():
        splits = {
            "test"
            if 44_000_000 <= base < 50_000_000
            else "validation"
            if 42_000_000 <= base < 44_000_000
            else "train"
            for base in (row.start, row.end - 1)
        }
        assert splits == {row.split}


def test_columns_never_overlap_their_example_and_are_of_its_segment(
    dataset: Dataset, demo: SimpleNamespace
) -> None:
    regions = pq.read_table(demo.regions).to_pandas()
    index = SegmentIndex(demo.segments)
    assert dataset.columns.shape == (len(dataset.table), COLUMNS)
    assert (dataset.columns[:, COLUMNS // 2] == -1).all(), "the focal column is the example's own"
    assert (dataset.columns >= 0).mean() > 0.7
    for row, columns in zip(dataset.table.itertuples(), dataset.columns, strict=True):
        segment = index.at(row.chrom, row.start)
        chosen = regions.iloc[columns[columns >= 0]]
        assert ((chosen["end"] <= row.start) | (chosen["start"] >= row.end)).all()
        assert (chosen["start"] >= segment.start).all()
        assert (chosen["end"] <= segment.end).all()
        assert chosen["start"].is_monotonic_increasing


def test_no_region_is_a_column_across_splits(dataset: Dataset, demo: SimpleNamespace) -> None:
    split_of = pq.read_table(demo.regions).to_pandas()["split"].to_numpy()
    for split in ("train", "validation", "test"):
        columns = dataset.columns[dataset.in_split(split)]
        assert set(split_of[columns[columns >= 0]]) == {split}


def test_focal_hits_are_a_scan_of_the_examples_own_sequence(
    dataset: Dataset, motifs: MotifTable, demo: SimpleNamespace
) -> None:
    assert dataset.motif_digest == motifs.digest()
    assert dataset.catalogue == catalogue_digest(demo.regions)
    scanner = Scanner(motifs)
    rows = np.flatnonzero(dataset.table["example_id"].to_numpy() % 9 == 0)
    assert set(dataset.table["label"].iloc[rows]) == {0, 1}
    for row in rows:
        hits = scanner.scan([dataset.table["sequence"].iloc[row]])
        best: dict[int, float] = {}
        for motif, score in zip(hits.motif.tolist(), hits.score.tolist(), strict=True):
            best[motif] = max(best.get(motif, 0.0), np.floor(score * 128) / 128)
        part = slice(dataset.hit_offsets[row], dataset.hit_offsets[row + 1])
        found = dict(
            zip(dataset.hit_motif[part].tolist(), dataset.hit_score[part].tolist(), strict=True)
        )
        assert found == best


def test_the_draw_follows_the_seed_of_the_task(
    demo: SimpleNamespace, motifs: MotifTable, tss: list[tuple[int, str]], tmp_path: Path
) -> None:
    few = MotifTable(motifs.motifs[:2], [], motifs.background, 1.0, 1e-4)
    lines = [f"chr20\t{at}\t{at + 1}\tg\t0\t{strand}\n" for at, strand in tss[::6]]
    (tmp_path / "tss.bed").write_text("".join(lines))
    some = SimpleNamespace(**{**vars(demo), "tss": tmp_path / "tss.bed"})
    for name, seed in (("first", 1), ("again", 1), ("other", 2)):
        _build(some, few, tmp_path / name, seed=seed)
    first, again, other = (read_dataset(tmp_path / name).table for name in ("first", "again", "other"))
    pd.testing.assert_frame_equal(first, again)
    negatives, others = (set(t.loc[t["label"] == 0, "start"]) for t in (first, other))
    assert len(negatives) > 50
    assert len(negatives & others) < 0.1 * len(negatives)


def test_the_dataset_of_the_demo_is_that_of_this_version(dataset: Dataset) -> None:
    table = dataset.table
    columns = ["chrom", "start", "end", "strand", "label", "split"]
    text = table[columns].to_csv(index=False, lineterminator="\n") + str(dataset.columns.tolist())
    assert (STAGES["promoter"], hashlib.sha256(text.encode()).hexdigest()[:16]) == (
        3,
        "0744d57d36fcbbbb",
    ), "the task's examples changed: raise STAGES['promoter'] in genebert/versions.py"


def _windows(folder: Path, text: str) -> pd.DataFrame:
    (folder / "tss.bed").write_text(text)
    bed = read_task_intervals(folder / "tss.bed", "as_is", "p", {"c": 2000}, ".+")
    return promoter_windows(PromoterTask(tss="tss.bed"), bed, {"c": 2000})


def test_windows_count_from_the_five_prime_end(tmp_path: Path) -> None:
    windows = _windows(tmp_path, "c\t500\t900\tg\t0\t+\nc\t500\t900\tg\t0\t-\n")
    assert windows.values.tolist() == [["c", 251, 551, "+"], ["c", 849, 1149, "-"]]


def test_windows_are_unique_and_inside_the_contig(tmp_path: Path) -> None:
    twice = "c\t500\t501\ta\t0\t+\nc\t500\t501\tb\t0\t+\n"
    outside = "c\t248\t249\te\t0\t+\nc\t1950\t1951\te\t0\t+\nc\t1751\t1752\te\t0\t-\n"
    edges = "c\t249\t250\te\t0\t+\nc\t1949\t1950\te\t0\t+\nc\t50\t51\te\t0\t-\n"
    starts = _windows(tmp_path, twice + outside + edges)["start"].tolist()
    assert starts == [251, 0, 1700, 0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("c\t5\t6\tg\t0\n", "5 columns where 6 are needed"),
        ("c\t5\t6\tg\t0\t.\n", "strand '.' of an interval of task 'p' is neither + nor -"),
        ("x\t5\t6\tg\t0\t+\n", "intervals of task 'p' name contig 'x'"),
        ("c\t5\t2001\tg\t0\t+\n", "c:5-2001 ends after the contig's 2000 bp"),
    ],
)
def test_unusable_tss_are_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(GenebertError, match=r"tss\.bed line 1|benchmarks\.tasks\.p") as error:
        _windows(tmp_path, text)
    assert said in str(error.value)


def test_an_unknown_cell_type_is_refused_and_nothing_written(
    demo: SimpleNamespace, motifs: MotifTable, tmp_path: Path
) -> None:
    few = MotifTable(motifs.motifs[:2], [], motifs.background, 1.0, 1e-4)
    (tmp_path / "tss.bed").write_text(
        "".join(f"chr20\t{at}\t{at + 1}\tg\t0\t+\n" for at in (31_000_000, 43_000_000, 45_000_000))
    )
    demo = SimpleNamespace(**{**vars(demo), "tss": tmp_path / "tss.bed"})
    with pytest.raises(GenebertError, match="cell_type 'Liver' is in no sample"):
        _build(demo, few, tmp_path / "d.parquet", cell_type="Liver")
    found = _build(demo, few, tmp_path / "d.parquet", cell_type="Mono")
    mono = pq.read_table(demo.accessibility).to_pandas().query("cell_type == 'Mono'")["region_id"]
    assert set(found.columns[found.columns >= 0]) <= set(mono)
    (tmp_path / "tss.bed").write_text("chr20\t31000000\t31000001\tg\t0\t+\n")
    with pytest.raises(GenebertError, match="task 'promoter' has no validation example"):
        _build(demo, few, tmp_path / "e.parquet")
    assert not (tmp_path / "e.parquet").exists()
