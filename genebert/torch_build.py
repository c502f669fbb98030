"""Whether the installed torch can compute on a GPU, known before any job runs, without importing it.

On a login node without a GPU, installers take a build for the CPU without a word; every job of the
cluster would then hold a GPU and compute on the CPU.
"""

import importlib.util
import runpy
import shutil
from pathlib import Path
from typing import Any

from genebert.config import Compute
from genebert.errors import GenebertError

_WHERE = "https://pytorch.org/get-started/locally"
_FIX = f"install a CUDA build of torch ({_WHERE}) where the jobs run, or set `compute.gpus: 0`"


def torch_build() -> dict[str, Any]:
    """Return what torch says of its build (``__version__``, ``cuda``, ``hip``), if there is one."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return {}
    # A few assignments, which need nothing of torch.
    return runpy.run_path(str(Path(spec.origin).with_name("version.py")))


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
        If jobs would fail: there is no torch, GPUs are required, or several GPUs or nodes are asked for.
    """
    if compute.gpus == 0:
        return None
    build = torch_build()
    if not build:
        raise GenebertError("torch is not installed", f"install it where the jobs run ({_WHERE})")
    if build.get("cuda") is not None or build.get("hip") is not None:
        return None
    what = f"torch {build['__version__']} is built without CUDA, and compute.gpus is {compute.gpus}"
    if compute.require_gpu or compute.gpus > 1 or compute.nodes > 1:
        raise GenebertError(what, _FIX)
    if shutil.which("sbatch") or shutil.which("nvidia-smi"):
        return f"warning: {what}: jobs will compute on the CPU\nfix: {_FIX}"
    return None
