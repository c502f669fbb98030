"""Operations by formula against those that torch counts."""

from collections.abc import Callable

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from genebert.config import Model, RegionEncoder, SequenceEncoder
from genebert.model.flops import region_encoder_flops, sequence_encoder_flops, view_flops
from genebert.model.genebert import GeneBERT

BATCH, MOTIFS, HIDDEN, GROUP = 4, 37, 7, 2


def counted(run: Callable[[], torch.Tensor]) -> float:
    """Return what torch counts in making a number and its gradients, for one sample of the batch."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        run().backward()
    return counter.get_total_flops() / BATCH


@pytest.fixture
def model() -> GeneBERT:
    settings = Model(
        columns=11,
        projection=12,
        sequence=SequenceEncoder(k=3, layers=2, width=16, heads=2, feedforward=40, positions=32),
        region=RegionEncoder(patch=[4, 1], window=[4, 3], width=8, depths=[2, 1, 2], heads=[1, 2, 4]),
    )
    return GeneBERT(settings, MOTIFS)


@pytest.fixture
def ids() -> torch.Tensor:
    return torch.randint(5, 69, (BATCH, 20), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_the_sequence_encoder(model: GeneBERT, ids: torch.Tensor, norm: str) -> None:
    settings = model.settings.sequence.model_copy(update={"norm": norm})
    model = GeneBERT(model.settings.model_copy(update={"sequence": settings}), MOTIFS)
    found = counted(lambda: model.sequence_encoder(ids).sum())
    assert found == sequence_encoder_flops(settings, 20)


@pytest.mark.parametrize(("motifs", "columns"), [(37, 11), (64, 24), (16, 3), (1, 1)])
def test_the_region_encoder(model: GeneBERT, motifs: int, columns: int) -> None:
    model = GeneBERT(model.settings, motifs)
    matrix, present = torch.rand(BATCH, motifs, columns), torch.ones(BATCH, columns, dtype=torch.bool)

    def run() -> torch.Tensor:
        encoded, _ = model.region_encoder(matrix, present)
        return encoded.sum()

    found = counted(run)
    assert found == region_encoder_flops(model.settings.region, motifs, columns)


@pytest.mark.parametrize(
    "objectives",
    [
        {"masked_sequence"},
        {"masked_region"},
        {"matching"},
        {"masked_sequence", "masked_region", "matching"},
    ],
    ids=["masked_sequence", "masked_region", "matching", "all"],
)
def test_whole_views(model: GeneBERT, ids: torch.Tensor, objectives: set[str]) -> None:
    matrix, present = torch.rand(BATCH, MOTIFS, 11), torch.ones(BATCH, 11, dtype=torch.bool)

    def run() -> torch.Tensor:
        losses = []
        if objectives & {"masked_sequence", "matching"}:
            hidden = model.sequence_encoder(ids)
        if objectives & {"masked_region", "matching"}:
            encoded, valid = model.region_encoder(matrix, present)
        if "masked_sequence" in objectives:
            asked = hidden[:, :HIDDEN].flatten(0, 1)
            losses.append(model.masked_sequence_head(asked, model.sequence_encoder.token.weight))
        if "masked_region" in objectives:
            losses.append(model.masked_region_head(encoded, MOTIFS, 11))
        if "matching" in objectives:
            sequence = model.pool_sequence(hidden, ids).view(-1, GROUP, model.sequence_width)
            region = model.pool_region(encoded, valid, matrix[:, :, 5]).view(
                -1, GROUP, model.region_width
            )
            losses.append(model.similarity(sequence, region))
        return torch.stack([loss.sum() for loss in losses]).sum()

    expected = view_flops(model.settings, MOTIFS, 20, HIDDEN, GROUP, objectives)
    assert counted(run) == expected


def test_bert_base_is_585_mflop_a_token_with_logits_of_every_token() -> None:
    settings = Model()
    flops = view_flops(settings, 1014, 512, 512, 64, {"masked_sequence"}) / 512
    assert flops == pytest.approx(585e6, rel=0.01)
