"""What a corpus holds, and whether it is what its manifest says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from genebert.catalogue import digest_of_places
from genebert.corpus.content import faults, order_faults
from genebert.corpus.manifest import COUNTS, read_manifest
from genebert.corpus.schema import SCHEMA, Metadata, metadata_of
from genebert.errors import GenebertError
from genebert.files import sha256
from genebert.genome import SPLITS, Genome
from genebert.motifs.scan import fetch_all
from genebert.motifs.table import read_motif_table
from genebert.parquet import readable

_PLACE = ["chrom", "start", "end", "split"]
_MEND = "rebuild the corpus, or fetch an undamaged copy"


def info(folder: str | Path) -> str:
    """Return what a corpus holds, as text of several lines.

    Parameters
    ----------
    folder
        Of the parts and ``manifest.json``.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    metadata = Metadata(**manifest["metadata"])
    regions, parts = manifest["regions"], manifest["parts"]
    size = sum(part["bytes"] for part in parts)
    open_in = np.zeros(len(metadata.cell_types), np.int64)
    for part in parts:
        for group in _tables(folder / part["part"], ["cell_type"]):
            numbers = group["cell_type"].combine_chunks().flatten().to_numpy()
            open_in += np.bincount(numbers, minlength=len(open_in))
    splits = ", ".join(f"{manifest['regions_by_split'][split]:,} {split}" for split in SPLITS)
    lines = [
        f"corpus of {metadata.genome}, contract version {manifest['version']}",
        f"regions: {regions:,} of {metadata.width} bp on {len(manifest['contigs'])} contigs ({splits})",
        f"size: {size:,} bytes in {len(parts)} parts, {size / regions:.0f} a region",
        f"motifs: {len(metadata.motifs):,}, digest {metadata.motif_digest}; thresholds "
        f"{min(metadata.thresholds):.2f} to {max(metadata.thresholds):.2f} nat, "
        f"realised p {min(metadata.realised_p):.2g} to {max(metadata.realised_p):.2g}",
        f"hits: {manifest['hits']:,}, {manifest['hits'] / regions:.0f} a region",
        f"views: {manifest['views']:,}, the open regions of {len(metadata.cell_types)} cell types:",
        *(f"  {name}: {n:,}" for name, n in zip(metadata.cell_types, open_in, strict=True)),
        "inputs (SHA-256):",
        *(f"  {path}: {digest}" for path, digest in metadata.inputs.items()),
        "made with: " + ", ".join(f"{name} {number}" for name, number in metadata.packages.items()),
    ]
    return "\n".join(lines)


def check(
    folder: str | Path, motif_table: str | Path | None = None, genome: str | Path | None = None
) -> str:
    """Verify every part of a corpus; return a line on what was checked.

    Parameters
    ----------
    folder
        Of the parts and ``manifest.json``.
    motif_table
        The scored motifs that the corpus should be of; None to leave that out.
    genome
        The indexed FASTA that the sequences should be of; None to leave that out.

    Raises
    ------
    GenebertError
        At the first thing that is wrong; file, row and column are named.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    metadata = Metadata(**manifest["metadata"])
    if motif_table is not None:
        _check_motifs(metadata, motif_table, folder)
    fasta = None if genome is None else Genome(genome)
    _check_listed(folder, manifest)
    first, places = 0, []
    for part in manifest["parts"]:
        path = folder / part["part"]
        _check_bytes(path, part)
        counts, place = _check_content(path, metadata, first, fasta)
        places.append(place.assign(part=path, row=np.arange(len(place))))
        for name in COUNTS:
            _require_equal(counts[name], part[name], path, name)
        first += counts["regions"]
    whole = pd.concat(places, ignore_index=True)
    for contigs in (manifest["contigs"], *([list(fasta.lengths)] if fasta else [])):
        for row, column, what in order_faults(whole, contigs):
            _fail(whole["part"][row], whole["row"][row], column, what)
    splits = {split: int((whole["split"] == split).sum()) for split in SPLITS}
    of_parts = {"regions_by_split": splits, "contigs": whole["chrom"].unique().tolist()}
    for name, found in of_parts.items():
        _require_equal(found, manifest[name], folder / "manifest.json", f"{name} of the parts")
    catalogue = digest_of_places(pa.Table.from_pandas(whole[_PLACE]).to_batches())
    _require_equal(catalogue, metadata.catalogue, folder / "manifest.json", "hash of all places")
    given = [name for name, path in (("motifs", motif_table), ("genome", genome)) if path is not None]
    return (
        f"{len(manifest['parts'])} parts are as the manifest and the contract say: "
        + ", ".join(f"{manifest[name]:,} {name}" for name in COUNTS)
        + (f"; of the {' and the '.join(given)} given" if given else "")
    )


def _check_motifs(metadata: Metadata, motif_table: str | Path, folder: Path) -> None:
    table = read_motif_table(motif_table)
    if table.digest() == metadata.motif_digest:
        return
    names = [motif.label for motif in table.motifs]
    rows = min(len(names), len(metadata.motifs))
    differ = [row for row in range(rows) if names[row] != metadata.motifs[row]]
    if differ:
        how = f"row {differ[0]} is {names[differ[0]]} there and {metadata.motifs[differ[0]]} here"
    elif len(names) != len(metadata.motifs):
        how = f"{len(names)} motifs there, {len(metadata.motifs)} here"
    else:
        how = "same names, other scores, thresholds or background"
    raise GenebertError(
        f"foreign motif list: {motif_table} is not what the corpus was made with ({how})",
        "name the motif table that the corpus was made with, or rebuild the corpus",
        str(folder),
    )


def _check_listed(folder: Path, manifest: dict[str, Any]) -> None:
    listed = {part["part"] for part in manifest["parts"]}
    for path in sorted(folder.glob("part-*.parquet")):
        if path.name not in listed:
            raise GenebertError(
                f"{path} is not in the manifest", "remove it if it is of another run, or " + _MEND
            )


def _check_bytes(path: Path, part: dict[str, Any]) -> None:
    if not path.is_file():
        raise GenebertError(f"{path} is missing", _MEND)
    _require_equal(path.stat().st_size, part["bytes"], path, "bytes")
    _require_equal(sha256(path), part["sha256"], path, "SHA-256")


def _check_content(
    path: Path, metadata: Metadata, first: int, fasta: Genome | None
) -> tuple[dict[str, int], pd.DataFrame]:
    """Check a part whose first region should be ``first``.

    Return its counts, and chrom, start, end, split of its regions.
    """
    if metadata_of(_schema(path), str(path)) != metadata:
        raise GenebertError(f"{path} is of another corpus: its metadata differ", _MEND)
    counts = dict.fromkeys(COUNTS, 0)
    places = [SCHEMA.empty_table().select(_PLACE).to_pandas()]
    for table in _tables(path):
        before = counts["regions"]
        for row, column, what in faults(table, first + before, metadata):
            _fail(path, before + row, column, what)
        place = table.select(_PLACE).to_pandas()
        if fasta is not None:
            genome = fetch_all(fasta, place)
            for row, sequence in enumerate(table["sequence"].to_pylist()):
                if sequence != genome[row]:
                    _fail(path, before + row, "sequence", "is not the genome's")
        counts["regions"] += len(table)
        counts["hits"] += len(table["motif"].combine_chunks().flatten())
        counts["views"] += len(table["cell_type"].combine_chunks().flatten())
        places.append(place)
    return counts, pd.concat(places)


def _schema(path: Path) -> pa.Schema:
    with readable(path, _MEND):
        return pq.read_schema(path)


def _tables(path: Path, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """Yield the row groups of a part."""
    with readable(path, _MEND), pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, columns=columns)


def _require_equal(found: object, said: object, path: Path, what: str) -> None:
    if found != said:
        raise GenebertError(f"{path}: {what} {found}, the manifest says {said}", _MEND)


def _fail(path: Path, row: int, column: str, what: str) -> None:
    raise GenebertError(f"{path}: row {row}, column {column}: {what}", _MEND)
