"""Corpus parts -> columns of known size, several parts at a time, one row group each at a time."""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from genebert.corpus.schema import Metadata, metadata_of
from genebert.corpus.scores import add_best, steps_of_stored
from genebert.errors import GenebertError, first_line
from genebert.genome import SPLITS
from genebert.sequence.codes import encode_bytes

# What views need: not the ends, and neither position nor strand of the hits, nor signals.
_COLUMNS = ["region_id", "chrom", "start", "split", "sequence", "motif", "score", "cell_type"]
_MAX_CELL_TYPES = 1 << 15  # numbers that an int16 has
_SPLITS = {name: number for number, name in enumerate(SPLITS)}


def column_shapes(manifest: Mapping[str, Any]) -> dict[str, tuple[type, tuple[int, ...]]]:
    """Return dtype and shape of each column of the corpus that a manifest describes.

    The columns are those of :class:`genebert.corpus.read.Corpus`.

    Raises
    ------
    GenebertError
        If there are more cell types than an int16 can number.
    """
    regions, metadata = manifest["regions"], manifest["metadata"]
    number = len(metadata["cell_types"])
    if number > _MAX_CELL_TYPES:
        raise GenebertError(
            f"the corpus has {number} cell types, more than the {_MAX_CELL_TYPES} that can be read",
            "name fewer cell types in the sheet of samples, and rebuild the corpus",
        )
    return {
        "contig": (np.int32, (regions,)),
        "start": (np.int64, (regions,)),
        "split": (np.int8, (regions,)),
        "sequence": (np.uint8, (regions, metadata["width"])),
        "best": (np.uint8, (regions, len(metadata["motifs"]))),
        "open_offsets": (np.int64, (regions + 1,)),
        "open_cell_type": (np.int16, (manifest["views"],)),
    }


def fill(folder: Path, manifest: Mapping[str, Any], columns: Mapping[str, np.ndarray]) -> None:
    """Read all parts that a manifest names into columns of zeros, on all cores.

    Parameters
    ----------
    folder
        Of the parts.
    manifest
        As :func:`genebert.corpus.manifest.read_manifest` returns it.
    columns
        Arrays of :func:`column_shapes`.

    Raises
    ------
    GenebertError
        If a part is missing, holds other than the manifest says, or is of another corpus.
    """
    metadata = Metadata(**manifest["metadata"])
    parts = manifest["parts"]
    region = np.cumsum([0, *(part["regions"] for part in parts)]).tolist()
    view = np.cumsum([0, *(part["views"] for part in parts)]).tolist()
    contigs = {name: number for number, name in enumerate(manifest["contigs"])}

    def read(index: int) -> None:
        path = folder / parts[index]["part"]
        own = {name: column[region[index] : region[index + 1]] for name, column in columns.items()}
        own["open_offsets"] = columns["open_offsets"][1:][region[index] : region[index + 1]]
        own["open_cell_type"] = columns["open_cell_type"][view[index] : view[index + 1]]
        try:
            with pq.ParquetFile(path) as file:
                _fill_part(file, path, metadata, contigs, region[index], own)
        except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
            refuse(path, f"missing or damaged ({first_line(error)})")
        own["open_offsets"] += view[index]

    with ThreadPoolExecutor(_usable_cores()) as pool:
        list(pool.map(read, range(len(parts))))


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _fill_part(
    file: pq.ParquetFile,
    path: Path,
    metadata: Metadata,
    contigs: Mapping[str, int],
    first: int,
    own: Mapping[str, np.ndarray],
) -> None:
    """Read one part, whose first region is ``first``, into its own stretch of the columns."""
    regions, views = len(own["start"]), len(own["open_cell_type"])
    if file.metadata.num_rows != regions:
        refuse(path, f"{file.metadata.num_rows} regions, the manifest says {regions}")
    if metadata_of(file.schema_arrow, str(path)) != metadata:
        refuse(path, "of another corpus")
    row = view = 0
    for group in range(file.num_row_groups):
        table = file.read_row_group(group, columns=_COLUMNS, use_threads=False)
        rows = slice(row, row + len(table))
        if not np.array_equal(table["region_id"], np.arange(first + row, first + rows.stop)):
            refuse(path, "other regions than its place says")
        own["contig"][rows] = _numbers(table["chrom"], contigs, path)
        own["start"][rows] = table["start"]
        own["split"][rows] = _numbers(table["split"], _SPLITS, path)
        own["sequence"][rows] = _codes(table["sequence"], metadata.width, path)
        _fill_best(own["best"][rows], table, path)
        ends, cell_type = lists_of(table["cell_type"])
        if cell_type.max(initial=0) >= len(metadata.cell_types):
            refuse(path, "a cell_type that the metadata do not name")
        if view + len(cell_type) > views:
            refuse(path, f"more than the {views} views that the manifest says")
        own["open_cell_type"][view : view + len(cell_type)] = cell_type
        own["open_offsets"][rows] = view + ends[1:]
        row, view = rows.stop, view + len(cell_type)
    if view != views:
        refuse(path, f"{view} views, the manifest says {views}")


def _fill_best(best: np.ndarray, table: pa.Table, path: Path) -> None:
    ends, motif = lists_of(table["motif"])
    score_ends, score = lists_of(table["score"])
    if not np.array_equal(ends, score_ends):
        refuse(path, "motif and score lists of other lengths")
    if motif.max(initial=0) >= best.shape[1]:
        refuse(path, "a motif that the metadata do not name")
    try:
        add_best(best, np.diff(ends), motif, steps_of_stored(score))
    except IndexError:
        refuse(path, "a score that is not between 0 and 1")


def _numbers(column: pa.ChunkedArray, number_of: Mapping[str, int], path: Path) -> np.ndarray:
    """Return the number of each name of a column."""
    encoded = column.combine_chunks().dictionary_encode()
    found = encoded.dictionary.to_pylist()
    if unknown := set(found) - number_of.keys():
        refuse(path, f"'{unknown.pop()}', which the manifest does not name")
    return np.array([number_of[name] for name in found])[encoded.indices.to_numpy()]


def _codes(column: pa.ChunkedArray, width: int, path: Path) -> np.ndarray:
    """Return uint8 [n, width], the base codes of a column of sequences."""
    text = column.combine_chunks()
    _, buffer, data = text.buffers()
    ends = np.frombuffer(buffer, np.int32)[text.offset : text.offset + len(text) + 1]
    if (np.diff(ends) != width).any():
        refuse(path, f"a sequence that is not of {width} bp")
    return encode_bytes(memoryview(data)[ends[0] : ends[-1]]).reshape(len(text), width)


def lists_of(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Return offsets from 0 and values of a column of lists."""
    lists = column.combine_chunks()
    offsets = lists.offsets.to_numpy()
    return offsets - offsets[0], lists.flatten().to_numpy(zero_copy_only=False)


def refuse(path: Path, what: str) -> NoReturn:
    """Refuse a part for what it holds."""
    raise GenebertError(f"{path}: {what}", "rebuild the corpus, or fetch an undamaged copy") from None
