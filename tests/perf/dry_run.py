"""How long a dry run of the human configuration takes with many samples.

    python tests/perf/dry_run.py                  # 200 samples
    python tests/perf/dry_run.py --samples 500
    python tests/perf/dry_run.py --quick          # 20 samples

A sheet of made-up accessions is put beside the shipped config/config.yaml; nothing is fetched. Prints
one line of JSON: seconds and jobs (`ratio`: seconds over those of the 13 shipped samples).
"""

import argparse
import json
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[2]


def sheet_of(samples: int) -> str:
    """Return a sheet of so many samples, of the shipped cell types and, beyond them, a third as many."""
    rows = ["sample\tcell_type\tassay\tassembly\tformat\tsource\tchecksum"]
    # Some of the shipped ones are named by tasks.
    sheet = (ROOT / "config/biosamples.tsv").read_text().splitlines()
    cell_types = [line.split("\t")[1] for line in sheet if not line.startswith(("#", "sample\t"))]
    cell_types += [f"cell{number}" for number in range(len(cell_types), samples // 3)]
    for number in range(samples):
        accession = f"ENCFF{number:03d}AAA"
        cell_type = cell_types[number % len(cell_types)]
        rows.append(
            f"{accession}\t{cell_type}\tATAC-seq\tGRCh38\tnarrowPeak\t{accession}\tmd5:{number:032x}"
        )
    return "\n".join(rows) + "\n"


def dry_run(sheet: str) -> tuple[float, float, int]:
    """Return seconds on the clock, seconds of CPU and number of jobs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("workflow", "genebert", "envs", "resources"):
            (folder / part).symlink_to(ROOT / part)
        (folder / "config").mkdir()
        (folder / "config/config.yaml").write_text((ROOT / "config/config.yaml").read_text())
        (folder / "config/biosamples.tsv").write_text(sheet)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", "-n"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
        seconds = time.perf_counter() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    jobs = re.search(r"^total +(\d+)", done.stdout + done.stderr, re.MULTILINE)
    assert jobs is not None
    return seconds, cpu, int(jobs[1])


def main() -> None:
    """Time both sheets and print the line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    samples = 20 if options.quick else options.samples
    few, _, _ = dry_run((ROOT / "config/biosamples.tsv").read_text())
    many, cpu, jobs = dry_run(sheet_of(samples))
    line = {
        "benchmark": "dry_run",
        "samples": samples,
        "jobs": jobs,
        "seconds": round(many, 2),
        "cpu_seconds": round(cpu, 2),
        "seconds_13_samples": round(few, 2),
        "ratio": round(many / few, 2),
        "snakemake": version("snakemake"),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
