"""Scanning sequences for motifs with MOODS, both strands, in bounded blocks."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from genebert.errors import GenebertError
from genebert.files import complete_or_absent
from genebert.genome import Genome, Interval
from genebert.motifs.table import MotifTable, ScoredMotif
from genebert.progress import Progress

BLOCK_BP = 1 << 19


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
        float16, (score − lowest) / (highest − lowest) of the motif.
    """

    sequence: np.ndarray
    motif: np.ndarray
    position: np.ndarray
    strand: np.ndarray
    score: np.ndarray


class Scanner:
    """Finds all hits of a table of motifs on both strands.

    A base that is not A, C, G or T is in no hit. The background is the table's, never the sequence's.
    """

    def __init__(self, table: MotifTable) -> None:
        moods = _import_moods()
        self.motifs = table.motifs
        forward = [motif.log_odds.tolist() for motif in table.motifs]
        reverse = [motif.log_odds[::-1, ::-1].tolist() for motif in table.motifs]
        thresholds = [motif.threshold for motif in table.motifs]
        # A window wider than a motif would lose that motif's hits at the end of a sequence.
        self._scanner = moods.Scanner(min(7, *(len(motif.log_odds.T) for motif in table.motifs)))
        self._scanner.set_motifs(forward + reverse, table.background, thresholds * 2)

    def scan(self, sequences: Sequence[str]) -> Hits:
        """Scan sequences of A, C, G, T, N, each at most 65,535 bp long."""
        if max(map(len, sequences), default=0) > 65535:
            raise GenebertError("a sequence is longer than 65535 bp", "scan shorter windows")
        blocks = [self._scan_block(sequences, block) for block in _blocks(sequences)]
        columns = (
            [np.concatenate(column) for column in zip(*blocks, strict=True)]
            if blocks
            else [np.empty(0, dtype) for dtype in (np.int64, np.uint16, np.uint16, np.int8, np.float16)]
        )
        return Hits(*columns)

    def _scan_block(self, sequences: Sequence[str], block: range) -> Hits:
        # One N between sequences: no hit can span two.
        starts = np.cumsum([0, *[len(sequences[i]) + 1 for i in block]])
        found = self._scanner.scan("N".join(sequences[i] for i in block))
        columns: list[tuple[np.ndarray, ...]] = []
        for index, matches in enumerate(found):
            if not matches:
                continue
            motif = index % len(self.motifs)
            strand = 1 if index < len(self.motifs) else -1
            place = np.fromiter((match.pos for match in matches), np.int64, len(matches))
            score = np.fromiter((match.score for match in matches), np.float64, len(matches))
            row = np.searchsorted(starts, place, side="right") - 1
            columns.append(
                (
                    row + block.start,
                    np.full(len(matches), motif, np.uint16),
                    (place - starts[row]).astype(np.uint16),
                    np.full(len(matches), strand, np.int8),
                    normalised(score, self.motifs[motif]),
                )
            )
        if not columns:
            return Hits(*(np.empty(0, d) for d in (np.int64, np.uint16, np.uint16, np.int8, np.float16)))
        hits = Hits(*(np.concatenate(column) for column in zip(*columns, strict=True)))
        order = np.lexsort((hits.strand, hits.position, hits.motif, hits.sequence))
        return Hits(*(column[order] for column in hits))


def normalised(score: np.ndarray, motif: ScoredMotif) -> np.ndarray:
    """Return (score − lowest) / (highest − lowest) as float16 in [0, 1]."""
    span = max(motif.highest - motif.lowest, 1e-12)
    return ((score - motif.lowest) / span).astype(np.float16)


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
    """Scan one chunk of the catalogue and write its hits as Parquet; return a line on them."""
    catalogue = pq.read_table(regions).to_pandas()
    first, last = chunk_bounds(len(catalogue), chunk, chunks)
    genome, scanner = Genome(fasta), Scanner(table)
    rows = catalogue.iloc[first:last]
    parts: list[Hits] = []
    step = max(1, BLOCK_BP // int((catalogue["end"] - catalogue["start"]).max()))
    for start in Progress(range(0, len(rows), step), f"scanning chunk {chunk + 1} of {chunks}"):
        block = rows.iloc[start : start + step]
        hits = scanner.scan(fetch_all(genome, block))
        parts.append(hits._replace(sequence=hits.sequence + first + start))
    with complete_or_absent(out) as temporary:
        pq.write_table(_as_table(parts), temporary, compression="zstd")
    return f"{sum(len(part.motif) for part in parts)} hits in {len(rows)} regions"


def fetch_all(genome: Genome, places: pd.DataFrame) -> list[str]:
    """Return the forward-strand sequence of each row's chrom, start, end."""
    return [
        genome.fetch(Interval(row.chrom, int(row.start), int(row.end)))
        for row in places.itertuples(index=False)
    ]


def _as_table(parts: Iterable[Hits]) -> pa.Table:
    def column(name: str, dtype: pa.DataType) -> pa.ChunkedArray:
        return pa.chunked_array([getattr(part, name) for part in parts], dtype)

    return pa.table(
        {
            "region_id": pa.chunked_array(
                [part.sequence.astype(np.uint32) for part in parts], pa.uint32()
            ),
            "motif": column("motif", pa.uint16()),
            "position": column("position", pa.uint16()),
            "strand": column("strand", pa.int8()),
            "score": column("score", pa.float16()),
        }
    )


def _import_moods():  # type: ignore[no-untyped-def]
    try:
        import MOODS.scan  # noqa: PLC0415
    except ImportError as error:
        raise GenebertError(
            f"MOODS cannot be loaded: {error}",
            "install it with a C++ compiler at hand: pip install --no-binary :all: MOODS-python",
        ) from None
    return MOODS.scan
