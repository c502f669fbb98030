"""Columns mapped from files: the same corpus, the same batches, written whole or not at all."""

import dataclasses
import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genebert.corpus.columns import column_shapes, fill
from genebert.corpus.mapped import map_corpus
from genebert.corpus.place import free_memory, open_corpus
from genebert.corpus.read import Corpus, read_corpus
from genebert.corpus.sample import Views, place_corpus
from genebert.errors import GenebertError

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture
def folder(synthetic_corpus: Corpus, write_corpus: Callable, tmp_path: Path) -> Path:
    return write_corpus(synthetic_corpus, tmp_path / "corpus")


def test_mapped_columns_equal_those_in_memory(folder: Path, tmp_path: Path) -> None:
    read, mapped = read_corpus(folder), map_corpus(folder, tmp_path / "cache")
    for field in dataclasses.fields(Corpus):
        one, other = getattr(read, field.name), getattr(mapped, field.name)
        assert np.array_equal(one, other), field.name
        if isinstance(one, np.ndarray):
            assert one.dtype == other.dtype
            assert isinstance(other, np.memmap)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("shuffled", [False, True])
def test_batches_of_both_modes_and_all_devices_are_the_same_bits(
    folder: Path, tmp_path: Path, device: str, shuffled: bool
) -> None:
    corpora = read_corpus(folder), map_corpus(folder, tmp_path / "cache")
    views = [Views(place_corpus(corpora[0]), "train", 7)]
    views += [Views(place_corpus(corpus, device), "train", 7) for corpus in corpora]
    for step in range(5):
        first, *others = (
            own.batch(
                3, step, torch.arange(33, device=own.region.device), augment=True, shuffled=shuffled
            )
            for own in views
        )
        for other in others:
            for name, value in first._asdict().items():
                assert torch.equal(value, getattr(other, name).cpu()), name
                assert getattr(other, name).device.type == device


def own_folder(cache: Path) -> Path:
    """Return the one folder of columns; there is nothing else but the lock."""
    (own,) = (path for path in cache.iterdir() if path.name != ".lock")
    return own


def test_columns_are_written_once(folder: Path, tmp_path: Path) -> None:
    map_corpus(folder, tmp_path / "cache")
    own = own_folder(tmp_path / "cache")
    before = {path: path.stat().st_mtime_ns for path in own.iterdir()}
    assert len(before) == 7
    for part in folder.glob("part-*"):
        part.unlink()
    map_corpus(folder, tmp_path / "cache")
    assert {path: path.stat().st_mtime_ns for path in own_folder(tmp_path / "cache").iterdir()} == before


def test_columns_of_another_manifest_are_written_anew_and_stay_readable_where_mapped(
    folder: Path, tmp_path: Path, make_corpus: Callable, write_corpus: Callable
) -> None:
    mapped = map_corpus(folder, tmp_path / "cache")
    before = own_folder(tmp_path / "cache")
    other = make_corpus(seed=9)
    found = map_corpus(write_corpus(other, tmp_path / "other"), tmp_path / "cache")
    assert np.array_equal(found.best, other.best)
    assert np.array_equal(found.sequence, other.sequence)
    assert own_folder(tmp_path / "cache") != before, "one folder, another one"
    assert np.array_equal(mapped.best, read_corpus(folder).best)


def test_columns_of_other_types_are_written_anew(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wider(manifest: dict) -> dict:
        return column_shapes(manifest) | {"split": (np.int32, (manifest["regions"],))}

    monkeypatch.setattr("genebert.corpus.mapped.column_shapes", wider)
    assert map_corpus(folder, tmp_path / "cache").split.dtype == np.int32
    monkeypatch.undo()
    assert map_corpus(folder, tmp_path / "cache").split.dtype == np.int8


def test_a_failure_leaves_no_columns(folder: Path, tmp_path: Path) -> None:
    (folder / "part-1.parquet").unlink()
    with pytest.raises(GenebertError, match=r"part-1\.parquet: missing or damaged"):
        map_corpus(folder, tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_what_is_not_of_mapped_columns_is_left_alone(folder: Path, tmp_path: Path) -> None:
    kept = [tmp_path / "cache" / name for name in ("thesis", "0123456789abcdef.bak", "0123", "x.tmp")]
    for path in kept:
        path.mkdir(parents=True)
        (path / "thesis.tex").write_text("years of work")
    map_corpus(folder, tmp_path / "cache")
    assert all((path / "thesis.tex").read_text() == "years of work" for path in kept)


def start(folder: Path, cache: Path, instead: str) -> subprocess.Popen:
    """Map a corpus in a process of its own, in which ``fill`` is another."""
    script = f"""
import os, signal, sys
from genebert.corpus import mapped
fill = mapped.fill
def other(*arguments):
    {instead}
mapped.fill = other
print("mapped", int(mapped.map_corpus(sys.argv[1], sys.argv[2]).best.sum()))
"""
    command = [sys.executable, "-c", script, str(folder), str(cache)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


@pytest.mark.parametrize("stale", [False, True])
def test_of_several_processes_one_writes_and_the_others_wait(
    folder: Path, tmp_path: Path, make_corpus: Callable, write_corpus: Callable, stale: bool
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    if stale:
        map_corpus(write_corpus(make_corpus(seed=9), tmp_path / "other"), cache)
    first = start(folder, cache, "print('filled', flush=True); sys.stdin.readline(); fill(*arguments)")
    assert first.stdout.readline() == "filled\n"
    others = [start(folder, cache, "print('filled'); fill(*arguments)") for _ in range(2)]
    told = [process.stderr.readline() for process in others]
    assert told == [f"{cache}: another process is at it, waiting\n"] * 2
    others.append(first)
    first.stdin.write("go\n")
    first.stdin.flush()
    lines = [process.communicate(timeout=60) for process in others]
    assert [process.returncode for process in others] == [0, 0, 0], lines
    found = "".join(out for out, _ in lines).splitlines()
    total = int(read_corpus(folder).best.sum())
    assert found == [f"mapped {total}"] * 3, "no other has filled"
    own_folder(cache)


def test_what_a_killed_process_leaves_is_removed(folder: Path, tmp_path: Path) -> None:
    killed = start(folder, tmp_path / "cache", "os.kill(os.getpid(), signal.SIGKILL)")
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert own_folder(tmp_path / "cache").suffix == ".tmp"
    found = map_corpus(folder, tmp_path / "cache")
    assert np.array_equal(found.best, read_corpus(folder).best)
    assert not own_folder(tmp_path / "cache").suffix


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.usefixtures("no_locks")
def test_without_locks_nothing_is_removed_that_may_be_in_use(folder: Path, tmp_path: Path) -> None:
    others = {tmp_path / "cache" / name for name in ("0123456789abcdef", "0123456789abcdef.x.tmp")}
    for other in others:
        other.mkdir(parents=True)
    found = map_corpus(folder, tmp_path / "cache")
    assert np.array_equal(found.best, read_corpus(folder).best)
    assert others < set((tmp_path / "cache").iterdir())


@pytest.mark.usefixtures("no_locks")
def test_without_locks_another_process_may_be_faster(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*arguments: Any) -> None:
        monkeypatch.setattr("genebert.corpus.mapped.fill", fill)
        map_corpus(folder, tmp_path / "cache")
        fill(*arguments)

    monkeypatch.setattr("genebert.corpus.mapped.fill", slow)
    found = map_corpus(folder, tmp_path / "cache")
    assert np.array_equal(found.best, read_corpus(folder).best)
    own_folder(tmp_path / "cache")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_columns_of_a_folder_that_is_readable_only_are_mapped(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(0o555)
    with pytest.raises(GenebertError, match="cache cannot hold mapped columns: Permission denied"):
        map_corpus(folder, cache)
    cache.chmod(0o755)
    map_corpus(folder, cache)
    (cache / ".lock").unlink()
    cache.chmod(0o555)
    assert np.array_equal(map_corpus(folder, cache).best, read_corpus(folder).best)


def test_a_cache_that_is_no_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("years of work")
    with pytest.raises(GenebertError, match="cache cannot hold mapped columns: File exists"):
        map_corpus(folder, tmp_path / "cache")


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: np.save(path, np.zeros((120, 40), np.int8)), r"int8 \(120, 40\), not uint8 \(120"),
        (lambda path: np.save(path, np.zeros((120, 39), np.uint8)), r"uint8 \(120, 39\), not uint8"),
        (lambda path: np.save(path, np.zeros((40, 120), np.uint8)), r"uint8 \(40, 120\), not uint8"),
        (_truncate, "mmap length"),
        (lambda path: path.write_bytes(b""), "EOF"),
        (lambda path: path.write_bytes(b"PK\3\4 and so on"), "magic string"),
        (Path.unlink, "No such file"),
    ],
)
def test_a_file_that_is_not_the_column_is_refused(
    folder: Path, tmp_path: Path, spoil: Callable[[Path], Any], words: str
) -> None:
    map_corpus(folder, tmp_path / "cache")
    own = own_folder(tmp_path / "cache")
    spoil(own / "best.npy")
    with pytest.raises(GenebertError, match=rf"best\.npy is not the column .*{words}") as told:
        map_corpus(folder, tmp_path / "cache")
    assert told.value.fix == f"remove {own}"


@pytest.mark.parametrize("share", [2.0, 0.5])
def test_a_corpus_is_read_where_it_fits_and_mapped_where_not(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    share: float,
) -> None:
    corpus = read_corpus(folder)
    fields = [getattr(corpus, field.name) for field in dataclasses.fields(Corpus)]
    size = sum(column.nbytes for column in fields if isinstance(column, np.ndarray))
    # Half of what is free may be taken.
    monkeypatch.setattr("genebert.corpus.place.free_memory", lambda device: int(2 * size * share))
    opened = open_corpus(folder, "cpu")
    assert isinstance(opened.best, np.memmap) == (share < 1) == (folder / "columns").exists()
    assert np.array_equal(opened.best, corpus.best)
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1
    assert ("in memory" in told) == (share > 1)


def test_free_memory_is_what_the_system_says() -> None:
    meminfo = dict(
        line.split(":") for line in Path("/proc/meminfo").read_text().splitlines() if "Mem" in line
    )
    total = int(meminfo["MemTotal"].split()[0]) * 1024
    assert 0 < free_memory("cpu") < total
