"""The exported matrix against the views' own and a plain computation from the parts."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from genebert.corpus.export import export
from genebert.corpus.read import Corpus, read_corpus
from genebert.corpus.sample import Views, place_corpus
from genebert.errors import GenebertError


@pytest.fixture(scope="module")
def rows(built: SimpleNamespace) -> pd.DataFrame:
    """The parts as they are."""
    return pd.concat([pq.read_table(part).to_pandas() for part in built.parts], ignore_index=True)


def test_an_export_equals_a_plain_loop_over_the_parts(
    built: SimpleNamespace, rows: pd.DataFrame, tmp_path: Path
) -> None:
    told = export(built.folder, "chrA:900-4100", "T", tmp_path / "m.npz")
    inside = (rows["chrom"] == "chrA") & (rows["start"] < 4100) & (rows["end"] > 900)
    own = rows[inside & rows["cell_type"].map(lambda numbers: 1 in numbers)]
    assert 5 < len(own) < len(rows) / 2
    expected = np.zeros((3, len(own)), np.float32)
    for column, row in enumerate(own.itertuples()):
        for motif, score in zip(row.motif, row.score, strict=True):
            expected[motif, column] = max(expected[motif, column], score)
    with np.load(tmp_path / "m.npz") as found:
        np.testing.assert_array_equal(found["matrix"], expected)
        assert found["matrix"].dtype == np.float32
        assert found["region_id"].tolist() == own["region_id"].tolist()
        assert found["start"].tolist() == own["start"].tolist()
        assert found["end"].tolist() == own["end"].tolist()
        assert found["regions"].tolist() == [f"chrA:{r.start}-{r.end}" for r in own.itertuples()]
        assert found["motifs"].tolist() == read_corpus(built.folder).metadata.motifs
        assert (str(found["cell_type"]), str(found["genome"])) == ("T", "tiny")
    assert (expected > 0).any()
    assert told == f"3 motifs × {len(own)} regions of chrA:900-4100 open in T"


def test_an_export_as_parquet_holds_the_same(built: SimpleNamespace, tmp_path: Path) -> None:
    export(built.folder, "chrA", "B", tmp_path / "m.npz")
    export(built.folder, "chrA", "B", tmp_path / "m.parquet")
    table = pd.read_parquet(tmp_path / "m.parquet").set_index("motif")
    with np.load(tmp_path / "m.npz") as found:
        assert table.index.tolist() == found["motifs"].tolist()
        assert table.columns.tolist() == found["regions"].tolist()
        np.testing.assert_array_equal(table.to_numpy(), found["matrix"])
    assert (table.dtypes == np.float32).all()
    assert b'"cell_type": "B"' in pq.read_schema(tmp_path / "m.parquet").metadata[b"genebert"]


def test_the_same_export_has_the_same_bytes(built: SimpleNamespace, tmp_path: Path) -> None:
    for suffix in ("npz", "parquet"):
        for name in ("a", "b"):
            export(built.folder, "chrA", "B", tmp_path / f"{name}.{suffix}")
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_an_export_equals_the_matrix_of_a_view(
    synthetic_corpus: Corpus, write_corpus: Callable, tmp_path: Path
) -> None:
    """All columns of a view: the regions of its stretch that are open in its cell type."""
    folder = write_corpus(synthetic_corpus, tmp_path / "corpus")
    views = Views(place_corpus(synthetic_corpus), "test", 41)  # the test split is one stretch of 20
    batch = views.batch(0, 0, torch.arange(20), augment=False)
    found = 0
    for cell_type in range(4):
        own = [i for i, row in enumerate(views.region) if views.cell_type[i] == cell_type]
        start = synthetic_corpus.start[views.region[own].numpy()]
        locus = f"chr1:{start.min()}-{start.max() + 60}"
        export(folder, locus, f"cell{cell_type}", tmp_path / "m.npz")
        with np.load(tmp_path / "m.npz") as file:
            matrix, regions = file["matrix"], file["region_id"].tolist()
        assert regions == views.region[own].tolist()
        for sample in range(20):
            columns = batch.matrix[sample][:, batch.present[sample]].numpy()
            if columns.shape == matrix.shape:
                found += np.array_equal(columns, matrix)
    assert found >= 20


@pytest.mark.parametrize(
    ("locus", "cell_type", "out", "words"),
    [
        ("chrA:0-6000", "b", "m.npz", "no cell type 'b'\nfix: name one of B, T"),
        ("chrA:0-6000", "T ", "m.npz", "no cell type 'T '\nfix: did you mean 'T'?"),
        ("chrC:0-90", "T", "m.npz", "contig 'chrC' is not in the genome (chrA, chrB"),
        ("chrA:90-0", "T", "m.npz", "'chrA:90-0' is no interval"),
        (
            "chrA:8000-9000",
            "T",
            "m.npz",
            "no region of chrA:8000-9000 is open in T\nfix: name a longer locus",
        ),
        (
            "chrA:0-6000",
            "T",
            "m.csv",
            "cannot write m.csv\nfix: name a file that ends in .npz or .parquet",
        ),
    ],
)
def test_what_cannot_be_exported_is_explained(
    built: SimpleNamespace, tmp_path: Path, locus: str, cell_type: str, out: str, words: str
) -> None:
    with pytest.raises(GenebertError) as told:
        export(built.folder, locus, cell_type, tmp_path / out)
    assert words in str(told.value)
    assert not any(tmp_path.iterdir())


def test_a_damaged_part_is_named(copy: Path, tmp_path: Path) -> None:
    part = copy / "part-0001.parquet"
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(GenebertError, match=r"part-0001\.parquet is missing or damaged"):
        export(copy, "chrA", "T", tmp_path / "m.npz")
