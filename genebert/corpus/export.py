"""The dense TF × region matrix of a locus in a cell type, as a file for other tools."""

import difflib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from genebert.corpus.manifest import read_manifest
from genebert.corpus.schema import SCHEMA, Metadata
from genebert.corpus.scores import add_best, from_steps, to_steps
from genebert.errors import GenebertError
from genebert.files import complete_or_absent
from genebert.genome import Interval, parse_interval
from genebert.parquet import read_parquet

_PLACE = ("region_id", "chrom", "start", "end")
_COLUMNS = pa.schema([SCHEMA.field(name) for name in (*_PLACE, "motif", "score", "cell_type")])
_ANYWHERE = 2**62  # a corpus does not know how long a contig is


def export(folder: str | Path, locus: str, cell_type: str, out: str | Path) -> str:
    """Write the matrix of the regions that overlap a locus and are open in a cell type; return a line.

    Only the row groups that hold the locus are read.

    Parameters
    ----------
    folder
        Of the corpus.
    locus
        ``chrom:start-end`` (bp, 0-based half-open) or ``chrom``.
    cell_type
        One of the corpus.
    out
        File to write. ``.npz`` holds ``matrix`` (float32 [T, R], best hit's score, 0 where there is
        none), ``motifs``, ``regions`` (``chrom:start-end``), ``region_id``, ``start``, ``end``,
        ``cell_type``, ``genome``. ``.parquet`` has one row a motif, its name in ``motif``, and one
        float32 column a region named ``chrom:start-end``; the rest is in the file's metadata.

    Raises
    ------
    GenebertError
        If the cell type or contig is unknown, no such region is open, or the suffix is another.
    """
    folder, out = Path(folder), Path(out)
    if out.suffix not in (".npz", ".parquet"):
        raise GenebertError(f"cannot write {out.name}", "name a file that ends in .npz or .parquet")
    manifest = read_manifest(folder)
    metadata = Metadata(**manifest["metadata"])
    number = _number_of(cell_type, metadata.cell_types)
    interval = parse_interval(locus, dict.fromkeys(manifest["contigs"], _ANYWHERE))
    parts = [folder / part["part"] for part in manifest["parts"]]
    rows = pd.concat(
        [_regions_of(part, interval, number, len(metadata.motifs)) for part in parts], ignore_index=True
    )
    if rows.empty:
        raise GenebertError(f"no region of {locus} is open in {cell_type}", "name a longer locus")
    best = np.zeros((len(rows), len(metadata.motifs)), np.uint8)
    motif, score = np.concatenate(rows["motif"]), np.concatenate(rows["score"])
    add_best(best, rows["motif"].map(len).to_numpy(), motif, to_steps(score))
    matrix = from_steps(best.T)
    names = [f"{row.chrom}:{row.start}-{row.end}" for row in rows.itertuples()]
    with complete_or_absent(out) as temporary:
        if out.suffix == ".npz":
            with temporary.open("wb") as file:
                np.savez_compressed(
                    file,
                    matrix=matrix,
                    motifs=np.array(metadata.motifs),
                    regions=np.array(names),
                    region_id=rows["region_id"].to_numpy(),
                    start=rows["start"].to_numpy(),
                    end=rows["end"].to_numpy(),
                    genome=np.array(metadata.genome),
                    cell_type=np.array(cell_type),
                )
        else:
            columns = [pa.array(metadata.motifs), *(pa.array(column) for column in matrix.T)]
            facts = {
                "genome": metadata.genome,
                "cell_type": cell_type,
                "region_id": rows["region_id"].tolist(),
                "motif_digest": metadata.motif_digest,
            }
            table = pa.Table.from_arrays(columns, ["motif", *names])
            table = table.replace_schema_metadata({"genebert": json.dumps(facts, sort_keys=True)})
            pq.write_table(table, temporary, compression="zstd")
    return f"{len(matrix)} motifs × {len(rows)} regions of {locus} open in {cell_type}"


def _number_of(cell_type: str, names: Sequence[str]) -> int:
    if cell_type in names:
        return names.index(cell_type)
    close = difflib.get_close_matches(cell_type, names, n=1)
    fix = f"did you mean '{close[0]}'?" if close else f"name one of {', '.join(names)}"
    raise GenebertError(f"the corpus has no cell type '{cell_type}'", fix)


def _regions_of(part: Path, place: Interval, cell_type: int, motifs: int) -> pd.DataFrame:
    """Return the rows of a part that overlap a place and are open in a cell type."""
    within = (pc.field("chrom") == place.chrom) & (pc.field("start") < place.end)
    table = read_parquet(part, _COLUMNS, "rebuild the corpus", within & (pc.field("end") > place.start))
    rows: pd.DataFrame = table.to_pandas()
    lengths = rows["motif"].map(len)
    hits = np.concatenate([np.empty(0, np.int64), *rows["motif"]])
    scores = np.concatenate([np.empty(0), *rows["score"]])
    if (
        (lengths != rows["score"].map(len)).any()
        or (hits >= motifs).any()
        or not ((scores >= 0) & (scores <= 1)).all()
    ):
        raise GenebertError(f"{part}: hits are damaged", "rebuild the corpus")
    return rows[[cell_type in numbers for numbers in rows["cell_type"]]]
