from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genebert.benchmarks.negatives import GC_TOLERANCE, Occupied, gc_content, gc_matched
from genebert.genome import Genome, Interval, Segment

intervals = st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 200), st.integers(1, 90)).map(
    lambda drawn: Interval(drawn[0], drawn[1], drawn[1] + drawn[2])
)


@given(st.lists(intervals, max_size=12), intervals, st.integers(1, 100))
def test_a_place_is_taken_exactly_where_it_overlaps_one(
    taken: list[Interval], place: Interval, width: int
) -> None:
    occupied = Occupied(width)
    for interval in taken:
        occupied.add(interval)
    assert occupied.touches(place) == any(place.overlaps(interval) for interval in taken)


def test_gc_content_is_the_share_of_g_and_c() -> None:
    assert gc_content("GGCATTTTTT") == 0.3


def _draw(
    genome: Genome, gc: list[float], segments: list[Segment], occupied: Occupied, seed: int = 1
) -> list[Interval | None]:
    return gc_matched(genome, gc, segments, 60, occupied, np.random.default_rng(seed))


@pytest.fixture
def genome(tiny_genome: Path) -> Genome:
    return Genome(tiny_genome)


def test_drawn_places_match_in_gc_and_keep_off_n_each_other_and_what_is_taken(
    genome: Genome,
) -> None:
    segments = [Segment("chrA", 0, 6000, "train"), Segment("chrB", 500, 1500, "train")]
    taken = [Interval("chrA", 2000, 2500), Interval("chrB", 500, 800)]
    occupied = Occupied(60)
    for interval in taken:
        occupied.add(interval)
    wanted = [0.3, 0.35, 0.4, 0.4, 0.45, 0.5, 0.55, 0.6]
    found = [place for place in _draw(genome, wanted, segments, occupied) if place]
    assert len(found) == len(wanted)
    for gc, place in zip(wanted, found, strict=True):
        sequence = genome.fetch(place)
        assert len(sequence) == 60
        assert "N" not in sequence
        assert abs(gc_content(sequence) - gc) <= GC_TOLERANCE + 1e-9
        assert any(
            place.chrom == s.chrom and s.start <= place.start and place.end <= s.end for s in segments
        )
        assert not any(place.overlaps(other) for other in taken)
    assert not any(a.overlaps(b) for i, a in enumerate(found) for b in found[:i])
    assert all(occupied.touches(place) for place in found), "drawn places are taken from then on"


def test_the_draw_follows_its_seed(genome: Genome) -> None:
    segments = [Segment("chrA", 0, 6000, "train")]
    first = _draw(genome, [0.4] * 5, segments, Occupied(60))
    assert _draw(genome, [0.4] * 5, segments, Occupied(60)) == first
    assert _draw(genome, [0.4] * 5, segments, Occupied(60), seed=2) != first


@pytest.mark.parametrize(
    ("gc", "segment"),
    [
        (1.0, Segment("chrA", 0, 6000, "train")),  # no such sequence
        (0.4, Segment("chrA", 1000, 1200, "train")),  # N only
        (0.4, Segment("chrA", 0, 59, "train")),  # shorter than a place
    ],
)
def test_where_there_is_no_place_none_is_drawn(genome: Genome, gc: float, segment: Segment) -> None:
    assert _draw(genome, [gc], [segment], Occupied(60)) == [None]


def test_places_are_drawn_uniformly_by_bp_over_segments(genome: Genome) -> None:
    segments = [Segment("chrA", 1200, 3000, "train"), Segment("chrA", 3000, 3240, "train")]
    starts = []
    for seed in range(150):
        (place,) = _draw(genome, [0.4], segments, Occupied(60), seed)
        starts.append(place.start if place else -1)
    in_long = sum(start < 3000 for start in starts) / len(starts)
    assert 0.8 < in_long < 0.99  # 1741 of 1922 possible starts, of any GC content alike
    assert len(set(starts)) > 60
