"""Motif scanning: FASTA -> Parquet beside bare MOODS, memory, processes, and other scanners.

    python tests/perf/scan.py [--quick]

All of JASPAR (1,019 motifs, both strands, p = 1e-4) on real sequence: chr20 of the demo, from 30 Mb. One
line of JSON:

- ``ratio``: seconds of `scan_chunk` (FASTA, catalogue and motif table -> Parquet file, building the
  scanner included) over seconds of MOODS alone on the same sequence and motifs (``set_motifs`` and
  ``scan`` with our window, one scanner for all motifs, its result thrown away). Arms take turns; the
  best of each counts. Python's garbage collector is switched off for MOODS, as it is in ours;
  ``ratio_with_gc`` compares with MOODS as a plain script runs it. ``…_without_setup`` leaves the
  building of the scanners out of both arms. MOODS alone has fewer hits: it loses those of motifs
  shorter than its window at the end of a sequence.
- ``memory``: peak resident memory of a process that scans, at two lengths (the longer
  one takes the wider window).
- ``processes``: work per second of two processes over twice that of one (1 is perfect).
- ``…_cpu``: the same by CPU time, for a machine on which others work too.
- ``scanners``: Mbp/s from a text in memory to arrays of hits, and hits compared with ours. lightmotif
  gets our scores and thresholds. memelite gets our scores and the same p-value; it finds thresholds of
  its own, in bins of 0.1 bit under equal base frequencies. Either is skipped where it is not installed.
"""

import argparse
import gc
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import MOODS.scan
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from genebert.genome import Genome, Interval, index_genome
from genebert.motifs.scan import BLOCK_BP, Matches, Scanner, scan_chunk, window_for
from genebert.motifs.table import MotifTable, read_motif_table, write_motif_table

RESOURCES = Path(__file__).resolve().parents[2] / "resources"
BACKGROUND = [0.295, 0.205, 0.205, 0.295]
START, WIDTH = 30_000_000, 515
CHILD = """
import re, sys, time
from pathlib import Path
from genebert.motifs.scan import scan_chunk
from genebert.motifs.table import read_motif_table
folder, regions, chunk, chunks = sys.argv[1:]
table = read_motif_table(folder + "/motifs.parquet")
started = time.perf_counter(), time.process_time()
scan_chunk(folder + "/genome.fa", regions, table, int(chunk), int(chunks), f"{regions}.hits{chunk}")
took = time.perf_counter() - started[0], time.process_time() - started[1]
# Not getrusage: its peak is at least what the parent held when it started this process.
status = Path("/proc/self/status")
peak = re.search(r"VmHWM:\\s+(\\d+) kB", status.read_text()).group(1) if status.exists() else "nan"
print(*took, float(peak) / 1024)
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, under a minute")
    quick = parser.parse_args().quick
    repeats = 2 if quick else 3
    bp, memory_bp, process_bp, scanner_bp = (
        (500_000, 100_000, 300_000, 200_000) if quick else (6_000_000, 1_000_000, 2_000_000, 1_000_000)
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = prepare(folder)
        found = {
            "benchmark": "scan",
            "quick": quick,
            "motifs": len(table.motifs),
            **against_moods(folder, table, bp, repeats),
            "memory": memory(folder, memory_bp),
            "processes": processes(folder, process_bp, repeats),
            "scanners": scanners(folder, table, scanner_bp, repeats),
            "cores": os.cpu_count(),
            "machine": processor(),
            "python": platform.python_version(),
            "moods": version("MOODS-python"),
        }
    print(json.dumps(found))


def prepare(folder: Path) -> MotifTable:
    """Index the demo's chromosome and score JASPAR."""
    index_genome(RESOURCES / "demo/genome.fa.gz", folder / "genome.fa")
    motifs = RESOURCES / "motifs/JASPAR2026_CORE_vertebrates.jaspar"
    out = folder / "motifs.parquet"
    write_motif_table(motifs, BACKGROUND, 1.0, 1e-4, 1e-3, "similarity", None, out)
    return read_motif_table(out)


def tiled(folder: Path, bp: int) -> Path:
    """Write a catalogue of regions side by side."""
    starts = START + np.arange(bp // WIDTH) * WIDTH
    columns = {
        "region_id": np.arange(len(starts), dtype=np.uint32),
        "chrom": ["chr20"] * len(starts),
        "start": starts,
        "end": starts + WIDTH,
    }
    path = folder / f"regions-{bp}.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=10_000)
    return path


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds that a call takes, on the clock and of CPU; its result is freed within them."""
    started = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started[0], time.process_time() - started[1]


def against_moods(folder: Path, table: MotifTable, bp: int, repeats: int) -> dict[str, Any]:
    """Time MOODS alone and the whole way from FASTA to Parquet, in turns."""
    regions, out = tiled(folder, bp), folder / "hits.parquet"
    genome, per_block = Genome(folder / "genome.fa"), BLOCK_BP // WIDTH
    places = range(START, START + bp // WIDTH * WIDTH, per_block * WIDTH)
    last = START + bp // WIDTH * WIDTH
    texts = []
    for begin in places:
        ends = range(begin, min(begin + per_block * WIDTH, last), WIDTH)
        texts.append("N".join(genome.fetch(Interval("chr20", at, at + WIDTH)) for at in ends))
    scanner, moods = plain_moods(table, bp), []
    times: dict[str, list[float]] = {
        name: [] for name in ("moods_setup", "moods", "moods_with_gc", "setup", "ours")
    }
    for _ in range(repeats):
        times["moods_setup"].append(seconds(lambda: moods.append(plain_moods(table, bp))))
        times["moods_with_gc"].append(seconds(lambda: [scanner.scan(text) and None for text in texts]))
        gc.disable()
        times["moods"].append(seconds(lambda: [scanner.scan(text) and None for text in texts]))
        gc.enable()
        times["setup"].append(seconds(lambda: Scanner(table, bp)))
        times["ours"].append(
            seconds(lambda: scan_chunk(folder / "genome.fa", regions, table, 0, 1, out))
        )
    found = {
        "bp": bp,
        "hits": pq.ParquetFile(out).metadata.num_rows,
        "moods_hits": sum(sum(map(len, scanner.scan(text))) for text in texts),
        "seconds": {name: [wall for wall, _ in values] for name, values in times.items()},
    }
    for clock, suffix in enumerate(("", "_cpu")):
        best = {name: min(value[clock] for value in values) for name, values in times.items()}
        scan_only = best["ours"] - best["setup"]
        found |= {
            f"ratio{suffix}": best["ours"] / (best["moods_setup"] + best["moods"]),
            f"ratio_without_setup{suffix}": scan_only / best["moods"],
            f"ratio_with_gc{suffix}": best["ours"] / (best["moods_setup"] + best["moods_with_gc"]),
            f"ratio_with_gc_without_setup{suffix}": scan_only / best["moods_with_gc"],
            f"mbp_per_second{suffix}": bp / best["ours"] / 1e6,
        }
    return found


def plain_moods(table: MotifTable, bp: int) -> Any:
    """Return one scanner of MOODS for all motifs, both strands, with our window for so much sequence."""
    scanner = MOODS.scan.Scanner(window_for(bp))
    forward = [motif.log_odds.tolist() for motif in table.motifs]
    reverse = [motif.log_odds[::-1, ::-1].tolist() for motif in table.motifs]
    thresholds = [motif.threshold for motif in table.motifs] * 2
    scanner.set_motifs(forward + reverse, table.background, thresholds)
    return scanner


def children(folder: Path, regions: Path, chunks: list[int], of: int) -> np.ndarray:
    """Scan chunks in processes side by side; return seconds, CPU seconds and peak MB of each."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, str(folder), str(regions), str(chunk), str(of)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for chunk in chunks
    ]
    return np.array([process.communicate()[0].split() for process in running], float)


def memory(folder: Path, bp: int) -> dict[str, Any]:
    """Return peak MB of processes that scan a length, and sixteen times that."""
    sizes = (bp, 16 * bp)
    peaks = [children(folder, tiled(folder, size), [0], 1)[0, 2] for size in sizes]
    return {"bp": sizes, "peak_mb": peaks}


def processes(folder: Path, bp: int, repeats: int) -> dict[str, Any]:
    """Compare two processes side by side, each with a chunk of one length, with one."""
    regions = tiled(folder, 2 * bp)
    alone, beside = [], []
    for _ in range(repeats):
        alone.append(children(folder, regions, [0], 2)[0])
        beside.append(children(folder, regions, [0, 1], 2).max(axis=0))
    efficiency = np.min(alone, axis=0) / np.min(beside, axis=0)
    return {
        "bp_each": bp,
        "seconds_of_one": [seconds_ for seconds_, _, _ in alone],
        "seconds_of_two": [seconds_ for seconds_, _, _ in beside],
        "efficiency": efficiency[0],
        "efficiency_cpu": efficiency[1],
    }


def scanners(folder: Path, table: MotifTable, bp: int, repeats: int) -> dict[str, Any]:
    """Compare speed and hits of scanners on one text."""
    text = Genome(folder / "genome.fa").fetch(Interval("chr20", START, START + bp))
    assert "N" not in text
    ours, moods = Scanner(table, bp), plain_moods(table, bp)
    found: dict[str, Any] = {"bp": bp}

    def speed(work: Callable[[], object]) -> float:
        return bp / min(seconds(work)[0] for _ in range(repeats)) / 1e6

    own = pd.DataFrame(ours.find(text)._asdict())
    found["genebert"] = {"mbp_per_second": speed(lambda: ours.find(text)), "hits": len(own)}
    found["moods_alone"] = {"mbp_per_second": speed(lambda: moods.scan(text))}
    for name, prepare_scan in (("lightmotif", lightmotif_scan), ("memelite", memelite_scan)):
        if importlib.util.find_spec(name) is None:
            found[name] = "not installed"
            continue
        scan = prepare_scan(table, text)
        both = own.merge(scan(), "outer", list(own)[:3], suffixes=("", "_theirs"), indicator=True)
        theirs = both[both["_merge"] == "right_only"]
        threshold = np.array([motif.threshold for motif in table.motifs])[theirs["motif"]]
        found[name] = {
            "version": version(name),
            "mbp_per_second": speed(scan),
            "hits": int((both["_merge"] != "left_only").sum()),
            "shared": int((both["_merge"] == "both").sum()),
            "only_ours": int((both["_merge"] == "left_only").sum()),
            "only_theirs": len(theirs),
            "only_theirs_but_over_our_threshold": int((theirs["score_theirs"] >= threshold).sum()),
            "largest_difference_of_scores": float((both["score"] - both["score_theirs"]).abs().max()),
        }
    return found


def lightmotif_scan(table: MotifTable, text: str) -> Callable[[], pd.DataFrame]:
    """Return what scans by lightmotif, with our scores and thresholds."""
    import lightmotif  # noqa: PLC0415

    matrices = [
        (row, strand, lightmotif.ScoringMatrix(dict(zip("ACGT", scores.tolist(), strict=True))))
        for row, motif in enumerate(table.motifs)
        for strand, scores in ((1, motif.log_odds), (-1, motif.log_odds[::-1, ::-1]))
    ]

    def scan() -> pd.DataFrame:
        sequence = lightmotif.stripe(text)
        parts = []
        for row, strand, matrix in matrices:
            threshold = table.motifs[row].threshold
            hits = [
                (hit.position, hit.score)
                for hit in lightmotif.scan(matrix, sequence, threshold=threshold)
            ]
            position, score = zip(*hits, strict=True) if hits else ((), ())
            parts.append(
                (np.full(len(hits), row), position, np.full(len(hits), strand), np.array(score, float))
            )
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
        return pd.DataFrame(dict(zip(Matches._fields, columns, strict=True))).astype(
            {"motif": int, "position": int, "strand": np.int8}
        )

    return scan


def memelite_scan(table: MotifTable, text: str) -> Callable[[], pd.DataFrame]:
    """Return what scans by memelite, with our scores (in bits) and p-value, on one thread."""
    import memelite  # noqa: PLC0415

    # It takes the logarithm to base 2 of (value + 1e-4) over 1/4.
    motifs = {str(row): 0.25 * np.exp(motif.log_odds) - 1e-4 for row, motif in enumerate(table.motifs)}
    bases = np.frombuffer(text.encode(), np.uint8)
    one_hot = (bases == np.frombuffer(b"ACGT", np.uint8)[:, None]).astype(np.int8)[None]

    def scan() -> pd.DataFrame:
        hits = pd.concat(memelite.fimo(motifs, one_hot, threshold=table.p_value))
        return pd.DataFrame(
            {
                "motif": hits["motif_idx"].to_numpy(int),
                "position": hits["start"].to_numpy(int),
                "strand": np.where(hits["strand"] == "+", 1, -1).astype(np.int8),
                "score": hits["score"].to_numpy(float) * np.log(2),
            }
        )

    return scan


def processor() -> str:
    """Return the name of the processor."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
