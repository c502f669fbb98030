"""Eight processes at one corpus and one genome: all read the same, whoever writes meanwhile."""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from genebert.cli import main
from genebert.corpus.read import Corpus, read_corpus
from genebert.corpus.write import write_manifest
from genebert.genome import Genome, Interval

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}
PROCESSES = 8
# Waits until all are ready, then reads one corpus after the other.
READER = """
import hashlib, sys
from genebert.corpus.mapped import map_corpus
from genebert.genome import Genome, Interval

cache, fasta, *folders = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
for folder in folders:
    corpus = map_corpus(folder, cache)
    genome = Genome(fasta)
    digest = hashlib.sha256()
    for row in range(0, corpus.regions, 5):
        chrom, start = corpus.contigs[corpus.contig[row]], int(corpus.start[row])
        digest.update(genome.fetch(Interval(chrom, start, start + corpus.metadata.width)).encode())
    for name in ("sequence", "best", "open_offsets", "open_cell_type", "split"):
        digest.update(getattr(corpus, name).tobytes())
    print(digest.hexdigest(), flush=True)
"""


@pytest.fixture(scope="module")
def project(
    small_project: Callable[..., Path],
    subcommands: Callable[..., list[list[str]]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Return a small project that has got as far as its corpus."""
    folder = small_project(tmp_path_factory.mktemp("concurrency") / "project")
    with contextlib.chdir(folder):
        for command in subcommands(folder, "results/corpus/manifest.json"):
            with pytest.raises(SystemExit) as stop:
                main(command)
            assert stop.value.code == 0
    return folder


def digest_of(corpus: Corpus, genome: Genome) -> str:
    """Return what READER prints, of a corpus in memory and a genome that nobody else reads."""
    width = corpus.metadata.width
    places = zip(corpus.contig[::5], corpus.start[::5].tolist(), strict=True)
    bases = [genome.fetch(Interval(corpus.contigs[c], start, start + width)) for c, start in places]
    columns = (corpus.sequence, corpus.best, corpus.open_offsets, corpus.open_cell_type, corpus.split)
    return hashlib.sha256("".join(bases).encode() + b"".join(c.tobytes() for c in columns)).hexdigest()


@contextlib.contextmanager
def readers(corpora: list[list[Path]], cache: Path, fasta: Path) -> Iterator[list[subprocess.Popen]]:
    """Start a reader of each list, all with one folder of columns; end what is left of them."""
    pipe = subprocess.PIPE
    started = [
        subprocess.Popen(
            [sys.executable, "-c", READER, str(cache), str(fasta), *map(str, folders)],
            env=ENVIRONMENT,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
        )
        for folders in corpora
    ]
    try:
        for process in started:
            assert process.stdout.readline() == "ready\n"
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def told_by(started: list[subprocess.Popen]) -> list[list[str]]:
    """Let all begin at once; return the lines of each."""
    for process in started:
        process.stdin.write("go\n")
        process.stdin.flush()
    told = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0] * len(started), told
    return [out.splitlines() for out, _ in told]


def test_columns_made_at_once_and_replaced_all_the_time_are_read_right(
    project: Path, tmp_path: Path
) -> None:
    fasta, cache = project / "results/reference/genome.fa", tmp_path / "columns"
    whole, part = project / "results/corpus", tmp_path / "part"
    part.mkdir()
    shutil.copy(whole / "part-0000.parquet", part)
    write_manifest([part / "part-0000.parquet"], part / "manifest.json")
    expected = {folder: digest_of(read_corpus(folder), Genome(fasta)) for folder in (whole, part)}
    assert len(set(expected.values())) == 2
    # All need the same columns first; then each that finds the other's removes them and writes its own.
    orders = [[whole, whole, part], [whole, part, whole]] * (PROCESSES // 2)
    with readers(orders, cache, fasta) as started:
        assert told_by(started) == [[expected[folder] for folder in order] for order in orders]
    left = sorted(path.name for path in cache.iterdir())
    assert len(left) == 2 and left[0] == ".lock", "columns of one corpus, and nothing half-written"
