"""Runs the stages of a small project on a disk that is full: a script, for test_disk_full.py.

It reads from stdin, as JSON, the project's folder on a disk of its own and its commands in order; each
one runs in a process forked off from this one, in which all that is slow to import is there already.
"""

import contextlib
import hashlib
import importlib
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
from small_disk import PAGE, fill, free  # noqa: E402

from genebert.cli import main  # noqa: E402

# What stages import late.
_SLOW = (
    "torch",
    "pandas",
    "pydantic",
    "pyarrow.parquet",
    "pyfaidx",
    "MOODS.scan",
    "scipy.stats",
    "sklearn.linear_model",
    "matplotlib.figure",
    "safetensors.torch",
)


class Fault(TypedDict):
    """What a stage did on a disk with so many pages left."""

    left: int
    code: int
    said: str
    leavings: list[str]


class Told(TypedDict):
    """What a stage wrote (SHA-256 by path) undisturbed and after its faults, and what these were."""

    stage: str
    said: str
    code: int
    wrote: dict[str, str]
    faults: list[Fault]
    wrote_again: dict[str, str]


def files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of all files of a project by path, of those that are linked to none."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def call(arguments: Sequence[str]) -> tuple[int, str]:
    """Run a sub-command in a process of its own; return its exit code and what it said."""
    with tempfile.TemporaryFile() as said:
        process = os.fork()
        if not process:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            _be(arguments)
        _, status = os.waitpid(process, 0)
        said.seek(0)
        return os.waitstatus_to_exitcode(status), said.read().decode()


def _be(arguments: Sequence[str]) -> None:
    code = 99
    try:
        main(arguments)
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def judge(arguments: Sequence[str], project: Path, faulty: bool) -> Told:
    """Run a stage; then, if asked to, without its outputs on a full disk, and again with space."""
    before = files(project)
    code, said = call(arguments)
    after = files(project)
    wrote = {path: digest for path, digest in after.items() if before.get(path) != digest}
    told = Told(stage=arguments[0], said=said, code=code, wrote=wrote, faults=[], wrote_again={})
    if not faulty or code:
        return told
    half = sum(-(-(project / path).stat().st_size // PAGE) for path in wrote) // 2
    for left in sorted({0, half}):
        for path in wrote:
            (project / path).unlink(missing_ok=True)
        fill(project.parent, left)
        code, said = call(arguments)
        free(project.parent)
        leavings = sorted(path for path, digest in files(project).items() if before.get(path) != digest)
        told["faults"].append(Fault(left=left, code=code, said=said, leavings=leavings))
    call(arguments)
    told["wrote_again"] = {path: d for path, d in files(project).items() if before.get(path) != d}
    return told


def judge_all(project: Path, commands: Sequence[Sequence[str]], faulty: Sequence[str]) -> list[Told]:
    """Run commands in order, those of some stages with faults."""
    for name in _SLOW:
        importlib.import_module(name)
    os.chdir(project)
    return [judge(arguments, project, arguments[0] in faulty) for arguments in commands]


if __name__ == "__main__":
    work: dict[str, Any] = json.load(sys.stdin)
    print(json.dumps(judge_all(Path(work["project"]), work["commands"], work["faulty"])))
