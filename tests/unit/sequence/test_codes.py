"""DNA text to base codes."""

import itertools
import tracemalloc
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert.sequence.codes import PADDING, count_kmers, decode, encode, encode_all, encode_column

DNA = st.text("ACGTNacgtnRYK-", max_size=40)


@given(DNA)
def test_each_base_has_its_code_and_anything_else_is_n(text: str) -> None:
    code = {"A": 0, "C": 1, "G": 2, "T": 3}
    assert encode(text).tolist() == [code.get(base.upper(), 4) for base in text]


@given(st.lists(DNA, min_size=1, max_size=5))
def test_shorter_sequences_end_in_padding(texts: list[str]) -> None:
    codes = encode_all(texts)
    longest = max(map(len, texts))
    assert codes.shape == (len(texts), longest)
    assert codes.dtype == np.uint8
    for row, text in zip(codes, texts, strict=True):
        assert row[: len(text)].tolist() == encode(text).tolist()
        assert (row[len(text) :] == PADDING).all()


def test_no_sequences_give_an_empty_table() -> None:
    assert encode_all([]).shape == (0, 0)


def test_text_that_is_not_ascii_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        encode("ACGÜ")


@given(st.lists(st.none() | DNA, max_size=12), st.data())
def test_a_column_is_encoded_as_its_texts_are(texts: list[str | None], data: st.DataObject) -> None:
    expected = encode_all([text or "" for text in texts])
    for kind in (pa.string(), pa.large_string()):
        column = pa.array(texts, kind)
        assert np.array_equal(encode_column(column), expected)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(texts)), max_size=3)))
        edges = list(itertools.pairwise([0, *cuts, len(texts)]))
        chunks = pa.chunked_array([column[low:high] for low, high in edges], kind)
        assert np.array_equal(encode_column(chunks), expected)
    low = data.draw(st.integers(0, len(texts)))
    part = pa.array(texts, pa.string())[low : data.draw(st.integers(low, len(texts)))]
    found = encode_column(part)
    assert found.dtype == np.uint8
    assert np.array_equal(found, encode_all([text or "" for text in part.to_pylist()]))


def test_a_column_without_chunks_or_sequences_is_an_empty_table() -> None:
    assert encode_column(pa.chunked_array([], pa.string())).shape == (0, 0)
    assert encode_column(pa.array([], pa.string())).shape == (0, 0)
    assert encode_column(pa.array([None, None], pa.string())).shape == (2, 0)


def test_a_column_that_is_not_ascii_is_refused_and_its_slice_is_not() -> None:
    column = pa.array(["AC", "ACGÜ", "GT"])
    with pytest.raises(ValueError, match="not ASCII"):
        encode_column(column)
    assert encode_column(column[2:]).tolist() == [[2, 3]]


@given(st.integers(0, 6), st.data())
def test_codes_are_decoded_to_upper_case(length: int, data: st.DataObject) -> None:
    texts = data.draw(st.lists(st.text("ACGTNacgtn", min_size=length, max_size=length), max_size=5))
    codes = encode_all(texts).reshape(len(texts), length)
    assert decode(codes) == [text.upper() for text in texts]


@settings(deadline=None)
@given(st.lists(st.text("ACGTNt", max_size=30), max_size=6), st.integers(1, 4))
def test_kmers_are_counted_where_all_bases_are_known(texts: list[str], k: int) -> None:
    counts = count_kmers(encode_all(texts), k)
    assert counts.dtype == np.float32
    assert counts.shape == (len(texts), 4**k)
    words = ["".join(word) for word in itertools.product("ACGT", repeat=k)]
    for row, text in zip(counts, texts, strict=True):
        seen = Counter(text.upper()[at : at + k] for at in range(len(text) - k + 1))
        assert row.tolist() == [seen[word] for word in words]


def test_kmers_of_many_sequences_are_counted_in_blocks() -> None:
    codes = np.random.default_rng(0).integers(0, 5, (3000, 80)).astype(np.uint8)
    tracemalloc.start()
    counts = count_kmers(codes, 5)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak - counts.nbytes < 8e6, "windows of all sequences at once are 9 MB"
    one_by_one = np.concatenate([count_kmers(row[None], 5) for row in codes])
    assert np.array_equal(counts, one_by_one)
