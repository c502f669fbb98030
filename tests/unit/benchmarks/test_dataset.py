from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genebert.benchmarks.dataset import (
    ColumnFinder,
    hits_by_example,
    label_counts,
    read_dataset,
    write_dataset,
)
from genebert.errors import GenebertError
from genebert.genome import Interval, SegmentIndex, split_segments


def _table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "chrom": ["c", "c", "d"],
            "start": [0, 10, 5],
            "end": [4, 14, 9],
            "strand": ["+", "-", "+"],
            "sequence": ["ACGT", "TTGN", "CCCC"],
            "label": [1, 0, 1],
            "cell_type": "any",
            "split": ["train", "train", "test"],
        }
    )


def _write(path: Path) -> None:
    motif = [np.array([0, 0, 7], np.uint16), np.array([], np.uint16), np.array([3], np.uint16)]
    score = [
        np.array([0.5, 0.75, 1.0], np.float16),
        np.array([], np.float16),
        np.array([0.25], np.float16),
    ]
    columns = np.array([[4, -1, 5], [-1, -1, -1], [0, -1, -1]])
    meta = {"classes": ["no", "yes"], "motif_digest": "abc", "catalogue": "def"}
    write_dataset(_table(), motif, score, columns, meta, path)


def test_a_dataset_is_read_back_with_the_best_hit_of_each_motif(tmp_path: Path) -> None:
    _write(tmp_path / "d.parquet")
    read = read_dataset(tmp_path / "d.parquet")
    pd.testing.assert_frame_equal(read.table.drop(columns="example_id"), _table(), check_dtype=False)
    assert read.table["example_id"].tolist() == [0, 1, 2]
    assert (read.classes, read.motif_digest, read.catalogue) == (["no", "yes"], "abc", "def")
    assert read.codes.tolist() == [[0, 1, 2, 3], [3, 3, 2, 4], [1, 1, 1, 1]]
    assert read.hit_offsets.tolist() == [0, 2, 2, 3]
    assert read.hit_motif.tolist() == [0, 7, 3]
    assert read.hit_score.tolist() == [0.75, 1.0, 0.25]
    assert read.columns.tolist() == [[4, -1, 5], [-1, -1, -1], [0, -1, -1]]
    assert read.labels.tolist() == [1, 0, 1]
    assert read.in_split("train").tolist() == [0, 1]
    assert read.in_split("validation").tolist() == []


def test_a_dataset_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    _write(tmp_path / "a.parquet")
    _write(tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_another_or_a_damaged_file_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(GenebertError, match="is no dataset of this version"):
        read_dataset(tmp_path / "other.parquet")
    with pytest.raises(GenebertError, match="is missing or damaged"):
        read_dataset(tmp_path / "absent.parquet")
    _write(tmp_path / "d.parquet")
    (tmp_path / "d.parquet").write_bytes((tmp_path / "d.parquet").read_bytes()[:-50])
    with pytest.raises(GenebertError, match="is missing or damaged"):
        read_dataset(tmp_path / "d.parquet")


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


def test_hits_are_cut_by_example() -> None:
    cut = hits_by_example(np.array([0, 0, 2]), np.array([5, 6, 7]), 4)
    assert [part.tolist() for part in cut] == [[5, 6], [], [7], []]


def test_label_counts_name_every_split() -> None:
    assert label_counts(_table(), ["no", "yes"]) == (
        "train: no 1, yes 1; validation: no 0, yes 0; test: no 0, yes 1"
    )
