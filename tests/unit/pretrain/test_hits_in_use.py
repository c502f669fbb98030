"""Motif hits where they are used: masked, and asked for, on the strand on which a sequence is read."""

from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch

from genebert.config import Model as ModelSettings
from genebert.config import Variant
from genebert.corpus.sample import Views, place_corpus
from genebert.model.genebert import GeneBERT
from genebert.motifs.reference import brute_force
from genebert.pretrain.prepare import Knowledge, Prepared, prepare
from genebert.sequence.tokens import MASK

SAMPLES = 24


class Drawn(NamedTuple):
    """Views with every hit masked, and the (motif, start, end, strand) that a scan of each finds."""

    part: Prepared
    scans: list[set[tuple[int, int, int, int]]]
    k: int


@pytest.fixture(scope="module")
def drawn(scanned: SimpleNamespace, tiny_settings: ModelSettings) -> Drawn:
    model = GeneBERT(tiny_settings, len(scanned.table.motifs))
    views = Views(place_corpus(scanned.corpus), "train", 5)
    batch = views.batch(3, 4, torch.arange(SAMPLES), augment=True)
    variant = Variant(masked_sequence=1, motif_target=1, masking="motif")
    knowledge = Knowledge(hits=scanned.hits, rate=1.0)
    part = prepare(model, views, batch, variant, "motif", knowledge, 0.5)
    width = [motif.log_odds.shape[1] for motif in scanned.table.motifs]
    texts = ["".join("ACGT"[code] for code in row) for row in batch.codes]
    scans = [
        {(m, start, start + width[m], strand) for m, start, strand, _ in found}
        for found in (brute_force(text, scanned.table.motifs) for text in texts)
    ]
    for strand in (False, True):
        read_so = (batch.flipped == strand).tolist()
        assert sum(len(hits) for hits, so in zip(scans, read_so, strict=True) if so) > 20
    return Drawn(part, scans, model.tokenizer.k)


def test_hits_of_a_batch_are_those_of_its_sequences_as_read(drawn: Drawn) -> None:
    assert drawn.part.hits is not None
    for sample, expected in enumerate(drawn.scans):
        rows = zip(*(column[sample].tolist() for column in drawn.part.hits), strict=True)
        assert {row for row in rows if row[0] >= 0} == expected


def test_tokens_that_overlap_a_hit_are_masked_and_no_others(drawn: Drawn) -> None:
    ids, shown = drawn.part.ids, drawn.part.shown
    asked = torch.zeros_like(ids, dtype=torch.bool)
    asked.view(-1)[drawn.part.asked] = True
    for sample, hits in enumerate(drawn.scans):
        over = {
            token + 1  # after [CLS]
            for _, start, end, _ in hits
            for token in range(ids.shape[1] - 2)
            if token < end and start < token + drawn.k
        }
        assert set(asked[sample].nonzero()[:, 0].tolist()) == over
    assert torch.equal(shown[~asked], ids[~asked])
    assert ((shown == MASK) & asked).sum() > 0.6 * asked.sum()
