"""Binding sites: what examples are, where they come from, and what must not tell their classes apart."""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from genebert.benchmarks.dataset import Dataset, read_dataset
from genebert.benchmarks.negatives import GC_TOLERANCE
from genebert.benchmarks.tasks.material import Material
from genebert.benchmarks.tasks.tfbs import build, check, own_motif, splits_by_contig
from genebert.config import TfbsTask
from genebert.errors import GenebertError
from genebert.genome import Genome, Interval, SegmentIndex, index_genome, split_segments
from genebert.motifs.read import read_motifs
from genebert.motifs.table import MotifTable, score_motifs
from genebert.versions import STAGES

WIDTH, REGION, STEP = 60, 150, 400
LENGTHS = {"chr1": 80_000, "chr2": 40_000}
SPLIT = (["chr1:40000-50000"], ["chr1:50000-80000"])
PEAKS = {"A": "a.narrowPeak", "B": "b.bed"}


def _dna(rng: np.random.Generator, length: int) -> str:
    """Return bases whose GC content drifts."""
    gc = 0.5 + 0.2 * np.sin(np.arange(length) / 900)
    strong = rng.random(length) < gc
    first = rng.random(length) < 0.5
    return "".join(np.where(strong, np.where(first, "G", "C"), np.where(first, "A", "T")))


@pytest.fixture(scope="module")
def land(tmp_path_factory: pytest.TempPathFactory, few_table: MotifTable) -> SimpleNamespace:
    """A genome, 290 regions, two thirds of them open in each of A and B, and peaks in half of all."""
    rng, folder = np.random.default_rng(5), tmp_path_factory.mktemp("land")
    dna = {name: _dna(rng, length) for name, length in LENGTHS.items()}
    # N in ten regions, where both classes have their windows.
    masked = list(dna["chr2"])
    for at in range(900, 900 + 10 * STEP, STEP):
        masked[at + 50 : at + 53] = "NNN"
    dna["chr2"] = "".join(masked)
    (folder / "source.fa").write_text("".join(f">{name}\n{text}\n" for name, text in dna.items()))
    index_genome(folder / "source.fa", folder / "genome.fa")
    segments = split_segments(LENGTHS, *SPLIT)
    starts = [(name, at) for name in LENGTHS for at in range(900, LENGTHS[name] - 1000, STEP)]
    regions = pd.DataFrame(starts, columns=["chrom", "start"])
    regions = regions.assign(end=regions["start"] + REGION, region_id=np.arange(len(regions)))
    index = SegmentIndex(segments)
    regions["split"] = [index.at(row.chrom, row.start).split for row in regions.itertuples()]
    pq.write_table(pa.Table.from_pandas(regions, preserve_index=False), folder / "regions.parquet")
    is_open = rng.random((len(regions), 2)) < 0.67
    row, cell = np.nonzero(is_open)
    names = np.array(["A", "B"])[cell]
    views = {"region_id": row.astype(np.uint32), "cell_type": names, "signal": np.ones(len(row))}
    pq.write_table(pa.table(views), folder / "accessibility.parquet")
    # Half of all regions have a peak, open or not; of A with its summit off the middle.
    bound = rng.random((len(regions), 2)) < 0.5
    lines: list[list[str]] = [[], []]
    for number, (chrom, start) in enumerate(starts):
        if bound[number, 0]:
            lines[0].append(f"{chrom}\t{start - 10}\t{start + 120}\tp\t0\t.\t{number % 7}\t0\t0\t40\n")
        if bound[number, 1]:
            lines[1].append(f"{chrom}\t{start + 20}\t{start + 100}\tp\t{number % 5}\n")
    for name, text in zip(PEAKS.values(), lines, strict=True):
        (folder / name).write_text("".join(text))
    material = Material(
        name="ctcf",
        fasta=folder / "genome.fa",
        contigs=".+",
        segments=segments,
        regions=folder / "regions.parquet",
        accessibility=folder / "accessibility.parquet",
        motifs=few_table,
        columns=6,
        cell_types={},
        block_bp=10_000,
    )
    return SimpleNamespace(
        folder=folder,
        dna=dna,
        starts=starts,
        is_open=is_open,
        bound=bound,
        material=material,
        files={f"peaks.{cell_type}": folder / name for cell_type, name in PEAKS.items()},
    )


def _settings(**changes: object) -> TfbsTask:
    values: dict[str, object] = {"tf": "gata", "peaks": PEAKS, "train_in": "A", "width": WIDTH}
    return TfbsTask(type="tfbs", **(values | changes))  # type: ignore[arg-type]


def _build(
    land: SimpleNamespace, out: Path, files: dict[str, Path] | None = None, **changes: object
) -> tuple[Dataset, str]:
    told = build(_settings(**changes), files or land.files, land.material, out)
    return read_dataset(out), told


@pytest.fixture(scope="module")
def dataset(land: SimpleNamespace) -> Dataset:
    """A and B, trained in A."""
    return _build(land, land.folder / "dataset.parquet")[0]


def _summits(land: SimpleNamespace, cell: int) -> dict[tuple[str, int], int]:
    """Return the region of each summit."""
    offset = 30 if cell == 0 else 60
    return {
        (chrom, start + offset): number
        for number, (chrom, start) in enumerate(land.starts)
        if land.bound[number, cell]
    }


def test_positives_are_windows_around_summits_in_regions_open_in_their_cell_type(
    dataset: Dataset, land: SimpleNamespace
) -> None:
    positives = dataset.table[dataset.table["label"] == 1]
    assert dataset.classes == ["unbound", "bound"]
    for cell, name in enumerate(PEAKS):
        own = positives[positives["cell_type"] == name]
        middles = set(zip(own["chrom"], own["start"] + WIDTH // 2, strict=True))
        summits = _summits(land, cell)
        assert len(middles) == len(own) > 15
        assert middles <= summits.keys()
        assert all(land.is_open[summits[middle], cell] for middle in middles)


def test_negatives_are_amid_open_regions_of_their_cell_type_and_touch_no_peak(
    dataset: Dataset, land: SimpleNamespace
) -> None:
    negatives = dataset.table[dataset.table["label"] == 0]
    for cell, name in enumerate(PEAKS):
        own = negatives[negatives["cell_type"] == name]
        allowed = {
            (chrom, start + REGION // 2 - WIDTH // 2)
            for number, (chrom, start) in enumerate(land.starts)
            if land.is_open[number, cell] and not land.bound[number, cell]
        }
        places = list(zip(own["chrom"], own["start"], strict=True))
        assert len(places) > 15
        assert set(places) <= allowed
        assert len(set(places)) == len(places), "each is used once"
    assert (dataset.table["occupancy"][dataset.table["label"] == 0] == 1).all()


def test_negatives_keep_their_distance(land: SimpleNamespace, tmp_path: Path) -> None:
    found, _ = _build(land, tmp_path / "far", negative_distance=STEP)
    negatives = found.table[(found.table["label"] == 0) & (found.table["cell_type"] == "A")]
    assert len(negatives) > 5
    for row in negatives.itertuples():
        for number, (chrom, start) in enumerate(land.starts):
            if land.bound[number, 0] and chrom == row.chrom:
                assert row.end <= start - 10 - STEP or row.start >= start + 120 + STEP


def test_negatives_keep_off_windows_that_reach_beyond_their_peak(
    land: SimpleNamespace, tmp_path: Path
) -> None:
    """Peaks of one base, whose windows reach into the middle of a region."""
    text = [
        f"{chrom}\t{start + 120}\t{start + 121}\n"
        for number, (chrom, start) in enumerate(land.starts)
        if land.bound[number, 0]
    ]
    (tmp_path / "summits.bed").write_text("".join(text))
    files = {"peaks.A": tmp_path / "summits.bed"}
    found, _ = _build(land, tmp_path / "d", files, peaks={"A": "x"})
    table = found.table
    positives = {(row.chrom, row.start - 90) for row in table[table["label"] == 1].itertuples()}
    negatives = {(row.chrom, row.start - 45) for row in table[table["label"] == 0].itertuples()}
    bound = {place for place, has in zip(land.starts, land.bound[:, 0], strict=True) if has}
    assert len(positives) == len(negatives) > 25
    assert positives <= bound
    assert not negatives & bound


def test_windows_wider_than_regions_keep_off_one_another(land: SimpleNamespace, tmp_path: Path) -> None:
    lines = (land.folder / PEAKS["A"]).read_text().splitlines(keepends=True)
    (tmp_path / "few.narrowPeak").write_text("".join(lines[::4]))
    files = {"peaks.A": tmp_path / "few.narrowPeak"}
    found, _ = _build(land, tmp_path / "d", files, peaks={"A": "x"}, width=STEP + 50)
    for _, rows in found.table.groupby(["chrom", "label"]):
        assert len(rows) > 5
        assert (np.diff(rows["start"]) >= STEP + 50).all()


def test_classes_are_alike_in_number_strand_length_and_gc(dataset: Dataset) -> None:
    table = dataset.table.assign(gc=dataset.table["sequence"].str.count("[GC]"))
    counts = table.groupby(["label", "cell_type", "split", "strand"]).size()
    assert counts[0].to_dict() == counts[1].to_dict()
    assert set(table["strand"]) == {"+"}
    assert set(table["sequence"].str.len()) == {WIDTH}
    assert table.groupby(["cell_type", "split"]).size().min() >= 6
    for _, part in table.groupby(["cell_type", "split"]):
        negative, positive = (np.sort(part.loc[part["label"] == label, "gc"]) for label in (0, 1))
        assert np.abs(negative - positive).max() <= int(GC_TOLERANCE * WIDTH)
    assert abs(np.diff(table.groupby("label")["gc"].mean())[0]) < 0.4


def test_sequences_are_the_genomes_and_hold_no_n(dataset: Dataset, land: SimpleNamespace) -> None:
    genome = Genome(land.material.fasta)
    for row in dataset.table.itertuples():
        assert row.sequence == genome.fetch(Interval(row.chrom, row.start, row.end))
        assert "N" not in row.sequence
    masked = [number for number, (chrom, at) in enumerate(land.starts) if chrom == "chr2"][:10]
    kinds = 2 * land.is_open[masked, 0] + land.bound[masked, 0]
    assert {2, 3} <= set(kinds), "of either class there would have been some"
    rows = dataset.table[(dataset.table["chrom"] == "chr2") & (dataset.table["start"] < 900 + 10 * STEP)]
    assert rows.empty


def test_only_test_places_are_asked_of_other_cell_types(dataset: Dataset, land: SimpleNamespace) -> None:
    table, index = dataset.table, SegmentIndex(land.material.segments)
    for row in table.itertuples():
        segment = index.around(Interval(row.chrom, row.start, row.end))
        assert segment is not None
        assert segment.split == ("test" if row.split == "across" else row.split)
    assert set(table.loc[table["cell_type"] == "A", "split"]) == {"train", "validation", "test"}
    assert set(table.loc[table["cell_type"] == "B", "split"]) == {"across"}


def test_neighbours_are_open_in_the_examples_cell_type(dataset: Dataset, land: SimpleNamespace) -> None:
    assert dataset.metadata["neighbours"] is True
    for cell, name in enumerate(PEAKS):
        columns = dataset.columns[(dataset.table["cell_type"] == name).to_numpy()]
        assert (columns >= 0).mean() > 0.6
        assert land.is_open[columns[columns >= 0], cell].all()


def test_the_draw_follows_the_seed(land: SimpleNamespace, dataset: Dataset, tmp_path: Path) -> None:
    again, told = _build(land, tmp_path / "again")
    pd.testing.assert_frame_equal(again.table, dataset.table)
    other, _ = _build(land, tmp_path / "other", seed=2)
    first, second = (set(zip(t["chrom"], t["start"], strict=True)) for t in (again.table, other.table))
    assert first != second
    assert "positives" in told
    assert "found no open region" in told


def test_of_overlapping_peaks_the_strongest_stays(land: SimpleNamespace, tmp_path: Path) -> None:
    """Three summits 20 bp apart at every peak: the middle one is the strongest."""
    lines = (land.folder / PEAKS["A"]).read_text().splitlines()
    lines = [line for line in lines if line.startswith("chr1")]  # where no N decides
    text = []
    for line in lines:
        chrom, start, end, *rest = line.split("\t")
        for shift, signal in ((-20, "1"), (0, "9"), (20, "2")):
            text.append("\t".join([chrom, start, end, *rest[:3], signal, *rest[4:6], str(40 + shift)]))
    (tmp_path / "three.narrowPeak").write_text("\n".join(text) + "\n")
    files = {"peaks.A": tmp_path / "three.narrowPeak"}
    found, _ = _build(land, tmp_path / "d", files, peaks={"A": "x"})
    positives = found.table[found.table["label"] == 1]
    middles = set(zip(positives["chrom"], positives["start"] + WIDTH // 2, strict=True))
    assert len(middles) > 25
    assert middles <= _summits(land, 0).keys()


def _fasta(
    land: SimpleNamespace, cell: str, path: Path, outside: bool, contigs: Sequence[int] = range(12)
) -> Path:
    """Write a cell type's peaks with sequences of 80 bp, half of them on contigs the genome lacks."""
    rng, text = np.random.default_rng(0), []
    for chrom, summit in _summits(land, list(PEAKS).index(cell)):
        start, end = summit - 40, summit + 40
        away = outside and rng.random() < 0.5
        name = f"other{rng.choice(contigs)}" if away else chrom
        dna = _dna(rng, 80) if away else land.dna[chrom][start:end]
        text.append(f">{name}:{start}-{end} peak\n{dna.lower()}\n")
    path.write_text("".join(text))
    return path


def test_a_fasta_of_the_same_peaks_gives_the_same_examples(
    land: SimpleNamespace, dataset: Dataset, tmp_path: Path
) -> None:
    files = {f"peaks.{name}": _fasta(land, name, tmp_path / f"{name}.fa", False) for name in PEAKS}
    found, _ = _build(land, tmp_path / "d", files, peaks=dict.fromkeys(PEAKS, "x"))
    one, two = (d.table[d.table["label"] == 1][["chrom", "start", "end"]] for d in (found, dataset))
    shared = one.merge(two)
    assert len(shared) > 0.8 * max(len(one), len(two)), "pairs are drawn anew, positives are as many"
    assert found.metadata["neighbours"] is True
    assert (found.columns >= 0).any()


def test_where_positives_have_no_place_nothing_of_places_is_known(
    land: SimpleNamespace, tmp_path: Path
) -> None:
    files = land.files | {"peaks.A": _fasta(land, "A", tmp_path / "a.fa", True)}
    found, told = _build(land, tmp_path / "d", files)
    table = found.table
    blind = (table["cell_type"] == "A").to_numpy()
    away = table["chrom"].str.startswith("other")
    assert 20 < away.sum() < blind.sum() / 2
    assert (table["label"][away] == 1).all()
    # A presence of neighbours, or an occupancy, in one class alone would be its label.
    assert (found.columns[blind] == -1).all()
    assert table["occupancy"][blind].isna().all()
    assert (found.columns[~blind] >= 0).mean() > 0.6
    assert table["occupancy"][~blind].notna().all()
    assert found.metadata["neighbours"] is False
    assert found.metadata["without_neighbours"] == ["A"]
    assert "no neighbours in A" in told
    assert table[away].groupby("chrom")["split"].nunique().max() == 1


def test_a_contig_outside_the_genome_is_of_one_split_in_all_cell_types(
    land: SimpleNamespace, tmp_path: Path
) -> None:
    files = {
        "peaks.A": _fasta(land, "A", tmp_path / "a.fa", True, range(9)),
        "peaks.B": _fasta(land, "B", tmp_path / "b.fa", True, range(5, 14)),
    }
    found, told = _build(land, tmp_path / "d", files)
    away = found.table[found.table["chrom"].str.startswith("other")]
    headers = "".join(path.read_text() for path in files.values()).split(">")[1:]
    splits = splits_by_contig(pd.Series([header.split(":")[0] for header in headers]), LENGTHS)
    assert (away["chrom"].map(splits) == away["split"].replace("across", "test")).all()
    in_b = set(away.loc[away["cell_type"] == "B", "chrom"])
    assert in_b
    assert in_b <= {name for name, split in splits.items() if split == "test"}
    assert in_b - set(away.loc[away["cell_type"] == "A", "chrom"]), "some that A lacks"
    assert "no neighbours in A, B" in told


def test_contigs_outside_the_genome_are_whole_in_one_split() -> None:
    rng = np.random.default_rng(1)
    names = np.array([f"c{number}" for number in range(60)])
    chroms = pd.Series(np.concatenate([rng.choice(names, 3000), ["chr1"] * 50]))
    found = splits_by_contig(chroms, LENGTHS)
    assert found.keys() == set(names)
    assert found == splits_by_contig(chroms.sample(frac=1, random_state=1), LENGTHS)
    shares = chroms[:3000].map(found).value_counts(normalize=True)
    assert shares["test"] == pytest.approx(0.2, abs=0.03)
    assert shares["validation"] == pytest.approx(0.1, abs=0.03)
    order = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    kinds = [found[name] for name in order]
    assert kinds == sorted(kinds, key=["test", "validation", "train"].index)
    assert splits_by_contig(chroms[3000:], LENGTHS) == {}


def test_files_are_read_in_full_before_anything_is_built(land: SimpleNamespace, tmp_path: Path) -> None:
    lengths = land.material.genome.lengths
    counts = check(_settings(), "ctcf", land.files, lengths, ".+")
    assert counts == {f"peaks.{name}": int(land.bound[:, cell].sum()) for cell, name in enumerate(PEAKS)}
    (tmp_path / "short.fa").write_text(">chr1:0-80\n" + "A" * 80 + "\n>chr1:100-150\n" + "A" * 50 + "\n")
    with pytest.raises(GenebertError, match="chr1:100-150 has 50 bp, an example 60") as told:
        check(_settings(), "ctcf", land.files | {"peaks.B": tmp_path / "short.fa"}, lengths, ".+")
    assert told.value.where.endswith("short.fa line 3")
    (tmp_path / "far.bed").write_text("chr1\t79990\t80010\n")
    with pytest.raises(GenebertError, match="peaks for 'B': chr1:79990-80010 ends after"):
        check(_settings(), "ctcf", land.files | {"peaks.B": tmp_path / "far.bed"}, lengths, ".+")


def test_what_does_not_fit_is_refused_and_nothing_written(land: SimpleNamespace, tmp_path: Path) -> None:
    out = tmp_path / "d"
    files = {"peaks.Liver": land.files["peaks.A"]}
    with pytest.raises(GenebertError, match="cell type 'Liver' is in no sample") as told:
        _build(land, out, files, peaks={"Liver": "x"}, train_in="Liver")
    assert told.value.where == "benchmarks.tasks.ctcf.peaks"
    wrong = _fasta(land, "A", tmp_path / "wrong.fa", False).read_text().splitlines()
    wrong[1] = wrong[1][::-1]
    (tmp_path / "wrong.fa").write_text("\n".join(wrong) + "\n")
    with pytest.raises(GenebertError, match="is not that of the genome") as told:
        _build(land, out, land.files | {"peaks.A": tmp_path / "wrong.fa"})
    assert told.value.where.endswith("wrong.fa line 1")
    (tmp_path / "train.bed").write_text("chr2\t900\t1050\n")
    with pytest.raises(GenebertError, match="has no example in cell type 'B'"):
        _build(land, out, land.files | {"peaks.B": tmp_path / "train.bed"})
    assert not out.exists()


def test_the_tfs_own_motif_is_found_by_name_or_id(
    land: SimpleNamespace, dataset: Dataset, jaspar_file: Path, background: list[float]
) -> None:
    wanted = ("CTCF", "MAX", "MYC", "MAX::MYC")
    some = [motif for motif in read_motifs(jaspar_file) if motif.name in wanted]
    jaspar = score_motifs(some[::-1], background, 1.0, 1e-4, 1e-3, "file")
    assert [land.material.motifs.motifs[dataset.metadata["motif"]].name] == ["GATA"]

    def found(tf: str, motifs: MotifTable = jaspar, **more: object) -> str | None:
        row, line = own_motif(_settings(tf=tf, **more), motifs, "here")
        assert row is None or motifs.motifs[row].label in line
        return None if row is None else motifs.motifs[row].label

    assert found("ctcf") == "MA0139.2 CTCF"
    assert "MA1929.2, MA1930.2 of the same name" in own_motif(_settings(tf="CTCF"), jaspar, "")[1]
    assert found("CTCF", motif="MA1930.2") == "MA1930.2 CTCF"
    assert found("MAX::MYC") == found("max::myc") != found("MAX")
    assert found("NOSUCH") is None
    with pytest.raises(GenebertError, match="motif 'MA0000' is not in use"):
        found("CTCF", motif="MA0000")
    lost = dataclasses.replace(jaspar, motifs=[], dropped=jaspar.motifs)
    with pytest.raises(GenebertError, match="no threshold of it is rare enough"):
        found("CTCF", motifs=lost, motif="MA0139.2")


def test_the_demo_has_examples_of_both_classes_in_all_splits(
    demo: SimpleNamespace, few_table: MotifTable, repository: Path, tmp_path: Path
) -> None:
    """CTCF peaks of all chromosomes; the genome has a slice of one."""
    material = Material(
        "ctcf",
        demo.fasta,
        ".+",
        demo.segments,
        demo.regions,
        demo.accessibility,
        few_table,
        6,
        {},
        10**6,
    )
    files = {"peaks.GM12878": repository / "resources/demo/ctcf_gm12878.fa.gz"}
    settings = _settings(tf="CTCF", peaks={"GM12878": "x"}, train_in="GM12878", width=200)
    assert check(settings, "ctcf", files, demo.lengths, ".+") == {"peaks.GM12878": 500}
    told = build(settings, files, material, tmp_path / "d")
    found = read_dataset(tmp_path / "d")
    counts = found.table.groupby(["split", "label"]).size()
    assert counts.to_dict() == {
        (split, label): number
        for split, number in (("test", 23), ("train", 64), ("validation", 11))
        for label in (0, 1)
    }
    assert "500 peaks" in told
    assert (found.columns == -1).all()
    assert found.metadata["neighbours"] is False


def test_the_dataset_is_that_of_this_version(dataset: Dataset) -> None:
    names = ["chrom", "start", "end", "strand", "label", "cell_type", "split"]
    text = dataset.table[names].to_csv(index=False, lineterminator="\n") + str(dataset.columns.tolist())
    assert (STAGES["tfbs"], hashlib.sha256(text.encode()).hexdigest()[:16]) == (
        1,
        "37f0bd2a574f411f",
    ), "the task's examples changed: raise STAGES['tfbs'] in genebert/versions.py"
