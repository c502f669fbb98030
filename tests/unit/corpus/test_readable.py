"""A part is plain Parquet: tools that know nothing of genebert read the same values from it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from genebert.corpus.schema import SCHEMA

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def expected(built: SimpleNamespace) -> Rows:
    """The rows of a part as Arrow reads them."""
    rows: Rows = pq.read_table(built.parts[0]).to_pylist()
    assert len(rows) > 5
    assert sum(len(row["motif"]) for row in rows) > 20
    return rows


def plain(rows: Rows) -> Rows:
    """Return rows with lists and numbers of Python's own."""
    return [
        {
            name: list(map(float, v)) if hasattr(v, "__len__") and not isinstance(v, str) else v
            for name, v in row.items()
        }
        for row in rows
    ]


def test_by_pandas(built: SimpleNamespace, expected: Rows) -> None:
    table = pd.read_parquet(built.parts[0])
    assert plain(table.to_dict("records")) == plain(expected)


def test_by_polars(built: SimpleNamespace, expected: Rows) -> None:
    polars = pytest.importorskip("polars")
    table = polars.read_parquet(built.parts[0])
    assert plain(table.to_dicts()) == plain(expected)
    long = polars.scan_parquet(built.folder / "part-*.parquet").select("region_id", "motif", "score")
    best = long.explode("motif", "score").group_by("region_id", "motif").max().collect()
    assert best["score"].max() <= 1


def test_by_duckdb(built: SimpleNamespace, expected: Rows) -> None:
    duckdb = pytest.importorskip("duckdb")
    table = duckdb.sql(f"select * from '{built.parts[0]}'")
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.fetchall()]
    assert plain(rows) == plain(expected)
    files = built.folder / "part-*.parquet"
    counted = duckdb.sql(f"select sum(len(motif)) from '{files}' where chrom = 'chrA'").fetchall()
    whole = [row for part in built.parts for row in pq.read_table(part).to_pylist()]
    assert counted == [(sum(len(row["motif"]) for row in whole if row["chrom"] == "chrA"),)]


def test_by_hugging_face_datasets(
    built: SimpleNamespace, expected: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_parquet(str(built.parts[0]), cache_dir=str(tmp_path))
    assert plain(table.to_list()) == plain(expected)


def test_the_names_of_the_columns_say_what_they_hold(built: SimpleNamespace) -> None:
    schema = pq.ParquetFile(built.parts[0]).schema_arrow
    assert schema.names == SCHEMA.names
    assert [str(schema.field(name).type) for name in ("motif", "position", "strand", "score")] == [
        "list<element: uint16>",
        "list<element: uint16>",
        "list<element: int8>",
        "list<element: halffloat>",
    ]
