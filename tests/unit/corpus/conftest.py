"""A small corpus built from peaks, genome and motifs through every stage: shared by these tests."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from genebert.corpus.write import write_manifest, write_part
from genebert.genome import split_segments
from genebert.inputs.peaks import write_peaks
from genebert.motifs.scan import scan_chunk
from genebert.motifs.table import read_motif_table, write_motif_table
from genebert.regions import write_regions

CHUNKS = 3
WIDTH = 90


def _build(folder: Path, genome: Path, motifs: Path, chunks: int = CHUNKS) -> SimpleNamespace:
    """Peaks of three samples on the tiny genome, through every stage up to the manifest."""
    rng = np.random.default_rng(5)
    files = {}
    for sample in ("s1", "s2", "s3"):
        rows = []
        for number in range(15):
            chrom, length = (("chrA", 6000), ("chrB", 3000))[int(rng.integers(2))]
            summit = int(rng.integers(10, length - 10))
            place = (chrom, summit - 10, summit + 10, f"{sample}_{number}")
            rows.append((*place, float(rng.random()), summit))
        files[sample] = folder / f"peaks/{sample}.bed.gz"
        names = ["chrom", "start", "end", "name", "signal", "summit"]
        write_peaks(pd.DataFrame(rows, columns=names), files[sample])
    lengths = {"chrA": 6000, "chrB": 3000, "chrC": 90}
    segments = split_segments(lengths, ["chrB:0-1000"], ["chrA:3000-4500"])
    cell_type_of = {"s1": "T", "s2": "B", "s3": "T"}
    write_regions(files, cell_type_of, WIDTH, segments, folder / "regions")
    table = folder / "motifs.parquet"
    write_motif_table(motifs, [0.295, 0.205, 0.205, 0.295], 1.0, 0.01, 0.05, "similarity", None, table)
    inputs = folder / "preflight.tsv"
    inputs.write_text("input\tpath\trecords\tsha256\ns1\ta.bed\t15\tabc\nmotifs\tm\t3\tdef\n")
    found = SimpleNamespace(
        genome=genome,
        regions=folder / "regions/regions.parquet",
        accessibility=folder / "regions/accessibility.parquet",
        table=table,
        inputs=inputs,
        cell_types=["T", "B"],
        folder=folder / "corpus",
        parts=[],
        hits=[],
    )
    for chunk in range(chunks):
        hits = folder / f"hits-{chunk}.parquet"
        scan_chunk(genome, found.regions, read_motif_table(table), chunk, chunks, hits)
        found.hits.append(hits)
        part = found.folder / f"part-{chunk:04d}.parquet"
        found.parts.append(part)
        _part(found, hits, chunk, chunks, part)
    write_manifest(found.parts, found.folder / "manifest.json")
    return found


def _part(built: SimpleNamespace, hits: Path, chunk: int, chunks: int, out: Path) -> None:
    write_part(
        built.genome,
        "tiny",
        built.regions,
        built.accessibility,
        built.table,
        hits,
        built.inputs,
        built.cell_types,
        chunk,
        chunks,
        out,
    )


@pytest.fixture(scope="session")
def build_corpus() -> Callable[..., SimpleNamespace]:
    """Build a corpus of chosen genome, motifs and number of chunks in a folder."""
    return _build


@pytest.fixture(scope="session")
def part_of_corpus() -> Callable[..., None]:
    """Write one part from the files that a built corpus names."""
    return _part


@pytest.fixture(scope="session")
def built(
    tmp_path_factory: pytest.TempPathFactory, tiny_genome: Path, few_motifs: Path
) -> SimpleNamespace:
    """Some 40 regions of 90 bp on two contigs in three parts: cell types B and T, three motifs."""
    return _build(tmp_path_factory.mktemp("built"), tiny_genome, few_motifs)


@pytest.fixture
def copy(built: SimpleNamespace, tmp_path: Path) -> Path:
    """A corpus that a test may spoil."""
    shutil.copytree(built.folder, tmp_path / "corpus")
    return tmp_path / "corpus"
