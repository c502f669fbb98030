from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from genebert.benchmarks.genes import SCHEMA, read_genes_to_score, site_offset, write_genes
from genebert.benchmarks.positions import score
from genebert.errors import GenebertError

BASES = "ACGTN"


def _genes(rng: np.random.Generator, width: int, lengths: list[int]) -> pd.DataFrame:
    beside, rows = width // 2, []
    for number, length in enumerate(lengths):
        sequence = "".join(rng.choice(list(BASES), length + 2 * beside, p=[0.24] * 4 + [0.04]))
        places = beside + np.sort(rng.choice(length, min(6, length), replace=False))
        start = int(rng.integers(0, 10_000))
        place = (f"chr{number % 2}", start, start + length, "+-"[number % 2])
        rows.append((f"G{number}", *place, sequence, places[::2], places[1::2]))
    return pd.DataFrame(rows, columns=SCHEMA.names)


def _answer(codes: np.ndarray) -> np.ndarray:
    """Some numbers that depend on every base of a window and on its place."""
    weights = np.sin(np.arange(codes.shape[1] * 3)).reshape(3, -1)
    return codes.astype(np.float64) @ weights.T


@pytest.mark.parametrize("width", [20, 21])
def test_every_position_is_scored_as_a_plain_loop_would(tmp_path: Path, width: int) -> None:
    genes = _genes(np.random.default_rng(width), width, [300, 1, 5000, 47])
    write_genes(genes, width, tmp_path / "genes.parquet")
    sizes = []

    def of_sequences(codes: np.ndarray) -> np.ndarray:
        assert codes.dtype == np.uint8
        assert codes.flags.c_contiguous
        sizes.append(codes.shape)
        return _answer(codes)

    table, scores = score(tmp_path / "genes.parquet", of_sequences)
    expected, windows = [], []
    for gene in genes.itertuples():
        for distance in range(gene.end - gene.start):
            at = width // 2 + distance
            position = gene.start + distance if gene.strand == "+" else gene.end - 1 - distance
            label = 1 if at in gene.donors else 2 if at in gene.acceptors else 0
            place = [gene.chrom, position, position + 1, gene.strand, label]
            expected.append([*place, "any", "positions", gene.gene])
            first = at - site_offset(width)
            windows.append([BASES.index(base) for base in gene.sequence[first : first + width]])
    names = ["chrom", "start", "end", "strand", "label", "cell_type", "split", "subset"]
    assert table[names].astype(object).values.tolist() == expected
    assert scores.dtype == np.float32
    assert np.allclose(scores, _answer(np.array(windows)), atol=1e-4)
    assert table["label"].value_counts().to_dict()[1] == sum(map(len, genes["donors"])) > 5
    assert max(number for number, _ in sizes) == 4096, "a model is asked for bounded batches"
    assert {length for _, length in sizes} == {width}


def test_the_site_is_the_last_base_before_the_middle() -> None:
    assert [site_offset(width) for width in (400, 401, 20)] == [199, 200, 9]


def test_without_genes_there_is_nothing_to_score(tmp_path: Path) -> None:
    write_genes(pd.DataFrame(columns=SCHEMA.names), 400, tmp_path / "genes.parquet")
    found, width = read_genes_to_score(tmp_path / "genes.parquet")
    assert (len(found), width) == (0, 400)
    table, scores = score(tmp_path / "genes.parquet", _answer)
    assert (len(table), scores.shape) == (0, (0, 3))


def test_genes_are_read_as_written(tmp_path: Path) -> None:
    genes = _genes(np.random.default_rng(3), 20, [30, 40])
    for name in ("a", "b"):
        write_genes(genes, 20, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    found, _ = read_genes_to_score(tmp_path / "a")
    pd.testing.assert_frame_equal(found, genes, check_dtype=False)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    pd.DataFrame({"gene": ["A"]}).to_parquet(tmp_path / "other.parquet")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "other.parquet").read_bytes()[:-9])
    for name, said in (
        ("other.parquet", "holds no genes of this version"),
        ("cut.parquet", "missing or damaged"),
        ("none.parquet", "missing or damaged"),
    ):
        with pytest.raises(GenebertError, match=said):
            score(tmp_path / name, _answer)
