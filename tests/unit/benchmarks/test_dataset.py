from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert.benchmarks import dataset
from genebert.benchmarks.dataset import SCHEMA, Hits, read_dataset, write_dataset
from genebert.errors import GenebertError
from genebert.sequence.codes import encode_all

METADATA = {
    "type": "promoter",
    "task": "p",
    "classes": ["no", "yes"],
    "motif_digest": "abc",
    "catalogue": "def",
}
MOTIFS = 9
Lists = tuple[list[np.ndarray], list[np.ndarray]]


def _table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "chrom": ["c", "c", "d"],
            "start": [0, 10, 5],
            "end": [4, 14, 9],
            "strand": ["+", "-", "+"],
            "sequence": ["ACGT", "TTGN", "CCCC"],
            "label": [1, 0, 1],
            "cell_type": "any",
            "split": ["train", "train", "test"],
        }
    )


def _write(path: Path) -> None:
    motif = [np.array([7, 0, 0], np.uint16), np.array([], np.uint16), np.array([3], np.uint16)]
    score = [np.array([1.0, 0.5, 0.7501]), np.array([]), np.array([0.25])]
    columns = np.array([[4, -1, 5], [-1, -1, -1], [0, -1, -1]])
    write_dataset(_table(), (motif, score), columns, METADATA, path)


def test_a_dataset_is_read_back_with_the_best_hit_of_each_motif(tmp_path: Path) -> None:
    _write(tmp_path / "d.parquet")
    read = read_dataset(tmp_path / "d.parquet")
    pd.testing.assert_frame_equal(read.table[list(_table())], _table(), check_dtype=False)
    assert read.table["example_id"].tolist() == [0, 1, 2]
    assert read.table["subset"].tolist() == ["", "", ""]
    assert read.table["fold"].tolist() == [-1, -1, -1]
    for name in ("alternative", "occupancy", "open_in_training"):
        assert read.table[name].isna().all()
    assert (read.classes, read.metadata) == (["no", "yes"], METADATA)
    assert read.codes.tolist() == [[0, 1, 2, 3], [3, 3, 2, 4], [1, 1, 1, 1]]
    assert read.hits.offsets.tolist() == [0, 2, 2, 3]
    assert read.hits.motif.tolist() == [0, 7, 3]
    assert read.hits.score.tolist() == [0.75, 1.0, 0.25]
    assert read.columns.tolist() == [[4, -1, 5], [-1, -1, -1], [0, -1, -1]]
    for array in (read.codes, read.columns, read.labels, read.hits.motif, read.hits.score):
        assert array.flags.writeable, "torch warns of memory that may not be written"
    assert read.labels.tolist() == [1, 0, 1]
    assert read.in_split("train").tolist() == [0, 1]
    assert read.in_split("validation").tolist() == []
    assert read.alternative_codes is None
    assert read.alternative_hits is None


hit_lists = st.lists(
    st.tuples(st.integers(0, MOTIFS - 1), st.integers(0, 1000).map(lambda n: n / 1000)), max_size=8
)


@st.composite
def examples(draw: st.DrawFn) -> tuple[pd.DataFrame, list[Any], list[Any], np.ndarray]:
    number = draw(st.integers(1, 7))

    def some(values: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(values, min_size=number, max_size=number))

    dna = st.text("ACGTN", max_size=9)
    start = some(st.integers(0, 10**9))
    table = pd.DataFrame(
        {
            "chrom": some(st.sampled_from(["", "chr1", "chr20"])),
            "start": start,
            "end": [low + 9 for low in start],
            "strand": some(st.sampled_from("+-")),
            "sequence": some(dna),
            "alternative": some(st.none() | dna),
            "label": some(st.integers(0, 1)),
            "cell_type": some(st.sampled_from(["any", "K562"])),
            "split": some(st.sampled_from(["train", "validation", "test", "across"])),
            "subset": some(st.sampled_from(["", "TATA"])),
            "fold": some(st.integers(-1, 4)),
            "occupancy": some(st.none() | st.floats(0, 1, width=32)),
            "open_in_training": some(st.none() | st.floats(0, 1, width=32)),
        }
    )
    width = draw(st.integers(0, 5))
    cells = st.lists(st.integers(-1, 2**32 - 1), min_size=width, max_size=width)
    columns = np.array(some(cells), dtype=np.int64).reshape(number, width)
    return table, some(hit_lists), some(hit_lists), columns


def _arrays(hits: list[Any]) -> Lists:
    return (
        [np.array([motif for motif, _ in own], np.uint16) for own in hits],
        [np.array([score for _, score in own], np.float64) for own in hits],
    )


def _best(hits: list[Any]) -> np.ndarray:
    best = np.zeros((len(hits), MOTIFS), np.uint8)
    for row, own in zip(best, hits, strict=True):
        for motif, score in own:
            row[motif] = max(row[motif], int(score * 128), 1)
    return best


def _check_hits(found: Hits | None, expected: list[Any]) -> None:
    assert found is not None
    best = _best(expected)
    assert np.array_equal(found.best(MOTIFS), best)
    assert found.dense(MOTIFS).dtype == np.float32
    assert np.array_equal(found.dense(MOTIFS), best / np.float32(128))
    assert np.array_equal(np.diff(found.offsets), (best > 0).sum(1))
    assert found.motif.tolist() == np.nonzero(best)[1].tolist()


@settings(max_examples=30, deadline=None)
@given(examples(), st.integers(1, 4))
def test_what_is_written_is_read_however_it_is_cut(
    tmp_path_factory: pytest.TempPathFactory,
    case: tuple[pd.DataFrame, list[Any], list[Any], np.ndarray],
    rows: int,
) -> None:
    table, hits, alternative_hits, columns = case
    path = tmp_path_factory.mktemp("round") / "d.parquet"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "_ROWS", rows)
        write_dataset(table, _arrays(hits), columns, METADATA, path, _arrays(alternative_hits))
    assert pq.ParquetFile(path).num_row_groups == -(-len(table) // rows)
    read = read_dataset(path)
    for name in table:
        found, expected = read.table[name], table[name]
        assert found.isna().tolist() == expected.isna().tolist(), name
        assert found.dropna().tolist() == expected.dropna().tolist(), name
    assert np.array_equal(read.codes, encode_all(table["sequence"].tolist()))
    assert np.array_equal(read.columns, columns)
    assert read.columns.dtype == np.int64
    _check_hits(read.hits, hits)
    texts = [text if isinstance(text, str) else None for text in table["alternative"]]
    if any(text is not None for text in texts):
        assert read.alternative_codes is not None
        assert np.array_equal(read.alternative_codes, encode_all([text or "" for text in texts]))
        _check_hits(read.alternative_hits, alternative_hits)
    else:
        assert read.alternative_codes is None


def test_a_dataset_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    _write(tmp_path / "a.parquet")
    _write(tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


@pytest.mark.parametrize(
    ("motif", "score", "said"),
    [
        ([1], [1.5], "not in"),
        ([1], [float("nan")], "not in"),
        ([70000], [0.5], "no row"),
        ([1, 2], [0.5], "as many"),
    ],
)
def test_hits_that_cannot_be_are_refused(
    tmp_path: Path, motif: list[int], score: list[float], said: str
) -> None:
    table = _table().iloc[:1]
    with pytest.raises(AssertionError, match=said):
        write_dataset(
            table,
            ([np.array(motif)], [np.array(score)]),
            np.full((1, 3), -1),
            METADATA,
            tmp_path / "d.parquet",
        )
    assert not list(tmp_path.iterdir())


def test_hits_of_fewer_examples_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="each example"):
        write_dataset(_table(), ([], []), np.full((3, 3), -1), METADATA, tmp_path / "d.parquet")


def test_lists_that_do_not_fit_one_another_are_not_read(tmp_path: Path) -> None:
    _write(tmp_path / "d.parquet")
    good = pq.read_table(tmp_path / "d.parquet")
    for name, values, said in (
        ("motif", [[7, 0], [], [3]], "sorted by motif"),
        ("motif", [[0, 0], [], [3]], "sorted by motif"),
        ("score", [[0.5], [0.5], [0.5]], "as many scores"),
        ("columns", [[1, 2, 3], [1, 2, 3], [1, 2]], "as many columns"),
    ):
        spoilt = pa.array(values, SCHEMA.field(name).type)
        at = good.schema.get_field_index(name)
        pq.write_table(good.set_column(at, SCHEMA.field(name), spoilt), tmp_path / "bad.parquet")
        with pytest.raises(GenebertError, match=said):
            read_dataset(tmp_path / "bad.parquet")


def test_another_or_a_damaged_file_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(GenebertError, match="is no dataset of this version"):
        read_dataset(tmp_path / "other.parquet")
    with pytest.raises(GenebertError, match="is missing or damaged"):
        read_dataset(tmp_path / "absent.parquet")
    _write(tmp_path / "d.parquet")
    (tmp_path / "d.parquet").write_bytes((tmp_path / "d.parquet").read_bytes()[:-50])
    with pytest.raises(GenebertError, match="is missing or damaged"):
        read_dataset(tmp_path / "d.parquet")
