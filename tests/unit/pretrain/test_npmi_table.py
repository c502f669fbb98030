"""The NPMI table of a corpus: what it counts, and what it is refused for."""

import json
import math
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from genebert.corpus.read import Corpus
from genebert.errors import GenebertError
from genebert.pretrain.npmi_table import read_npmi, write_npmi
from genebert.sequence.npmi import count_ngrams, npmi
from genebert.sequence.tokens import SPECIAL, KmerTokenizer

COMPLEMENT = str.maketrans("ACGTN", "TGCAN")


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, synthetic_corpus: Corpus, write_corpus: Callable[..., Path]
) -> Path:
    """The synthetic corpus in three parts: 80 training regions of 60 bp; 3-mers reach the count."""
    return write_corpus(synthetic_corpus, tmp_path_factory.mktemp("npmi") / "corpus")


@pytest.fixture(scope="module")
def table(folder: Path) -> Path:
    path = folder.parent / "npmi.parquet"
    write_npmi(folder, 3, path)
    return path


def test_it_counts_training_regions_on_both_strands(table: Path, synthetic_corpus: Corpus) -> None:
    counts: Counter[str] = Counter()
    for codes in synthetic_corpus.sequence[synthetic_corpus.in_split("train")]:
        text = "".join("ACGTN"[code] for code in codes)
        for strand in (text, text[::-1].translate(COMPLEMENT)):
            counts.update(strand[i : i + 3] for i in range(len(strand) - 2))
    expected = {kmer: count for kmer, count in counts.items() if count >= 101 and "N" not in kmer}
    assert 0 < len(expected) < 64
    found = pq.read_table(table).to_pandas()
    assert dict(zip(found["kmer"], found["count"], strict=True)) == expected


def test_rows_are_ranked_by_npmi(table: Path) -> None:
    found = pq.read_table(table).to_pandas()
    keys = list(zip(-found["npmi"], found["kmer"], strict=True))
    assert keys == sorted(keys)
    discount = np.log(found["count"]) / (np.log(found["count"]) + math.log(101))
    np.testing.assert_allclose(found["npmi"], found["pmi"] * discount, rtol=1e-5)


def test_it_is_read_by_token_id(table: Path, synthetic_corpus: Corpus) -> None:
    by_id = read_npmi(table, 3, synthetic_corpus.metadata.catalogue)
    training = synthetic_corpus.sequence[synthetic_corpus.in_split("train")]
    assert by_id.dtype == np.float32
    assert np.isneginf(by_id[: len(SPECIAL)]).all()
    expected = npmi(count_ngrams(training, 3)).astype(np.float32)
    np.testing.assert_array_equal(by_id[len(SPECIAL) :], expected)
    best = pq.read_table(table)["kmer"][0].as_py()
    assert by_id[KmerTokenizer(3).vocabulary.index(best)] == by_id.max()


def test_the_same_corpus_gives_the_same_bytes(folder: Path, table: Path, tmp_path: Path) -> None:
    write_npmi(folder, 3, tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == table.read_bytes()


def test_a_corpus_too_small_to_rank_gives_a_table_that_ranks_nothing(
    folder: Path, synthetic_corpus: Corpus, tmp_path: Path
) -> None:
    line = write_npmi(folder, 6, tmp_path / "npmi.parquet")
    assert line.startswith("0 of 4096 6-mers")
    by_id = read_npmi(tmp_path / "npmi.parquet", 6, synthetic_corpus.metadata.catalogue)
    assert len(by_id) == 4101
    assert np.isneginf(by_id).all()


@pytest.mark.parametrize(
    ("k", "catalogue", "words"),
    [
        (4, "regions of seed 0", "ranks k-mers of 3 bp, the model reads 4"),
        (3, "regions of seed 1", "is of another corpus"),
    ],
)
def test_a_table_of_another_k_or_corpus_is_refused(
    table: Path, k: int, catalogue: str, words: str
) -> None:
    with pytest.raises(GenebertError, match=words):
        read_npmi(table, k, catalogue)


def test_what_is_no_table_is_refused(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1")
    part = next(folder.glob("part-*.parquet"))
    for path, words in (
        (tmp_path / "none.parquet", "is missing or damaged"),
        (broken, "is missing or damaged"),
        (part, "is no NPMI table"),
    ):
        with pytest.raises(GenebertError, match=words) as told:
            read_npmi(path, 3, "regions of seed 0")
        assert len(str(told.value).splitlines()) == 2


def test_single_bases_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(GenebertError, match="a single base has no NPMI"):
        write_npmi(folder, 1, tmp_path / "npmi.parquet")


def test_a_corpus_without_training_regions_is_refused(
    make_corpus: Callable[..., Corpus], write_corpus: Callable[..., Path], tmp_path: Path
) -> None:
    corpus = write_corpus(make_corpus((("chr1", "test", 9),)), tmp_path / "corpus")
    with pytest.raises(GenebertError, match="no training region"):
        write_npmi(corpus, 3, tmp_path / "npmi.parquet")
    assert not (tmp_path / "npmi.parquet").exists()


def test_a_damaged_corpus_is_refused(
    folder: Path, make_corpus: Callable[..., Corpus], write_corpus: Callable[..., Path], tmp_path: Path
) -> None:
    other = write_corpus(make_corpus(seed=1), tmp_path / "other")

    def refused(spoil: Callable[[Path], object]) -> str:
        copy = shutil.copytree(folder, tmp_path / "corpus")
        spoil(copy)
        with pytest.raises(GenebertError) as told:
            write_npmi(copy, 3, tmp_path / "npmi.parquet")
        shutil.rmtree(copy)
        assert not (tmp_path / "npmi.parquet").exists()
        return told.value.what

    def miscount(copy: Path) -> None:
        content = json.loads((copy / "manifest.json").read_text())
        content["regions_by_split"]["train"] -= 1
        (copy / "manifest.json").write_text(json.dumps(content))

    part = "part-1.parquet"
    assert "part-1.parquet is missing" in refused(lambda copy: (copy / part).unlink())
    assert "is of another corpus" in refused(lambda copy: shutil.copy(other / part, copy / part))
    assert "80 training regions, the manifest says 79" in refused(miscount)
