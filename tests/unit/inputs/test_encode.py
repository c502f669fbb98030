import hashlib
import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genebert.config import Downloads
from genebert.errors import GenebertError
from genebert.inputs import encode
from genebert.inputs import web as web_module
from genebert.inputs.sheet import read_samples
from genebert.inputs.source import parse_source

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
TYPES = {"narrowPeak": "narrowPeak", "broadPeak": "broadPeak", "bed3+": "bed", "bed6": "bed"}


def _file(number: int, experiment: int, term: str, **fields: Any) -> dict[str, Any]:
    """Return a File object with the fields that the query asks for, as the portal documents them."""
    accession = f"ENCFF{number:03d}ABC"
    record = {
        "@id": f"/files/{accession}/",
        "@type": ["File", "Item"],
        "accession": accession,
        "assay_title": "ATAC-seq",
        "assembly": "GRCh38",
        "biosample_ontology": {"term_name": term},
        "dataset": f"/experiments/ENCSR{experiment:03d}AAA/",
        "date_created": "2021-01-20T09:12:00.123456+00:00",
        "file_format": "bed",
        "file_format_type": "narrowPeak",
        "file_size": 3_000_000,
        "href": f"/files/{accession}/@@download/{accession}.bed.gz",
        "md5sum": hashlib.md5(accession.encode()).hexdigest(),
        "output_type": "IDR thresholded peaks",
        "preferred_default": True,
        "quality_metrics": [
            {"@type": ["AtacPeakEnrichmentQualityMetric"]},
            {"reproducible_peaks": 90_000},
        ],
        "status": "released",
    }
    record |= fields
    return {key: value for key, value in record.items() if value is not None}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_module, "FIRST_PAUSE", 0.001)


@pytest.fixture
def ask(web: Any, tmp_path: Path) -> Callable[..., SimpleNamespace]:
    """Serve an answer of the portal, ask for a sheet, return it."""

    def run(records: Any, *faults: dict[str, Any], **arguments: Any) -> SimpleNamespace:
        answer = {"@graph": records, "notification": "Success", "total": len(records)}
        web.put("/search/", json.dumps(answer).encode(), *faults)
        query = {
            "portal": web.url,
            "assay": "ATAC-seq",
            "assembly": "GRCh38",
            "output_type": "IDR thresholded peaks",
            "biosamples": None,
            "min_views": None,
            "out": tmp_path / "sheet.tsv",
            "settings": Downloads(timeout=0.3, attempts=3),
        }
        line = encode.write_sheet(**{**query, **arguments})
        text = (tmp_path / "sheet.tsv").read_text()
        rows = [row.split("\t") for row in text.splitlines() if not row.startswith("#")]
        return SimpleNamespace(line=line, text=text, header=rows[0], rows=rows[1:])

    return run


def _accessions(sheet: Any) -> list[str]:
    return [row[0] for row in sheet.rows]


def test_the_sheet_is_pinned_and_can_be_read(ask: Any, web: Any, tmp_path: Path) -> None:
    records = [
        _file(2, 2, "naive thymus-derived CD4-positive, alpha-beta T cell"),
        _file(1, 1, "K562", file_format_type="bed3+", quality_metrics=[], file_size=600),
    ]
    sheet = ask(records)
    assert sheet.header == ["sample", "cell_type", "assay", "assembly", "source", "format", "checksum"]
    md5 = [f"md5:{hashlib.md5(f'ENCFF00{n}ABC'.encode()).hexdigest()}" for n in (1, 2)]
    first = ["ENCFF001ABC", "K562", "ATAC-seq", "GRCh38", "ENCFF001ABC", "bed", md5[0]]
    assert sheet.rows[0] == first
    assert sheet.rows[1][1] == "naive_thymus-derived_CD4-positive_alpha-beta_T_cell"
    assert "2 of 2 experiments, 2 cell types, an estimated 90020 views" in sheet.line
    query = next(word for word in sheet.text.split() if word.startswith(web.url))
    assert urlsplit(query).query == urlsplit(web.requests[0][0]).query
    samples = read_samples(tmp_path / "sheet.tsv", "data")
    assert [sample.sample for sample in samples] == ["ENCFF001ABC", "ENCFF002ABC"]
    assert [sample.source.checksum for sample in samples] == md5
    assert all(encode.is_portal_file(sample.source.url) for sample in samples)


def test_the_query_asks_for_what_is_documented(ask: Any, web: Any) -> None:
    ask([_file(1, 1, "K562"), _file(2, 2, "HepG2")], biosamples=["K562", "HepG2"])
    assert len(web.requests) == 1
    asked = parse_qsl(urlsplit(web.requests[0][0]).query)
    for key, value in {
        "type": "File",
        "status": "released",
        "file_format": "bed",
        "assay_title": "ATAC-seq",
        "assembly": "GRCh38",
        "output_type": "IDR thresholded peaks",
        "no_file_available!": "true",
        "format": "json",
        "limit": "all",
    }.items():
        assert (key, value) in asked
    assert [value for key, value in asked if key == "biosample_ontology.term_name"] == ["HepG2", "K562"]
    fields = {value.partition(".")[0] for key, value in asked if key == "field"}
    assert fields == {key for key in _file(1, 1, "K562") if not key.startswith("@")}


def test_the_same_answer_in_any_order_gives_the_same_bytes(ask: Any) -> None:
    records = [_file(n, n // 2, f"cell {n % 3}", file_size=1000 * n) for n in range(1, 7)]
    texts = {
        ask(list(some)).text for some in itertools.islice(itertools.permutations(records), 0, 720, 60)
    }
    assert len(texts) == 1


@pytest.mark.parametrize(
    ("one", "other", "taken"),
    [
        ({"preferred_default": None}, {}, 2),
        ({"preferred_default": False, "date_created": "2023-01-01"}, {}, 2),
        ({}, {"date_created": "2022-01-01T00:00:00+00:00"}, 2),
        ({"date_created": "2022-01-01T00:00:00+00:00"}, {}, 1),
        ({}, {}, 1),
    ],
)
def test_an_experiment_gives_one_file(ask: Any, one: Any, other: Any, taken: int) -> None:
    records = [_file(1, 7, "K562", **one), _file(2, 7, "K562", **other)]
    for some in (records, records[::-1]):
        assert _accessions(ask(some)) == [f"ENCFF00{taken}ABC"]


def test_many_cell_types_come_before_many_experiments(ask: Any) -> None:
    def peaks(number: int) -> dict[str, Any]:
        return {"quality_metrics": [{"reproducible_peaks": number}]}

    records = [
        _file(1, 1, "A", **peaks(1000)),
        _file(2, 2, "A", **peaks(900)),
        _file(3, 3, "A", **peaks(800)),
        _file(4, 4, "B", **peaks(100)),
        _file(5, 5, "B", **peaks(50)),
        _file(6, 6, "C", quality_metrics=None, file_size=200 * encode.BYTES_PER_PEAK),
    ]
    added = [(1, 1000), (6, 200), (4, 100), (2, 225), (5, 12), (3, 200)]
    views = 0
    for count, (_, more) in enumerate(added, start=1):
        views += more
        sheet = ask(records, min_views=views)
        assert sorted(_accessions(sheet)) == sorted(f"ENCFF00{n}ABC" for n, _ in added[:count])
        assert f"an estimated {views} views" in sheet.line
    with pytest.raises(GenebertError, match=f"all 6 experiments found have an estimated {views} views"):
        ask(records, min_views=views + 1)


def test_a_file_can_be_passed_over(ask: Any) -> None:
    records = [_file(1, 1, "K562"), _file(2, 2, "K562", md5sum=None)]
    assert _accessions(ask(records, without=["ENCFF002ABC"])) == ["ENCFF001ABC"]


def test_a_sheet_of_nothing_is_not_written(ask: Any, tmp_path: Path) -> None:
    with pytest.raises(GenebertError, match=r"all files that the portal finds are passed over"):
        ask([_file(1, 1, "K562")], without=["ENCFF001ABC"])
    assert not list(tmp_path.glob("*.tsv"))


@pytest.mark.parametrize(("kind", "word"), TYPES.items())
def test_formats_are_the_sheets(ask: Any, kind: str, word: str) -> None:
    assert ask([_file(1, 1, "K562", file_format_type=kind)]).rows[0][5] == word


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("md5sum", None),
        ("md5sum", "d41d8cd9"),
        ("file_size", None),
        ("file_size", "12"),
        ("file_size", 0),
        ("file_format_type", None),
        ("file_format_type", "idr_ranked_peak"),
        ("file_format", "bigBed"),
        ("assembly", "hg19"),
        ("assay_title", None),
        ("output_type", "peaks"),
        ("status", "archived"),
        ("dataset", None),
        ("dataset", {"accession": "ENCSR000AAA"}),
        ("date_created", None),
        ("preferred_default", "yes"),
        ("biosample_ontology", None),
        ("biosample_ontology", "/biosample-types/cell_line_EFO_0002067/"),
        ("biosample_ontology", {"term_name": " "}),
        ("href", "/files/ENCFF001ABC/@@download/ENCFF001ABC.bigBed"),
        ("quality_metrics", "none"),
    ],
)
def test_odd_fields_are_named_with_the_accession(
    ask: Any, tmp_path: Path, field: str, value: Any
) -> None:
    with pytest.raises(GenebertError) as refused:
        ask([_file(2, 2, "HepG2"), _file(1, 1, "K562", **{field: value})])
    assert re.match(rf"ENCFF001ABC: {field}[a-z_.]* is ", refused.value.what)
    assert refused.value.fix
    assert not (tmp_path / "sheet.tsv").exists()


@pytest.mark.parametrize(
    "record", [{"@id": "/files/x/"}, {"accession": "ENCSR000AAA"}, "/files/x/", None]
)
def test_a_record_without_accession_is_refused(ask: Any, record: Any) -> None:
    with pytest.raises(GenebertError, match="a file without accession"):
        ask([record])


def test_an_accession_named_twice_is_refused(ask: Any) -> None:
    with pytest.raises(GenebertError, match="names ENCFF001ABC twice"):
        ask([_file(1, 1, "K562"), _file(1, 2, "K562")])


def test_a_biosample_that_is_not_found_is_named(ask: Any) -> None:
    with pytest.raises(GenebertError, match="no such file of biosample 'K652'"):
        ask([_file(1, 1, "K562")], biosamples=["K562", "K652"])


NOTHING = {"@graph": [], "notification": "No results found", "total": 0}


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        ([{"status": 404, "body": json.dumps(NOTHING).encode()}], "the portal has no released IDR"),
        ([{"status": 200, "body": json.dumps(NOTHING).encode()}], "the portal has no released IDR"),
        ([{"status": 404, "body": b"<html>"}], "answers 404 Not Found"),
        ([{"status": 403, "body": b"{}"}], "answers 403 Forbidden"),
        ([{"status": 200, "body": b"{}"}], "answers without '@graph'"),
        ([{"status": 200, "body": b"[]"}], "answers without '@graph'"),
        (
            [{"status": 200, "body": b"<html>maintenance</html>"}] * 3,
            "is no JSON; the service may be under",
        ),
        ([{"status": 503}] * 3, "503 Service Unavailable (3 attempts)"),
        ([{"stall": 100}] * 3, "nothing came for 0.3 s (3 attempts)"),
        ([{"truncate": 100}] * 3, "the connection failed"),
    ],
)
def test_what_is_no_answer_is_a_clear_error(
    ask: Any, tmp_path: Path, faults: list[dict[str, Any]], said: str
) -> None:
    with pytest.raises(GenebertError) as refused:
        ask([_file(1, 1, "K562")], *faults)
    assert said in str(refused.value)
    assert not (tmp_path / "sheet.tsv").exists()


@pytest.mark.parametrize(
    "fault",
    [{"status": 503}, {"status": 200, "body": b"<html>"}, {"truncate": 100}, {"drop": True}],
)
def test_the_portal_is_asked_again(ask: Any, web: Any, fault: dict[str, Any]) -> None:
    assert _accessions(ask([_file(1, 1, "K562")], fault, fault)) == ["ENCFF001ABC"]
    assert len(web.requests) == 3


@given(st.lists(st.text(min_size=1).filter(str.strip), unique=True, max_size=20))
def test_names_are_safe_and_distinct(terms: list[str]) -> None:
    names = encode._safe_names(terms)
    assert list(names) == terms
    assert all(NAME.fullmatch(name) for name in names.values())
    assert len({name.lower() for name in names.values()}) == len(terms)


def test_names_change_only_as_much_as_needed() -> None:
    names = encode._safe_names(["K562", "T cell", "T-cell", "T  cell", ".x"])
    assert names["K562"] == "K562"
    assert names["T-cell"] == "T-cell"
    assert re.fullmatch(r"T_cell\.[0-9a-f]{8}", names["T cell"])
    assert names[".x"] == "_.x"


def test_files_of_the_portal_are_told_apart() -> None:
    assert encode.is_portal_file(parse_source("ENCFF333TAT").url)
    assert not encode.is_portal_file("https://www.encodeproject.org/search/?type=File")
    assert not encode.is_portal_file("https://example.org/files/ENCFF333TAT/@@download/a.bed.gz")
