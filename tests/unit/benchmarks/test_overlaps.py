import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert.benchmarks.overlaps import Places, canonical_ids, overlaps_any, places_of
from genebert.genome import reverse_complement
from genebert.sequence.codes import encode_all

places = st.lists(
    st.tuples(st.sampled_from(["a", "b", ""]), st.integers(0, 60), st.integers(1, 30)), max_size=12
)


@settings(max_examples=60)
@given(places, places)
def test_overlaps_are_those_of_plain_python(
    own: list[tuple[str, int, int]], others: list[tuple[str, int, int]]
) -> None:
    contigs: list[str] = ["b"]

    def as_places(rows: list[tuple[str, int, int]]) -> Places:
        table = pd.DataFrame(rows, columns=["chrom", "start", "length"])
        return places_of(table.assign(end=table["start"] + table["length"]), contigs)

    expected = [any(c and c == d and s < t + m and t < s + n for d, t, m in others) for c, s, n in own]
    assert overlaps_any(as_places(own), as_places(others)).tolist() == expected


@settings(max_examples=60)
@given(st.lists(st.text("ACN", max_size=4), min_size=1, max_size=12))
def test_ids_are_those_of_plain_python(sequences: list[str]) -> None:
    ids = canonical_ids(encode_all(sequences))
    keys = [min(sequence, reverse_complement(sequence)) for sequence in sequences]
    for one, key in zip(ids, keys, strict=True):
        assert [other == one for other in ids] == [other == key for other in keys]
