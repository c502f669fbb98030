"""Cell types that are kept out of pre-training."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from genebert.corpus.read import Corpus
from genebert.errors import GenebertError


def held_out_numbers(cell_types: Sequence[str], names: Sequence[str]) -> list[int]:
    """Return the numbers of the cell types to hold out, sorted.

    Parameters
    ----------
    cell_types
        Of a corpus (:attr:`genebert.corpus.schema.Metadata.cell_types`).
    names
        Those to hold out, in any order.

    Raises
    ------
    GenebertError
        If one is in no sample, or none is left to train on.
    """
    if unknown := [name for name in names if name not in cell_types]:
        raise GenebertError(
            f"the held-out cell type '{unknown[0]}' is in no sample",
            f"use some of {', '.join(cell_types)}",
            "cell_types",
        )
    if set(cell_types) == set(names):
        raise GenebertError(
            "every cell type is held out: none is left to pre-train on",
            "name fewer in cell_types.validation and cell_types.test",
            "cell_types",
        )
    return sorted(cell_types.index(name) for name in set(names))


def without_cell_types(corpus: Corpus, names: Sequence[str]) -> Corpus:
    """Return a corpus in which some cell types do not occur: no view, statistic or count is of them.

    Regions keep their rows; one that is open in none of the cell types left is never viewed
    (:meth:`genebert.corpus.read.Corpus.viewed`). Its columns are shared with the one given, but for
    those that say where regions are open.

    Parameters
    ----------
    corpus
        In memory or mapped.
    names
        Cell types to leave out; none gives the corpus as it is.

    Raises
    ------
    GenebertError
        As :func:`held_out_numbers`.
    """
    if not names:
        return corpus
    cell_types = corpus.metadata.cell_types
    stays = np.ones(len(cell_types), dtype=bool)
    stays[held_out_numbers(cell_types, names)] = False
    views = stays[corpus.open_cell_type]
    before = np.concatenate([[0], np.cumsum(views)])
    number = (np.cumsum(stays) - 1).astype(np.int16)
    left = [name for name, kept in zip(cell_types, stays, strict=True) if kept]
    return dataclasses.replace(
        corpus,
        metadata=corpus.metadata.model_copy(update={"cell_types": left}),
        open_offsets=before[corpus.open_offsets],
        open_cell_type=number[corpus.open_cell_type[views]],
        held_out=tuple(sorted(set(names))),
    )
