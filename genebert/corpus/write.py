"""Hits, sequences and accessibility -> corpus parts and their manifest."""

import csv
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from genebert.corpus.schema import VERSION, Metadata, metadata_of, with_metadata
from genebert.errors import GenebertError
from genebert.files import complete_or_absent, sha256, write_json
from genebert.genome import SPLITS, Genome
from genebert.motifs.scan import chunk_bounds, fetch_all
from genebert.motifs.table import read_motif_table


def write_part(
    fasta: str | Path,
    genome_name: str,
    regions: str | Path,
    accessibility: str | Path,
    motif_table: str | Path,
    hits: str | Path,
    inputs: str | Path,
    chunk: int,
    chunks: int,
    out: str | Path,
) -> str:
    """Write one part of the corpus; return a line on it.

    Parameters
    ----------
    fasta, genome_name
        The indexed genome and its assembly's name.
    regions, accessibility
        The whole catalogue.
    motif_table, hits
        The scored motifs and this chunk's hits.
    inputs
        The table that preflight wrote: its checksums become metadata.
    chunk, chunks
        Which part of how many.
    out
        Parquet file to write.
    """
    catalogue = pq.read_table(regions).to_pandas()
    first, last = chunk_bounds(len(catalogue), chunk, chunks)
    rows = catalogue.iloc[first:last]
    open_in = pq.read_table(accessibility).to_pandas()
    cell_types = sorted(open_in["cell_type"].unique())
    metadata = _metadata(motif_table, genome_name, rows, cell_types, inputs)
    open_in = open_in[open_in["region_id"].between(first, last - 1)].sort_values(
        ["region_id", "cell_type"]
    )
    index = {cell_type: number for number, cell_type in enumerate(cell_types)}
    found = pq.read_table(hits)
    hit_offsets = _offsets(found["region_id"].to_numpy(), first, last)
    open_offsets = _offsets(open_in["region_id"].to_numpy(), first, last)
    table = pa.table(
        {
            "region_id": pa.array(rows["region_id"], pa.uint32()),
            "chrom": pa.array(rows["chrom"], pa.string()),
            "start": pa.array(rows["start"], pa.int64()),
            "end": pa.array(rows["end"], pa.int64()),
            "split": pa.array(rows["split"], pa.string()),
            "sequence": pa.array(fetch_all(Genome(fasta), rows), pa.string()),
            **{
                name: pa.ListArray.from_arrays(hit_offsets, found[name].combine_chunks())
                for name in ("motif", "position", "strand", "score")
            },
            "cell_type": pa.ListArray.from_arrays(
                open_offsets, pa.array(open_in["cell_type"].map(index), pa.uint16())
            ),
            "signal": pa.ListArray.from_arrays(open_offsets, pa.array(open_in["signal"], pa.float32())),
        },
        schema=with_metadata(metadata),
    )
    with complete_or_absent(out) as temporary:
        pq.write_table(table, temporary, compression="zstd", row_group_size=16384)
    return f"{len(rows)} regions, {len(found)} hits"


def _offsets(region_ids: np.ndarray, first: int, last: int) -> pa.Array:
    """Return list offsets of sorted region ids; every region has a list, if empty."""
    ids = region_ids.astype(np.int64)
    if len(ids) and (ids[0] < first or ids[-1] >= last or (np.diff(ids) < 0).any()):
        raise GenebertError(
            f"hits or signals are not those of regions {first} to {last - 1}, in order",
            "delete the motifs folder and run again",
        )
    return pa.array(np.searchsorted(ids, np.arange(first, last + 1)), pa.int32())


def _metadata(
    motif_table: str | Path,
    genome_name: str,
    rows: pd.DataFrame,
    cell_types: Sequence[str],
    inputs: str | Path,
) -> Metadata:
    table = read_motif_table(motif_table)
    with Path(inputs).open(newline="") as text:
        checksums = {row["path"]: row["sha256"] for row in csv.DictReader(text, delimiter="\t")}
    return Metadata(
        version=VERSION,
        genome=genome_name,
        width=int(rows["end"].iloc[0] - rows["start"].iloc[0]) if len(rows) else 0,
        motifs=[motif.label for motif in table.motifs],
        motif_digest=table.digest(),
        thresholds=[motif.threshold for motif in table.motifs],
        realised_p=[motif.realised_p for motif in table.motifs],
        background=table.background,
        pseudocount=table.pseudocount,
        cell_types=list(cell_types),
        inputs=checksums,
        packages={name: version(name) for name in ("MOODS-python", "pyarrow")},
    )


def write_manifest(parts: Sequence[str | Path], out: str | Path) -> str:
    """Write ``manifest.json``: each part's rows and SHA-256, and counts of the whole; return a line.

    Raises
    ------
    GenebertError
        If parts disagree in metadata or their regions are not consecutive.
    """
    rows: list[dict[str, Any]] = []
    counts = dict.fromkeys(SPLITS, 0)
    first: Metadata | None = None
    expected, hits, pairs = 0, 0, 0
    for part in sorted(parts, key=str):
        metadata = metadata_of(pq.read_schema(part), str(part))
        table = pq.read_table(part, columns=["region_id", "split", "motif", "cell_type"])
        ids = table["region_id"].to_numpy()
        if not np.array_equal(ids, np.arange(expected, expected + len(ids))):
            raise GenebertError(
                f"regions of {part} do not follow those of the part before", "rebuild the corpus"
            )
        if len(ids):
            if first is not None and metadata != first:
                raise GenebertError(f"{part} is of another corpus", "rebuild the corpus")
            first = metadata
        expected += len(ids)
        for split in table["split"].to_pylist():
            counts[split] += 1
        hits += sum(len(chunk.flatten()) for chunk in table["motif"].chunks)
        pairs += sum(len(chunk.flatten()) for chunk in table["cell_type"].chunks)
        rows.append({"part": Path(part).name, "regions": len(ids), "sha256": sha256(part)})
    if first is None:
        raise GenebertError("the corpus has no regions", "give peaks")
    write_json(
        out,
        {
            "version": VERSION,
            "parts": rows,
            "regions": expected,
            "regions_by_split": counts,
            "hits": hits,
            "views": pairs,
            "metadata": first.model_dump(),
        },
    )
    return f"{expected} regions, {hits} hits, {pairs} views in {len(rows)} parts"
