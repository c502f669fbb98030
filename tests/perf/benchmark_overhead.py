"""What the data side of the benchmarks takes: of a fine-tuning step, in reading a dataset, in k-mers.

    python tests/perf/benchmark_overhead.py                    # CUDA: preset base, else tiny
    python tests/perf/benchmark_overhead.py --preset small
    python tests/perf/benchmark_overhead.py --quick            # seconds, to see that it runs

A dataset of 100,000 examples of 300 bp, 1,014 motifs of which each example has about 100, and as many
columns as the preset has, out of a random corpus; GATTACA stands in half of the examples of class 1.

- `read`: writing it (what a task does last) and reading it, in this process.
- `step`: the fine-tuning that the workflow runs, `genebert.benchmarks.finetune.fit`. A step lasts from
  one training batch to the next; `batch` is what codes and matrices of a batch take until they lie on
  the device. The device is waited for before and after each batch, so nothing overlaps. Medians.
- `kmer_logistic`: the whole baseline, from base codes to probabilities, on one core. 80,000 examples
  train, and six penalties are tried on 10,000.

The CPU computes in float32 with `--threads` threads, CUDA in bf16 autocast. Prints one line of JSON.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pretrain_throughput import MOTIFS, random_corpus, synchronise

from genebert.benchmarks import regressed
from genebert.benchmarks.answer import Question
from genebert.benchmarks.dataset import Dataset, read_dataset, write_dataset
from genebert.benchmarks.examples import Examples, Matrices, Sequences
from genebert.benchmarks.finetune import Classifier, fit
from genebert.config import Finetune, Inputs, parse_model
from genebert.config import Model as ModelSettings
from genebert.corpus.read import Corpus
from genebert.devices import use_threads
from genebert.model.genebert import GeneBERT
from genebert.sequence.codes import decode

BP, HITS, WORD = 300, 100, [2, 0, 3, 3, 0, 1, 0]
WARM_UP = 3


class Timed:
    """Examples that note when each training batch was asked for and how long it took."""

    def __init__(self, examples: Examples, size: int, device: str) -> None:
        self.examples, self.size, self.device = examples, size, device
        self.asked: list[float] = []
        self.taken: list[float] = []

    def batch(self, rows: torch.Tensor) -> tuple[Any, ...]:
        """Return the batch of the examples."""
        if len(rows) != self.size:  # of the validation split
            return self.examples.batch(rows)
        synchronise(self.device)
        started = time.perf_counter()
        batch = self.examples.batch(rows)
        synchronise(self.device)
        self.asked.append(started)
        self.taken.append(time.perf_counter() - started)
        return batch


def write_examples(number: int, columns: int, regions: int, path: Path) -> float:
    """Write a random dataset; return the seconds that writing takes."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (number, BP), dtype=np.uint8)
    labels = rng.integers(0, 2, number)
    planted = np.flatnonzero(labels & (rng.random(number) < 0.5))
    at = rng.integers(0, BP - len(WORD), len(planted))
    codes[planted[:, None], at[:, None] + np.arange(len(WORD))] = WORD
    place = np.arange(number) * BP
    table = pd.DataFrame({"chrom": "chr1", "start": place, "end": place + BP, "strand": "+"})
    table = table.assign(sequence=decode(codes), label=labels, cell_type="any")
    table["split"] = np.array(["train"] * 8 + ["validation", "test"])[rng.integers(0, 10, number)]
    beside = rng.integers(0, regions, (number, columns))
    beside[:, columns // 2] = -1
    motif = rng.integers(0, MOTIFS, (number, HITS), dtype=np.uint16)
    score = rng.uniform(0.7, 1, (number, HITS))
    metadata = {"type": "promoter", "task": "random", "classes": ["no", "yes"]}
    metadata |= {"motif_digest": "random", "catalogue": "random"}
    started = time.perf_counter()
    write_dataset(table, (list(motif), list(score)), beside, metadata, path)
    return time.perf_counter() - started


def step_seconds(
    inputs: Inputs,
    settings: ModelSettings,
    dataset: Dataset,
    corpus: Corpus,
    options: argparse.Namespace,
) -> dict[str, float]:
    """Return the median times of a fine-tuning step and of its batch."""
    device, size = options.device, options.batch
    seen: Examples = (
        Sequences(dataset.codes, device)
        if inputs == "sequence"
        else Matrices(dataset, MOTIFS, corpus, device)
    )
    timed = Timed(seen, size, device)
    # Few examples to validate on: an epoch's end is no part of a step.
    splits = dataset.table["split"].to_numpy()
    rows = np.r_[np.flatnonzero(splits == "train"), np.flatnonzero(splits == "validation")[: size - 1]]
    few = Dataset(
        dataset.table.assign(split=np.where(np.isin(np.arange(len(splits)), rows), splits, "test")),
        dataset.metadata,
        dataset.codes,
        dataset.hits,
        dataset.columns,
    )
    budget = Finetune(
        learning_rates=[1e-4], epochs=1, max_steps=WARM_UP + options.steps, batch_size=size
    )
    fit(lambda: Classifier(GeneBERT(settings, MOTIFS), inputs, 2), timed, few, budget, 0, device)
    steps, batches = np.diff(timed.asked)[WARM_UP - 1 :], timed.taken[WARM_UP - 1 : -1]
    step, batch = statistics.median(steps.tolist()), statistics.median(batches)
    return {
        "step_ms": round(1e3 * step, 3),
        "batch_ms": round(1e3 * batch, 3),
        "share_of_step": round(batch / step, 5),
    }


def kmer_seconds(dataset: Dataset, corpus: Corpus) -> dict[str, Any]:
    """Return the seconds of the k-mer baseline, and what it found."""
    question = Question(
        dataset=dataset,
        companion=None,
        corpus_folder=Path(),
        corpus=corpus.metadata,
        model=parse_model("kmer_logistic"),
        weights=None,
        settings=Finetune(threads=1),
        seed=0,
        device="cpu",
    )
    started, work = time.perf_counter(), time.process_time()
    answer = regressed.answer(question)
    seconds, work = time.perf_counter() - started, time.process_time() - work
    assert answer.table is not None
    right = answer.scores.argmax(1) == answer.table["label"].to_numpy()
    return {
        "seconds": round(seconds, 2),
        "cpu_seconds": round(work, 2),
        "accuracy": round(float(right.mean()), 4),
        "penalty": answer.facts["penalty"],
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Take every time and return the figures."""
    use_threads(options.threads, options.device)
    settings, corpus = ModelSettings(preset=options.preset), random_corpus(options.regions)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dataset.parquet"
        writing = write_examples(options.examples, settings.columns, options.regions, path)
        megabytes = path.stat().st_size / 1e6
        started = time.perf_counter()
        dataset = read_dataset(path)
        reading = time.perf_counter() - started
    modes: tuple[Inputs, ...] = ("both", "sequence")
    cuda = options.device == "cuda"
    return {
        "benchmark": "benchmark_overhead",
        "device": torch.cuda.get_device_name() if cuda else platform.processor() or "CPU",
        "precision": "bf16 autocast" if cuda else "float32",
        "preset": options.preset,
        "batch": options.batch,
        "examples": options.examples,
        "bp": BP,
        "motifs": MOTIFS,
        "columns": settings.columns,
        "regions": options.regions,
        "hits": len(dataset.hits.motif),
        "step": {name: step_seconds(name, settings, dataset, corpus, options) for name in modes},
        "read": {
            "write_seconds": round(writing, 3),
            "read_seconds": round(reading, 3),
            "rows_per_second": round(options.examples / reading),
            "megabytes": round(megabytes, 1),
        },
        "kmer_logistic": kmer_seconds(dataset, corpus),
        "steps": options.steps,
        "cores": len(os.sched_getaffinity(0)),
        "threads": options.threads,
        "machine": platform.machine(),
        "versions": {name: version(name) for name in ("torch", "numpy", "pyarrow", "scikit-learn")},
        "python": platform.python_version(),
    }


def main() -> None:
    """Parse, measure, print."""
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--preset", choices=["tiny", "small", "base"], default="base" if cuda else "tiny"
    )
    parser.add_argument("--batch", type=int, default=32, help="examples a step")
    parser.add_argument("--steps", type=int, default=100 if cuda else 20, help="timed")
    parser.add_argument("--examples", type=int, default=100_000)
    parser.add_argument("--regions", type=int, default=1_000_000 if cuda else 100_000)
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")
    parser.add_argument("--quick", action="store_true", help="tiny, to see that it runs")
    options = parser.parse_args()
    options.device = "cuda" if cuda else "cpu"
    if options.quick:
        options.preset, options.batch, options.steps = "tiny", 4, 2
        options.examples, options.regions = 300, 200
    print(json.dumps(measure(options)))


if __name__ == "__main__":
    main()
