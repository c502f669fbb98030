"""What must hold for the rows of a corpus part, checked value by value."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from genebert.corpus.schema import SCHEMA, SIGNAL_STEPS, Metadata
from genebert.corpus.scores import STEPS
from genebert.genome import SPLITS

HIT_LISTS = ("motif", "position", "strand", "score")
CELL_TYPE_LISTS = ("cell_type", "signal")
_BASE = np.zeros(256, dtype=bool)
_BASE[list(b"ACGTN")] = True

# What is wrong: a row, the column it is in, and a few words.
Fault = tuple[int, str, str]


def faults(table: pa.Table, first: int, metadata: Metadata) -> Iterator[Fault]:
    """Yield the first fault of each kind in consecutive rows of a part.

    Parameters
    ----------
    table
        The rows, of the contract's columns.
    first
        The region_id that the first of them should have.
    metadata
        Of the corpus.
    """
    nulls = [(0, name, "has a null") for name in SCHEMA.names if _nulls(table[name])]
    if nulls:
        yield from nulls
        return
    rows = np.arange(len(table))
    start, end = table["start"].to_numpy(), table["end"].to_numpy()
    splits = pc.is_in(table["split"], pa.array(SPLITS)).to_numpy()
    yield from _first(
        rows,
        ("region_id", "is not the row number", table["region_id"].to_numpy() != first + rows),
        ("start", "is negative", start < 0),
        ("end", f"is not start + {metadata.width}", end - start != metadata.width),
        ("split", f"is none of {', '.join(SPLITS)}", ~splits),
    )
    yield from _sequence_faults(table, metadata.width)
    yield from _hit_faults(table, metadata)
    yield from _cell_type_faults(table, metadata)


def _sequence_faults(table: pa.Table, width: int) -> Iterator[Fault]:
    lengths = pc.binary_length(table["sequence"]).to_numpy()
    yield from _first(np.arange(len(table)), ("sequence", f"is not of {width} bp", lengths != width))
    text = "".join(table["sequence"].to_pylist()).encode()
    strange = ~_BASE[np.frombuffer(text, np.uint8)]
    row = np.repeat(np.arange(len(table)), lengths)
    yield from _first(row, ("sequence", "has a letter other than A, C, G, T, N", strange))


def _hit_faults(table: pa.Table, metadata: Metadata) -> Iterator[Fault]:
    lengths, values = _lists(table, HIT_LISTS)
    apart = [_apart(name, lengths[name], lengths["motif"]) for name in HIT_LISTS]
    yield from (fault for faults in apart for fault in faults)
    if any(apart):
        return
    row = np.repeat(np.arange(len(table)), lengths["motif"])
    motif, position, strand = (values[name].astype(np.int64) for name in HIT_LISTS[:3])
    score = values["score"].astype(np.float32)
    key = (((row << 16) + position) << 17) + (motif << 1) + (strand > 0)
    unsorted = np.concatenate([[False], np.diff(key) <= 0])
    yield from _first(
        row,
        ("motif", f"is not below {len(metadata.motifs)}", motif >= len(metadata.motifs)),
        ("position", f"is not below {metadata.width}", position >= metadata.width),
        ("strand", "is neither 1 nor -1", np.abs(strand) != 1),
        ("score", "is not between 0 and 1", ~((score > 0) & (score <= 1))),
        ("score", f"is no multiple of 1/{STEPS}", score * STEPS != np.rint(score * STEPS)),
        ("position", "is not in order of position, motif, strand", unsorted),
    )


def _cell_type_faults(table: pa.Table, metadata: Metadata) -> Iterator[Fault]:
    lengths, values = _lists(table, CELL_TYPE_LISTS)
    apart = _apart("signal", lengths["signal"], lengths["cell_type"])
    yield from apart
    if apart:
        return
    row = np.repeat(np.arange(len(table)), lengths["cell_type"])
    cell_type, signal = values["cell_type"].astype(np.int64), values["signal"]
    number = len(metadata.cell_types)
    unsorted = np.concatenate([[False], np.diff((row << 16) + cell_type) <= 0])
    yield from _first(
        row,
        ("cell_type", f"is not below {number}", cell_type >= number),
        ("cell_type", "is not in order", unsorted),
        ("signal", "is not above 0 and at most 1", ~((signal > 0) & (signal <= 1))),
        ("signal", f"is no multiple of 1/{SIGNAL_STEPS}", signal * SIGNAL_STEPS % 1 != 0),
    )


def order_faults(places: pd.DataFrame, contigs: Sequence[str]) -> Iterator[Fault]:
    """Yield what is wrong with the order of all regions of a corpus: chrom, start, end of each.

    ``contigs`` are the names in the order that they should have.
    """
    rank = places["chrom"].map({name: number for number, name in enumerate(contigs)}).to_numpy()
    start, end = places["start"].to_numpy(), places["end"].to_numpy()
    same = np.concatenate([[False], rank[1:] == rank[:-1]])
    before = np.concatenate([[-1], end[:-1]])
    yield from _first(
        np.arange(len(places)),
        ("chrom", f"is none of {', '.join(contigs[:5])}, …", np.isnan(rank)),
        ("chrom", "is not in genome order", np.concatenate([[False], np.diff(rank) < 0])),
        ("start", "lies before the end of the region before", same & (start < before)),
    )


def _first(rows: np.ndarray, *tests: tuple[str, str, np.ndarray]) -> Iterator[Fault]:
    """Yield the row of the first value that fails each test (column, what is wrong, where it is)."""
    for column, what, wrong in tests:
        if wrong.any():
            yield int(rows[wrong.argmax()]), column, what


def _apart(name: str, lengths: np.ndarray, expected: np.ndarray) -> list[Fault]:
    what = f"has another length than {'motif' if name in HIT_LISTS else 'cell_type'}"
    return list(_first(np.arange(len(lengths)), (name, what, lengths != expected)))


def _nulls(column: pa.ChunkedArray) -> int:
    inner = column.combine_chunks().flatten() if pa.types.is_list(column.type) else column
    return int(column.null_count + inner.null_count)


def _lists(table: pa.Table, names: Sequence[str]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the lengths and the values of columns of lists."""
    columns = {name: table[name].combine_chunks() for name in names}
    lengths = {name: column.value_lengths().to_numpy() for name, column in columns.items()}
    values = {name: c.flatten().to_numpy(zero_copy_only=False) for name, c in columns.items()}
    return lengths, values
