"""A corpus without some cell types, against the same worked out region by region."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert.corpus.held_out import held_out_numbers, without_cell_types
from genebert.corpus.mapped import map_corpus
from genebert.corpus.read import Corpus, read_corpus
from genebert.corpus.sample import Views, place_corpus
from genebert.errors import GenebertError

NAMES = ["cell0", "cell1", "cell2", "cell3"]


def _open_in(corpus: Corpus) -> list[list[str]]:
    """Return the names of the cell types that each region is open in."""
    return [
        [corpus.metadata.cell_types[number] for number in corpus.open_cell_type[first:last]]
        for first, last in zip(corpus.open_offsets[:-1], corpus.open_offsets[1:], strict=True)
    ]


@given(names=st.lists(st.sampled_from(NAMES), max_size=3, unique=True))
@settings(max_examples=12, deadline=None)
def test_only_their_views_are_gone(synthetic_corpus: Corpus, names: list[str]) -> None:
    found = without_cell_types(synthetic_corpus, names)
    kept = [[name for name in own if name not in names] for own in _open_in(synthetic_corpus)]
    assert _open_in(found) == kept
    assert found.metadata.cell_types == [name for name in NAMES if name not in names]
    assert found.held_out == tuple(sorted(names))
    for split in ("train", "validation", "test"):
        expected = found.in_split(split) & np.array([bool(own) for own in kept])
        assert (found.viewed(split) == expected).all()
    for name in ("contig", "start", "split", "sequence", "best"):
        assert getattr(found, name) is getattr(synthetic_corpus, name)
    assert found.open_offsets.dtype == synthetic_corpus.open_offsets.dtype
    assert found.open_cell_type.dtype == synthetic_corpus.open_cell_type.dtype


def test_nothing_held_out_is_the_corpus_itself(synthetic_corpus: Corpus) -> None:
    assert without_cell_types(synthetic_corpus, []) is synthetic_corpus
    assert synthetic_corpus.held_out == ()
    assert (synthetic_corpus.viewed("train") == synthetic_corpus.in_split("train")).all()


def test_no_view_looks_at_a_region_that_is_open_elsewhere_only(synthetic_corpus: Corpus) -> None:
    names = ["cell0", "cell2"]
    only = np.array([set(own) <= set(names) for own in _open_in(synthetic_corpus)])
    assert 5 < only.sum() < 60
    views = Views(place_corpus(without_cell_types(synthetic_corpus, names)), "train", 5)
    expected = [
        (name, region)
        for name in ("cell1", "cell3")
        for region, own in enumerate(_open_in(synthetic_corpus))
        if name in own and synthetic_corpus.in_split("train")[region]
    ]
    left = ["cell1", "cell3"]
    found = [(left[c], r) for c, r in zip(views.cell_type.tolist(), views.region.tolist(), strict=True)]
    assert found == expected
    columns = views.columns_of(torch.arange(len(views)))
    assert not only[columns[columns >= 0].numpy()].any()


def test_a_mapped_corpus_stays_as_it_is(
    synthetic_corpus: Corpus, write_corpus: Callable[..., Path], tmp_path: Path
) -> None:
    folder = write_corpus(synthetic_corpus, tmp_path / "corpus")
    mapped = map_corpus(folder, tmp_path / "cache")
    found = without_cell_types(mapped, ["cell1"])
    assert _open_in(found) == _open_in(without_cell_types(read_corpus(folder), ["cell1"]))
    assert _open_in(mapped) == _open_in(synthetic_corpus)
    assert isinstance(found.sequence, np.memmap)


def test_names_that_do_not_fit_are_refused(synthetic_corpus: Corpus) -> None:
    assert held_out_numbers(NAMES, ["cell3", "cell1", "cell3"]) == [1, 3]
    with pytest.raises(GenebertError, match="the held-out cell type 'Liver' is in no sample") as told:
        without_cell_types(synthetic_corpus, ["cell0", "Liver"])
    assert told.value.fix == "use some of cell0, cell1, cell2, cell3"
    with pytest.raises(GenebertError, match="every cell type is held out"):
        without_cell_types(synthetic_corpus, NAMES)


def test_a_corpus_of_one_cell_type_may_hold_out_none(synthetic_corpus: Corpus) -> None:
    one = without_cell_types(synthetic_corpus, NAMES[1:])
    assert one.metadata.cell_types == ["cell0"]
    assert without_cell_types(dataclasses.replace(one, held_out=()), []).metadata == one.metadata
