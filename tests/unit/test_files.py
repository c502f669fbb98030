import errno
import gzip
import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert.errors import GenebertError
from genebert.files import (
    complete_or_absent,
    digest_of,
    open_text_for_writing,
    read_blocks,
    read_lines,
    sha256,
    together,
    write_json,
)


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), open_text_for_writing(tmp_path / "new/table.tsv") as out:
        out.write("half")
        raise RuntimeError
    assert list((tmp_path / "new").iterdir()) == []


def test_a_failed_write_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "table.tsv"
    path.write_text("old")
    with pytest.raises(RuntimeError), complete_or_absent(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_final_name_appears_only_after_the_block(tmp_path: Path) -> None:
    path = tmp_path / "table.tsv"
    with complete_or_absent(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"


@pytest.mark.parametrize(
    ("in_the_way", "reason"), [("table.tsv/old", "Is a directory"), ("new", "File exists")]
)
def test_what_is_in_the_way_is_named(tmp_path: Path, in_the_way: str, reason: str) -> None:
    old = tmp_path / in_the_way
    old.parent.mkdir(exist_ok=True)
    old.write_text("old")
    path = tmp_path / ("table.tsv" if "/" in in_the_way else "new/table.tsv")
    with pytest.raises(GenebertError) as told, complete_or_absent(path):
        raise AssertionError
    assert told.value.what == f"{path} cannot be written: {reason}"
    assert told.value.fix.startswith("move ")
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [old]


def test_a_full_disk_is_named_even_where_a_library_hides_it(tmp_path: Path) -> None:
    path = tmp_path / "genome.fa"
    with pytest.raises(GenebertError) as told, complete_or_absent(path):
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError:
            raise OSError("may not be writable")  # noqa: B904 (as pyfaidx does)
    assert told.value.what == f"{path} cannot be written: No space left on device"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "/elsewhere/scratch"),
        PermissionError(errno.EACCES, "Permission denied", "input.bed"),
        OSError("damaged input"),
    ],
)
def test_errors_of_other_files_are_left_as_they_are(tmp_path: Path, error: OSError) -> None:
    with pytest.raises(OSError) as told, complete_or_absent(tmp_path / "table.tsv"):
        raise error
    assert told.value is error
    assert list(tmp_path.iterdir()) == []


def test_files_written_together_are_all_there_or_none(tmp_path: Path) -> None:
    def write_both() -> None:
        write_json(tmp_path / "one.json", 1)
        write_json(tmp_path / "two.json", 2)

    (tmp_path / "other.json").write_text("3")
    with pytest.raises(RuntimeError), together():
        write_both()
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["other.json"]
    with together():
        write_both()
    write_json(tmp_path / "alone.json", 4)
    assert len(list(tmp_path.iterdir())) == 4


def test_what_threads_write_is_not_of_the_block(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), together(), ThreadPoolExecutor(1) as pool:
        pool.submit(write_json, tmp_path / "thread.json", 1).result(timeout=10)
        write_json(tmp_path / "block.json", 2)
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["thread.json"]


def test_written_files_have_the_permissions_of_ordinary_ones(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_json(tmp_path / "a.json", 1)
    finally:
        os.umask(before)
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o640


def test_gzip_bytes_depend_on_the_content_only(tmp_path: Path) -> None:
    for name in ("first.gz", "second.gz"):
        with open_text_for_writing(tmp_path / name) as out:
            out.write("a\tµ\n")
    assert (tmp_path / "first.gz").read_bytes() == (tmp_path / "second.gz").read_bytes()
    assert gzip.decompress((tmp_path / "first.gz").read_bytes()).decode() == "a\tµ\n"


@settings(deadline=None)  # each example waits for the disk
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n")), max_size=20))
def test_lines_are_read_back_numbered_from_one(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    for name in ("a.txt", "a.txt.gz"):
        path = tmp_path_factory.getbasetemp() / name
        with open_text_for_writing(path) as out:
            out.writelines(f"{line}\n" for line in lines)
        assert list(read_lines(path)) == list(enumerate(lines, start=1))


@given(st.binary(max_size=60).map(lambda data: data.replace(b"7", b"\n")), st.integers(1, 20))
def test_blocks_are_the_file_cut_to_size(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, size: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "blocks"
    for packed in (b"-" + data, gzip.compress(data)):
        path.write_bytes(packed)
        whole = gzip.decompress(packed) if packed.startswith(b"\x1f") else packed
        blocks = list(read_blocks(path, size))
        assert b"".join(blocks) == whole
        assert {len(block) for block in blocks[:-1]} <= {size}
        assert all(0 < len(block) <= size for block in blocks)


def test_windows_line_ends_are_stripped(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one\r\ntwo")
    assert list(read_lines(tmp_path / "a")) == [(1, "one"), (2, "two")]


def test_gzip_is_known_by_its_content_not_its_name(tmp_path: Path) -> None:
    (tmp_path / "plain.gz").write_text("text\n")
    (tmp_path / "packed.txt").write_bytes(gzip.compress(b"text\n"))
    assert list(read_lines(tmp_path / "plain.gz")) == list(read_lines(tmp_path / "packed.txt"))


def _truncated() -> bytes:
    return gzip.compress(random.Random(1).randbytes(2500).hex().encode())[:-1000]


def _corrupt() -> bytes:
    data = bytearray(gzip.compress(b"chr1\t1\t2\n" * 500))
    data[-6] ^= 0xFF
    return bytes(data)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (_truncated(), "truncated or corrupt gzip"),
        (_corrupt(), "truncated or corrupt gzip"),
        (b"\x1f\x8b", "truncated or corrupt gzip"),
        (b"chr1\t1\t2\nchr1\t\xff\xfe\n", "is not text (line 2)"),
    ],
    ids=["truncated", "corrupt", "header only", "binary"],
)
def test_damaged_files_are_refused_by_name(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "a.bed.gz"
    path.write_bytes(content)
    with pytest.raises(GenebertError) as error:
        list(read_lines(path))
    assert str(path) in str(error.value)
    assert said in str(error.value)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GenebertError, match="does not exist"):
        list(read_lines(tmp_path / "absent"))
    with pytest.raises(GenebertError, match="is a folder"):
        list(read_lines(tmp_path))


def test_sha256_equals_the_published_value_of_abc(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256(tmp_path / "abc") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_digest_ignores_the_order_of_keys_and_sees_values() -> None:
    assert digest_of({"a": 1, "b": [2]}) == digest_of({"b": [2], "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": 2})


def test_an_error_reads_as_two_lines() -> None:
    error = GenebertError("contig 'x' is unknown", "rename it", "peaks.bed line 3")
    assert str(error) == "contig 'x' is unknown (peaks.bed line 3)\nfix: rename it"
