"""Hits, sequences and accessibility -> corpus parts and their manifest."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from genebert.catalogue import catalogue_digest, count_regions, read_accessibility, read_regions
from genebert.corpus.schema import SCHEMA, SIGNAL_STEPS, VERSION, Metadata, metadata_of
from genebert.corpus.scores import from_steps, to_steps
from genebert.errors import GenebertError
from genebert.files import complete_or_absent, read_lines, sha256, write_json
from genebert.genome import SPLITS, Genome
from genebert.motifs.scan import HITS, chunk_bounds, fetch_all, provenance
from genebert.motifs.table import MotifTable, read_motif_table
from genebert.parquet import facts_of, read_parquet, read_whole, readable

ROW_GROUP = 8192
_MEND = "rebuild the corpus"
# Readers keep them as int16.
MOST_CELL_TYPES = 32_767
# Encodings that every reader knows. Level 16 writes some 1,200 regions a second on a core, twice as many
# as are scanned for motifs; level 12 is five times faster, and makes a region 40 bytes larger.
_LAYOUT: dict[str, Any] = {
    "compression": "zstd",
    "compression_level": 16,
    # zstd finds repeats within a page: of 1 MB, it makes a region 5 % larger; 16 MB are slow to read.
    "data_page_size": 4 << 20,
    "use_dictionary": [
        "chrom",
        "split",
        "strand.list.element",
        "cell_type.list.element",
        "signal.list.element",
    ],
    "column_encoding": {
        "region_id": "DELTA_BINARY_PACKED",
        "start": "DELTA_BINARY_PACKED",
        "end": "DELTA_BINARY_PACKED",
        "sequence": "PLAIN",
        "motif.list.element": "PLAIN",
        "position.list.element": "DELTA_BINARY_PACKED",
        "score.list.element": "PLAIN",
    },
    "write_statistics": ["region_id", "chrom", "start", "end", "split"],
    # Arrow's own copy of the schema would hold the metadata a second time; no type needs it.
    "store_schema": False,
}


def write_part(
    fasta: str | Path,
    genome_name: str,
    regions: str | Path,
    accessibility: str | Path,
    motif_table: str | Path,
    hits: str | Path,
    inputs: str | Path,
    cell_types: Sequence[str],
    chunk: int,
    chunks: int,
    out: str | Path,
) -> str:
    """Write one part of the corpus; return a line on it.

    Of the catalogue and the accessibility only the row groups that hold the chunk's regions are read
    (and the catalogue's first, for the width); of the catalogue also all places, batch by batch, for
    their hash.

    Parameters
    ----------
    fasta, genome_name
        The indexed genome and its assembly's name.
    regions, accessibility
        The whole catalogue, sorted by region_id.
    motif_table, hits
        The scored motifs and this chunk's hits, sorted by region_id.
    inputs
        The table that preflight wrote: its checksums become metadata.
    cell_types
        Names of all cell types of the corpus, whether or not this chunk has any.
    chunk, chunks
        Which part of how many.
    out
        Parquet file to write.

    Raises
    ------
    GenebertError
        If the hits are of other motifs or regions or none that these can have, accessibility has other
        regions or another cell type, or cell types are too many.
    """
    first, last = chunk_bounds(count_regions(regions), chunk, chunks)
    rows = read_regions(regions, first, last).to_pandas()
    table, width = read_motif_table(motif_table), _width(regions)
    if (rows["end"] - rows["start"] != width).any():
        raise GenebertError(f"{regions} has regions of several widths", "rebuild the regions")
    found = _read_hits(hits, table, rows, width)
    names = sorted(set(cell_types))
    if len(names) > MOST_CELL_TYPES:
        raise GenebertError(
            f"{len(names)} cell types, at most {MOST_CELL_TYPES}",
            "merge cell types (column cell_type of the sheet)",
        )
    metadata = _metadata(table, genome_name, catalogue_digest(regions), width, names, inputs)
    flat = {name: rows[name] for name in ("region_id", "chrom", "start", "end", "split")}
    sequence = fetch_all(Genome(fasta), rows)
    open_in = read_accessibility(accessibility, first, last)
    columns = {
        **{name: pa.array(values, SCHEMA.field(name).type) for name, values in flat.items()},
        "sequence": pa.array(sequence, pa.string()),
        **_hit_lists(found, first, last, str(hits)),
        **_cell_type_lists(open_in, first, last, names, str(accessibility)),
    }
    write_rows(pa.table(columns, schema=SCHEMA), metadata, out)
    return f"{len(rows)} regions, {len(found)} hits"


def write_rows(table: pa.Table, metadata: Metadata, out: str | Path) -> None:
    """Write a part as the contract says; the same rows and metadata give the same bytes."""
    with (
        complete_or_absent(out) as temporary,
        pq.ParquetWriter(temporary, SCHEMA, **_LAYOUT) as writer,
    ):
        writer.write_table(table, row_group_size=ROW_GROUP)
        writer.add_key_value_metadata({"genebert": metadata.as_text()})


def _width(regions: str | Path) -> int:
    """Return the width in bp of the catalogue's first region, which is that of all."""
    first = read_regions(regions, 0, 1).to_pylist() if count_regions(regions) else []
    if not first:
        raise GenebertError(f"{regions} holds no region", "give peaks")
    return int(first[0]["end"] - first[0]["start"])


def _read_hits(path: str | Path, table: MotifTable, rows: pd.DataFrame, width: int) -> pa.Table:
    """Read the hits of a chunk; refuse those of other motifs or regions, or beyond either."""
    found = read_parquet(path, HITS, "scan again")
    made_of = facts_of(found.schema, path, "scan again")
    for what, digest in provenance(table, rows).items():
        if made_of.get(what) != digest:
            raise GenebertError(
                f"hits of other {what} than those given", "delete the file and scan again", str(path)
            )
    lengths = np.array([motif.log_odds.shape[1] for motif in table.motifs])
    motif, position = found["motif"].to_numpy(), found["position"].to_numpy().astype(np.int64)
    if (motif >= len(lengths)).any() or (position + lengths[motif] > width).any():
        raise GenebertError(
            f"a hit of no motif of the table, or beyond its region's {width} bp", "scan again", str(path)
        )
    if not np.isin(found["strand"], [1, -1]).all():
        raise GenebertError("a strand is neither 1 nor -1", "scan again", str(path))
    score = found["score"].to_numpy()
    if not ((score >= 0) & (score <= 1)).all():
        raise GenebertError("a score is not between 0 and 1", "scan again", str(path))
    return found


def _hit_lists(found: pa.Table, first: int, last: int, where: str) -> dict[str, pa.ListArray]:
    """Return motif, position, strand, score as lists sorted by position, motif, strand."""
    region = found["region_id"].to_numpy().astype(np.int64)
    offsets = _offsets(region, first, last, where)
    motif, position = found["motif"].to_numpy(), found["position"].to_numpy()
    strand, score = found["strand"].to_numpy(), found["score"].to_numpy()
    key = ((region - first) << 33) | (position.astype(np.int64) << 17) | (motif.astype(np.int64) << 1)
    key |= strand > 0
    order = np.argsort(key)
    if (np.diff(key[order]) == 0).any():
        raise GenebertError("a hit is listed twice", "scan again", where)
    columns = {
        "motif": motif[order],
        "position": position[order],
        "strand": strand[order],
        "score": from_steps(to_steps(score[order])).astype(np.float16),
    }
    return {name: _lists(name, offsets, values) for name, values in columns.items()}


def _cell_type_lists(
    open_in: pa.Table, first: int, last: int, names: Sequence[str], where: str
) -> dict[str, pa.ListArray]:
    """Return cell_type and signal as lists sorted by cell type."""
    column = open_in["cell_type"].cast(pa.string())
    number = pc.index_in(column, pa.array(names, pa.string()))
    if number.null_count:
        other = column.filter(pc.is_null(number))[0].as_py()
        raise GenebertError(
            f"cell type '{other}' is not among those of the sheet ({', '.join(names[:5])}, …)",
            "rebuild the regions from the sheet in use",
            where,
        )
    region = open_in["region_id"].to_numpy().astype(np.int64)
    offsets = _offsets(region, first, last, where)
    cell_type = number.to_numpy()
    order = np.lexsort((cell_type, region))
    steps = np.maximum(np.rint(open_in["signal"].to_numpy()[order] * SIGNAL_STEPS), 1)
    return {
        "cell_type": _lists("cell_type", offsets, cell_type[order].astype(np.uint16)),
        "signal": _lists("signal", offsets, (steps / SIGNAL_STEPS).astype(np.float32)),
    }


def _lists(name: str, offsets: np.ndarray, values: np.ndarray) -> pa.ListArray:
    values = pa.array(values, SCHEMA.field(name).type.value_type)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)


def _offsets(region: np.ndarray, first: int, last: int, where: str) -> np.ndarray:
    """Return list offsets of sorted region ids; every region has a list, if empty."""
    if len(region) and (region[0] < first or region[-1] >= last or (np.diff(region) < 0).any()):
        raise GenebertError(
            f"rows are not those of regions {first} to {last - 1}, in order",
            "delete the file and run again",
            where,
        )
    return np.searchsorted(region, np.arange(first, last + 1))


def _metadata(
    table: MotifTable,
    genome_name: str,
    catalogue: str,
    width: int,
    cell_types: Sequence[str],
    inputs: str | Path,
) -> Metadata:
    return Metadata(
        version=VERSION,
        genome=genome_name,
        catalogue=catalogue,
        width=width,
        motifs=[motif.label for motif in table.motifs],
        motif_digest=table.digest(),
        thresholds=[motif.threshold for motif in table.motifs],
        realised_p=[motif.realised_p for motif in table.motifs],
        background=table.background,
        pseudocount=table.pseudocount,
        cell_types=list(cell_types),
        inputs=_checksums(inputs),
        packages={name: version(name) for name in ("MOODS-python", "pyarrow")},
    )


def _checksums(inputs: str | Path) -> dict[str, str]:
    """Return the SHA-256 by path from the table that preflight wrote."""
    rows = [line.split("\t") for _, line in read_lines(inputs)]
    head = rows[0] if rows else []
    if not {"path", "sha256"} <= set(head) or any(len(row) != len(head) for row in rows):
        raise GenebertError(f"{inputs} is no table of preflight", "delete it and run again")
    path, digest = head.index("path"), head.index("sha256")
    return {row[path]: row[digest] for row in rows[1:]}


def write_manifest(parts: Sequence[str | Path], out: str | Path) -> str:
    """Write ``manifest.json``: what each part holds and its SHA-256, and the whole; return a line.

    Raises
    ------
    GenebertError
        If parts disagree in metadata or their regions are not consecutive.
    """
    rows: list[dict[str, Any]] = []
    counts = dict.fromkeys(SPLITS, 0)
    contigs: dict[str, None] = {}
    expected = 0
    paths = sorted(map(Path, parts), key=str)
    metadata = _metadata_of(paths[0])
    for path in paths:
        if _metadata_of(path) != metadata:
            raise GenebertError(f"{path} is of another corpus than {paths[0]}", _MEND)
        table = read_whole(path, _MEND, ["region_id", "chrom", "split", "strand", "cell_type"])
        ids = table["region_id"].to_numpy()
        if not np.array_equal(ids, np.arange(expected, expected + len(ids))):
            raise GenebertError(
                f"regions of {path} do not follow those of the part before", "rebuild the corpus"
            )
        expected += len(ids)
        contigs |= dict.fromkeys(table["chrom"].unique().to_pylist())
        for split in pc.value_counts(table["split"]).to_pylist():
            if split["values"] not in counts:
                raise GenebertError(f"{path} names a split '{split['values']}'", _MEND)
            counts[split["values"]] += split["counts"]
        rows.append(
            {
                "part": path.name,
                "regions": len(ids),
                "hits": _length(table["strand"]),
                "views": _length(table["cell_type"]),
                "bytes": path.stat().st_size,
                "sha256": sha256(path),
            }
        )
    hits, views = (sum(row[name] for row in rows) for name in ("hits", "views"))
    write_json(
        out,
        {
            "version": VERSION,
            "parts": rows,
            "regions": expected,
            "regions_by_split": counts,
            "contigs": list(contigs),
            "hits": hits,
            "views": views,
            "metadata": metadata.model_dump(),
        },
    )
    return f"{expected} regions, {hits} hits, {views} views in {len(rows)} parts"


def _metadata_of(path: Path) -> Metadata:
    with readable(path, _MEND):
        return metadata_of(pq.read_schema(path), str(path))


def _length(lists: pa.ChunkedArray) -> int:
    return sum(len(chunk.flatten()) for chunk in lists.chunks)
