"""The catalogue of regions as its files hold it, read and checked; and its identity."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from genebert.errors import GenebertError
from genebert.files import digest_of
from genebert.genome import SPLITS
from genebert.parquet import check_columns, read_parquet, readable

REGIONS = pa.schema(
    {
        "region_id": pa.uint32(),
        "chrom": pa.string(),
        "start": pa.int64(),
        "end": pa.int64(),
        "split": pa.string(),
    }
)
ACCESSIBILITY = pa.schema(
    {
        "region_id": pa.uint32(),
        "cell_type": pa.dictionary(pa.int32(), pa.string()),
        "signal": pa.float32(),
    }
)
_PLACE = ["chrom", "start", "end"]
_MEND = "delete the folder of regions and run again"


def count_regions(path: str | Path) -> int:
    """Return how many regions a ``regions.parquet`` holds.

    Raises
    ------
    GenebertError
        If the file is missing or damaged.
    """
    with readable(path, _MEND):
        return int(pq.read_metadata(path).num_rows)


def read_regions(path: str | Path, first: int = 0, last: int | None = None) -> pa.Table:
    """Read regions ``first`` to ``last − 1``, all by default: row groups without any are skipped.

    Returns
    -------
    Table
        Of :data:`REGIONS`.

    Raises
    ------
    GenebertError
        If the file is missing or damaged, or its rows are no catalogue: ids are not row numbers, regions
        have no place or split, overlap or are out of order.
    """
    rows = read_parquet(path, REGIONS, _MEND, _between(first, last))
    last = first + len(rows) if last is None else last
    if not np.array_equal(rows["region_id"], np.arange(first, last)):
        raise GenebertError(f"{path}: region_id is not the row number", _MEND)
    chrom = pc.dictionary_encode(rows["chrom"].combine_chunks()).indices.to_numpy()
    start, end = rows["start"].to_numpy(), rows["end"].to_numpy()
    # Arrow numbers contigs as they come: each has its rows together where numbers never fall.
    for wrong, what in (
        ((start < 0) | (end <= start), "has no place"),
        (~pc.is_in(rows["split"], pa.array(SPLITS)).to_numpy(), "is of no split"),
        (np.append(False, np.diff(chrom) < 0), "is apart from the others of its contig"),
        (
            np.append(False, (np.diff(chrom) == 0) & (start[1:] < end[:-1])),
            "overlaps the one before it, or is out of order",
        ),
    ):
        if wrong.any():
            raise GenebertError(f"{path}: region {first + int(np.argmax(wrong))} {what}", _MEND)
    return rows


def read_accessibility(path: str | Path, first: int = 0, last: int | None = None) -> pa.Table:
    """Read in which cell types regions ``first`` to ``last − 1`` are open, all by default.

    Returns
    -------
    Table
        Of :data:`ACCESSIBILITY`.

    Raises
    ------
    GenebertError
        If the file is missing or damaged, rows are out of order or twice there, or a signal is none.
    """
    rows = read_parquet(path, ACCESSIBILITY, _MEND, _between(first, last))
    region, signal = rows["region_id"].to_numpy().astype(np.int64), rows["signal"].to_numpy()
    if (np.diff(region) < 0).any():
        raise GenebertError(f"{path}: regions are out of order", _MEND)
    cell_type = pc.dictionary_encode(rows["cell_type"].cast(pa.string()).combine_chunks()).indices
    if len(np.unique(region << 32 | cell_type.to_numpy())) < len(region):
        raise GenebertError(f"{path}: a region is twice open in a cell type", _MEND)
    if not ((signal > 0) & (signal <= 1)).all():
        raise GenebertError(f"{path}: a signal is not above 0 and at most 1", _MEND)
    return rows


def _between(first: int, last: int | None) -> pc.Expression | None:
    region_id = pc.field("region_id")
    if last is None:
        return region_id >= first if first else None
    return (region_id >= first) & (region_id < last)


def digest_of_places(batches: Iterable[pa.RecordBatch]) -> str:
    """Return a short hash of chrom, start and end of rows in order, however they are cut in batches."""
    chrom, start, end = (hashlib.sha256() for _ in _PLACE)
    for batch in batches:
        chrom.update("".join(f"{name}\n" for name in batch.column("chrom").to_pylist()).encode())
        start.update(batch.column("start").to_numpy().astype("<i8").tobytes())
        end.update(batch.column("end").to_numpy().astype("<i8").tobytes())
    return digest_of([column.hexdigest() for column in (chrom, start, end)])


def catalogue_digest(regions: str | Path) -> str:
    """Return the hash of a whole ``regions.parquet``, read batch by batch.

    Raises
    ------
    GenebertError
        If the file is missing or damaged.
    """
    with readable(regions, _MEND), pq.ParquetFile(regions) as file:
        check_columns(file.schema_arrow, REGIONS, regions, _MEND)
        return digest_of_places(file.iter_batches(columns=_PLACE))
