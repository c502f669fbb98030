"""What a pre-training starts from is fitted to training regions alone."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from genebert.config import Model as ModelSettings
from genebert.config import Variant
from genebert.corpus.read import Corpus, read_corpus
from genebert.pretrain.setup import Sources, gather_knowledge, initial_model


@pytest.mark.parametrize("split", ["validation", "test", "train"])
def test_the_first_weights_and_statistics_are_those_of_training_regions(
    synthetic_corpus: Corpus, tiny_settings: ModelSettings, split: str
) -> None:
    sequence, best = synthetic_corpus.sequence.copy(), synthetic_corpus.best.copy()
    rows = synthetic_corpus.in_split(split)
    sequence[rows], best[rows] = 0, 128
    other = dataclasses.replace(synthetic_corpus, sequence=sequence, best=best)
    first, second = (
        initial_model(tiny_settings, Variant(matching=1), 1, corpus).state_dict()
        for corpus in (synthetic_corpus, other)
    )
    changed = {name for name in first if not torch.equal(first[name], second[name])}
    assert changed == ({"row_mean", "row_std", "composition_mean"} if split == "train" else set())


def test_masking_of_hits_is_calibrated_on_those_of_training_regions(
    scanned: SimpleNamespace, write_hits: Callable, tiny_settings: ModelSettings, tmp_path: Path
) -> None:
    variant = Variant(masked_sequence=1, masking="motif")
    model = initial_model(tiny_settings, variant, 1, scanned.corpus)

    def rate(without: np.ndarray) -> float:
        rows = [[] if none else hits for hits, none in zip(scanned.rows, without, strict=True)]
        folder = write_hits(scanned.corpus, rows, tmp_path / str(np.flatnonzero(without)[0]))
        sources = Sources(scanned.motifs)
        return gather_knowledge(read_corpus(folder), folder, sources, variant, model, "cpu").rate

    all_hits = gather_knowledge(
        scanned.corpus, scanned.folder, Sources(scanned.motifs), variant, model, "cpu"
    ).rate
    assert 0 < all_hits < 1
    assert rate(scanned.corpus.in_split("validation")) == all_hits
    assert rate(scanned.corpus.in_split("test")) == all_hits
    thinned = scanned.corpus.in_split("train") & (np.arange(scanned.corpus.regions) % 4 == 0)
    assert rate(thinned) > all_hits
