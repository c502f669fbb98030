from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pybedtools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert.errors import GenebertError
from genebert.genome import Segment, split_segments
from genebert.inputs.peaks import write_peaks
from genebert.regions import (
    accessibility_table,
    build_catalogue,
    check_catalogue,
    load_peaks,
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


@settings(max_examples=150)
@given(catalogue_cases())
def test_the_catalogue_equals_the_greedy_rule(
    case: tuple[pd.DataFrame, int, list[Segment]],
) -> None:
    peaks, width, segments = case
    regions, region_of_peak = build_catalogue(peaks, width, segments)
    expected = _greedy(peaks, width, segments)
    rows = list(zip(regions["chrom"], regions["start"], regions["split"], strict=True))
    assert sorted(rows) == sorted(set(expected.values()))
    found = {
        name: rows[region]
        for name, region in zip(peaks["name"], region_of_peak, strict=True)
        if region >= 0
    }
    assert found == expected, "every kept peak has exactly one region"


@settings(max_examples=100)
@given(catalogue_cases())
def test_regions_never_overlap_and_lie_in_one_split_in_genome_order(
    case: tuple[pd.DataFrame, int, list[Segment]],
) -> None:
    peaks, width, segments = case
    regions, _ = build_catalogue(peaks, width, segments)
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


@settings(max_examples=100)
@given(catalogue_cases(), st.randoms(use_true_random=False))
def test_the_order_of_peaks_and_samples_does_not_matter(
    case: tuple[pd.DataFrame, int, list[Segment]], rng: object
) -> None:
    peaks, width, segments = case
    rows = list(range(len(peaks)))
    rng.shuffle(rows)  # type: ignore[attr-defined]
    regions, region_of = build_catalogue(peaks, width, segments)
    again, again_of = build_catalogue(peaks.iloc[rows].reset_index(drop=True), width, segments)
    pd.testing.assert_frame_equal(regions, again)
    assert region_of[rows].tolist() == again_of.tolist()


@settings(max_examples=100)
@given(catalogue_cases())
def test_the_strongest_window_is_chosen_and_each_peak_overlaps_its_region(
    case: tuple[pd.DataFrame, int, list[Segment]],
) -> None:
    peaks, width, segments = case
    regions, region_of = build_catalogue(peaks, width, segments)
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
    kept = load_peaks(demo.files)
    assert sorted(zip(traced["sample"], traced["name"], strict=True)) == sorted(
        zip(kept["sample"], kept["name"], strict=True)
    )
    own = regions.loc[traced["region_id"]].reset_index()
    assert (own["chrom"] == traced["chrom"]).all()
    centre = (traced["start"] + traced["end"]) // 2
    assert ((own["start"] - (centre - 257)).abs() < 515).all()
    assert set(regions["split"]) == {"train", "validation", "test"}
    assert ((regions["start"] >= 44_000_000) == (regions["split"] == "test")).all()


def test_a_window_is_shifted_off_the_ends_of_contig_and_split(make_peaks: object) -> None:
    segments = split_segments({"c": 1000}, [], ["c:400-700"])
    peaks = make_peaks(  # type: ignore[operator]
        ("c", 0, 20, 3, 1.0),
        ("c", 380, 420, 399, 0.9),
        ("c", 400, 420, 400, 0.8),
        ("c", 990, 1000, 999, 0.7),
    )
    regions, region_of = build_catalogue(peaks, 100, segments)
    assert regions[["start", "split"]].values.tolist() == [
        [0, "train"],
        [300, "train"],
        [400, "test"],
        [900, "train"],
    ]
    assert region_of.tolist() == [0, 1, 2, 3]


def test_an_absorbed_peak_belongs_to_the_stronger_of_two_equal_overlaps(make_peaks: object) -> None:
    segments = split_segments({"c": 1000}, [], [])
    peaks = make_peaks(  # type: ignore[operator]
        ("c", 300, 301, 300, 0.8), ("c", 460, 461, 460, 0.9), ("c", 380, 381, 380, 0.1)
    )
    regions, region_of = build_catalogue(peaks, 100, segments)
    assert regions["start"].tolist() == [250, 410]
    assert region_of.tolist() == [0, 1, 1]


def test_signal_ranks_make_samples_comparable(tmp_path: Path) -> None:
    def sample(name: str, signals: list[float]) -> Path:
        table = pd.DataFrame(
            [("c", 10 * i, 10 * i + 5, f"{name}{i}", s, 10 * i) for i, s in enumerate(signals)],
            columns=["chrom", "start", "end", "name", "signal", "summit"],
        )
        write_peaks(table, tmp_path / name)
        return tmp_path / name

    peaks = load_peaks({"deep": sample("deep", [100, 400, 400, 900]), "flat": sample("flat", [1])})
    assert peaks["rank"].tolist() == [0.125, 0.5, 0.5, 0.875, 0.5]
    assert peaks["sample"].tolist() == ["deep"] * 4 + ["flat"]


def test_accessibility_keeps_the_best_rank_of_a_cell_type(make_peaks: object) -> None:
    peaks = pd.concat(
        [
            make_peaks(("c", 0, 9, 5, 0.3), ("c", 1, 9, 5, 0.8), sample="s1"),  # type: ignore[operator]
            make_peaks(("c", 2, 9, 5, 0.6), ("c", 50, 60, 55, 0.1), sample="s2"),  # type: ignore[operator]
            make_peaks(("c", 3, 9, 5, 0.2), sample="s3"),  # type: ignore[operator]
        ],
        ignore_index=True,
    )
    table = accessibility_table(peaks, np.array([4, 4, 4, -1, 4]), {"s1": "X", "s2": "X", "s3": "Y"})
    assert table["region_id"].tolist() == [4, 4]
    assert table["cell_type"].tolist() == ["X", "Y"]
    assert table["signal"].tolist() == pytest.approx([0.8, 0.2])


def test_no_peak_on_a_long_enough_contig_is_refused_and_nothing_written(tmp_path: Path) -> None:
    table = pd.DataFrame(
        [("c", 1, 5, "p", 1.0, 3)],
        columns=["chrom", "start", "end", "name", "signal", "summit"],
    )
    write_peaks(table, tmp_path / "s.bed.gz")
    segments = split_segments({"c": 50}, [], [])
    with pytest.raises(GenebertError, match="no peak lies on a contig as long as a region"):
        write_regions({"s": tmp_path / "s.bed.gz"}, {"s": "x"}, 60, segments, tmp_path / "out")
    assert not (tmp_path / "out").exists()


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
