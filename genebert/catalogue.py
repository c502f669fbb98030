"""The identity of regions: a hash of their places tells files made of other regions apart."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from genebert.files import digest_of

_PLACE = ["chrom", "start", "end"]


def digest_of_places(batches: Iterable[pa.RecordBatch]) -> str:
    """Return a short hash of chrom, start and end of rows in order, however they are cut in batches."""
    chrom, start, end = (hashlib.sha256() for _ in _PLACE)
    for batch in batches:
        chrom.update("".join(f"{name}\n" for name in batch.column("chrom").to_pylist()).encode())
        start.update(batch.column("start").to_numpy().astype("<i8").tobytes())
        end.update(batch.column("end").to_numpy().astype("<i8").tobytes())
    return digest_of([column.hexdigest() for column in (chrom, start, end)])


def catalogue_digest(regions: str | Path) -> str:
    """Return the hash of a whole ``regions.parquet``, read batch by batch."""
    with pq.ParquetFile(regions) as file:
        return digest_of_places(file.iter_batches(columns=_PLACE))
