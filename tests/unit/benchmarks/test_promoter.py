import gzip
import hashlib
from collections import Counter
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from genebert.benchmarks.dataset import Dataset, read_dataset
from genebert.benchmarks.negatives import GC_TOLERANCE
from genebert.benchmarks.tasks.material import Material
from genebert.benchmarks.tasks.promoter import CLASSES, build, check, has_tata, promoter_windows
from genebert.catalogue import catalogue_digest
from genebert.config import PromoterTask
from genebert.errors import GenebertError
from genebert.genome import Genome, Interval, SegmentIndex, index_genome, reverse_complement
from genebert.inputs.bed import read_task_intervals
from genebert.motifs.scan import Scanner
from genebert.motifs.table import MotifTable
from genebert.versions import STAGES

COLUMNS = 8


def _task(**settings: object) -> PromoterTask:
    return PromoterTask(type="promoter", tss="tss.bed", **settings)  # type: ignore[arg-type]


def _build(demo: SimpleNamespace, motifs: MotifTable, out: Path, **settings: object) -> Dataset:
    material = Material(
        name="promoter",
        fasta=demo.fasta,
        contigs=".+",
        segments=demo.segments,
        regions=demo.regions,
        accessibility=demo.accessibility,
        motifs=motifs,
        columns=COLUMNS,
        cell_types={"validation": [], "test": []},
        block_bp=1_000_000,
    )
    build(_task(**settings), {"tss": demo.tss}, material, out)
    return read_dataset(out)


@pytest.fixture(scope="module")
def motifs(jaspar_table: MotifTable) -> MotifTable:
    """A tenth of JASPAR: enough to compare hits by."""
    return MotifTable(jaspar_table.motifs[::10], [], jaspar_table.background, 1.0, 1e-4)


@pytest.fixture(scope="module")
def few(jaspar_table: MotifTable) -> MotifTable:
    """Two motifs, where hits do not matter."""
    return MotifTable(jaspar_table.motifs[:2], [], jaspar_table.background, 1.0, 1e-4)


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
    assert dataset.metadata["motif_digest"] == motifs.digest()
    assert dataset.metadata["catalogue"] == catalogue_digest(demo.regions)
    scanner = Scanner(motifs)
    rows = np.flatnonzero(dataset.table["example_id"].to_numpy() % 9 == 0)
    assert set(dataset.table["label"].iloc[rows]) == {0, 1}
    for row in rows:
        hits = scanner.scan([dataset.table["sequence"].iloc[row]])
        best: dict[int, float] = {}
        for motif, score in zip(hits.motif.tolist(), hits.score.tolist(), strict=True):
            best[motif] = max(best.get(motif, 0.0), np.floor(score * 128) / 128)
        own = slice(*dataset.hits.offsets[row : row + 2])
        found = dict(
            zip(dataset.hits.motif[own].tolist(), dataset.hits.score[own].tolist(), strict=True)
        )
        assert found == best


def test_the_draw_follows_the_seed_of_the_task(
    demo: SimpleNamespace, few: MotifTable, tss: list[tuple[int, str]], tmp_path: Path
) -> None:
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
        4,
        "0744d57d36fcbbbb",
    ), "the task's examples changed: raise STAGES['promoter'] in genebert/versions.py"


def _windows(folder: Path, text: str, **settings: object) -> pd.DataFrame:
    (folder / "tss.bed").write_text(text)
    bed = read_task_intervals(folder / "tss.bed", "as_is", "p", {"c": 2000}, ".+")
    return promoter_windows(_task(**settings), bed, {"c": 2000})


def test_windows_count_from_the_five_prime_end(tmp_path: Path) -> None:
    windows = _windows(tmp_path, "c\t500\t900\tg\t0\t+\nc\t500\t900\tg\t0\t-\n")
    assert windows.values.tolist() == [["c", 251, 551, "+"], ["c", 849, 1149, "-"]]


def test_the_intervals_of_epdnew_begin_49_bp_before_the_tss(tmp_path: Path) -> None:
    # 60 bp, of which the last 11 are the TSS and what follows.
    text = "c\t451\t511\tG_1\t900\t+\t500\t511\nc\t890\t950\t\t900\t-\t890\t901\n"
    windows = _windows(tmp_path, text, tss_offset=49)
    assert windows.values.tolist() == [["c", 251, 551, "+"], ["c", 850, 1150, "-"]]


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
    demo: SimpleNamespace, few: MotifTable, tmp_path: Path
) -> None:
    (tmp_path / "tss.bed").write_text(
        "".join(f"chr20\t{at}\t{at + 1}\tg\t0\t+\n" for at in (31_000_000, 43_000_000, 45_000_000))
    )
    demo = SimpleNamespace(**{**vars(demo), "tss": tmp_path / "tss.bed"})
    with pytest.raises(GenebertError, match="cell type 'Liver' is in no sample"):
        _build(demo, few, tmp_path / "d.parquet", cell_type="Liver")
    found = _build(demo, few, tmp_path / "d.parquet", cell_type="Mono")
    mono = pq.read_table(demo.accessibility).to_pandas().query("cell_type == 'Mono'")["region_id"]
    assert set(found.columns[found.columns >= 0]) <= set(mono)
    (tmp_path / "tss.bed").write_text("chr20\t31000000\t31000001\tg\t0\t+\n")
    with pytest.raises(GenebertError, match="task 'promoter' has no validation example"):
        _build(demo, few, tmp_path / "e.parquet")
    assert not (tmp_path / "e.parquet").exists()


def test_every_record_of_the_file_is_checked(demo: SimpleNamespace) -> None:
    lines = gzip.decompress(demo.tss.read_bytes()).count(b"\n")
    assert check(_task(), "p", {"tss": demo.tss}, demo.lengths, ".+") == {"tss": lines}
    with pytest.raises(GenebertError, match="intervals of task 'p' name contig"):
        check(_task(), "p", {"tss": demo.tss}, {"chr1": 5}, ".+")


@pytest.mark.parametrize("strand", ["+", "-"])
@pytest.mark.parametrize(
    ("box", "at", "found"),
    [
        ("TATAAAA", -35, True),
        ("TATATAT", -20, True),
        ("TATAAAT", -30, True),
        ("TATAAAA", -36, False),
        ("TATAAAA", -19, False),
        ("TATAAAG", -30, False),
        ("TATACAA", -30, False),
        ("TTTTATA", -30, False),  # TATAAAA of the other strand
    ],
)
def test_a_tata_box_begins_35_to_20_bp_before_the_tss(
    tmp_path: Path, strand: str, box: str, at: int, found: bool
) -> None:
    dna = "G" * (100 + at) + box + "G" * (93 - at)
    assert len(dna) == 200
    if strand == "-":
        dna = reverse_complement(dna)
    (tmp_path / "source.fa").write_text(f">c\n{dna}\n")
    index_genome(tmp_path / "source.fa", tmp_path / "genome.fa")
    genome = Genome(tmp_path / "genome.fa")
    tss = 100 if strand == "+" else 99
    assert has_tata(genome, "c", tss, strand) == found
    assert not has_tata(genome, "c", 5 if strand == "+" else 194, strand), "the contig ends first"


def test_a_negative_has_the_subset_of_its_promoter(dataset: Dataset) -> None:
    sizes = dataset.table.groupby(["subset", "label", "split"]).size()
    assert (sizes.loc[:, 0] == sizes.loc[:, 1]).all()
    promoters = dataset.table[dataset.table["label"] == 1]
    # From the window itself: 249 bp lie before the TSS.
    boxes = promoters["sequence"].str[249 - 35 : 249 - 20 + 7].str.contains("TATA[AT]A[AT]")
    assert (boxes == (promoters["subset"] == "TATA")).all()
    assert 0.005 < boxes.mean() < 0.1
    assert set(dataset.table["subset"]) == {"TATA", "no_TATA"}


@pytest.mark.parametrize("negatives", ["deepromoter", "dinucleotide_shuffle"])
def test_changed_promoters_differ_from_them_in_nothing_but_sequence(
    demo: SimpleNamespace, few: MotifTable, tmp_path: Path, negatives: str
) -> None:
    built = _build(demo, few, tmp_path / "a", negatives=negatives, max_examples=40)
    table = built.table
    by_label = [table[table["label"] == label].reset_index(drop=True) for label in (0, 1)]
    assert len(by_label[0]) == len(by_label[1]) == 120
    same = ["chrom", "start", "end", "strand", "cell_type", "split", "subset", "occupancy"]
    pd.testing.assert_frame_equal(by_label[0][same], by_label[1][same])
    rows = [np.flatnonzero(table["label"] == label) for label in (0, 1)]
    assert np.array_equal(built.columns[rows[0]], built.columns[rows[1]])
    for changed, promoter in zip(by_label[0]["sequence"], by_label[1]["sequence"], strict=True):
        assert len(changed) == len(promoter) == 300
        if negatives == "dinucleotide_shuffle":
            assert changed != promoter
            assert Counter(pairwise(changed)) == Counter(pairwise(promoter))
        else:
            parts = [changed[at : at + 15] == promoter[at : at + 15] for at in range(0, 300, 15)]
            assert sum(parts) == 8
    again = _build(demo, few, tmp_path / "b", negatives=negatives, max_examples=40)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    other = _build(demo, few, tmp_path / "c", negatives=negatives, seed=2)
    assert set(again.table["sequence"]) != set(other.table["sequence"])


def test_a_capped_task_keeps_pairs(demo: SimpleNamespace, few: MotifTable, tmp_path: Path) -> None:
    table = _build(demo, few, tmp_path / "d", max_examples=30).table
    sizes = table.groupby(["label", "split"]).size()
    assert sizes[0].to_dict() == sizes[1].to_dict()
    assert sizes.max() == 30
    assert sizes.min() > 20, "a few find no negative"
    gc = table["sequence"].map(lambda dna: (dna.count("G") + dna.count("C")) / len(dna))
    for _, rows in table.groupby("split"):
        negative, positive = (np.sort(gc[rows.index][rows["label"] == label]) for label in (0, 1))
        assert np.abs(negative - positive).max() <= GC_TOLERANCE + 1e-9


def test_a_promoter_that_cannot_be_shuffled_has_no_negative(
    few: MotifTable, tmp_path: Path, demo: SimpleNamespace
) -> None:
    rng = np.random.default_rng(1)
    stretches = ["".join(rng.choice(list("ACGT"), 100)) for _ in range(3)]
    (tmp_path / "source.fa").write_text(f">c\n{'A' * 100}{''.join(stretches)}\n")
    index_genome(tmp_path / "source.fa", tmp_path / "genome.fa")
    segments = [
        demo.segments[0]._replace(chrom="c", start=start, end=end, split=split)
        for start, end, split in ((0, 200, "train"), (200, 300, "validation"), (300, 400, "test"))
    ]
    regions = pq.read_table(demo.regions).slice(0, 1)
    pq.write_table(regions, tmp_path / "regions.parquet")
    (tmp_path / "tss.bed").write_text(
        "".join(f"c\t{at}\t{at + 1}\tg\t0\t+\n" for at in (50, 150, 250, 350))
    )
    world = SimpleNamespace(
        fasta=tmp_path / "genome.fa",
        segments=segments,
        regions=tmp_path / "regions.parquet",
        accessibility=demo.accessibility,
        tss=tmp_path / "tss.bed",
    )
    shape = {"upstream": 30, "downstream": 19, "negatives": "dinucleotide_shuffle"}
    table = _build(world, few, tmp_path / "d", **shape).table
    assert sorted(table["start"]) == [120, 120, 220, 220, 320, 320]


def test_too_few_bp_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="19 bp are too few to make deepromoter negatives"):
        _task(upstream=9, downstream=9, negatives="deepromoter")
    assert _task(upstream=9, downstream=9).bases() == 19
