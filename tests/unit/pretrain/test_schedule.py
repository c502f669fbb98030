"""Learning rate and weight decay."""

import itertools
import math

import pytest
import torch
from torch import nn

from genebert.model.genebert import GeneBERT
from genebert.pretrain.schedule import adamw, learning_rate, set_rate


def test_warm_up_rises_in_equal_steps_to_the_peak() -> None:
    rates = [learning_rate(step, 100, 10, 2.0) for step in range(11)]
    assert rates[:10] == pytest.approx([0.2 * (step + 1) for step in range(10)])
    assert rates[10] == pytest.approx(2.0)


def test_the_rate_falls_from_the_peak_to_almost_zero() -> None:
    rates = [learning_rate(step, 1000, 100, 1.0) for step in range(100, 1000)]
    assert all(later < earlier for earlier, later in itertools.pairwise(rates))
    assert rates[450] == pytest.approx(0.5)  # half of a cosine's way
    assert rates[225] == pytest.approx(0.5 + 0.5 * math.cos(math.pi / 4))
    assert 0 < rates[-1] < 1e-4


def test_without_warm_up_the_first_step_is_at_the_peak() -> None:
    assert learning_rate(0, 50, 0, 3.0) == 3.0


def test_set_rate_reaches_every_group() -> None:
    optimiser = adamw(nn.Linear(3, 3), 1.0, 0.1)
    set_rate(optimiser, 0.25)
    assert [group["lr"] for group in optimiser.param_groups] == [0.25, 0.25]


def test_decay_shrinks_matrices_and_nothing_else(tiny_model: GeneBERT) -> None:
    with torch.no_grad():
        for parameter in tiny_model.parameters():
            parameter.fill_(1.0)
    optimiser = adamw(tiny_model, 0.5, 0.1)
    for parameter in tiny_model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    for name, parameter in tiny_model.named_parameters():
        spared = name.endswith((".bias", "norm.weight", ".row", "_mark", "mask_token", "log_scale"))
        expected = 1.0 if spared else 1 - 0.5 * 0.1
        torch.testing.assert_close(parameter, torch.full_like(parameter, expected), msg=name)
    names = dict(tiny_model.named_parameters())
    assert names["log_scale"].item() == 1.0
    assert names["region_encoder.norm.weight"].unique().tolist() == [1.0]


def test_every_weight_is_optimised_once(tiny_model: GeneBERT) -> None:
    groups = adamw(tiny_model, 1.0, 0.1).param_groups
    held = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(held) == sorted(map(id, tiny_model.parameters()))
