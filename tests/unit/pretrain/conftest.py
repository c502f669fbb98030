"""A small corpus with true motif hits, as files: what tests of masking and of `motif_target` share."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from genebert.corpus.hits import PlacedHits, read_hits
from genebert.corpus.read import Corpus, read_corpus
from genebert.corpus.scores import from_steps, to_steps
from genebert.corpus.write import write_manifest, write_rows
from genebert.motifs.reference import brute_force
from genebert.motifs.table import (
    MotifTable,
    motif_probabilities,
    read_motif_table,
    write_motif_table,
)
from genebert.pretrain.npmi_table import write_npmi

MOTIFS, WIDTH = 12, 60
Rows = list[list[tuple[int, int, int, float]]]


def _random_motifs(rng: np.random.Generator) -> str:
    """Return motifs of 4 to 7 bp in JASPAR text format."""
    text = ""
    for number in range(MOTIFS):
        length = 4 + number % 4
        counts = np.full((4, length), 3)
        counts[rng.integers(0, 4, length), np.arange(length)] = 91
        text += f">MA{9000 + number}.1 M{number}\n"
        text += "".join(
            f"{base} [ {' '.join(map(str, row))} ]\n" for base, row in zip("ACGT", counts, strict=True)
        )
    return text


def _scanned(corpus: Corpus, table: MotifTable) -> Rows:
    """Return motif, position, strand and stored score of each region's hits."""
    spans = [(motif.lowest, motif.highest) for motif in table.motifs]
    texts = ("".join("ACGTN"[code] for code in row) for row in corpus.sequence)
    return [
        [
            (
                m,
                place,
                strand,
                float(from_steps(to_steps(np.array((s - spans[m][0]) / np.ptp(spans[m]))))),
            )
            for m, place, strand, s in brute_force(text, table.motifs)
        ]
        for text in texts
    ]


def _columns(rows: Rows) -> Iterator[tuple[str, list[Any]]]:
    for number, name in enumerate(("motif", "position", "strand", "score")):
        kind = np.float16 if name == "score" else np.int64
        yield name, [np.array([hit[number] for hit in hits], kind) for hits in rows]


@pytest.fixture(scope="session")
def write_hits(write_corpus: Callable) -> Callable[[Corpus, Rows, Path], Path]:
    """Write a corpus with chosen hits of each region: motif, position, strand and score."""

    def write(corpus: Corpus, rows: Rows, folder: Path) -> Path:
        parts = sorted(write_corpus(corpus, folder).glob("*.parquet"))
        for part in parts:
            content = pq.read_table(part)
            own = [rows[region] for region in content["region_id"].to_pylist()]
            for name, values in _columns(own):
                place = content.schema.get_field_index(name)
                field = content.schema.field(place)
                content = content.set_column(place, field, pa.array(values, field.type))
            write_rows(content.replace_schema_metadata(), corpus.metadata, part)
        write_manifest(parts, folder / "manifest.json")
        return folder

    return write


@pytest.fixture(scope="session")
def scanned(
    make_corpus: Callable,
    write_hits: Callable[[Corpus, Rows, Path], Path],
    background: list[float],
    tmp_path_factory: pytest.TempPathFactory,
) -> SimpleNamespace:
    """120 regions of 60 bp, 12 motifs and all of their hits, tables of motifs and of 3-mers."""
    folder = tmp_path_factory.mktemp("scanned")
    (folder / "motifs.jaspar").write_text(_random_motifs(np.random.default_rng(3)))
    table = folder / "motifs.parquet"
    write_motif_table(folder / "motifs.jaspar", background, 1.0, 0.006, 0.02, "file", None, table)
    motifs = read_motif_table(table)
    corpus = make_corpus(motifs=MOTIFS, width=WIDTH)
    about = corpus.metadata.model_copy(
        update={"motifs": [motif.label for motif in motifs.motifs], "motif_digest": motifs.digest()}
    )
    corpus = dataclasses.replace(corpus, metadata=about)
    rows = _scanned(corpus, motifs)
    place = write_hits(corpus, rows, folder / "corpus")
    write_npmi(place, 3, folder / "npmi.parquet")
    return SimpleNamespace(
        folder=place,
        corpus=read_corpus(place),
        rows=rows,
        table=motifs,
        motifs=table,
        npmi=folder / "npmi.parquet",
        hits=PlacedHits(read_hits(place), motif_probabilities(motifs)[1], "cpu"),
    )
