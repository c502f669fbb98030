"""Places as columns, against slow and plain ways to the same."""

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert.benchmarks.gc_pairs import gc_counts, pair_by_gc
from genebert.benchmarks.places import apart, splits_of, touching
from genebert.genome import Interval, SegmentIndex, split_segments
from genebert.sequence.codes import encode_all

LENGTHS = {"a": 300, "b": 120}
SEGMENTS = split_segments(LENGTHS, ["a:100-150"], ["a:200-300", "b:0-40"])
INTERVALS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 280), st.integers(1, 60)), max_size=25
)


def _table(places: list[tuple[str, int, int]]) -> pd.DataFrame:
    rows = [(chrom, start, start + length) for chrom, start, length in places]
    return pd.DataFrame(rows, columns=["chrom", "start", "end"]).astype({"start": int, "end": int})


def _intervals(table: pd.DataFrame) -> list[Interval]:
    return [Interval(*row) for row in table.itertuples(index=False)]


@given(places=INTERVALS)
@settings(max_examples=60, deadline=None)
def test_the_split_is_that_of_the_segment_around(places: list[tuple[str, int, int]]) -> None:
    table, index = _table(places), SegmentIndex(SEGMENTS)
    expected = []
    for place in _intervals(table):
        inside = place.chrom in LENGTHS and place.end <= LENGTHS[place.chrom]
        segment = index.around(place) if inside else None
        expected.append(segment.split if segment else "")
    assert splits_of(table, SEGMENTS).tolist() == expected
    before = table.assign(start=table["start"] - 300)
    assert (splits_of(before[before["start"] < 0], SEGMENTS) == "").all()


@given(places=INTERVALS, others=INTERVALS)
@settings(max_examples=60, deadline=None)
def test_touching_is_overlapping_one(
    places: list[tuple[str, int, int]], others: list[tuple[str, int, int]]
) -> None:
    one, two = _table(places), _table(others)
    expected = [any(a.overlaps(b) for b in _intervals(two)) for a in _intervals(one)]
    assert touching(one, two).tolist() == expected


@given(
    places=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 200)), max_size=25),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_the_strongest_stay_apart(places: list[tuple[str, int]], data: st.DataObject) -> None:
    table = _table([(chrom, start, 30) for chrom, start in places])
    number = st.sampled_from([0.0, 1.0, 2.5, float("nan")])
    size = len(places)
    strength = np.array(data.draw(st.lists(number, min_size=size, max_size=size)), float)
    taken: dict[int, Interval] = {}
    order = sorted(range(size), key=lambda i: (np.isnan(strength[i]), -np.nan_to_num(strength[i]), i))
    for row in order:
        place = _intervals(table)[row]
        if not any(place.overlaps(other) for other in taken.values()):
            taken[row] = place
    assert apart(table, strength).tolist() == sorted(taken)


@given(
    positives=st.lists(st.integers(0, 30), max_size=30),
    negatives=st.lists(st.integers(0, 30), max_size=30),
    tolerance=st.integers(0, 4),
    seed=st.integers(0, 5),
)
@settings(max_examples=80, deadline=None)
def test_pairs_are_near_unique_and_none_is_missed(
    positives: list[int], negatives: list[int], tolerance: int, seed: int
) -> None:
    one, two = np.array(positives, np.int64), np.array(negatives, np.int64)
    found = pair_by_gc(one, two, tolerance, np.random.default_rng(seed))
    paired = found >= 0
    assert len(set(found[paired])) == paired.sum()
    assert (np.abs(one[paired] - two[found[paired]]) <= tolerance).all()
    left = np.delete(two, found[paired])
    assert not any(abs(a - b) <= tolerance for a in one[~paired] for b in left)
    equal = sum(min(positives.count(v), negatives.count(v)) for v in set(positives))
    assert (one[paired] == two[found[paired]]).sum() == equal, "equal ones first"


def test_pairs_follow_the_seed_and_lean_to_no_side() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.binomial(200, 0.5, 2000), rng.binomial(200, 0.5, 3000)
    first, again, other = (pair_by_gc(one, two, 4, np.random.default_rng(s)) for s in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).mean() > 0.5
    paired = first >= 0
    assert paired.mean() > 0.95
    assert abs((one[paired] - two[first[paired]]).mean()) < 0.1
    assert gc_counts(encode_all(["ACGGT", "NNAAC"])).tolist() == [3, 1]
