"""Scanning any FASTA, or places of it, with any motif file: nothing of the workflow is needed."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from genebert.errors import GenebertError
from genebert.files import complete_or_absent, open_text_for_writing
from genebert.genome import Genome, Interval, index_genome
from genebert.inputs.bed import check_in_genome, read_bed
from genebert.motifs import scan
from genebert.motifs.read import read_motifs
from genebert.motifs.scan import Scanner
from genebert.motifs.table import score_motifs, thresholds_line
from genebert.progress import Progress

_HIT = {
    "chrom": pa.string(),
    "start": pa.int64(),
    "end": pa.int64(),
    "motif_id": pa.string(),
    "motif_name": pa.string(),
    "strand": pa.string(),
    "score": pa.float32(),
}
_OF_BED = {"bed_line": pa.int64(), "bed_name": pa.string()}
_Write = Callable[[pa.Table, np.ndarray], None]


class Piece(NamedTuple):
    """A part of a place that is scanned in one go.

    Attributes
    ----------
    place
        Row of the place.
    chrom, start
        Where its sequence begins, in bp.
    stop
        A hit is the piece's own if its leftmost base lies before this.
    end
        Where its sequence ends: behind ``stop`` by the longest motif − 1, or with the place.
    """

    place: int
    chrom: str
    start: int
    stop: int
    end: int


def scan_file(
    fasta: str | Path,
    bed: str | Path | None,
    motif_file: str | Path,
    p_value: float,
    pseudocount: float,
    background: Sequence[float],
    max_realised_p: float,
    out: str | Path,
) -> str:
    """Scan a FASTA for motifs on both strands and write the hits, block by block; return a line on them.

    Hits are in order of the BED's lines (of the FASTA's contigs where there is none), start, motif in
    file order, strand (− first).

    Parameters
    ----------
    fasta
        Of any species, gzip or not, in any case; letters other than A, C, G, T are in no hit. Its
        index (``.fai``) is used if it is there and not older; else one is made in a temporary folder.
    bed
        Places to scan, three columns or more, in any order, overlapping or not: a hit is listed for
        every place that holds all of it. None for the whole FASTA.
    motif_file
        For :func:`genebert.motifs.read.read_motifs`.
    p_value, pseudocount, background, max_realised_p
        For :func:`genebert.motifs.table.score_motifs`.
    out
        ``.parquet``: chrom, start, end (bp, 0-based half-open), motif_id, motif_name, strand (``+``,
        ``-``), score (nat, float32) and, with a BED, bed_line (from 1) and bed_name (its fourth
        column, empty where there is none). ``.bed`` or ``.bed.gz``: BED6, named ID|NAME, the score
        as 0–1000 of the way from the motif's lowest to its highest.

    Raises
    ------
    GenebertError
        If a file cannot be read, a place is not in the FASTA, or ``out`` has another ending.
    """
    if not str(out).endswith((".parquet", ".bed", ".bed.gz")):
        raise GenebertError(
            f"'{out}' is no kind of file that is known", "end it in .parquet, .bed or .bed.gz"
        )
    for given in (fasta, motif_file, *([] if bed is None else [bed])):
        if Path(out).exists() and Path(given).exists() and Path(out).samefile(given):
            raise GenebertError(f"'{out}' is also read", "write to another file")
    motifs = read_motifs(motif_file)
    table = score_motifs(motifs, background, pseudocount, p_value, max_realised_p, "file")
    overlap = max(motif.log_odds.shape[1] for motif in table.motifs) - 1
    found = 0
    with _opened(fasta) as genome:
        places = _read_places(bed, genome)
        bp = int((places["end"] - places["start"]).sum())
        scanner = Scanner(table, bp)
        blocks = sum(1 for _ in _blocks(places, overlap))
        schema = pa.schema(_HIT | ({} if bed is None else _OF_BED))
        with (_parquet if str(out).endswith(".parquet") else _bed)(out, schema) as write:
            for _, block in zip(
                Progress(range(blocks), f"scanning {fasta}"), _blocks(places, overlap), strict=True
            ):
                hits, share = _scan_block(scanner, genome, block, places, schema)
                write(hits, share)
                found += len(hits)
    kind = "contigs" if bed is None else "places"
    return (
        f"{found} hits of {len(table.motifs)} motifs in {len(places)} {kind}, {bp} bp\n"
        + thresholds_line(table, max_realised_p)
    )


@contextlib.contextmanager
def _opened(fasta: str | Path) -> Iterator[Genome]:
    """Open a FASTA by its own index or by one in a temporary folder: nothing is written beside it."""
    with tempfile.TemporaryDirectory(prefix="genebert-") as folder:
        source = Path(fasta)
        if not _is_indexed(source):
            source = Path(folder) / "genome.fa"
            index_genome(fasta, source)
        genome = Genome(source)
        try:
            yield genome
        finally:
            genome.close()


def _is_indexed(fasta: Path) -> bool:
    fai = Path(f"{fasta}.fai")
    if not (fasta.is_file() and fai.is_file() and fai.stat().st_mtime_ns >= fasta.stat().st_mtime_ns):
        return False
    with fasta.open("rb") as binary:
        return binary.read(2) != b"\x1f\x8b"


def _read_places(bed: str | Path | None, genome: Genome) -> pd.DataFrame:
    """Return chrom, start, end, line and name of what is to be scanned."""
    if bed is None:
        lengths = genome.lengths
        return pd.DataFrame(
            {"chrom": list(lengths), "start": 0, "end": list(lengths.values()), "line": 0, "name": ""}
        )
    places = read_bed(bed, texts={"name": 4})
    try:
        check_in_genome(
            places, str(bed), "the places to scan", genome.lengths, "--bed", can_rename=False
        )
    except GenebertError as error:
        fix = "give places on the FASTA's own contigs, in its coordinates"
        raise GenebertError(error.what, fix, error.where) from None
    return places.fillna({"name": ""})


def _pieces(places: pd.DataFrame, overlap: int) -> Iterator[Piece]:
    for row, (chrom, first, last) in enumerate(
        zip(places["chrom"], places["start"], places["end"], strict=True)
    ):
        for start in range(first, last, scan.BLOCK_BP):
            stop = min(start + scan.BLOCK_BP, last)
            yield Piece(row, chrom, start, stop, min(stop + overlap, last))


def _blocks(places: pd.DataFrame, overlap: int) -> Iterator[list[Piece]]:
    """Yield pieces that are scanned together: as many as fit one block."""
    block: list[Piece] = []
    length = 0
    for piece in _pieces(places, overlap):
        if block and length + piece.end - piece.start > scan.BLOCK_BP:
            yield block
            block, length = [], 0
        block.append(piece)
        length += piece.end - piece.start + 1
    if block:
        yield block


def _scan_block(
    scanner: Scanner, genome: Genome, block: list[Piece], places: pd.DataFrame, schema: pa.Schema
) -> tuple[pa.Table, np.ndarray]:
    """Return the hits of a block and their scores as shares of their motifs' range."""
    texts = [genome.fetch(Interval(piece.chrom, piece.start, piece.end)) for piece in block]
    lengths = np.array([len(text) + 1 for text in texts])
    if (lengths != [piece.end - piece.start + 1 for piece in block]).any():
        raise GenebertError("the FASTA's index (.fai) does not fit it", "delete the index")
    found = scanner.find("N".join(texts))
    piece = np.repeat(np.arange(len(block)), lengths)[found.position]
    begins = np.array([piece.start for piece in block]) - (np.cumsum(lengths) - lengths)
    start = found.position + begins[piece]
    key = (found.position * len(scanner.motifs) + found.motif) * 2 + (found.strand > 0)
    order = np.argsort(key)
    order = order[(start < np.array([piece.stop for piece in block])[piece])[order]]
    motif, row = found.motif[order], np.array([piece.place for piece in block])[piece[order]]
    widths = np.array([motif.log_odds.shape[1] for motif in scanner.motifs])
    columns = {
        "chrom": places["chrom"].to_numpy()[row],
        "start": start[order],
        "end": start[order] + widths[motif],
        "motif_id": np.array([motif.matrix_id for motif in scanner.motifs], object)[motif],
        "motif_name": np.array([motif.name for motif in scanner.motifs], object)[motif],
        "strand": np.where(found.strand[order] > 0, "+", "-").astype(object),
        "score": found.score[order].astype(np.float32),
        "bed_line": places["line"].to_numpy()[row],
        "bed_name": places["name"].to_numpy()[row],
    }
    hits = pa.table({name: pa.array(columns[name], schema.field(name).type) for name in schema.names})
    return hits, scanner.normalised(found)[order]


@contextlib.contextmanager
def _parquet(out: str | Path, schema: pa.Schema) -> Iterator[_Write]:
    with (
        complete_or_absent(out) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        yield lambda hits, _: writer.write_table(hits)


@contextlib.contextmanager
def _bed(out: str | Path, _: pa.Schema) -> Iterator[_Write]:
    options = pyarrow.csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
    with open_text_for_writing(out) as text:

        def write(hits: pa.Table, share: np.ndarray) -> None:
            names = zip(hits["motif_id"].to_pylist(), hits["motif_name"].to_pylist(), strict=True)
            columns = {
                **{column: hits[column] for column in ("chrom", "start", "end")},
                "name": ["_".join(f"{matrix_id}|{name}".split()) for matrix_id, name in names],
                "score": np.rint(1000 * share).astype(np.int64),
                "strand": hits["strand"],
            }
            lines = pa.BufferOutputStream()
            pyarrow.csv.write_csv(pa.table(columns), lines, options)
            text.write(lines.getvalue().to_pybytes().decode())

        yield write
