"""Whether the installed torch can compute on a GPU, known before any job runs, without importing it.

On a login node without a GPU, installers take a build for the CPU without a word; every job of the
cluster would then hold a GPU and compute on the CPU.
"""

import importlib.util
import runpy
import shutil
from importlib.metadata import version
from pathlib import Path

from genebert.config import Compute
from genebert.errors import GenebertError

_FIX = (
    "install a CUDA build of torch (https://pytorch.org/get-started/locally) where the "
    "jobs run, or set `compute.gpus: 0`"
)


def built_for_gpus() -> bool:
    """Return whether torch is built for CUDA or ROCm; false too where there is no torch."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    # A few assignments, which need nothing of torch.
    build = runpy.run_path(str(Path(spec.origin).with_name("version.py")))
    return build.get("cuda") is not None or build.get("hip") is not None


def check_torch(compute: Compute) -> str | None:
    """Look whether torch can use the GPUs that are asked for, as far as the build decides it.

    Returns
    -------
    str or None
        A warning in two lines, where jobs would compute on the CPU though this machine belongs to a
        cluster or has GPUs.

    Raises
    ------
    GenebertError
        If jobs would fail: GPUs are required, or more than one is asked for.
    """
    if compute.gpus == 0 or built_for_gpus():
        return None
    what = f"torch {version('torch')} is built without CUDA, and compute.gpus is {compute.gpus}"
    if compute.require_gpu or compute.gpus > 1:
        raise GenebertError(what, _FIX)
    if shutil.which("sbatch") or shutil.which("nvidia-smi"):
        return f"warning: {what}: jobs will compute on the CPU\nfix: {_FIX}"
    return None
