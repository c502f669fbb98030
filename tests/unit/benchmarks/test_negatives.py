from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from genebert.benchmarks.negatives import (
    GC_TOLERANCE,
    Occupied,
    gc_content,
    gc_matched,
    randomise_parts,
    shuffle_dinucleotides,
)
from genebert.genome import Genome, Interval, Segment
from genebert.sequence.codes import decode, encode_all

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]

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


def _random_codes(number: int, length: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 4, (number, length)).astype(np.uint8)


@pytest.mark.parametrize("length", [20, 33, 300])
def test_eight_parts_of_twenty_stay_and_the_others_are_random(length: int) -> None:
    # Runs of one base: a part that stays is all that base, a random one rarely.
    codes = np.repeat(np.arange(4, dtype=np.uint8), 250)[:, None] * np.ones(length, np.uint8)
    changed = randomise_parts(codes, np.random.default_rng(1))
    assert (changed.dtype, changed.shape) == (np.uint8, codes.shape)
    part = np.arange(length) * 20 // length
    sizes = np.bincount(part)
    assert len(sizes) == 20
    assert sizes.max() - sizes.min() <= 1
    stays = np.stack([(changed == codes)[:, part == number].all(1) for number in range(20)], axis=1)
    by_chance = (0.25**sizes).mean()
    assert stays.sum(1).min() >= 8
    assert stays.sum(1).mean() == pytest.approx(8 + 12 * by_chance, abs=0.15)
    if length == 300:
        assert set(stays.sum(1)) == {8}
        # Each part stays in 8 of 20 sequences: 400 of 1,000, of a spread of 15.
        assert np.abs(stays.sum(0) - 400).max() < 65
        bases = np.bincount(changed[~np.repeat(stays, 15, axis=1)], minlength=4) / (1000 * 180)
        assert np.abs(bases - 0.25).max() < 0.01


@settings(deadline=None)
@given(st.integers(2, 40), st.data())
def test_a_shuffle_keeps_every_dinucleotide_and_both_ends(length: int, data: st.DataObject) -> None:
    alphabet = data.draw(st.sampled_from(["ACGT", "AC", "GTA", "T"]))
    texts = data.draw(st.lists(st.text(alphabet, min_size=length, max_size=length), max_size=6))
    codes = encode_all(texts).reshape(len(texts), length)
    shuffled = decode(shuffle_dinucleotides(codes, np.random.default_rng(length)))
    for text, other in zip(texts, shuffled, strict=True):
        assert Counter(pairwise(other)) == Counter(pairwise(text))
        assert (other[0], other[-1]) == (text[0], text[-1])


def _orders(first: str, left: Counter[tuple[str, str]]) -> Iterator[str]:
    """Yield every sequence that begins with a base and has exactly these dinucleotides."""
    if not left.total():
        yield first
    for base in "ACGT":
        if left[first, base]:
            for rest in _orders(base, left - Counter([(first, base)])):
                yield first + rest


@pytest.mark.parametrize(
    "text", ["ACACGACA", "AACCAACAC", "ACGTACGATG", "ACGTTGCAACGT", "CCCCCACCT", "AAAAG", "AC"]
)
def test_all_shuffles_are_equally_likely(text: str) -> None:
    possible = set(_orders(text[0], Counter(pairwise(text))))
    draws = 400 * len(possible)
    codes = np.repeat(encode_all([text]), draws, axis=0)
    found = Counter(decode(shuffle_dinucleotides(codes, np.random.default_rng(2))))
    assert found.keys() == possible
    if len(possible) > 1:
        assert chisquare(list(found.values())).pvalue > 1e-3


@pytest.mark.parametrize("change", [randomise_parts, shuffle_dinucleotides])
def test_changed_sequences_differ_and_follow_the_seed(change: Change) -> None:
    codes = _random_codes(50, 300)
    kept = codes.copy()
    first = change(codes, np.random.default_rng(1))
    assert np.array_equal(codes, kept), "the promoters themselves stay"
    assert np.array_equal(first, change(codes, np.random.default_rng(1)))
    assert (first != change(codes, np.random.default_rng(2))).any(axis=1).all()
    same = (first == codes).mean(axis=1)
    assert same.max() < 0.75
    assert change(codes[:0], np.random.default_rng(1)).shape == (0, 300)


def test_n_cannot_be_shuffled() -> None:
    with pytest.raises(AssertionError, match="has N"):
        shuffle_dinucleotides(encode_all(["ACGNA"]), np.random.default_rng(1))
