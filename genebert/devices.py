"""Which device a process computes on, and how."""

import ctypes
import os
import platform
import sys

import torch

from genebert.errors import GenebertError
from genebert.gpus import lease, leased, release, visible_gpus


def pick_device(require_gpu: bool = False) -> str:
    """Return ``cuda``, leased for this process until it ends, or ``cpu``, and say which on stderr.

    Call it before anything initialises CUDA. A worker of ``torchrun`` leases nothing: it gets the GPU
    of its local rank, as ``cuda:1``, among those its launcher leased.

    Parameters
    ----------
    require_gpu
        Fail where there is no GPU that torch can use, instead of computing on the CPU.

    Raises
    ------
    GenebertError
        If a GPU is required and there is none, or a worker has none of its own.
    """
    rank = os.environ.get("LOCAL_RANK")
    if rank is not None and torch.cuda.is_available():
        return _of_worker(int(rank))
    try:
        if rank is not None:
            raise GenebertError("torch sees no GPU", "see `nvidia-smi` and CUDA_VISIBLE_DEVICES")
        if not leased():
            lease_gpus(1)
    except GenebertError as error:
        if require_gpu:
            raise GenebertError(error.what, error.fix, "compute.require_gpu is set") from None
        print(f"device: CPU, because {error.what}\nfor a GPU: {error.fix}", file=sys.stderr)
        return "cpu"
    return "cuda"


def lease_gpus(number: int) -> None:
    """Lease so many GPUs for this process, or for the program it becomes; torch can use them.

    Raises
    ------
    GenebertError
        If not so many are visible, or torch cannot use them.
    """
    assert not torch.cuda.is_initialized(), "CUDA has chosen its devices already"
    try:
        visible = visible_gpus()
    except GenebertError as error:
        if number == 1:
            raise
        raise GenebertError(
            f"{number} GPUs asked, none visible: {error.what}",
            f"lower it, or {error.fix}",
            "compute.gpus",
        ) from None
    if torch.version.cuda is None:
        raise GenebertError(
            f"torch {torch.__version__} is built without CUDA, though {len(visible)} GPUs are visible",
            "install a CUDA build of torch (https://pytorch.org/get-started/locally)",
        )
    lease(number, visible)
    if not torch.cuda.is_available() or torch.cuda.device_count() != number:
        release()
        raise GenebertError(
            f"torch {torch.__version__} for CUDA {torch.version.cuda} cannot use the GPUs",
            "update NVIDIA's driver, or install a torch built for an older CUDA",
        )


def use_threads(threads: int, device: str = "cpu") -> None:
    """Compute on so many CPU threads; on the CPU deterministically: the same bits on the same machine.

    On CUDA determinism would cost speed, and still differ between cards and versions: it is left off.
    """
    torch.set_num_threads(threads)
    on_cpu = device == "cpu"
    torch.use_deterministic_algorithms(on_cpu, warn_only=True)
    # Uninitialised memory is never read here; filling it costs 5 % of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if on_cpu:
        _give_memory_back()


def _of_worker(rank: int) -> str:
    if rank >= torch.cuda.device_count():
        raise GenebertError(
            f"worker {rank} has no GPU of its own: torch sees {torch.cuda.device_count()}",
            "start as many workers as there are GPUs, or hide all GPUs with CUDA_VISIBLE_DEVICES=",
        )
    torch.cuda.set_device(rank)
    return f"cuda:{rank}"


def _give_memory_back() -> None:
    """Keep glibc from hoarding freed tensors.

    The number of tokens to predict differs from step to step, and blocks of ever new sizes fragment the
    heap: a demo run grew from 0.8 to 2.8 GB in 110 steps. Large blocks of their own go back at once,
    at about 10 % of the time of a step on the CPU.
    """
    if platform.libc_ver()[0] == "glibc":
        mmap_threshold = -3  # M_MMAP_THRESHOLD of <malloc.h>
        ctypes.CDLL(None).mallopt(mmap_threshold, 4 << 20)
