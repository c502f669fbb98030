"""Optimiser and learning rate."""

import math

import torch
from torch import nn


def learning_rate(step: int, steps: int, warmup: int, peak: float) -> float:
    """Return the rate of step 0 … steps − 1: linear warm-up to ``peak``, then cosine decay to zero."""
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return peak * 0.5 * (1 + math.cos(math.pi * done))


def adamw(model: nn.Module, rate: float, weight_decay: float) -> torch.optim.AdamW:
    """Return AdamW that decays matrices only: not biases, norms, marks or scales."""
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            # Swin's tables of biases and the marks of rows are matrices by their shape only.
            is_weight = parameter.ndim > 1 and name.rpartition(".")[2] not in ("bias", "row")
            (decayed if is_weight else spared).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), fused=True)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give every parameter the same learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate
