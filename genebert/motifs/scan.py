"""Scanning sequences for motifs with MOODS, both strands, in bounded blocks."""

import contextlib
import functools
import gc
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from genebert.catalogue import count_regions, digest_of_places, read_regions
from genebert.errors import GenebertError
from genebert.files import complete_or_absent
from genebert.genome import Genome, Interval
from genebert.motifs.table import MotifTable, ScoredMotif
from genebert.progress import Progress

# What one call of MOODS scans: its matches are objects, some 60 MB of them in a block of this length.
BLOCK_BP = 1 << 18
# Bases that MOODS looks up at once: a wider window scans a fifth faster, but its table takes two seconds
# to build. (Nine would save another fifth, for seven seconds and 250 MB.)
WINDOW, WIDE_WINDOW, WIDE_FROM_BP = 7, 8, 4_000_000
HITS = pa.schema(
    {
        "region_id": pa.uint32(),
        "motif": pa.uint16(),
        "position": pa.uint16(),
        "strand": pa.int8(),
        "score": pa.float64(),
    }
)


class Matches(NamedTuple):
    """Motif hits in one text as columns of one length, in no order.

    Attributes
    ----------
    motif
        int64, row of the motif.
    position
        int64, offset in bp of the hit's leftmost base.
    strand
        int8, 1 or −1.
    score
        float64, log-odds in nat.
    """

    motif: np.ndarray
    position: np.ndarray
    strand: np.ndarray
    score: np.ndarray


class Hits(NamedTuple):
    """Motif hits as columns of one length, sorted by sequence, motif, position, strand.

    Attributes
    ----------
    sequence
        int64, index of the sequence.
    motif
        uint16, row of the motif.
    position
        uint16, offset in bp of the hit's leftmost base on the forward strand.
    strand
        int8, 1 or −1.
    score
        float64, (score − lowest) / (highest − lowest) of the motif: 1 for its best words and no other.
    """

    sequence: np.ndarray
    motif: np.ndarray
    position: np.ndarray
    strand: np.ndarray
    score: np.ndarray


class Scanner:
    """Finds all hits of a table of motifs on both strands.

    A base that is not A, C, G or T is in no hit. The background is the table's, never the sequence's.

    Parameters
    ----------
    table
        The scored motifs.
    bp
        How much is to be scanned, as far as known: for speed only.
    """

    def __init__(self, table: MotifTable, bp: int = 0) -> None:
        moods = _import_moods()
        widest = window_for(bp)
        self.motifs = table.motifs
        self._lowest = np.array([motif.lowest for motif in table.motifs])
        self._span = np.array([_span(motif) for motif in table.motifs])
        self._position, self._score = moods.match.pos.fget, moods.match.score.fget
        lengths = np.array([motif.log_odds.shape[1] for motif in table.motifs])
        self._parts: list[tuple[Any, np.ndarray]] = []
        # MOODS loses the last hits of a sequence for motifs shorter than the window.
        for rows in (np.flatnonzero(lengths >= widest), np.flatnonzero(lengths < widest)):
            if len(rows):
                window = min(widest, int(lengths[rows].min()))
                self._parts.append((_moods_scanner(moods, table, rows, window), rows))

    def find(self, text: str) -> Matches:
        """Return all hits in a text of any length."""
        with _no_garbage_collection():
            parts = [self._matches(scanner.scan(text), rows) for scanner, rows in self._parts]
        return Matches(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _matches(self, found: Sequence[Sequence[Any]], rows: np.ndarray) -> Matches:
        # One list a matrix, forward ones first. Reading all matches in one go is what makes it fast.
        counts = np.fromiter(map(len, found), np.int64, len(found))
        total = int(counts.sum())
        flat = list(itertools.chain.from_iterable(found))
        return Matches(
            np.repeat(np.tile(rows, 2), counts),
            np.fromiter(map(self._position, flat), np.int64, total),
            np.repeat(np.repeat(np.array([1, -1], np.int8), len(rows)), counts),
            np.fromiter(map(self._score, flat), np.float64, total),
        )

    def normalised(self, matches: Matches) -> np.ndarray:
        """Return float64 (score − lowest) / (highest − lowest) of each hit's motif, in [0, 1]."""
        share: np.ndarray = (matches.score - self._lowest[matches.motif]) / self._span[matches.motif]
        return share

    def scan(self, sequences: Sequence[str]) -> Hits:
        """Scan sequences of A, C, G, T, N, each at most 65,535 bp long."""
        if max(map(len, sequences), default=0) > 65535:
            raise GenebertError("a sequence is longer than 65535 bp", "scan shorter windows")
        blocks = [self._scan_block(sequences, block) for block in _blocks(sequences)]
        columns = (
            [np.concatenate(column) for column in zip(*blocks, strict=True)]
            if blocks
            else [np.empty(0, dtype) for dtype in (np.int64, np.uint16, np.uint16, np.int8, np.float64)]
        )
        return Hits(*columns)

    def _scan_block(self, sequences: Sequence[str], block: range) -> Hits:
        # One N between sequences: no hit can span two.
        matches = self.find("N".join(sequences[i] for i in block))
        lengths = np.array([len(sequences[i]) + 1 for i in block])
        sequence = np.repeat(np.arange(len(block)), lengths)[matches.position]
        position = matches.position - (np.cumsum(lengths) - lengths)[sequence]
        key = (sequence * len(self.motifs) + matches.motif) * 65536 + position
        order = np.argsort(key * 2 + (matches.strand > 0))
        return Hits(
            sequence[order] + block.start,
            matches.motif[order].astype(np.uint16),
            position[order].astype(np.uint16),
            matches.strand[order],
            self.normalised(matches)[order],
        )


def window_for(bp: int) -> int:
    """Return the window of MOODS that pays off for a length of sequence."""
    return WIDE_WINDOW if bp >= WIDE_FROM_BP else WINDOW


def _moods_scanner(moods: ModuleType, table: MotifTable, rows: np.ndarray, window: int) -> Any:
    motifs = [table.motifs[row] for row in rows]
    forward = [motif.log_odds.tolist() for motif in motifs]
    reverse = [motif.log_odds[::-1, ::-1].tolist() for motif in motifs]
    scanner = moods.Scanner(window)
    scanner.set_motifs(forward + reverse, table.background, [m.threshold for m in motifs] * 2)
    return scanner


def _span(motif: ScoredMotif) -> float:
    return max(motif.highest - motif.lowest, 1e-12)


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Keep Python from walking over the matches again and again: there are no cycles among them."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _blocks(sequences: Sequence[str]) -> Iterator[range]:
    start, length = 0, 0
    for index, sequence in enumerate(sequences):
        if length and length + len(sequence) > BLOCK_BP:
            yield range(start, index)
            start, length = index, 0
        length += len(sequence) + 1
    if start < len(sequences):
        yield range(start, len(sequences))


def chunk_bounds(regions: int, chunk: int, chunks: int) -> tuple[int, int]:
    """Return the first and the last-plus-one region of a chunk; chunks differ by one region at most.

    Regions have one width: equal counts are equal lengths in bp.
    """
    return regions * chunk // chunks, regions * (chunk + 1) // chunks


def scan_chunk(
    fasta: str | Path,
    regions: str | Path,
    table: MotifTable,
    chunk: int,
    chunks: int,
    out: str | Path,
) -> str:
    """Scan one chunk of the catalogue and write its hits as Parquet; return a line on them.

    Parameters
    ----------
    fasta
        The indexed genome.
    regions
        The catalogue: only the chunk's own rows are read, and hits are written block by block.
    table
        The scored motifs.
    chunk, chunks
        Which chunk of how many.
    out
        Parquet file to write: region_id, motif, position, strand, score as in :class:`Hits`, in order
        of region_id, motif, position, strand. Its metadata say what it was made of
        (:func:`provenance`).
    """
    first, last = chunk_bounds(count_regions(regions), chunk, chunks)
    rows = read_regions(regions, first, last).drop_columns("split").to_pandas()
    lengths = rows["end"] - rows["start"]
    genome, scanner = Genome(fasta), Scanner(table, int(lengths.sum()))
    step = max(1, BLOCK_BP // int(max(lengths, default=1)))
    schema = HITS.with_metadata({"genebert": json.dumps(provenance(table, rows))})
    found = 0
    with (
        complete_or_absent(out) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        for start in Progress(range(0, len(rows), step), f"scanning chunk {chunk + 1} of {chunks}"):
            hits = scanner.scan(fetch_all(genome, rows.iloc[start : start + step]))
            found += len(hits.motif)
            writer.write_table(_as_table(hits, first + start))
    genome.close()
    return f"{found} hits in {len(rows)} regions"


def provenance(table: MotifTable, rows: pd.DataFrame) -> dict[str, str]:
    """Return hashes of what the hits of a chunk are of: motifs, and chrom, start, end of its regions."""
    return {
        "motifs": table.digest(),
        "regions": digest_of_places(pa.Table.from_pandas(rows, preserve_index=False).to_batches()),
    }


def fetch_all(genome: Genome, places: pd.DataFrame) -> list[str]:
    """Return the forward-strand sequence of each row's chrom, start, end."""
    return [
        genome.fetch(Interval(row.chrom, int(row.start), int(row.end)))
        for row in places.itertuples(index=False)
    ]


def _as_table(hits: Hits, first: int) -> pa.Table:
    columns = [(hits.sequence + first).astype(np.uint32), *hits[1:]]
    return pa.Table.from_arrays([pa.array(column) for column in columns], schema=HITS)


# What MOODS does when it scans, in a process of its own.
_TRIAL = """
import MOODS.scan
scanner = MOODS.scan.Scanner(2)
scanner.set_motifs([[[1.0] * 3] * 4], [0.25] * 4, [3.0])
scanner.scan("ACGTACGT")
"""
_REBUILD = "pip install --force-reinstall --no-deps --no-cache-dir --no-binary :all: MOODS-python"


@functools.cache
def _import_moods() -> ModuleType:
    """Import MOODS, once it has scanned in a child process: one built for another CPU kills it."""
    trial = subprocess.run([sys.executable, "-c", _TRIAL], capture_output=True, check=False)
    if trial.returncode < 0:
        raise GenebertError(
            f"MOODS dies on this machine (signal {-trial.returncode}): it was built for another CPU",
            f"build it on the oldest machine that is to run it: {_REBUILD}",
        )
    try:
        import MOODS.scan  # noqa: PLC0415
    except ImportError as error:
        raise GenebertError(
            f"MOODS cannot be loaded: {error}", f"install it with a C++ compiler at hand: {_REBUILD}"
        ) from None
    scan: ModuleType = MOODS.scan
    return scan
