"""Fixtures shared by all tests: a tiny made-up genome, and the demo's real data."""

import dataclasses
import email.utils
import gzip
import hashlib
import os
import re
import signal
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from genebert.cli import main
from genebert.config import Peaks
from genebert.genome import index_genome, read_lengths, split_segments
from genebert.inputs.peaks import clean_sample
from genebert.inputs.sheet import read_samples
from genebert.motifs.read import read_motifs
from genebert.motifs.table import MotifTable, read_motif_table, score_motifs, write_motif_table
from genebert.regions import write_regions

REPOSITORY = Path(__file__).parents[1]
JASPAR = REPOSITORY / "resources/motifs/JASPAR2026_CORE_vertebrates.jaspar"
BACKGROUND = [0.295, 0.205, 0.205, 0.295]

MOTIFS = """\
>MA9001.1 GATA
A [ 1 97 1 97 ]
C [ 1 1 1 1 ]
G [ 97 1 1 1 ]
T [ 1 1 97 1 ]
>MA9002.1 EBOX
A [ 0 90 5 5 0 2 4 ]
C [ 95 5 85 10 1 3 40 ]
G [ 2 3 5 80 2 90 30 ]
T [ 3 2 5 5 97 5 26 ]
>MA9003.1 TATA
A [ 2 96 1 97 60 95 50 ]
C [ 2 1 1 1 1 1 10 ]
G [ 1 1 1 1 1 3 30 ]
T [ 95 2 97 1 38 1 10 ]
"""

# Ctrl-C is ignored by what a script starts in the background, and by its children, whom tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


def write(path: Path, text: str) -> Path:
    """Write text, compressed where the name ends in .gz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return path


def random_dna(rng: np.random.Generator, length: int, gc: float = 0.41) -> str:
    """Return independent bases of a GC content."""
    at = (1 - gc) / 2
    return "".join(rng.choice(list("ACGT"), length, p=[at, gc / 2, gc / 2, at]))


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def background() -> list[float]:
    """Frequencies of A, C, G, T that the defaults name."""
    return BACKGROUND


@pytest.fixture(scope="session")
def tiny_sequences() -> dict[str, str]:
    """Three contigs as a FASTA would hold them: N runs, a lower-case stretch, other codes."""
    rng = np.random.default_rng(20)
    chr_a = random_dna(rng, 6000)
    chr_a = chr_a[:1000] + "N" * 200 + chr_a[1200:3000] + chr_a[3000:3300].lower() + chr_a[3300:]
    chr_b = random_dna(rng, 3000, gc=0.6)
    chr_b = "N" * 50 + chr_b[50:2000] + "RYKMSW" + chr_b[2006:]
    return {"chrA": chr_a, "chrB": chr_b, "chrC": random_dna(rng, 90)}


@pytest.fixture(scope="session")
def tiny_fasta(tiny_sequences: dict[str, str]) -> str:
    """The three contigs as FASTA text, 60 bases a line."""
    return "".join(
        f">{name} made up\n" + "".join(f"{dna[i : i + 60]}\n" for i in range(0, len(dna), 60))
        for name, dna in tiny_sequences.items()
    )


@pytest.fixture(scope="session")
def tiny_genome(tmp_path_factory: pytest.TempPathFactory, tiny_fasta: str) -> Path:
    """The three contigs, indexed."""
    folder = tmp_path_factory.mktemp("tiny")
    index_genome(write(folder / "source.fa.gz", tiny_fasta), folder / "genome.fa")
    return folder / "genome.fa"


@pytest.fixture(scope="session")
def few_motifs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three short motifs in JASPAR text format."""
    return write(tmp_path_factory.mktemp("motifs") / "few.jaspar", MOTIFS)


@pytest.fixture(scope="session")
def few_table(few_motifs: Path) -> MotifTable:
    """The three motifs, scored such that hits are frequent."""
    return score_motifs(read_motifs(few_motifs), BACKGROUND, 1.0, 0.01, 0.05)


@pytest.fixture(scope="session")
def jaspar_file() -> Path:
    """JASPAR 2026 CORE vertebrates."""
    return JASPAR


@pytest.fixture(scope="session")
def jaspar_table(tmp_path_factory: pytest.TempPathFactory) -> MotifTable:
    """All motifs of JASPAR with default settings, written and read back."""
    path = tmp_path_factory.mktemp("jaspar") / "motifs.parquet"
    write_motif_table(JASPAR, BACKGROUND, 1.0, 1e-4, 1e-3, "similarity", None, path)
    return read_motif_table(path)


@pytest.fixture(scope="session")
def demo_genome(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's slice of chr20, indexed once a session."""
    fasta = tmp_path_factory.mktemp("demo") / "genome.fa"
    index_genome(REPOSITORY / "resources/demo/genome.fa.gz", fasta)
    return fasta


@pytest.fixture(scope="session")
def demo(demo_genome: Path) -> SimpleNamespace:
    """The demo's catalogue of regions: genome, segments, samples, peak files, regions folder."""
    folder = demo_genome.parent
    lengths = read_lengths(f"{demo_genome}.fai")
    segments = split_segments(lengths, ["chr20:42000000-44000000"], ["chr20:44000000-50000000"])
    samples = [
        dataclasses.replace(sample, path=str(REPOSITORY / sample.path))
        for sample in read_samples(REPOSITORY / "config/demo_samples.tsv")
    ]
    blacklist = REPOSITORY / "resources/demo/blacklist.bed.gz"
    files = {sample.sample: folder / f"peaks/{sample.sample}.bed.gz" for sample in samples}
    for sample in samples:
        clean_sample(sample, lengths, ".+", blacklist, None, Peaks(), files[sample.sample])
    cell_type_of = {sample.sample: sample.cell_type for sample in samples}
    write_regions(files, cell_type_of, 515, segments, folder / "regions")
    return SimpleNamespace(
        fasta=demo_genome,
        lengths=lengths,
        segments=segments,
        samples=samples,
        blacklist=blacklist,
        files=files,
        regions=folder / "regions/regions.parquet",
        accessibility=folder / "regions/accessibility.parquet",
        tss=REPOSITORY / "resources/demo/tss.bed.gz",
    )


@pytest.fixture
def world(tmp_path: Path, tiny_genome: Path, tiny_sequences: dict[str, str]) -> SimpleNamespace:
    """Every input of preflight, valid, in files that a test may spoil."""
    for suffix in ("", ".fai"):
        os.link(f"{tiny_genome}{suffix}", tmp_path / f"genome.fa{suffix}")
    header = "sample\tcell_type\tassay\tformat\tsource\tcontig_style\n"
    found = SimpleNamespace(
        folder=tmp_path,
        genome=tmp_path / "genome.fa",
        lengths={name: len(dna) for name, dna in tiny_sequences.items()},
        narrow=write(
            tmp_path / "one.narrowPeak.gz",
            "chrA\t1500\t1700\tp1\t10\t.\t4.5\t9\t9\t50\nchrA\t4000\t4300\tp2\t10\t.\t7.25\t9\t9\t-1\n",
        ),
        bed=write(tmp_path / "two.bed", "#a comment\ntrack name=x\nchrB\t300\t500\nchrA\t100\t300\n"),
        motifs=write(tmp_path / "motifs.jaspar", MOTIFS),
        blacklist=write(tmp_path / "blacklist.bed", "chrA\t4290\t4500\n"),
        tss=write(tmp_path / "tss.bed", "chrA\t2000\t2001\tG1\t0\t+\nchrB\t900\t901\tG2\t0\t-\n"),
        out=tmp_path / "preflight.tsv",
        header=header,
    )
    found.rows = [
        f"one\tCELL1\tATAC-seq\tnarrowPeak\t{found.narrow}\tas_is",
        f"two\tCELL2\tATAC-seq\tbed\t{found.bed}\tas_is",
    ]
    found.sheet = write(tmp_path / "samples.tsv", header + "\n".join(found.rows) + "\n")
    found.held_out = {"validation": ["chrB:0-1000"], "test": ["chrA:3000-6000"]}

    def arguments() -> list[str]:
        return [
            "preflight",
            *("--genome", str(found.genome)),
            *("--genome-name", "tiny"),
            *("--files", f"genome={found.genome}", f"motifs={found.motifs}"),
            f"blacklist={found.blacklist}",
            *("--samples", str(found.sheet)),
            *("--lock", str(tmp_path / "lock.tsv")),
            *("--validation", *found.held_out["validation"]),
            *("--test", *found.held_out["test"]),
            *("--width", "100"),
            *("--out", str(found.out)),
        ]

    def task_arguments(style: str = "as_is") -> list[str]:
        return [
            "preflight-task",
            *("--genome", str(found.genome)),
            *("--type", "promoter", "--name", "promoter"),
            *("--settings", f'{{"type": "promoter", "tss": "{found.tss}", "contig_style": "{style}"}}'),
            *("--sources", f"tss={found.tss}"),
            *("--lock", str(tmp_path / "lock.tsv")),
            *("--out", str(found.out)),
        ]

    found.arguments, found.task_arguments = arguments, task_arguments
    return found


@pytest.fixture
def run_cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., SimpleNamespace]:
    """Run a sub-command in this process; return its exit code, stdout and stderr."""

    def run(*arguments: object) -> SimpleNamespace:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return SimpleNamespace(code=stop.value.code, out=captured.out, err=captured.err)

    return run


@pytest.fixture
def refused(run_cli: Callable[..., SimpleNamespace], tmp_path: Path) -> Callable[..., str]:
    """Run a sub-command that must fail readably and leave no file behind; return its message."""

    def files() -> set[Path]:
        return {path for path in tmp_path.rglob("*") if path.is_file()}

    def run(*arguments: object) -> str:
        before = files()
        result = run_cli(*arguments)
        lines = result.err.splitlines()
        assert result.code == 1, result.err
        assert sum(line.startswith("error: ") for line in lines) == 1, result.err
        assert sum(line.startswith("fix: ") for line in lines) == 1, result.err
        assert len(lines) == 2, result.err
        assert "internal error" not in result.err
        assert "Traceback" not in result.err
        assert files() == before, "something was left behind"
        return str(result.err)

    return run


class Web:
    """A loopback server of the files below a folder, with ranges, and with faults to order.

    ``faults[path]`` is a list of dictionaries; every request of the path takes the first one out:

    - ``status``, ``body``: what to answer instead of the file;
    - ``headers``: further ones (Retry-After, Location, …); None leaves one out (Content-Length);
    - ``change``: bytes that the file has from now on; ``corrupt``: number of a byte sent wrong;
    - ``no_range``: send all, whatever was asked for; ``chunked``: without saying how much;
    - ``truncate``, ``stall``: after so many bytes, hang up or say no more; ``drop``: hang up at once.

    ``requests`` holds (path with query, headers). A path that ends in / is its index.json. A request for
    another host is served alike: the server is a proxy too.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self.requests: list[tuple[str, Any]] = []
        self.closing = threading.Event()
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                web.requests.append((self.path, self.headers))
                self.close_connection = True
                web.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def put(self, path: str, data: bytes, *faults: dict[str, Any]) -> str:
        """Serve a file, after so many faults; return its address."""
        place = self.folder / (path.lstrip("/") + ("index.json" if path.endswith("/") else ""))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        self.faults[path] = list(faults)
        return self.url + path

    def ranges(self) -> list[str | None]:
        """Return the Range header of each request."""
        return [headers["Range"] for _, headers in self.requests]

    def answer(self, to: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        path = urlsplit(to.path).path
        fault = self.faults[path].pop(0) if self.faults[path] else {}
        place = self.folder / (path.lstrip("/") + ("index.json" if path.endswith("/") else ""))
        if "change" in fault:
            place.write_bytes(fault["change"])
        if "drop" in fault:
            return
        status, body, headers = self.file(place, to.headers, fault)
        if "chunked" in fault:
            blocks = [body[at : at + 5000] for at in range(0, len(body), 5000)] + [b""]
            body = b"".join(b"%x\r\n%s\r\n" % (len(block), block) for block in blocks)
            length = {"Transfer-Encoding": "chunked"}
        else:
            length = {"Content-Length": str(len(body))}
        headers = {"Connection": "close", **length, **headers, **fault.get("headers", {})}
        to.send_response(status)
        for key, value in headers.items():
            if value is not None:
                to.send_header(key, value)
        to.end_headers()
        cut = fault.get("truncate", fault.get("stall", len(body)))
        try:
            to.wfile.write(body[:cut])
            if "stall" in fault:
                self.closing.wait(20)
        except OSError:
            pass  # the client has left

    def file(self, place: Path, asked: Any, fault: dict[str, Any]) -> tuple[int, bytes, dict[str, str]]:
        """Return status, body and headers as a server without faults would send them."""
        if "status" in fault:
            return fault["status"], fault.get("body", b"no"), {}
        if not place.is_file():
            return 404, b"not here", {}
        data = place.read_bytes()
        headers = {
            "ETag": f'"{hashlib.sha1(data).hexdigest()}"',
            "Last-Modified": email.utils.formatdate(place.stat().st_mtime, usegmt=True),
        }
        if "corrupt" in fault and data:
            at = fault["corrupt"] % len(data)
            data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        span = re.fullmatch(r"bytes=(\d+)-", asked["Range"] or "")
        same = asked["If-Range"] in (None, *headers.values())
        if span is None or not same or "no_range" in fault:
            return 200, data, headers
        start = int(span[1])
        if start >= len(data):
            return 416, b"", {"Content-Range": f"bytes */{len(data)}"}
        return (
            206,
            data[start:],
            headers | {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"},
        )


@pytest.fixture
def web(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A loopback web server of a fresh folder; proxies of the environment are not used."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    web = Web(tmp_path_factory.mktemp("web"))
    thread = threading.Thread(target=web.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield web
    web.closing.set()
    web.server.shutdown()
    web.server.server_close()
    thread.join()
