from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from genebert.catalogue import read_accessibility, read_regions
from genebert.errors import GenebertError
from genebert.parquet import facts_of, read_parquet

CONTRACT = pa.schema({"number": pa.uint16(), "name": pa.string(), "items": pa.list_(pa.float32())})
ROWS = {"number": [1, 2], "name": ["a", "b"], "items": [[0.5], []]}
REGIONS = {
    "region_id": [0, 1, 2],
    "chrom": ["b", "b", "a"],
    "start": [0, 50, 0],
    "end": [50, 100, 50],
    "split": ["train", "test", "train"],
}
OPEN = {"region_id": [0, 0, 2], "cell_type": ["x", "y", "x"], "signal": [0.5, 1.0, 0.25]}


def _write(folder: Path, rows: dict[str, object]) -> Path:
    pq.write_table(pa.table(rows), folder / "x.parquet")
    return folder / "x.parquet"


def test_columns_of_one_kind_are_cast_and_others_left_out(tmp_path: Path) -> None:
    found = read_parquet(_write(tmp_path, ROWS | {"more": [0, 0]}), CONTRACT, "mend it")
    assert found.schema.equals(CONTRACT)
    assert found.to_pydict() == ROWS


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"number": ["1", "2"]}, "column 'number' is of string, not uint16"),
        ({"number": [1, -2]}, "is missing or damaged .*not in range"),
        ({"number": [1, None]}, "column 'number' has a null"),
        ({"items": [[None], [1.0]]}, "column 'items' has a null"),
        ({"items": [["a"], []]}, "column 'items' is of list"),
    ],
)
def test_what_is_beyond_the_contract_is_refused(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    path = _write(tmp_path, ROWS | changes)
    with pytest.raises(GenebertError, match=said) as error:
        read_parquet(path, CONTRACT, "mend it")
    assert error.value.fix == "mend it"


def test_a_missing_column_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(GenebertError, match="has no column 'items'"):
        read_parquet(_write(tmp_path, {"number": [1], "name": ["a"]}), CONTRACT, "mend it")
    with pytest.raises(GenebertError, match=r"none\.parquet is missing or damaged"):
        read_parquet(tmp_path / "none.parquet", CONTRACT, "mend it")


def test_facts_are_an_object_of_json() -> None:
    assert facts_of(CONTRACT, "x", "mend it") == {}
    for said in (b"[]", b"{", b"\xff", b"[" * 100_000):
        with pytest.raises(GenebertError, match="the metadata of x is no JSON"):
            facts_of(CONTRACT.with_metadata({"genebert": said}), "x", "mend it")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"region_id": [0, 2, 1]}, "region_id is not the row number"),
        ({"start": [-1, 50, 0]}, "region 0 has no place"),
        ({"start": [50, 50, 0]}, "region 0 has no place"),
        ({"start": [0, 49, 0]}, "region 1 overlaps"),
        ({"chrom": ["b", "a", "b"]}, "region 2 is apart"),
        ({"split": ["train", "tset", "train"]}, "region 1 is of no split"),
    ],
)
def test_a_table_that_is_no_catalogue_is_refused(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    assert read_regions(_write(tmp_path, REGIONS)).num_rows == 3
    assert read_regions(_write(tmp_path, REGIONS), 1, 3)["start"].to_pylist() == [50, 0]
    with pytest.raises(GenebertError, match=said):
        read_regions(_write(tmp_path, REGIONS | changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"region_id": [0, 2, 0]}, "out of order"),
        ({"cell_type": ["x", "x", "x"]}, "twice open"),
        ({"signal": [0.5, 1.5, 0.5]}, "not above 0 and at most 1"),
        ({"signal": [0.5, float("nan"), 0.5]}, "not above 0 and at most 1"),
    ],
)
def test_accessibility_that_is_none_is_refused(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    assert read_accessibility(_write(tmp_path, OPEN)).num_rows == 3
    with pytest.raises(GenebertError, match=said):
        read_accessibility(_write(tmp_path, OPEN | changes))
