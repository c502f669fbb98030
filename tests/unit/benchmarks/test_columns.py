from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert.benchmarks.tasks.columns import ColumnFinder, columns_beside, occupancy, open_regions
from genebert.errors import GenebertError
from genebert.genome import Interval, Segment, SegmentIndex, split_segments
from genebert.regions import write_table


@st.composite
def catalogues(draw: st.DrawFn) -> tuple[pd.DataFrame, list[str], Interval, int]:
    width = 10
    # Places on a grid of 13: some windows touch, none overlap, none straddles a cut at 13 * n.
    slots = sorted(draw(st.sets(st.integers(0, 40), max_size=25)))
    starts = [13 * slot + draw(st.integers(0, 3)) for slot in slots]
    regions = pd.DataFrame(
        {
            "region_id": draw(
                st.lists(st.integers(0, 999), unique=True, min_size=len(slots), max_size=len(slots)).map(
                    sorted
                )
            ),
            "chrom": "c",
            "start": starts,
            "end": [start + width for start in starts],
        }
    )
    cuts = sorted(draw(st.sets(st.integers(1, 41), max_size=4)))
    held_out = [f"c:{13 * a}-{13 * b}" for a, b in zip(cuts[::2], cuts[1::2], strict=False)]
    start = draw(st.integers(0, 530))
    place = Interval("c", start, min(start + draw(st.integers(1, 30)), 546))
    return regions, held_out, place, draw(st.integers(1, 9))


@given(catalogues())
def test_columns_are_the_nearest_regions_of_the_segment_that_do_not_overlap_the_place(
    case: tuple[pd.DataFrame, list[str], Interval, int],
) -> None:
    regions, held_out, place, columns = case
    segments = split_segments({"c": 546}, [], held_out)
    segment = SegmentIndex(segments).at("c", place.start)
    focal = columns // 2
    inside = [
        row for row in regions.itertuples() if segment.start <= row.start and row.end <= segment.end
    ]
    left = [row.region_id for row in inside if row.end <= place.start]
    right = [row.region_id for row in inside if row.start >= place.end]
    left = left[max(0, len(left) - focal) :]
    right = right[: columns - focal - 1]
    expected = [-1] * (focal - len(left)) + left + [-1] + right
    expected += [-1] * (columns - len(expected))
    assert ColumnFinder(regions, columns).beside(place, segment).tolist() == expected


def test_a_contig_without_regions_has_no_columns() -> None:
    regions = pd.DataFrame({"region_id": [0], "chrom": ["c"], "start": [0], "end": [9]})
    segment = split_segments({"d": 50}, [], [])[0]
    assert ColumnFinder(regions, 4).beside(Interval("d", 5, 9), segment).tolist() == [-1] * 4


def _write_regions(rows: list[tuple[str, int, int]], path: Path) -> None:
    regions = pd.DataFrame(rows, columns=["chrom", "start", "end"]).assign(split="train")
    kinds = {"chrom": "str", "start": "int64", "end": "int64"}
    write_table(regions.astype(kinds).reset_index(names="region_id"), path)


@pytest.fixture
def index() -> SegmentIndex:
    """Two contigs; the middle of the first one is for testing."""
    return SegmentIndex(split_segments({"c": 300, "d": 100}, [], ["c:100-200"]))


@pytest.fixture
def catalogue(tmp_path: Path) -> tuple[Path, Path]:
    """Regions and in which of two cell types each is open."""
    starts = [0, 20, 40, 60, 110, 150, 170, 210]
    regions = pd.DataFrame(
        {"region_id": range(9), "chrom": ["c"] * 8 + ["d"], "start": [*starts, 5]}
    ).assign(end=lambda rows: rows["start"] + 10, split="train")
    open_in = pd.DataFrame({"region_id": range(9), "cell_type": [*"ABABABABA"], "signal": 0.5})
    write_table(regions, tmp_path / "regions.parquet")
    write_table(open_in, tmp_path / "accessibility.parquet")
    return tmp_path / "regions.parquet", tmp_path / "accessibility.parquet"


def _places(*rows: tuple[str, int, int, str]) -> pd.DataFrame:
    # As rows of a larger table are: without their own numbering.
    return pd.DataFrame(
        rows, columns=["chrom", "start", "end", "cell_type"], index=range(7, 7 + len(rows))
    )


def test_columns_are_open_in_the_cell_type_and_of_the_segment(
    catalogue: tuple[Path, Path], index: SegmentIndex
) -> None:
    places = _places(
        ("c", 32, 38, "any"),  # between regions 1 and 2
        ("c", 32, 38, "A"),
        ("c", 155, 165, "any"),  # overlaps region 5
        ("d", 50, 60, "B"),  # nothing of B on that contig
        ("x", 5, 9, "any"),
        ("", 0, 0, "A"),
    )
    found = columns_beside(places, *catalogue, index, 4, "here")
    assert found.tolist() == [
        [0, 1, -1, 2],
        [-1, 0, -1, 2],
        [-1, 4, -1, 6],
        [-1, -1, -1, -1],
        [-1, -1, -1, -1],
        [-1, -1, -1, -1],
    ]


def test_a_cell_type_of_no_sample_is_refused(catalogue: tuple[Path, Path], index: SegmentIndex) -> None:
    with pytest.raises(GenebertError, match=r"cell type 'Liver' is in no sample \(here\)\n.* A, B"):
        columns_beside(_places(("c", 1, 5, "Liver")), *catalogue, index, 4, "here")
    assert open_regions(*catalogue, "B", "here")["region_id"].tolist() == [1, 3, 5, 7]
    assert len(open_regions(*catalogue, "any", "here")) == 9


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 20)), max_size=12),
    st.lists(st.tuples(st.sampled_from("cdx"), st.integers(0, 250), st.integers(1, 60)), max_size=6),
)
def test_occupancy_is_the_share_of_bases_in_regions(
    tmp_path_factory: pytest.TempPathFactory,
    gaps: list[tuple[int, int]],
    places: list[tuple[str, int, int]],
) -> None:
    taken = np.zeros(400, dtype=bool)
    rows, end = [], 0
    for gap, width in gaps:
        start, end = end + gap, end + gap + width
        taken[start:end] = True
        rows.append(("c", start, end))
    path = tmp_path_factory.mktemp("occupancy") / "regions.parquet"
    _write_regions(rows, path)
    table = _places(*((chrom, start, start + width, "any") for chrom, start, width in places))
    index = SegmentIndex([Segment("c", 0, 400, "train"), Segment("d", 0, 400, "train")])
    found = occupancy(table, path, index)
    assert found.dtype == np.float32
    for value, (chrom, start, width) in zip(found, places, strict=True):
        covered = {"c": taken[start : start + width].mean(), "d": 0.0, "x": np.nan}[chrom]
        assert np.isclose(value, covered, atol=1e-6, equal_nan=True)


def test_regions_that_overlap_are_refused(tmp_path: Path, index: SegmentIndex) -> None:
    _write_regions([("c", 0, 10), ("c", 5, 15)], tmp_path / "regions.parquet")
    with pytest.raises(GenebertError, match="region 1 overlaps the one before it"):
        occupancy(_places(("c", 1, 5, "any")), tmp_path / "regions.parquet", index)
