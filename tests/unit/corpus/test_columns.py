"""Columns number as many contigs and cell types as a corpus has, or refuse it."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from genebert.corpus.columns import column_shapes
from genebert.corpus.manifest import read_manifest
from genebert.corpus.mapped import map_corpus
from genebert.corpus.read import Corpus, read_corpus
from genebert.errors import GenebertError


def test_more_contigs_than_an_int16_numbers_keep_their_names(
    make_corpus: Callable, write_corpus: Callable, tmp_path: Path
) -> None:
    number = 33_000
    one = make_corpus([("chr1", "train", 1)])
    many = dataclasses.replace(
        one,
        contigs=[f"scaffold{n}" for n in range(number)],
        contig=np.arange(number),
        **{name: np.repeat(getattr(one, name), number, 0) for name in ("start", "split", "sequence")},
        best=np.zeros((number, one.best.shape[1]), np.uint8),
        open_offsets=np.arange(number + 1),
        open_cell_type=np.zeros(number, np.int16),
    )
    folder = write_corpus(many, tmp_path / "corpus")
    for read in (read_corpus(folder), map_corpus(folder, tmp_path / "cache")):
        assert read.contigs == many.contigs
        assert np.array_equal(read.contig, np.arange(number))


def test_more_cell_types_than_an_int16_numbers_are_refused(
    synthetic_corpus: Corpus, write_corpus: Callable, tmp_path: Path
) -> None:
    names = [f"cell{number:05d}" for number in range(32_769)]
    metadata = synthetic_corpus.metadata.model_copy(update={"cell_types": names})
    corpus = dataclasses.replace(synthetic_corpus, metadata=metadata)
    folder = write_corpus(corpus, tmp_path / "corpus", parts=1)
    with pytest.raises(GenebertError, match="32769 cell types, more than the 32768 that can be read"):
        read_corpus(folder)
    manifest = read_manifest(folder)
    manifest["metadata"]["cell_types"].pop()
    dtype, _ = column_shapes(manifest)["open_cell_type"]
    assert np.iinfo(dtype).max == len(manifest["metadata"]["cell_types"]) - 1
