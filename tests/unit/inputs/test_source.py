import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genebert.inputs.source import Source, canonical, parse_checksum, parse_source, place_of

MD5, SHA = "0123456789abcdef" * 2, "fedcba98" * 8
URL = "https://h.example/x.gz"
ENCODE = "https://www.encodeproject.org/files/ENCFF333TAT/@@download/ENCFF333TAT.bed.gz"


@pytest.mark.parametrize(
    ("text", "checksum", "expected"),
    [
        ("peaks/a b.bed", "", Source("peaks/a b.bed", None, None)),
        ("peaks/a#1.bed", "", Source("peaks/a#1.bed", None, None)),
        (f"a.fa#md5={MD5}", "", Source("a.fa", None, f"md5:{MD5}")),
        ("a.fa", MD5.upper(), Source("a.fa", None, f"md5:{MD5}")),
        ("a.fa", f"sha256:{SHA}", Source("a.fa", None, f"sha256:{SHA}")),
        (URL, SHA, Source(URL, URL, f"sha256:{SHA}")),
        ("ENCFF333TAT", "", Source("ENCFF333TAT", ENCODE, None)),
    ],
)
def test_sources_are_told_apart(text: str, checksum: str, expected: Source) -> None:
    assert parse_source(text, checksum) == expected


@pytest.mark.parametrize(
    ("text", "checksum", "said"),
    [
        ("ENCFF12", "", "no accession"),
        ("ENCSR000AAA", "", "no accession"),
        ("ftp://host/file", "", "no address"),
        ("https://host/folder/", "", "no address"),
        ("https:///file", "", "no address"),
        ("https://me:secret@host/file", "", "holds a password"),
        ("a.fa", "md5:12", "no checksum"),
        ("a.fa#md5=12", "", "no checksum"),
        ("a.fa", f"md5:{SHA}", "no checksum"),
        (f"a.fa#md5={MD5}", MD5, "two checksums"),
    ],
)
def test_what_is_no_source_is_refused(text: str, checksum: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_source(text, checksum)


def test_a_checksum_is_read_in_any_form_and_written_in_one() -> None:
    forms = [MD5, f"md5:{MD5}", f"md5={MD5}", MD5.upper()]
    assert {parse_checksum(form) for form in forms} == {f"md5:{MD5}"}


def test_a_fetched_file_lies_below_its_host() -> None:
    assert parse_source("https://h.example/a/b.gz").path("data/") == "data/h.example/a/b.gz"
    assert parse_source("own/b.gz").path("data") == "own/b.gz"


URLS = st.builds(
    "https://h.example/{}{}".format,
    st.text(string.ascii_letters + string.digits + "./@%~&=:_- ", min_size=1, max_size=20).filter(
        lambda path: path[-1] != "/"
    ),
    st.sampled_from(["", "?a=1", "?a=2&b", "?../x"]),
)


@given(st.lists(URLS, min_size=2, max_size=8, unique=True))
def test_places_stay_below_the_folder_and_differ_for_different_addresses(urls: list[str]) -> None:
    places = [place_of(url) for url in urls]
    for place in places:
        parts = place.split("/")
        assert parts[0] == "h.example"
        assert not {"", ".", ".."} & set(parts)
        assert set(place) <= set(string.ascii_letters + string.digits + "_./@+=-")
    assert len(set(places)) == len(urls)


def test_an_assembly_with_two_names_is_one() -> None:
    assert canonical("hg38") == canonical("GRCh38") != canonical("hg19")
    assert canonical("TAIR10") == canonical("tair10")
