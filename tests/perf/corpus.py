"""Size of the corpus on disk, speed of reading it into tensors, and of sampling views from it.

    python tests/perf/corpus.py [--quick]

prints one JSON line. What is measured:

- ``size``: parts made by ``write_part`` from real sequence scanned for all of JASPAR at p = 1e-4, with
  17 cell types a region whose signals are independent random ranks (the worst case). ``peaks`` are the
  demo's open regions; ``windows`` are other windows of the demo's genome with the same GC content.
  Metadata is counted apart: it is the same in every part, whatever its length.
- ``read``: a corpus of a million regions (100,000 with ``--quick``) made by writing the windows again
  and again as other regions, a part each, read in a fresh process on all cores, the files in the page
  cache; the best of three. A busy machine shows in the rate by time but hardly in that by CPU time. The
  tiles are compressed at level 3, to be made in minutes: zstd decompresses level 16 as fast. Peak memory
  is what the process took beyond the columns.
- ``views``: batches of 64 views on one core, each with its 512 6-mer tokens and T × 32 matrix, with
  columns in memory and mapped from files, these in the page cache and (``mapped_cold_a_second``) just
  dropped from it: the first 20 batches, the best of three; on a GPU in batches of 256 where there is
  one, beside the samples a second that pre-training the `base` size consumes at most.
"""

import argparse
import gzip
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyfaidx
import torch

from genebert.corpus import write
from genebert.corpus.columns import column_shapes
from genebert.corpus.manifest import read_manifest
from genebert.corpus.mapped import map_corpus
from genebert.corpus.read import Corpus, read_corpus
from genebert.corpus.sample import Views, place_corpus
from genebert.corpus.schema import metadata_of
from genebert.motifs.scan import scan_chunk
from genebert.motifs.table import read_motif_table, write_motif_table
from genebert.sequence.tokens import KmerTokenizer

ROOT = Path(__file__).parents[2]
WIDTH, COLUMNS, CELL_TYPES = 515, 32, [f"cell{number:02}" for number in range(17)]
BASE_SAMPLES = 1250  # a second: 640 k tokens a second of 512 tokens
BACKGROUND = [0.295, 0.205, 0.205, 0.295]


def peak_starts(contig: np.ndarray) -> np.ndarray:
    """Return starts of windows centred on the demo's peaks, none overlapping another."""
    chosen, end = [], 0
    middles = []
    for path in sorted((ROOT / "resources/demo/peaks").iterdir()):
        with gzip.open(path, "rt") as lines:
            fields = [line.split("\t") for line in lines]
        middles += [(int(line[1]) + int(line[2])) // 2 for line in fields if line[0] == "chr20"]
    for start in sorted(middle - WIDTH // 2 for middle in middles):
        if start >= end and (contig[start : start + WIDTH] != ord("N")).all():
            chosen.append(start)
            end = start + WIDTH
    return np.array(chosen)


def window_starts(contig: np.ndarray, peaks: np.ndarray, number: int) -> np.ndarray:
    """Return starts of windows without N off the peaks, with the GC content of the peaks."""
    starts = np.arange(0, len(contig) - WIDTH, WIDTH)
    closest = peaks[np.searchsorted(peaks, starts).clip(max=len(peaks) - 1)]
    starts = starts[(letters(contig, starts, b"N") == 0) & (np.abs(starts - closest) >= WIDTH)]
    edges = np.linspace(0, 1, 41)
    share = np.histogram(gc_content(contig, peaks), edges)[0] / len(peaks)
    bin_of = np.digitize(gc_content(contig, starts), edges) - 1
    rng = np.random.default_rng(0)
    chosen = [
        rng.permutation(starts[bin_of == index])[: round(part * number)]
        for index, part in enumerate(share)
    ]
    return np.sort(np.concatenate(chosen))


def gc_content(contig: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return the share of G and C in each window."""
    return letters(contig, starts, b"GC") / WIDTH


def letters(contig: np.ndarray, starts: np.ndarray, of: bytes) -> np.ndarray:
    """Count letters in each window."""
    before = np.concatenate([[0], np.cumsum(np.isin(contig, list(of)))])
    return before[starts + WIDTH] - before[starts]


def write_real(folder: Path, fasta: Path, motifs: Path, starts: np.ndarray) -> dict[str, float]:
    """Scan windows and write them as one part; return its figures."""
    regions = pd.DataFrame({"region_id": np.arange(len(starts), dtype=np.uint32), "chrom": "chr20"})
    regions = regions.assign(start=starts, end=starts + WIDTH, split="train")
    signal = np.random.default_rng(0).random(len(starts) * len(CELL_TYPES), np.float32)
    accessibility = {
        "region_id": np.repeat(regions["region_id"], len(CELL_TYPES)),
        "cell_type": CELL_TYPES * len(starts),
        "signal": signal,
    }
    folder.mkdir()
    pq.write_table(pa.Table.from_pandas(regions), folder / "regions.parquet")
    pq.write_table(pa.table(accessibility), folder / "accessibility.parquet")
    (folder / "inputs.tsv").write_text("input\tpath\trecords\tsha256\n")
    scanned = time.process_time()
    scan_chunk(
        fasta, folder / "regions.parquet", read_motif_table(motifs), 0, 1, folder / "hits.parquet"
    )
    written = time.process_time()
    write.write_part(
        fasta,
        "demo",
        folder / "regions.parquet",
        folder / "accessibility.parquet",
        motifs,
        folder / "hits.parquet",
        folder / "inputs.tsv",
        CELL_TYPES,
        0,
        1,
        folder / "part.parquet",
    )
    done = time.process_time()
    part = pq.read_metadata(folder / "part.parquet")
    hits = pq.read_metadata(folder / "hits.parquet").num_rows
    columns = [part.row_group(0).column(index) for index in range(part.num_columns)]
    data = sum(
        part.row_group(group).column(index).total_compressed_size
        for group in range(part.num_row_groups)
        for index in range(part.num_columns)
    )
    return {
        "regions": len(starts),
        "hits_a_region": round(hits / len(starts), 1),
        "bytes_a_region": round(data / len(starts), 1),
        "metadata_bytes_a_part": (folder / "part.parquet").stat().st_size - data,
        "regions_written_a_cpu_second": round(len(starts) / (done - written)),
        "regions_scanned_a_cpu_second": round(len(starts) / (written - scanned)),
        "columns": {
            column.path_in_schema.split(".")[0]: round(
                column.total_compressed_size / part.row_group(0).num_rows, 1
            )
            for column in columns
        },
    }


def write_tile(source: Path, out: Path, number: int) -> Path:
    """Write the source's rows once more, as regions of a contig of their own."""
    table = pq.read_table(source)
    rows = len(table)
    columns = {
        "region_id": np.arange(number * rows, (number + 1) * rows),
        "chrom": [f"tile{number}"] * rows,
        "split": ["validation" if number % 10 == 9 else "train"] * rows,
    }
    for name, values in columns.items():
        at = table.schema.get_field_index(name)
        table = table.set_column(
            at, table.schema.field(at), pa.array(values, table.schema.field(at).type)
        )
    write._LAYOUT["compression_level"] = 3
    write.write_rows(table, metadata_of(table.schema, str(source)), out)
    return out


def in_new_process(function: Callable[[Path], Any], folder: Path) -> Any:
    """Run a function of this module in a fresh process: its memory and caches are its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, folder).result()


def measure_read(folder: Path) -> dict[str, Any]:
    """Read a corpus whose files are in the page cache."""
    manifest = read_manifest(folder)
    for part in manifest["parts"]:
        (folder / part["part"]).read_bytes()
    before = memory("VmRSS:")
    corpus = read_corpus(folder)
    peak = memory("VmHWM:") - before
    size = sum(getattr(corpus, name).nbytes for name in column_shapes(manifest))
    seconds, cpu_seconds = [], []
    for _ in range(3):
        del corpus
        started, cpu_started = time.perf_counter(), time.process_time()
        corpus = read_corpus(folder)
        seconds.append(time.perf_counter() - started)
        cpu_seconds.append(time.process_time() - cpu_started)
    return {
        "regions": corpus.regions,
        "views": len(corpus.open_cell_type),
        "parts": len(manifest["parts"]),
        "cores": len(os.sched_getaffinity(0)),
        "regions_a_second": round(corpus.regions / min(seconds)),
        "regions_a_cpu_second": round(corpus.regions / min(cpu_seconds)),
        "columns_gb": round(size / 1e9, 2),
        "peak_beyond_columns_gb": round((peak - size) / 1e9, 2),
    }


def memory(name: str) -> int:
    """Return a figure of this process's memory in bytes, as Linux names it."""
    words = Path("/proc/self/status").read_text().split()
    return int(words[words.index(name) + 1]) * 1024


def measure_views(folder: Path) -> dict[str, Any]:
    """Sample from a corpus in memory and from the same one mapped, on one core, and on a GPU."""
    torch.set_num_threads(1)
    started = time.perf_counter()
    mapped = map_corpus(folder, folder / "columns")
    seconds = time.perf_counter() - started
    corpus = read_corpus(folder)
    warm = views_a_second(mapped, "cpu", 64)
    del mapped  # pages that are mapped stay in the cache
    found = {
        "motifs": len(corpus.metadata.motifs),
        "in_memory_a_second": views_a_second(corpus, "cpu", 64),
        "mapped_a_second": warm,
        "mapped_cold_a_second": max(cold_views_a_second(folder) for _ in range(3)),
        "mapped_columns_written_in_s": round(seconds, 1),
    }
    if torch.cuda.is_available():
        rates = {
            "in_memory": views_a_second(corpus, "cuda", 256),
            "mapped": views_a_second(map_corpus(folder, folder / "columns"), "cuda", 256),
        }
        found["gpu"] = torch.cuda.get_device_name()
        found |= {f"gpu_{name}_a_second": rate for name, rate in rates.items()}
        found["gpu_over_base_consumption"] = round(rates["in_memory"] / BASE_SAMPLES, 1)
    return found


def cold_views_a_second(folder: Path) -> int:
    """Return the rate of the first batches from mapped columns that the page cache does not hold."""
    for path in (folder / "columns").rglob("*.npy"):
        with path.open("rb") as column:
            os.fsync(column.fileno())  # pages not yet on disk would stay
            os.posix_fadvise(column.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    views = Views(place_corpus(map_corpus(folder, folder / "columns")), "train", COLUMNS)
    tokens, indices = KmerTokenizer(6), torch.arange(64)
    started = time.perf_counter()
    for step in range(20):
        tokens(views.batch(0, step, indices, augment=True).codes)
    return round(20 * 64 / (time.perf_counter() - started))


def views_a_second(corpus: Corpus, device: str, size: int) -> int:
    """Return the best of several rates of batches of so many views with their tokens."""
    views = Views(place_corpus(corpus, device), "train", COLUMNS)
    tokens, indices = KmerTokenizer(6), torch.arange(size, device=device)
    rates, step = [], 0
    for _ in range(8):
        started = time.perf_counter()
        for _ in range(20):
            batch = views.batch(0, step, indices, augment=True)
            assert tokens(batch.codes).shape == (size, WIDTH - 6 + 3)
            step += 1
        if device == "cuda":
            torch.cuda.synchronize()
        rates.append(20 * size / (time.perf_counter() - started))
    return round(max(rates))


def main() -> None:
    """Run every measurement and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less than a minute")
    quick = parser.parse_args().quick
    windows, regions = (2048, 100_000) if quick else (8192, 1_000_000)
    found: dict[str, Any] = {"measured": "corpus", "quick": quick}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fasta, motifs = folder / "genome.fa", folder / "motifs.parquet"
        with gzip.open(ROOT / "resources/demo/genome.fa.gz") as source, fasta.open("wb") as out:
            shutil.copyfileobj(source, out)
        contig = np.frombuffer(str(pyfaidx.Fasta(str(fasta))["chr20"]).upper().encode(), np.uint8)
        jaspar = ROOT / "resources/motifs/JASPAR2026_CORE_vertebrates.jaspar"
        write_motif_table(jaspar, BACKGROUND, 1.0, 1e-4, 1e-3, "similarity", None, motifs)
        peaks = peak_starts(contig)
        others = window_starts(contig, peaks, windows)
        found["size"] = {
            "peaks": write_real(folder / "peaks", fasta, motifs, peaks),
            "windows": write_real(folder / "windows", fasta, motifs, others),
        }
        tiled, source = folder / "tiled", folder / "windows/part.parquet"
        tiled.mkdir()
        tiles = -(-regions // len(others))
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
            numbers = range(tiles)
            outs = [tiled / f"part-{number:04}.parquet" for number in numbers]
            parts = list(pool.map(write_tile, [source] * tiles, outs, numbers))
        write.write_manifest(parts, tiled / "manifest.json")
        found["read"] = in_new_process(measure_read, tiled)
        found["views"] = in_new_process(measure_views, tiled)
    versions = {name: version(name) for name in ("torch", "numpy", "pyarrow")}
    found |= {"versions": versions, "machine": platform.processor() or platform.machine()}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
