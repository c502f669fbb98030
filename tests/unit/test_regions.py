import itertools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pybedtools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert import regions as module
from genebert.errors import GenebertError
from genebert.genome import Segment, SegmentIndex, split_segments
from genebert.inputs.peaks import COLUMNS, read_cleaned, write_peaks
from genebert.regions import (
    Layout,
    OpenIn,
    Windows,
    accessibility_table,
    assign,
    check_catalogue,
    choose_windows,
    load_windows,
    write_regions,
    write_table,
)

RANKS = st.sampled_from([0.2, 0.5, 0.5000001, 0.9, 1.0])


@st.composite
def catalogue_cases(draw: st.DrawFn) -> tuple[pd.DataFrame, int, list[Segment]]:
    width = draw(st.integers(5, 60))
    lengths = {"b": draw(st.integers(60, 900)), "a": draw(st.integers(60, 300)), "c": 4}
    cuts = sorted(draw(st.sets(st.integers(0, lengths["b"]), max_size=4)))
    held_out = [f"b:{x}-{y}" for x, y in zip(cuts[::2], cuts[1::2], strict=False)]
    segments = split_segments(lengths, held_out[:1], held_out[1:])
    rows = []
    for number in range(draw(st.integers(1, 40))):
        chrom = draw(st.sampled_from(list(lengths)))
        summit = draw(st.integers(0, lengths[chrom] - 1))
        start = draw(st.integers(max(0, summit - 30), summit))
        end = draw(st.integers(summit + 1, min(lengths[chrom], summit + 30) + 0))
        sample = draw(st.sampled_from(["s1", "s2", "s3"]))
        rows.append((chrom, start, end, f"p{number}", 1.0, summit, sample, draw(RANKS)))
    columns = ["chrom", "start", "end", "name", "signal", "summit", "sample", "rank"]
    return pd.DataFrame(rows, columns=columns), width, segments


def _window(chrom: str, summit: int, width: int, segments: list[Segment]) -> tuple[str, int, str] | None:
    """The window of one peak, found without an index."""
    (segment,) = (s for s in segments if s.chrom == chrom and s.start <= summit < s.end)
    if segment.end - segment.start < width:
        return None
    start = min(max(summit - width // 2, segment.start), segment.end - width)
    return chrom, start, segment.split


def _greedy(peaks: pd.DataFrame, width: int, segments: list[Segment]) -> dict[str, tuple]:
    """The rule of the catalogue, written the slow way: region of each kept peak by name."""
    order = {chrom: rank for rank, chrom in enumerate(dict.fromkeys(s.chrom for s in segments))}
    windows = [
        (-peak.rank, order[peak.chrom], window[1], peak.name, window)
        for peak in peaks.itertuples(index=False)
        if (window := _window(peak.chrom, peak.summit, width, segments))
    ]
    chosen: list[tuple[str, int, str]] = []
    region_of = {}
    for *_, name, window in sorted(windows):
        overlaps = [
            width - abs(other[1] - window[1]) if other[0] == window[0] else 0 for other in chosen
        ]
        if max(overlaps, default=0) <= 0:
            chosen.append(window)
            region_of[name] = window
        else:
            region_of[name] = chosen[overlaps.index(max(overlaps))]
    return region_of


def _catalogue(
    peaks: pd.DataFrame, width: int, segments: list[Segment]
) -> tuple[pd.DataFrame, np.ndarray]:
    """Regions, and the region of each peak."""
    layout = Layout(segments)
    starts = layout.windows(layout.positions(peaks["chrom"], peaks["summit"]), width)
    windows = Windows(starts, peaks["rank"].to_numpy(np.float32))
    chosen = choose_windows(windows, width)
    if not len(chosen.start):
        assert (starts == module.NOWHERE).all()
        return layout.table(chosen.start, width), starts
    return layout.table(chosen.start, width), assign(windows, chosen, width)


def _make(*rows: tuple[str, int, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["chrom", "summit", "rank"])


@settings(max_examples=150, deadline=None)
@given(catalogue_cases(), st.sampled_from([1, 3, 1000]))
def test_the_catalogue_equals_the_greedy_rule(
    case: tuple[pd.DataFrame, int, list[Segment]], block: int
) -> None:
    peaks, width, segments = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", block)
        regions, region_of_peak = _catalogue(peaks, width, segments)
    expected = _greedy(peaks, width, segments)
    rows = list(zip(regions["chrom"], regions["start"], regions["split"], strict=True))
    assert sorted(rows) == sorted(set(expected.values()))
    found = {
        name: rows[region]
        for name, region in zip(peaks["name"], region_of_peak, strict=True)
        if region >= 0
    }
    assert found == expected, "every kept peak has exactly one region"


@settings(max_examples=100, deadline=None)
@given(catalogue_cases())
def test_regions_never_overlap_and_lie_in_one_split_in_genome_order(
    case: tuple[pd.DataFrame, int, list[Segment]],
) -> None:
    peaks, width, segments = case
    regions, _ = _catalogue(peaks, width, segments)
    order = {chrom: rank for rank, chrom in enumerate(dict.fromkeys(s.chrom for s in segments))}
    assert (regions["end"] - regions["start"] == width).all()
    assert regions["region_id"].tolist() == list(range(len(regions)))
    places = list(zip(regions["chrom"].map(order), regions["start"], strict=True))
    assert places == sorted(set(places))
    for region in regions.itertuples():
        holding = [
            s
            for s in segments
            if s.chrom == region.chrom and s.start <= region.start and region.end <= s.end
        ]
        assert [s.split for s in holding] == [region.split]
    check_catalogue(regions, width)


@settings(max_examples=100, deadline=None)
@given(catalogue_cases(), st.randoms(use_true_random=False))
def test_the_order_of_peaks_and_samples_does_not_matter(
    case: tuple[pd.DataFrame, int, list[Segment]], rng: object
) -> None:
    peaks, width, segments = case
    rows = list(range(len(peaks)))
    rng.shuffle(rows)  # type: ignore[attr-defined]
    regions, region_of = _catalogue(peaks, width, segments)
    again, again_of = _catalogue(peaks.iloc[rows].reset_index(drop=True), width, segments)
    pd.testing.assert_frame_equal(regions, again)
    assert region_of[rows].tolist() == again_of.tolist()


@settings(max_examples=100, deadline=None)
@given(catalogue_cases())
def test_the_strongest_window_is_chosen_and_each_peak_overlaps_its_region(
    case: tuple[pd.DataFrame, int, list[Segment]],
) -> None:
    peaks, width, segments = case
    regions, region_of = _catalogue(peaks, width, segments)
    starts = regions["start"].to_numpy()
    best: tuple[float, int] | None = None
    for peak, region in zip(peaks.itertuples(index=False), region_of, strict=True):
        window = _window(peak.chrom, peak.summit, width, segments)
        assert (window is None) == (region < 0)
        if window is None:
            continue
        assert regions["chrom"][region] == window[0]
        assert abs(int(starts[region]) - window[1]) < width
        if (window[1] == starts[region]) and (best is None or peak.rank > best[0]):
            best = (peak.rank, region)
    kept = peaks["rank"][region_of >= 0]
    if len(kept):
        assert best is not None
        assert best[0] == kept.max(), "a peak of the greatest rank has a window of its own"


def test_regions_of_the_demo_stay_apart_by_bedtools(demo: SimpleNamespace) -> None:
    regions = pq.read_table(demo.regions).to_pandas()
    bed = pybedtools.BedTool.from_dataframe(regions[["chrom", "start", "end"]])
    # d=-1 merges only what shares a base: touching windows stay apart.
    assert bed.sort().merge(d=-1).count() == len(regions)
    assert len(regions) > 700


def test_every_kept_peak_of_the_demo_overlaps_its_region(demo: SimpleNamespace) -> None:
    regions = pq.read_table(demo.regions).to_pandas().set_index("region_id")
    traced = pq.read_table(demo.regions.parent / "peaks.parquet").to_pandas()
    kept = [(sample, name) for sample, path in demo.files.items() for name in read_cleaned(path)["name"]]
    assert sorted(zip(traced["sample"], traced["name"], strict=True)) == sorted(kept)
    own = regions.loc[traced["region_id"]].reset_index()
    assert (own["chrom"] == traced["chrom"]).all()
    centre = (traced["start"] + traced["end"]) // 2
    assert ((own["start"] - (centre - 257)).abs() < 515).all()
    assert set(regions["split"]) == {"train", "validation", "test"}
    assert ((regions["start"] >= 44_000_000) == (regions["split"] == "test")).all()


def test_a_window_is_shifted_off_the_ends_of_contig_and_split() -> None:
    segments = split_segments({"c": 1000}, [], ["c:400-700"])
    peaks = _make(("c", 3, 1.0), ("c", 399, 0.9), ("c", 400, 0.8), ("c", 999, 0.7))
    regions, region_of = _catalogue(peaks, 100, segments)
    assert regions[["start", "split"]].values.tolist() == [
        [0, "train"],
        [300, "train"],
        [400, "test"],
        [900, "train"],
    ]
    assert region_of.tolist() == [0, 1, 2, 3]


def test_an_absorbed_peak_belongs_to_the_stronger_of_two_equal_overlaps() -> None:
    segments = split_segments({"c": 1000}, [], [])
    for left, right, expected in ((0.8, 0.9, 1), (0.9, 0.8, 0), (0.9, 0.9, 0)):
        peaks = _make(("c", 300, left), ("c", 460, right), ("c", 380, 0.1))
        regions, region_of = _catalogue(peaks, 100, segments)
        assert regions["start"].tolist() == [250, 410]
        assert region_of.tolist() == [0, 1, expected]


def test_a_peak_belongs_to_no_weaker_region_that_it_overlaps_more() -> None:
    segments = split_segments({"c": 1000}, [], [])
    peaks = _make(("c", 200, 0.9), ("c", 260, 0.5), ("c", 300, 0.1))
    regions, region_of = _catalogue(peaks, 100, segments)
    assert regions["start"].tolist() == [150, 250]
    assert region_of.tolist() == [0, 0, 1]


def test_windows_on_neighbouring_contigs_never_meet() -> None:
    segments = split_segments({"a": 100, "b": 100}, [], [])
    regions, _ = _catalogue(_make(("a", 99, 0.5), ("b", 0, 0.4)), 100, segments)
    assert regions[["chrom", "start"]].values.tolist() == [["a", 0], ["b", 0]]


@settings(max_examples=100, deadline=None)
@given(catalogue_cases())
def test_a_layout_agrees_with_the_index_of_segments(
    case: tuple[pd.DataFrame, int, list[Segment]],
) -> None:
    peaks, _, segments = case
    layout, index = Layout(segments), SegmentIndex(segments)
    table = layout.table(np.sort(layout.positions(peaks["chrom"], peaks["summit"])), 1)
    order = {chrom: rank for rank, chrom in enumerate(dict.fromkeys(s.chrom for s in segments))}
    places = sorted(zip(peaks["chrom"], peaks["summit"], strict=True), key=lambda p: (order[p[0]], p[1]))
    assert list(zip(table["chrom"], table["start"], strict=True)) == places
    assert table["split"].tolist() == [index.at(*place).split for place in places]


@pytest.mark.parametrize("place", [("x", 5), ("a", 100), ("b", -1)])
def test_a_summit_outside_the_genome_is_refused(place: tuple[str, int]) -> None:
    layout = Layout(split_segments({"a": 100, "b": 50}, [], []))
    with pytest.raises(GenebertError, match=f"{place[0]}:{place[1]} is not in the genome"):
        layout.positions(pd.Series(["a", place[0]]), pd.Series([0, place[1]]))


def _cleaned(path: Path, signals: list[float], chrom: str = "c") -> Path:
    rows = [(chrom, 10 * i, 10 * i + 5, f"p{i}", s, 10 * i) for i, s in enumerate(signals)]
    write_peaks(pd.DataFrame(rows, columns=list(COLUMNS)), path)
    return path


def test_signal_ranks_make_samples_comparable(tmp_path: Path) -> None:
    layout = Layout(split_segments({"c": 1000}, [], []))
    for signals, ranks in (
        ([100, 400, 400, 900], [0.125, 0.5, 0.5, 0.875]),
        ([1, 4, 4, 9], [0.125, 0.5, 0.5, 0.875]),
        ([1], [0.5]),
    ):
        windows = load_windows(_cleaned(tmp_path / "s.bed.gz", signals), 20, layout)
        assert windows.rank.tolist() == ranks
        assert windows.start.tolist() == [max(0, 10 * n - 10) for n in range(len(signals))]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=7, max_size=7), min_size=1, max_size=4))
def test_accessibility_is_the_matrix_of_regions_and_cell_types(rows: list[list[bool]]) -> None:
    matrix = np.array(rows) * np.random.default_rng(0).random((len(rows), 7)).astype(np.float32)
    open_in = [
        OpenIn(f"cell{number}", np.flatnonzero(row).astype(np.uint32), row[row > 0])
        for number, row in enumerate(matrix)
    ]
    table = accessibility_table(open_in, 7).to_pandas()
    expected = [
        (region, f"cell{cell}", matrix[cell, region])
        for region, cell in itertools.product(range(7), range(len(rows)))
        if matrix[cell, region]
    ]
    assert [tuple(row) for row in table.to_numpy()] == expected


def _random_samples(folder: Path) -> dict[str, Path]:
    """Three samples that share loci on two contigs; two of them are of one cell type."""
    rng = np.random.default_rng(5)
    loci = np.sort(rng.integers(0, 400_000, 800))
    files = {}
    for sample in ("s1", "s2", "s3"):
        at = np.sort(rng.choice(loci, 500, replace=False)) + rng.integers(0, 60, 500)
        rows = [("b" if place < 200_000 else "a", place % 200_000) for place in np.sort(at % 400_000)]
        table = pd.DataFrame(
            {
                "chrom": [chrom for chrom, _ in rows],
                "start": [place for _, place in rows],
                "end": [place + 300 for _, place in rows],
                "name": [f"{sample}_{number}" for number in range(500)],
                "signal": rng.integers(1, 200, 500) / 4,
                "summit": [place + 90 for _, place in rows],
            }
        )
        files[sample] = folder / f"{sample}.bed.gz"
        write_peaks(table, files[sample])
    return files


SEGMENTS = split_segments({"b": 200_500, "a": 200_500, "c": 50}, ["b:1000-9000"], ["a:0-30000"])
CELL_TYPES = {"s1": "Y", "s2": "X", "s3": "Y"}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("regions")
    files = _random_samples(folder)
    line = write_regions(files, CELL_TYPES, 201, SEGMENTS, folder / "out")
    names = ("regions", "accessibility", "peaks")
    tables = {name: pq.read_table(folder / f"out/{name}.parquet").to_pandas() for name in names}
    return SimpleNamespace(folder=folder, files=files, line=line, **tables)


def test_each_kept_peak_is_traced_to_one_region_that_its_window_overlaps(
    written: SimpleNamespace,
) -> None:
    regions = written.regions
    peaks = pd.concat([read_cleaned(path).assign(sample=s) for s, path in written.files.items()])
    both = written.peaks.merge(
        peaks, on=["sample", "name", "chrom", "start", "end", "signal"], validate="1:1"
    )
    assert len(both) == len(written.peaks) == len(peaks) == 1500
    own = regions.iloc[both["region_id"]].reset_index(drop=True)
    windows = [_window(row.chrom, row.summit, 201, SEGMENTS) for row in both.itertuples()]
    table = pd.DataFrame([(w[0], w[1], w[1] + 201) for w in windows if w]).assign(row=range(1500))
    table[["rchrom", "rstart", "rend"]] = own[["chrom", "start", "end"]]
    bed = pybedtools.BedTool.from_dataframe(table)
    catalogue = pybedtools.BedTool.from_dataframe(regions[["chrom", "start", "end"]])
    found = bed.intersect(catalogue, wa=True, wb=True).to_dataframe(names=range(10))
    own_region = (found[[4, 5, 6]].to_numpy() == found[[7, 8, 9]].to_numpy()).all(axis=1)
    assert sorted(found.loc[own_region, 3]) == list(range(1500)), "each overlaps its own region"
    # Every region is the window of one of its peaks, and regions share no base.
    assert catalogue.intersect(bed, f=1.0, u=True).count() == len(regions)
    assert catalogue.sort().merge(d=-1).count() == len(regions) < 1500
    pybedtools.cleanup()
    check_catalogue(regions, 201)
    assert written.line == (
        f"1500 peaks of 3 samples -> {len(regions)} regions of 201 bp; "
        "0 peaks dropped on stretches shorter than that"
    )


def test_accessibility_is_the_best_rank_of_each_cell_type_in_each_region(
    written: SimpleNamespace,
) -> None:
    peaks = written.peaks.astype({"sample": str})
    peaks["rank"] = peaks.groupby("sample")["signal"].rank().sub(0.5).div(500).astype(np.float32)
    peaks["cell_type"] = peaks["sample"].map(CELL_TYPES)
    expected = peaks.groupby(["region_id", "cell_type"])["rank"].max().reset_index(name="signal")
    found = written.accessibility.astype({"cell_type": str})
    pd.testing.assert_frame_equal(found, expected.astype({"cell_type": str}))


def test_the_order_of_the_sheet_changes_no_byte(written: SimpleNamespace, tmp_path: Path) -> None:
    files = dict(reversed(written.files.items()))
    write_regions(files, CELL_TYPES, 201, SEGMENTS, tmp_path)
    for name in ("regions", "accessibility", "peaks"):
        file = f"{name}.parquet"
        assert (tmp_path / file).read_bytes() == (written.folder / "out" / file).read_bytes()


def test_a_job_can_read_the_row_groups_of_its_regions_only(
    written: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_REGIONS_A_GROUP", 100)
    monkeypatch.setattr(module, "_VIEWS_A_GROUP", 150)
    write_regions(written.files, CELL_TYPES, 201, SEGMENTS, tmp_path)
    for name in ("regions", "accessibility"):
        metadata = pq.read_metadata(tmp_path / f"{name}.parquet")
        groups = [metadata.row_group(n).column(0).statistics for n in range(metadata.num_row_groups)]
        assert len(groups) > 3
        assert metadata.schema.column(0).name == "region_id"
        assert all(a.max <= b.min for a, b in itertools.pairwise(groups))
        table = pq.read_table(tmp_path / f"{name}.parquet").to_pandas()
        pd.testing.assert_frame_equal(table, getattr(written, name))


def test_the_columns_are_those_that_later_stages_read(written: SimpleNamespace) -> None:
    words = pa.dictionary(pa.int32(), pa.string())
    expected = {
        "regions": [
            *(("region_id", pa.uint32()), ("chrom", pa.string())),
            *(("start", pa.int64()), ("end", pa.int64()), ("split", pa.string())),
        ],
        "accessibility": [("region_id", pa.uint32()), ("cell_type", words), ("signal", pa.float32())],
        "peaks": [
            *(("sample", words), ("name", pa.string()), ("chrom", words)),
            *(("start", pa.int64()), ("end", pa.int64()), ("signal", pa.float64())),
            ("region_id", pa.uint32()),
        ],
    }
    for name, columns in expected.items():
        schema = pq.read_schema(written.folder / f"out/{name}.parquet")
        assert list(zip(schema.names, schema.types, strict=True)) == columns
    assert list(written.peaks["sample"].astype(str).drop_duplicates()) == ["s2", "s1", "s3"]


def test_no_peak_on_a_long_enough_contig_is_refused_and_nothing_written(tmp_path: Path) -> None:
    path = _cleaned(tmp_path / "s.bed.gz", [1.0])
    segments = split_segments({"c": 50}, [], [])
    with pytest.raises(GenebertError, match="no peak lies on a contig as long as a region"):
        write_regions({"s": path}, {"s": "x"}, 60, segments, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_peaks_on_stretches_shorter_than_a_region_are_dropped_and_counted(tmp_path: Path) -> None:
    files = {name: _cleaned(tmp_path / name, [1.0, 2.0], name) for name in ("long", "tiny")}
    segments = split_segments({"long": 500, "tiny": 50}, [], [])
    line = write_regions(files, {"long": "x", "tiny": "y"}, 60, segments, tmp_path)
    assert line.startswith("4 peaks of 2 samples -> 1 regions of 60 bp; 2 peaks dropped")
    assert len(pq.read_table(tmp_path / "peaks.parquet")) == 2
    access = pq.read_table(tmp_path / "accessibility.parquet").to_pandas()
    assert access["cell_type"].tolist() == ["x"]


@pytest.mark.parametrize(
    "rows",
    [
        [("c", 0, 10), ("c", 9, 19)],
        [("c", 10, 20), ("c", 0, 10)],
        [("c", 0, 11)],
        [("c", 0, 10), ("d", 0, 10), ("c", 20, 30)],
    ],
)
def test_a_broken_catalogue_is_noticed(rows: list[tuple[str, int, int]]) -> None:
    with pytest.raises(AssertionError):
        check_catalogue(pd.DataFrame(rows, columns=["chrom", "start", "end"]), 10)


def test_tables_have_the_same_bytes_for_the_same_rows(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    write_table(table, tmp_path / "one.parquet")
    write_table(table.iloc[::-1].iloc[::-1], tmp_path / "two.parquet")
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
