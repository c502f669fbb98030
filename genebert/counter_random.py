"""Random numbers that are a function of their place: the same on every device, with no state.

The generator is SplitMix64's finaliser (Steele, Lea & Flood 2014) folded over the counters, in
wrapping 64-bit integers, which CPU and GPU compute alike.
"""

import torch

_WORD = 1 << 64


def _signed(value: int) -> int:
    value %= _WORD
    return value - _WORD if value >= _WORD // 2 else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_FIRST = _signed(0xBF58476D1CE4E5B9)
_SECOND = _signed(0x94D049BB133111EB)


def _shift_right(x: torch.Tensor, bits: int) -> torch.Tensor:
    return (x >> bits) & ((1 << (64 - bits)) - 1)  # logical: torch shifts the sign in


def mix(x: torch.Tensor) -> torch.Tensor:
    """Return a bijective scrambling of int64 values."""
    x = x + _GOLDEN
    x = (x ^ _shift_right(x, 30)) * _FIRST
    x = (x ^ _shift_right(x, 27)) * _SECOND
    return x ^ _shift_right(x, 31)


def sample_keys(seed: int, step: int, indices: torch.Tensor) -> torch.Tensor:
    """Return int64 [batch], the key of each sample: a function of seed, step, index in the batch."""
    start = torch.full_like(indices, _signed(seed))
    return mix(mix(mix(start) ^ step) ^ indices)


def uniform(keys: torch.Tensor, stream: int, count: int) -> torch.Tensor:
    """Return float64 [batch, count] in [0, 1).

    Parameters
    ----------
    keys
        int64 [batch], from :func:`sample_keys`.
    stream
        Names the use: draws of different streams are independent.
    count
        Numbers a sample.
    """
    counters = torch.arange(count, device=keys.device) + (stream << 32)
    bits = mix(mix(keys)[:, None] ^ counters)
    return _shift_right(bits, 11).to(torch.float64) * 2.0**-53


def integers(keys: torch.Tensor, stream: int, high: int) -> torch.Tensor:
    """Return int64 [batch] in [0, high)."""
    return (uniform(keys, stream, 1)[:, 0] * high).long().clamp_(max=high - 1)
