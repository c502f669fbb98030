import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert.genome import reverse_complement
from genebert.sequence import sketch as module
from genebert.sequence.codes import encode_all
from genebert.sequence.sketch import K, canonical, containment, sketch

dna = st.lists(st.text("ACGTN", min_size=0, max_size=40), min_size=1, max_size=6)


def _random(rng: np.random.Generator, number: int, length: int) -> np.ndarray:
    return rng.integers(0, 4, (number, length)).astype(np.uint8)


def _kmers(sequence: str, k: int) -> set[str]:
    """Brute force: distinct k-mers without N, each as the smaller of both strands'."""
    words = (sequence[i : i + k] for i in range(len(sequence) - k + 1))
    return {min(word, reverse_complement(word)) for word in words if "N" not in word}


def _number(word: str) -> int:
    found = 0
    for base in word:
        found = 4 * found + "ACGT".index(base)
    return found


@settings(max_examples=40)
@given(dna, st.sampled_from([1, 2, 3, 5, 7, 21, 31]))
def test_words_are_those_of_plain_python(sequences: list[str], k: int) -> None:
    codes = encode_all(sequences)
    words, known = canonical(codes, k)
    assert words.shape == known.shape == (len(sequences), max(0, codes.shape[1] - k + 1))
    for sequence, own, valid in zip(sequences, words, known, strict=True):
        expected = {_number(word) for word in _kmers(sequence, k)}
        assert set(own[valid].tolist()) == expected


@settings(max_examples=40)
@given(dna, dna, st.sampled_from([1, 3, 4, 8]))
def test_without_subsampling_containment_is_exact(
    sequences: list[str], others: list[str], k: int
) -> None:
    blocks = [encode_all(others[:2]), encode_all(others[2:])]
    found = containment(encode_all(sequences), blocks, k, one_in=1)
    theirs = set().union(*(_kmers(other, k) for other in others))
    for sequence, value in zip(sequences, found, strict=True):
        own = _kmers(sequence, k)
        if own:
            assert value == pytest.approx(len(own & theirs) / len(own))
        else:
            assert np.isnan(value)


def test_a_sketch_keeps_its_share_of_the_words_each_once_a_sequence() -> None:
    codes = np.tile(_random(np.random.default_rng(0), 40, 500), 2)
    hashes, rows = sketch(codes, one_in=4)
    assert len(set(zip(hashes.tolist(), rows.tolist(), strict=True))) == len(rows)
    assert (np.diff(rows) >= 0).all()
    # 1000 bp of a sequence and its repetition have 500 distinct 21-mers, 480 + 20 over the joint.
    assert np.bincount(rows).mean() == pytest.approx(125, rel=0.06)
    every, _ = sketch(codes, one_in=1)
    assert set(hashes) <= set(every)
    assert len(every) == 40 * 500


def test_blocks_do_not_change_a_sketch(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = _random(np.random.default_rng(1), 50, 60)
    whole = sketch(codes)
    monkeypatch.setattr(module, "_BLOCK", 7)
    assert all(np.array_equal(a, b) for a, b in zip(whole, sketch(codes), strict=True))


def test_copies_of_either_strand_are_contained_and_others_are_not() -> None:
    rng = np.random.default_rng(2)
    codes = _random(rng, 30, 300)
    assert (containment(codes, [codes[:15], 3 - codes[15:, ::-1]]) == 1).all()
    assert (containment(codes, [_random(rng, 2000, 300)]) == 0).all()
    assert (containment(codes, []) == 0).all()


def test_copies_that_differ_in_one_base_of_twenty_share_a_third() -> None:
    rng = np.random.default_rng(3)
    codes = _random(rng, 400, 300)
    changed = np.where(
        rng.random(codes.shape) < 0.05, (codes + rng.integers(1, 4, codes.shape)) % 4, codes
    )
    found = containment(changed.astype(np.uint8), [codes])
    assert found.mean() == pytest.approx(0.95**K, abs=0.02)
    assert (found > 0.1).mean() > 0.95


def test_sequences_shorter_than_a_word_have_no_containment() -> None:
    codes = _random(np.random.default_rng(4), 3, K - 1)
    assert np.isnan(containment(codes, [codes])).all()
    assert len(containment(codes[:0], [codes])) == 0
