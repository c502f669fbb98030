"""What may not be written or read, or is in the way: an error of two lines that names it."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}
DENIED, READ_ONLY = "Permission denied", "Read-only file system"
# Root has no permissions to heed, unless it is nobody: in a user namespace that does not know it.
AS_ANYBODY = ["unshare", "--user", "--"] if os.geteuid() == 0 else []
Small = Callable[..., Path]


def said_by(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run Python with the permissions that anybody has; return its exit code and all it says."""
    done = subprocess.run(
        [*AS_ANYBODY, sys.executable, "-m", *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout + done.stderr


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def project(small_project: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tried = subprocess.run([*AS_ANYBODY, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"root heeds no permissions here: {tried.stderr.strip()}")
    return small_project(tmp_path_factory.mktemp("permissions") / "project")


@pytest.fixture
def place(project: Path, tmp_path: Path) -> Iterator[Path]:
    """Return a copy of the project whose permissions may be changed."""
    folder = tmp_path / "project"
    shutil.copytree(project, folder, symlinks=True)
    yield folder
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755)


def lock_folder(place: Path) -> None:
    (place / "out").mkdir()
    (place / "out").chmod(0o555)


def lock_parent(place: Path) -> None:
    place.chmod(0o555)


def put_file(place: Path) -> None:
    (place / "out").write_text("years of work")


def put_folder(place: Path) -> None:
    (place / "out/motifs.parquet").mkdir(parents=True)


def lock_input(place: Path) -> None:
    (place / "motifs.jaspar").chmod(0o000)


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lock_folder, f"out/motifs.parquet cannot be written: {DENIED}"),
        (lock_parent, f"out/motifs.parquet cannot be written: {DENIED}"),
        (put_file, "out/motifs.parquet cannot be written: File exists"),
        (put_folder, "out/motifs.parquet cannot be written: Is a directory"),
        (lock_input, "motifs.jaspar may not be read"),
    ],
    ids=["folder locked", "parent locked", "folder a file", "output a folder", "input locked"],
)
def test_a_stage_names_what_is_refused_and_leaves_nothing(
    place: Path, spoil: Callable[[Path], None], what: str
) -> None:
    spoil(place)
    before = files(place)
    output = ("--max-realised-p", "1e-3", "--out", "out/motifs.parquet")
    code, said = said_by(place, "genebert", "motifs", "--file", "motifs.jaspar", *output)
    assert code == 1, said
    error, fix = said.splitlines()
    assert error == f"error: {what}"
    assert fix.startswith("fix: ")
    assert files(place) == before


def lock_results(place: Path) -> None:
    (place / "results").mkdir()
    (place / "results").chmod(0o555)


def put_results(place: Path) -> None:
    (place / "results").write_text("years of work")


def put_peaks(place: Path) -> None:
    (place / "results").mkdir()
    (place / "results/peaks").write_text("years of work")


def lock_sample(place: Path) -> None:
    (place / "one.bed").chmod(0o000)


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lock_results, rf"results\S* cannot be written: {DENIED}\nfix: change the permissions"),
        (put_results, r"results cannot be written: File exists\nfix: move away the file"),
        (
            put_peaks,
            r"results/peaks\S* cannot be written: (Not a directory|File exists)\nfix: move away",
        ),
        (
            lock_sample,
            r"(?s)rule peaks:.*error: .*one\.bed may not be read .*\nfix: change its permissions",
        ),
    ],
    ids=["results locked", "results a file", "peaks a file", "sample locked"],
)
def test_the_workflow_names_what_is_refused(
    place: Path, spoil: Callable[[Path], None], what: str
) -> None:
    spoil(place)
    code, said = said_by(place, "snakemake", "--cores", "2", "results/peaks/one.bed.gz")
    assert code == 1, said
    assert re.search(what, said), said
    assert "Traceback" not in said, said


@pytest.mark.parametrize("arguments", [[], ["--dry-run"]], ids=["run", "dry run"])
def test_a_project_on_a_disk_that_is_read_only_is_refused(
    small_disks: ModuleType, small_project: Small, tmp_path: Path, arguments: list[str]
) -> None:
    with small_disks.small_disk(tmp_path / "disk") as disk:
        small_project(disk.seen / "project")
        disk.allow(writing=False)
        done: Any = disk.run(
            *(sys.executable, "-m", "snakemake", "--cores", "1", *arguments), folder="project"
        )
        disk.allow(writing=True)
        left = {path.name for path in (disk.seen / "project").iterdir()}
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert re.search(rf"cannot be written: {READ_ONLY}\nfix: choose a folder on a disk that", said), said
    assert "Traceback" not in said, said
    assert not left & {"results", ".snakemake"}
