import hashlib
import multiprocessing
import os
from pathlib import Path

import pytest

from genebert.errors import GenebertError
from genebert.inputs.locksheet import LockedFile, read_lock, record

HEADER = "url\tchecksum\tbytes\torigin\n"
SHA256 = f"sha256:{'a' * 64}"
ROW = f"https://h/a\t{SHA256}\t12\tportal\n"


def test_no_sheet_locks_nothing(tmp_path: Path) -> None:
    assert read_lock(tmp_path / "lock.tsv") == {}


def test_rows_are_read_with_their_place(tmp_path: Path) -> None:
    path = tmp_path / "lock.tsv"
    path.write_text(f"# a comment\n{HEADER}\n{ROW}")
    assert read_lock(path) == {"https://h/a": LockedFile(SHA256, 12, "portal", f"{path} line 4")}


def test_recorded_rows_are_sorted_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "config/lock.tsv"
    rows = {f"https://h/{name}": LockedFile(SHA256, 7, "first download") for name in "bca"}
    for url, row in rows.items():
        record(path, url, row)
    found = read_lock(path)
    assert list(found) == sorted(rows)
    assert {row.checksum for row in found.values()} == {SHA256}
    before = path.read_bytes()
    record(path, "https://h/b", LockedFile(SHA256, 7, "portal"))
    assert path.read_bytes() == before


def test_other_bytes_for_a_recorded_url_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "lock.tsv"
    record(path, "https://h/a", LockedFile(SHA256, 7, "portal"))
    before = path.read_bytes()
    with pytest.raises(GenebertError, match="came twice with different bytes") as refused:
        record(path, "https://h/a", LockedFile(f"md5:{'0' * 32}", 7, "portal"))
    assert f"{path} line 3" in str(refused.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ""),
        (ROW, "line 1"),
        (HEADER + ROW + ROW, "https://h/a has two rows (* line 3)"),
        (HEADER + "https://h/a\tmd5:1\t12\tportal\n", "'md5:1' has no checksum of the form * line 2"),
        (HEADER + ROW.replace("12", "-1"), "bytes '-1' is no number (* line 2)"),
        (HEADER + ROW.replace("portal", "me"), "origin 'me' is none of: portal, first download"),
        (HEADER + "<<<<<<< HEAD\n" + ROW, "the row has 1 columns, not 4 (* line 2)"),
    ],
)
def test_a_bad_sheet_is_refused_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "lock.tsv"
    path.write_text(text)
    if not said:
        assert read_lock(path) == {}
        return
    with pytest.raises(GenebertError) as refused:
        read_lock(path)
    for part in said.split("*"):
        assert part in str(refused.value)
    assert str(path) in str(refused.value)


def _row(writer: int, number: int) -> tuple[str, LockedFile]:
    url = f"https://h/{writer}/{number}"
    digest = hashlib.sha256(url.encode()).hexdigest()
    return url, LockedFile(f"sha256:{digest}", number, "first download")


def _write_many(path: Path, writer: int) -> None:
    for number in range(10):
        record(path, *_row(writer, number))
        record(path, *_row(99, number))
    os._exit(0)


def test_eight_processes_lose_no_row(tmp_path: Path) -> None:
    path = tmp_path / "lock.tsv"
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=_write_many, args=(path, writer)) for writer in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    expected = dict(_row(writer, number) for writer in (*range(8), 99) for number in range(10))
    found = read_lock(path)
    assert list(found) == sorted(expected)
    assert {url: (row.checksum, row.bytes) for url, row in found.items()} == {
        url: (row.checksum, row.bytes) for url, row in expected.items()
    }
    assert {file.name for file in tmp_path.iterdir()} == {"lock.tsv", ".lock.tsv.lock"}
