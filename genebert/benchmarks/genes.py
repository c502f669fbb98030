"""The contract of ``genes.parquet``: stretches of held-out genes of which every position is scored."""

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from genebert.benchmarks.table_file import read_table_file
from genebert.errors import GenebertError
from genebert.files import complete_or_absent

CLASSES = ("neither", "donor", "acceptor")
NEITHER, DONOR, ACCEPTOR = range(len(CLASSES))
SCHEMA = pa.schema(
    [
        pa.field("gene", pa.string(), nullable=False),
        # The stretch whose positions are scored; no two of one strand overlap.
        pa.field("chrom", pa.string(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),  # bp, 0-based
        pa.field("end", pa.int64(), nullable=False),  # bp, half-open
        pa.field("strand", pa.string(), nullable=False),
        # On its strand, with width // 2 bp beside it on both sides; N beyond the ends of the contig.
        pa.field("sequence", pa.large_string(), nullable=False),
        # Places in the sequence, ascending: the last base of an exon, the first base of the next; of the
        # one transcript that stands for the gene, so that sites of others are neither.
        pa.field("donors", pa.list_(pa.int64()), nullable=False),
        pa.field("acceptors", pa.list_(pa.int64()), nullable=False),
    ]
)


def site_offset(width: int) -> int:
    """Return the place of the base that a window is about, counted on the window's strand.

    Of 400 bp it is base 199 (from 0). At a splice site it is the exonic base: a donor's intron begins
    right after it, an acceptor's ends right before it.
    """
    return (width - 1) // 2


def write_genes(table: pd.DataFrame, width: int, out: str | Path) -> None:
    """Write stretches of genes.

    Parameters
    ----------
    table
        The columns of ``SCHEMA``; may be empty.
    width
        bp of a window; kept with the file.
    out
        Parquet file.
    """
    schema = SCHEMA.with_metadata({"genebert": json.dumps({"width": width})})
    arrow = pa.Table.from_pydict({name: table[name].tolist() for name in SCHEMA.names}, schema)
    arrow.validate(full=True)
    with complete_or_absent(out) as temporary:
        pq.write_table(arrow, temporary, compression="zstd")


def read_genes_to_score(path: str | Path) -> tuple[pd.DataFrame, int]:
    """Read stretches of genes and the width of their windows.

    Raises
    ------
    GenebertError
        If the file is missing, damaged or of another contract.
    """
    arrow, metadata = read_table_file(path)
    if "width" not in metadata or not arrow.schema.remove_metadata().equals(SCHEMA):
        raise GenebertError(f"{path} holds no genes of this version", "rebuild the task")
    return arrow.to_pandas(), metadata["width"]
