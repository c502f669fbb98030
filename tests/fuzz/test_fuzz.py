"""Damaged inputs through the real sub-commands: a clear error or a right result, within seconds.

To repeat what a failure prints: ``GENEBERT_FUZZ='seed target number' pytest tests/fuzz/test_fuzz.py``.
"""

import faulthandler
import os
import re
import resource
import shutil
import signal
import tempfile
import traceback
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from fuzz_parquet import mutated
from fuzz_targets import TARGETS, Target
from fuzz_world import World, call

SEED = 1
SHORT, LONG = 200, 2000
# Seconds of one input; and bytes that it may take beyond what the process has.
_LIMIT, _MEMORY = 10, 4 << 30
_MOST_SAID = 3000


class _Hang(BaseException):
    """Not an Exception, which sub-commands catch."""


@contextmanager
def _bounded() -> Iterator[None]:
    """End what takes too long, however deep in C code it is, and what takes too much memory."""

    def stop(*_: object) -> None:
        raise _Hang

    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(_LIMIT)
    faulthandler.dump_traceback_later(10 * _LIMIT, exit=True)
    resource.setrlimit(resource.RLIMIT_AS, (size + _MEMORY, limits[1]))
    try:
        yield
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.signal(signal.SIGALRM, before)


def _files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def _place(world: World, target: Target, folder: Path) -> Path:
    """Lay the right file, and what it needs around it, into a folder; return the file."""
    source = world / target.file
    if target.beside == "genome":
        for name in ("genome.fa", "genome.fa.fai", "motifs.parquet"):
            shutil.copy(world / name, folder / name)
        (folder / "regions").symlink_to(world / "regions")
        return folder / source.name
    if target.beside:
        shutil.copytree(world / target.beside, folder / Path(target.beside).name)
        return folder / Path(target.beside).name / source.name
    shutil.copy(source, folder / source.name)
    return folder / source.name


def _try(world: World, target: Target, data: bytes | None, folder: Path) -> str:
    """Run a target on damaged bytes (None: the right file); return what became of it, and why."""
    shutil.rmtree(folder, ignore_errors=True)
    out = folder / "in/out"
    out.mkdir(parents=True)
    file = _place(world, target, folder / "in")
    if data is not None:
        file.write_bytes(data)
        target.prepare(file)
    tempfile.tempdir = str(folder / "tmp")
    Path(tempfile.tempdir).mkdir()
    arguments = target.arguments(world, file, out)
    before = _files(folder)
    try:
        with _bounded():
            code, said = call(*arguments)
        now = _files(folder)
        if code == 1:
            _judge_error(said)
            assert now == before, f"left behind: {sorted(now.keys() ^ before.keys()) or 'changes'}"
            return "refused"
        assert code == 0, f"exit code {code}: {said}"
        assert "Traceback" not in said, said
        new = sorted(
            name for name in now.keys() - before.keys() if not name.endswith(".provenance.json")
        )
        assert new == sorted(f"in/out/{name}" for name in target.outputs), f"written: {new}"
        target.judge(world, file, out)
        return "right"
    except _Hang:
        return f"failed: a hang of {_LIMIT} s\n{traceback.format_exc()[-3000:]}"
    except Exception:
        return f"failed: {traceback.format_exc(limit=-3)[-3000:]}\n{_debugged(*arguments)}"
    finally:
        tempfile.tempdir = None


def _debugged(*arguments: object) -> str:
    """Return the traceback of a run."""
    try:
        with _bounded():
            return call("--debug", *arguments)[1][-1000:]
    except BaseException:
        return traceback.format_exc()[-2500:]


def _judge_error(said: str) -> None:
    lines = said.splitlines()
    assert sum(line.startswith("error: ") for line in lines) == 1, said[-3000:]
    assert any(line.startswith("fix: ") for line in lines), said[-3000:]
    assert "internal error" not in said and "Traceback" not in said, said[-3000:]
    assert len(said) < _MOST_SAID, f"an error of {len(said)} characters: {said[:300]}"
    assert re.sub(r"[\n\t]", "", said).isprintable(), (
        f"an error that no terminal should show: {said[:500]!r}"
    )


def _case(world: World, target: Target, seed: int, number: int) -> bytes:
    """Return the damaged bytes of a case: a function of seed, target and number alone."""
    rng = np.random.default_rng([seed, zlib.crc32(target.name.encode()), number])
    return mutated((world / target.file).read_bytes(), target.kind, rng)


def _cases(total: int) -> list[tuple[Target, int, int]]:
    """Return (target, seed, number) of so many cases, spread over all targets; or the one asked for."""
    if wanted := os.environ.get("GENEBERT_FUZZ"):
        seed, _, rest = wanted.partition(" ")
        name, _, number = rest.rpartition(" ")
        if name:
            return [(target, int(seed), int(number)) for target in TARGETS if target.name == name]
    each, more = divmod(total, len(TARGETS))
    return [
        (target, int(wanted or SEED), number)
        for place, target in enumerate(TARGETS)
        for number in range(each + (place < more))
    ]


def _fuzz(world: World, total: int, folder: Path) -> None:
    """Try so many damaged inputs; say by target how many were refused and how many right."""
    counts: Counter[tuple[str, str]] = Counter()
    failures = []
    for target, seed, number in _cases(total):
        found = _try(world, target, _case(world, target, seed, number), folder)
        counts[target.name, found.split(":")[0]] += 1
        if found.startswith("failed"):
            failures.append(f"GENEBERT_FUZZ='{seed} {target.name} {number}'\n{found}")
    print(*(f"{name}: {what} {times}" for (name, what), times in sorted(counts.items())), sep="\n")
    assert not failures, f"{len(failures)} of {counts.total()} inputs\n" + "\n\n".join(failures)
    if not os.environ.get("GENEBERT_FUZZ"):
        _check_both_occur(counts)


def _check_both_occur(counts: Counter[tuple[str, str]]) -> None:
    """Damage must neither always stop at the first check nor always go unnoticed."""
    for outcome, least in (("refused", 0.25), ("right", 0.1)):
        own = {name: times for (name, found), times in counts.items() if found == outcome}
        assert sum(own.values()) >= least * counts.total(), outcome
        assert len(own) >= len(TARGETS) / 2, f"{outcome}: only of {', '.join(own)}"


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_the_right_file_is_taken(fuzz_world: World, target: Target, tmp_path: Path) -> None:
    assert _try(fuzz_world, target, None, tmp_path) == "right"


def test_damaged_files_are_refused_or_read_right(fuzz_world: World, tmp_path: Path) -> None:
    _fuzz(fuzz_world, SHORT, tmp_path)


@pytest.mark.long
def test_damaged_files_at_full_size(fuzz_world: World, tmp_path: Path) -> None:
    _fuzz(fuzz_world, LONG, tmp_path)
