"""Both alleles of variants, and both strands: what a model reads of them, as examples."""

from dataclasses import replace

import numpy as np

from genebert.benchmarks.dataset import Dataset


def with_alternatives(dataset: Dataset) -> Dataset:
    """Return the examples with their alternative alleles in place of the references."""
    assert dataset.alternative_codes is not None, "the task has no alternatives"
    assert dataset.alternative_hits is not None
    return replace(dataset, codes=dataset.alternative_codes, hits=dataset.alternative_hits)


def on_other_strand(dataset: Dataset) -> Dataset:
    """Return the examples read on the other strand; hits are of both already."""
    assert (dataset.codes < 4).all(), "windows without N, of one width"
    return replace(dataset, codes=np.ascontiguousarray(3 - dataset.codes[:, ::-1]))
