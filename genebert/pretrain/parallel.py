"""Pre-training on several devices: one process a device, started by torchrun.

The processes share out each global batch and add up what they found. Alone, a process adds nothing.
"""

import atexit
import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TypeVar

import torch
from torch import distributed, nn

from genebert.errors import GenebertError

T = TypeVar("T")
# The others wait while one of them saves a checkpoint or opens the corpus.
_PATIENCE = timedelta(minutes=30)
# Before an error is told that another process may tell; torchrun stops the others within one second.
SECONDS_FOR_THE_FIRST, _SECONDS_FOR_THE_CAUSE = 5.0, 10.0


@contextlib.contextmanager
def one_voice() -> Iterator[None]:
    """Have one of the processes that torchrun, or srun, started say what is wrong.

    What all of them find the first one tells. What a process cannot do because another has ended, that
    one has told, or torchrun tells that it was killed. So the others wait with their errors, and
    torchrun and srun stop them meanwhile.
    """
    try:
        yield
    except (GenebertError, OSError):
        # Of a worker, or of the node whose workers it would start.
        if os.environ.get("RANK", os.environ.get("SLURM_NODEID", "0")) != "0":
            time.sleep(SECONDS_FOR_THE_FIRST)
        raise
    except Exception:
        if "RANK" in os.environ:
            time.sleep(_SECONDS_FOR_THE_CAUSE)
        raise


@contextlib.contextmanager
def joined(device: str) -> Iterator[None]:
    """Join the processes that torchrun started, if it did, for the length of the block.

    Parameters
    ----------
    device
        Of this process: GPUs talk by NCCL, CPUs by gloo.
    """
    if "LOCAL_RANK" not in os.environ:
        yield
        return
    distributed.init_process_group("gloo" if device == "cpu" else "nccl", timeout=_PATIENCE)
    try:
        yield
    except BaseException as error:
        # The others may be gone, and NCCL would wait for them, in its destructor too.
        code = int(error.code or 0) if isinstance(error, SystemExit) else 1
        atexit.register(os._exit, code)
        raise
    distributed.destroy_process_group()


def rank() -> int:
    """Return the number of this process, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world() -> int:
    """Return the number of processes."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def wait() -> None:
    """Wait until all processes have come here."""
    if distributed.is_initialized():
        distributed.barrier()


def total(values: torch.Tensor) -> torch.Tensor:
    """Return the sum over all processes, without gradients."""
    values = values.detach().clone()
    if distributed.is_initialized():
        distributed.all_reduce(values)
    return values


def from_first(content: T) -> T:
    """Return what the first process holds, on the CPU, to all of them."""
    if not distributed.is_initialized():
        return content
    box = [content]
    distributed.broadcast_object_list(box)
    return box[0]


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Give each parameter the sum of the gradients that the processes found.

    Losses are divided by counts over the global batch before: sums are what one process would find.
    """
    if not distributed.is_initialized():
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    distributed.all_reduce(flat)
    for gradient, summed in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(summed.view_as(gradient))


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, own: torch.Tensor) -> torch.Tensor:  # type: ignore[no-untyped-def]
        ctx.size = len(own)
        parts = [torch.empty_like(own) for _ in range(world())]
        distributed.all_gather(parts, own.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> torch.Tensor:  # type: ignore[no-untyped-def]
        # What every process has to say about the samples of this one.
        gradient = gradient.contiguous()
        distributed.all_reduce(gradient)
        return gradient[rank() * ctx.size : (rank() + 1) * ctx.size]


def gather(own: torch.Tensor) -> torch.Tensor:
    """Return the rows of all processes, [world · n, …] of [n, …], through which gradients flow back."""
    gathered: torch.Tensor = _Gather.apply(own)
    return gathered
