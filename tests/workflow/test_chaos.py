"""The whole line, killed at random moments one after the other, and called again by the same command.

A seed fixes how far the line is when the clock of a kill starts, and how long it runs; processes are
never equally fast twice, so what a kill hits is printed.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
# Written by jobs that end: a kill waits for its share of the line, all but the last few.
TIMINGS = "results/logs/timings/*.tsv"
LAST = 4
LONGEST_DELAY = 2.5
# Every so many kills one comes while Snakemake starts, whatever it does then.
AT_THE_START = 5
SECONDS_FOR_A_JOB = 120


def processes_of(folder: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield number and command of each process that works in a project, whatever its group or parent."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            if (process / "cwd").samefile(folder):
                words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
                yield int(process.name), words


def stages_at_work(folder: Path) -> set[str]:
    return {words[3] for _, words in processes_of(folder) if words[1:3] == ["-m", "genebert"]}


def kill_all(process: subprocess.Popen, folder: Path) -> None:
    """Kill Snakemake's process group at once, then what is in another; wait until nobody is left."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    deadline = time.monotonic() + 60
    while others := [number for number, _ in processes_of(folder)]:
        assert time.monotonic() < deadline, others
        for number in others:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        time.sleep(0.02)


def until_moment(process: subprocess.Popen, folder: Path, timings: int) -> None:
    """Wait until so many jobs have ended and another one works."""
    deadline = time.monotonic() + SECONDS_FOR_A_JOB
    while len(list(folder.glob(TIMINGS))) < timings or not stages_at_work(folder):
        assert process.poll() is None, process.communicate(timeout=60)[0]
        assert time.monotonic() < deadline, "no progress"
        time.sleep(0.02)


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


@pytest.mark.parametrize(
    ("kills", "stages"), [(5, 3), pytest.param(30, 7, marks=pytest.mark.long)], ids=["5", "30"]
)
def test_a_line_killed_again_and_again_ends_with_the_same_bytes(
    kills: int,
    stages: int,
    tmp_path: Path,
    small_project: Callable[..., Path],
    finished_project: Path,
    start_workflow: Callable[..., subprocess.Popen],
    run_workflow: Callable[..., tuple[int, str]],
    results_bytes: Callable[[Path], dict[str, bytes]],
) -> None:
    folder = small_project(tmp_path / "project")
    rng = random.Random(kills)
    timed = len(list(finished_project.glob(TIMINGS)))
    hit: set[str] = set()
    for kill in range(kills):
        share, delay = (timed - LAST) * kill // kills, rng.uniform(0, LONGEST_DELAY)
        process = start_workflow(folder)
        try:
            if (kill + 1) % AT_THE_START:
                until_moment(process, folder, share)
            time.sleep(delay)
            assert process.poll() is None, process.communicate(timeout=60)[0]
        finally:
            at_work = stages_at_work(folder)
            kill_all(process, folder)
        hit |= at_work
        ended = len(list(folder.glob(TIMINGS)))
        print(
            f"kill {kill + 1}: after {delay:.2f} s, {ended} of {timed} jobs done, in {sorted(at_work)}"
        )

    code, said = run_workflow(folder)
    assert code == 0, said
    results, expected = results_bytes(folder), results_bytes(finished_project)
    assert results.keys() == expected.keys()
    assert [name for name in expected if results[name] != expected[name]] == []
    # No file more or fewer: nothing half-written is left.
    assert files_below(folder / "results") == files_below(finished_project / "results")
    assert files_below(folder / ".snakemake/incomplete") == set()
    code, said = run_workflow(folder, "-n")
    assert code == 0 and "Nothing to be done" in said, said
    assert len(hit) >= stages, f"the kills hit {hit} only"
