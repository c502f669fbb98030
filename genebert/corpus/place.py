"""Where the columns of a corpus go: into memory where they fit, else mapped from files."""

import os
import sys
from pathlib import Path

import numpy as np
import torch

from genebert.corpus.columns import column_shapes
from genebert.corpus.manifest import read_manifest
from genebert.corpus.mapped import map_corpus
from genebert.corpus.read import Corpus, read_corpus

# Columns may take this share of free memory: the rest is for the network and its activations.
SHARE = 0.5
# Where Linux says what a batch system allows a job: by kind of control group, root, limit and use.
_CONTROL_GROUPS = {
    "": ("/sys/fs/cgroup", "memory.max", "memory.current"),
    "memory": ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
}


def open_corpus(folder: str | Path, device: str) -> Corpus:
    """Read a corpus where it fits in the memory of host and device, else map it; say which on stderr.

    Parameters
    ----------
    folder
        Of the parts; mapped columns are kept in its sub-folder ``columns``.
    device
        That batches are made on, such as ``cpu`` or ``cuda:1``.
    """
    shapes = column_shapes(read_manifest(folder)).values()
    needed = sum(np.prod(shape, dtype=np.int64) * np.dtype(dtype).itemsize for dtype, shape in shapes)
    free = free_memory(device)
    fits = needed <= SHARE * free
    cache = Path(folder) / "columns"
    print(
        f"corpus: {needed / 1e9:.2f} GB of columns, {free / 1e9:.1f} GB free: "
        + ("in memory" if fits else f"mapped from {cache}"),
        file=sys.stderr,
    )
    return read_corpus(folder) if fits else map_corpus(folder, cache)


def free_memory(device: str) -> int:
    """Return the free bytes of the host, or of the GPU where it has fewer."""
    host = _free_on_host()
    return min(host, torch.cuda.mem_get_info()[0]) if device != "cpu" else host


def _free_on_host() -> int:
    """Return the bytes that the machine has free, or that a batch system leaves to this job."""
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():  # not Linux
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    free = _figure(meminfo, "MemAvailable:") * 1024
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, kind, own = line.split(":", 2)
        if kind in ("", "memory"):
            root, limit, usage = _CONTROL_GROUPS[kind]
            group = Path(root) / own.lstrip("/")
            for folder in (group, *group.parents):
                if folder.is_relative_to(root) and (folder / usage).exists():
                    # What the group read from files lately is counted as its own, and given up at need.
                    files = _figure(folder / "memory.stat", "inactive_file")
                    left = _figure(folder / limit) - _figure(folder / usage) + files
                    free = min(free, max(left, 0))
    return free


def _figure(path: Path, name: str = "") -> int:
    """Return the figure after a name, or the file's only one; ``max`` is no limit."""
    words = path.read_text().split()
    figure = words[words.index(name) + 1 if name else 0]
    return sys.maxsize if figure == "max" else int(figure)
