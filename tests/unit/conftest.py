"""Small made-up corpora and tiny networks: what the tests of the model's side share."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from genebert.benchmarks.dataset import Dataset, Hits
from genebert.config import Model as ModelSettings
from genebert.config import RegionEncoder, SequenceEncoder
from genebert.corpus.read import Corpus
from genebert.corpus.schema import SCHEMA, VERSION, Metadata
from genebert.corpus.scores import from_steps, to_steps
from genebert.corpus.write import write_manifest, write_rows
from genebert.model.genebert import GeneBERT

Segments = Sequence[tuple[str, str, int]]
SPLITS = ("train", "validation", "test")
SEGMENTS: Segments = (
    ("chr1", "train", 30),
    ("chr1", "validation", 10),
    ("chr1", "train", 20),
    ("chr1", "test", 20),
    ("chr2", "train", 30),
    ("chr2", "validation", 10),
)
CELL_TYPES = 4
WORD = 6


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Small tensors: more threads only get in one another's way."""
    torch.set_num_threads(1)


def _other_strand(word: np.ndarray) -> np.ndarray:
    return 3 - word[::-1]


def _words(rng: np.random.Generator, number: int) -> list[np.ndarray]:
    """Draw words of which none is another's reverse complement."""
    words: dict[bytes, np.ndarray] = {}
    while len(words) < number:
        word = rng.integers(0, 4, WORD).astype(np.uint8)
        if _other_strand(word).tobytes() not in words:
            words[word.tobytes()] = word
    return list(words.values())


def _make_corpus(
    segments: Segments = SEGMENTS,
    motifs: int = 40,
    width: int = 60,
    hits: int = 5,
    seed: int = 0,
    pools: int = 0,
) -> Corpus:
    """Make a corpus in which the sequence decides the hits: each motif's word is planted.

    With ``pools``, stretches of ten regions have hits of one of so many small sets of motifs: what
    stands beside a column says something about it.
    """
    rng = np.random.default_rng(seed)
    words = _words(rng, motifs)
    regions = sum(number for _, _, number in segments)
    contigs = list(dict.fromkeys(chrom for chrom, _, _ in segments))
    sequence = rng.integers(0, 4, (regions, width)).astype(np.uint8)
    best = np.zeros((regions, motifs), np.uint8)
    open_in = []
    for number, row in enumerate(sequence):
        first = number // 10 % pools * (hits + 1) if pools else 0
        among = hits + 1 if pools else motifs
        chosen = first + np.sort(rng.choice(among, hits, replace=False))
        slots = rng.choice(width // WORD, hits, replace=False) * WORD
        for motif, place in zip(chosen, slots, strict=True):
            word = words[motif] if rng.random() < 0.5 else _other_strand(words[motif])
            row[place : place + WORD] = word
        best[number, chosen] = rng.integers(90, 128, hits, endpoint=True)
        cells = np.flatnonzero(rng.random(CELL_TYPES) < 0.6)
        open_in.append(cells if len(cells) else np.array([0]))
    return Corpus(
        metadata=Metadata(
            version=VERSION,
            genome="toy",
            catalogue=f"regions of seed {seed}",
            width=width,
            motifs=[f"motif{m}" for m in range(motifs)],
            motif_digest="0123456789abcdef",
            thresholds=[1.0] * motifs,
            realised_p=[1e-4] * motifs,
            background=[0.25] * 4,
            pseudocount=0.1,
            cell_types=[f"cell{c}" for c in range(CELL_TYPES)],
            inputs={},
            packages={},
        ),
        contigs=contigs,
        contig=np.array([contigs.index(chrom) for chrom, _, n in segments for _ in range(n)], np.int16),
        start=np.arange(regions, dtype=np.int64) * 100,
        split=np.array([SPLITS.index(s) for _, s, n in segments for _ in range(n)], np.int8),
        sequence=sequence,
        best=best,
        open_offsets=np.cumsum([0, *map(len, open_in)]).astype(np.int64),
        open_cell_type=np.concatenate(open_in).astype(np.int16),
    )


def _write_corpus(corpus: Corpus, folder: Path, parts: int = 3) -> Path:
    """Write a corpus as its contract says; every best hit is followed by one half as good."""
    folder.mkdir(parents=True)
    paths = []
    for number, rows in enumerate(np.array_split(np.arange(corpus.regions), parts)):
        motif = [np.flatnonzero(corpus.best[row]) for row in rows]
        steps = [corpus.best[row, own] for row, own in zip(rows, motif, strict=True)]
        start = corpus.start[rows]
        cell_type = [
            corpus.open_cell_type[slice(*corpus.open_offsets[row : row + 2])].tolist() for row in rows
        ]
        columns = {
            "region_id": rows,
            "chrom": [corpus.contigs[number] for number in corpus.contig[rows]],
            "start": start,
            "end": start + corpus.metadata.width,
            "split": [SPLITS[split] for split in corpus.split[rows]],
            "sequence": ["".join("ACGTN"[code] for code in corpus.sequence[row]) for row in rows],
            "motif": [np.tile(own, 2) for own in motif],
            "position": [np.repeat([3, 9], len(own)) for own in motif],
            "strand": [np.repeat([1, -1], len(own)) for own in motif],
            "score": [from_steps(np.concatenate([s, s // 2])).astype(np.float16) for s in steps],
            "cell_type": cell_type,
            "signal": [np.ones(len(own)) / 4 for own in cell_type],
        }
        arrays = [pa.array(columns[field.name], field.type) for field in SCHEMA]
        paths.append(folder / f"part-{number}.parquet")
        write_rows(pa.table(arrays, schema=SCHEMA), corpus.metadata, paths[-1])
    write_manifest(paths, folder / "manifest.json")
    return folder


@pytest.fixture(scope="session")
def make_corpus() -> Callable[..., Corpus]:
    """Make a corpus of chosen segments, motifs and seed."""
    return _make_corpus


@pytest.fixture(scope="session")
def synthetic_corpus() -> Corpus:
    """120 regions on two contigs, three splits in six segments, 40 motifs, 4 cell types."""
    return _make_corpus()


@pytest.fixture(scope="session")
def write_corpus() -> Callable[..., Path]:
    """Write a corpus into a new folder as real Parquet parts with a manifest."""
    return _write_corpus


@pytest.fixture(scope="session")
def tiny_settings() -> ModelSettings:
    """A network of a few thousand weights."""
    return ModelSettings(
        columns=5,
        projection=32,
        sequence=SequenceEncoder(
            k=3, layers=1, width=16, heads=2, feedforward=32, positions=64, norm="pre"
        ),
        region=RegionEncoder(patch=[4, 1], window=[4, 2], width=16, depths=[1, 2], heads=[1, 2]),
    )


@pytest.fixture
def tiny_model(tiny_settings: ModelSettings) -> GeneBERT:
    """A network for the synthetic corpus, with fresh random weights."""
    torch.manual_seed(0)
    return GeneBERT(tiny_settings, 40)


@pytest.fixture(scope="session")
def randomise() -> Callable[[torch.nn.Module], torch.nn.Module]:
    """Give every weight a value that matters, zeros and ones of initialisation included."""

    def fill(module: torch.nn.Module, std: float = 0.2, seed: int = 0) -> torch.nn.Module:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in module.parameters():
                noise = torch.randn(parameter.shape, generator=generator) * std
                parameter.add_(noise) if parameter.ndim == 1 else parameter.copy_(noise)
        return module.eval()

    return fill


@pytest.fixture(scope="session")
def toy_task(synthetic_corpus: Corpus) -> Dataset:
    """300 examples; class 1 holds the word GATTACA and a strong hit of motif 11."""
    rng = np.random.default_rng(7)
    number, width = 300, 40
    labels = rng.permutation(np.arange(number) % 2)
    codes = rng.integers(0, 4, (number, width)).astype(np.uint8)
    motif, score = [], []
    for row, label in zip(codes, labels, strict=True):
        chosen = rng.choice([m for m in range(40) if m != 11], 4, replace=False)
        if label:
            place = rng.integers(0, width - 7)
            row[place : place + 7] = [2, 0, 3, 3, 0, 1, 0]
            chosen = np.append(chosen, 11)
        motif.append(np.sort(chosen))
        score.append(from_steps(to_steps(rng.uniform(0.7, 1, len(chosen)))))
    split = rng.choice(["train", "validation", "test"], number, p=[0.55, 0.15, 0.3])
    columns = rng.integers(-1, synthetic_corpus.regions, (number, 5))
    columns[:, 2] = -1
    table = pd.DataFrame(
        {
            "example_id": np.arange(number),
            "chrom": "chr1",
            "start": np.arange(number) * 100,
            "end": np.arange(number) * 100 + width,
            "strand": "+",
            "sequence": ["".join("ACGT"[code] for code in row) for row in codes],
            "alternative": None,
            "label": labels,
            "cell_type": "any",
            "split": split,
            "subset": "",
            "fold": -1,
            "occupancy": rng.random(number).astype(np.float32),
            "open_in_training": np.float32("nan"),
        }
    )
    return Dataset(
        table=table,
        metadata={
            "type": "promoter",
            "task": "toy",
            "classes": ["background", "promoter"],
            "motif_digest": synthetic_corpus.metadata.motif_digest,
            "catalogue": synthetic_corpus.metadata.catalogue,
        },
        codes=codes,
        hits=Hits(
            np.cumsum([0, *map(len, motif)]).astype(np.int64),
            np.concatenate(motif).astype(np.int64),
            np.concatenate(score),
        ),
        columns=columns,
    )
