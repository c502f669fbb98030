"""How fast, and in how much memory, the peaks of many samples become one catalogue of regions.

    python tests/perf/regions.py                                  # 13 samples of 150,000 peaks
    python tests/perf/regions.py --samples 500 --peaks 100000     # a large collection
    python tests/perf/regions.py --quick                          # seconds

Cleaned peak files are made up first, which is not timed: 2.5 million loci on contigs as long as those
of hg38, of unequal popularity and strength, from which each sample draws its peaks, with a summit of its
own near the locus's; a tenth of its peaks are nobody else's. Then a process of its own runs
`genebert.regions.write_regions`. Prints one line of JSON: seconds and peak memory of that process
(`ratio`: seconds over those that reading the same files once takes there).
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow

from genebert.inputs.peaks import write_peaks

MBP = {
    **{"chr1": 249, "chr2": 242, "chr3": 198, "chr4": 190, "chr5": 182, "chr6": 171, "chr7": 159},
    **{"chr8": 145, "chr9": 138, "chr10": 134, "chr11": 135, "chr12": 133, "chr13": 114, "chr14": 107},
    **{"chr15": 102, "chr16": 90, "chr17": 83, "chr18": 80, "chr19": 59, "chr20": 64, "chr21": 47},
    **{"chr22": 51, "chrX": 156, "chrY": 57},
}
LENGTHS = {chrom: mbp * 1_000_000 for chrom, mbp in MBP.items()}
LOCI = 2_500_000

# Runs in a process of its own, whose memory is measured.
CHILD = """
import json, re, sys, time
from genebert.genome import split_segments
from genebert.inputs.peaks import read_cleaned
from genebert.regions import write_regions

job = json.load(sys.stdin)
segments = split_segments(job["lengths"], ["chr8"], ["chr7", "chr9"])
started = time.perf_counter()
line = write_regions(job["files"], job["cell_types"], 515, segments, job["out"])
seconds = time.perf_counter() - started
# Not ru_maxrss: that of whoever started a process counts there too.
peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 2**20
started = time.perf_counter()
for path in job["files"].values():
    read_cleaned(path)
reading = time.perf_counter() - started
print(json.dumps({"line": line, "seconds": seconds, "reading": reading, "gib": peak}))
"""


def make_sample(rng: np.random.Generator, loci: pd.DataFrame, peaks: int) -> pd.DataFrame:
    """Return the cleaned peaks of one sample: popular loci more likely, summits scattered."""
    shared = peaks - peaks // 10
    # Drawing without replacement by weight: the greatest of Gumbel variates.
    keys = loci["popularity"].to_numpy() + rng.gumbel(size=len(loci))
    drawn = loci.iloc[np.argpartition(keys, -shared)[-shared:]]
    contigs = rng.choice(len(LENGTHS), peaks - shared, p=np.array([*MBP.values()]) / sum(MBP.values()))
    lengths = np.array([*LENGTHS.values()])
    contig = np.concatenate([drawn["contig"], contigs])
    place = np.concatenate([drawn["place"], rng.integers(0, lengths[contigs])])
    strength = np.concatenate([drawn["strength"], np.zeros(peaks - shared)])
    summit = np.clip(place + rng.normal(0, 40, peaks).astype(np.int64), 0, lengths[contig] - 1)
    before, after = rng.integers(75, 400, (2, peaks))
    table = pd.DataFrame(
        {
            "chrom": np.array([*LENGTHS], object)[contig],
            "start": np.maximum(summit - before, 0),
            "end": np.minimum(summit + after, lengths[contig]),
            "name": "peak",
            "signal": np.exp(strength + rng.normal(0, 0.7, peaks)).round(5),
            "summit": summit,
        }
    )
    table["name"] = [f"Peak_{number}" for number in range(peaks)]
    return table.iloc[np.lexsort((table["start"], contig))]


def make_files(folder: Path, samples: int, peaks: int) -> dict[str, str]:
    """Write cleaned peak files and return them by sample."""
    rng = np.random.default_rng(0)
    share = np.array([*MBP.values()]) / sum(MBP.values())
    contig = rng.choice(len(LENGTHS), LOCI, p=share)
    loci = pd.DataFrame(
        {
            "contig": contig,
            "place": rng.integers(0, np.array([*LENGTHS.values()])[contig]),
            "popularity": rng.normal(0, 2, LOCI).astype(np.float32),
        }
    )
    loci["strength"] = loci["popularity"] / 2 + rng.normal(0, 0.5, LOCI)
    files = {}
    for number in range(samples):
        files[f"sample{number:03}"] = str(folder / f"peaks/sample{number:03}.bed.gz")
        write_peaks(make_sample(rng, loci, peaks), files[f"sample{number:03}"])
    return files


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(samples: int, peaks: int, folder: Path) -> dict[str, Any]:
    """Return what one run took."""
    files = make_files(folder, samples, peaks)
    job = {
        "files": files,
        "cell_types": {name: f"cell{number:03}" for number, name in enumerate(files)},
        "lengths": LENGTHS,
        "out": str(folder / "regions"),
    }
    before = _cpu_of_children()
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=json.dumps(job),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    sizes = {path.stem: path.stat().st_size for path in (folder / "regions").iterdir()}
    return {
        "benchmark": "regions",
        "samples": samples,
        "peaks": peaks,
        "result": found["line"],
        "seconds": round(found["seconds"], 1),
        "cpu_seconds": round(_cpu_of_children() - before, 1),
        "reading_seconds": round(found["reading"], 1),
        "ratio": round(found["seconds"] / found["reading"], 2),
        "peak_gib": round(found["gib"], 2),
        "output_bytes": sizes,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "pyarrow": pyarrow.__version__,
    }


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=13)
    parser.add_argument("--peaks", type=int, default=150_000)
    parser.add_argument("--quick", action="store_true", help="3 samples of 20,000 peaks")
    options = parser.parse_args()
    samples, peaks = (3, 20_000) if options.quick else (options.samples, options.peaks)
    with tempfile.TemporaryDirectory(prefix="genebert-") as folder:
        print(json.dumps(measure(samples, peaks, Path(folder))))


if __name__ == "__main__":
    main()
