"""DNA text to base codes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genebert.sequence.codes import PADDING, encode, encode_all

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
