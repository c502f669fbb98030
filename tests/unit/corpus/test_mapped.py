"""Columns mapped from files: the same corpus, the same batches, written whole or not at all."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

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


def test_columns_are_written_once(folder: Path, tmp_path: Path) -> None:
    map_corpus(folder, tmp_path / "cache")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    assert len(before) == 8
    for part in folder.glob("part-*"):
        part.unlink()
    map_corpus(folder, tmp_path / "cache")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()} == before


def test_columns_of_another_manifest_are_written_anew(
    folder: Path, tmp_path: Path, make_corpus: Callable, write_corpus: Callable
) -> None:
    map_corpus(folder, tmp_path / "cache")
    other = make_corpus(seed=9)
    found = map_corpus(write_corpus(other, tmp_path / "other"), tmp_path / "cache")
    assert np.array_equal(found.best, other.best)
    assert np.array_equal(found.sequence, other.sequence)
    assert not list(tmp_path.glob(".cache*")), "the folder under construction is gone"


def test_a_failure_leaves_no_columns(folder: Path, tmp_path: Path) -> None:
    (folder / "part-1.parquet").unlink()
    with pytest.raises(GenebertError, match=r"part-1\.parquet: missing or damaged"):
        map_corpus(folder, tmp_path / "cache")
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]


def test_a_folder_of_something_else_is_left_alone(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/thesis.tex").write_text("years of work")
    with pytest.raises(GenebertError, match="exists and holds no mapped columns"):
        map_corpus(folder, tmp_path / "cache")
    assert (tmp_path / "cache/thesis.tex").read_text() == "years of work"


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


def test_mapped_columns_say_what_they_were_made_from(folder: Path, tmp_path: Path) -> None:
    map_corpus(folder, tmp_path / "cache")
    (tmp_path / "cache/source.json").write_text(json.dumps({"manifest": "of another corpus"}))
    np.save(tmp_path / "cache/best.npy", np.zeros((1, 1), np.uint8))
    found = map_corpus(folder, tmp_path / "cache")
    assert np.array_equal(found.best, read_corpus(folder).best)
