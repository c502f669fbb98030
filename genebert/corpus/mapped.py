"""A corpus larger than memory: its columns as files, mapped."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from genebert.corpus.columns import column_shapes, fill
from genebert.corpus.read import Corpus, read_manifest
from genebert.corpus.schema import Metadata
from genebert.errors import GenebertError
from genebert.files import sha256, write_json

_SOURCE = "source.json"  # which manifest the columns were made from


def map_corpus(folder: str | Path, cache: str | Path) -> Corpus:
    """Return a corpus whose columns are mapped from files, for one larger than memory.

    Parameters
    ----------
    folder
        Of the parts.
    cache
        Folder of the columns as ``.npy`` files, on a local disk where possible. It is written first
        where it does not exist or was made from another manifest.

    Raises
    ------
    GenebertError
        As :func:`genebert.corpus.read.read_corpus`; or if ``cache`` is a folder of something else.
    """
    manifest, cache = read_manifest(folder), Path(cache)
    digest = sha256(Path(folder) / "manifest.json")
    if _source_of(cache) != digest:
        _write_columns(Path(folder), manifest, digest, cache)
    # Copy-on-write: arrays that torch takes without a warning, and files that nobody changes.
    columns = {name: np.load(cache / f"{name}.npy", mmap_mode="c") for name in column_shapes(manifest)}
    return Corpus(Metadata(**manifest["metadata"]), manifest["contigs"], **columns)


def _source_of(cache: Path) -> str | None:
    """Return the digest of the manifest that mapped columns were made from, None without columns."""
    if not cache.exists():
        return None
    try:
        source: str = json.loads((cache / _SOURCE).read_text())["manifest"]
    except (OSError, ValueError, KeyError):
        raise GenebertError(
            f"{cache} exists and holds no mapped columns", "remove it, or name another folder"
        ) from None
    return source


def _write_columns(folder: Path, manifest: Mapping[str, Any], digest: str, cache: Path) -> None:
    """Write the columns to a folder of another name, which gets its own when they are complete."""
    cache.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{cache.name}.", dir=cache.parent))
    try:
        columns = {
            name: np.lib.format.open_memmap(temporary / f"{name}.npy", "w+", dtype, shape)
            for name, (dtype, shape) in column_shapes(manifest).items()
        }
        fill(folder, manifest, columns)
        for column in columns.values():
            column.flush()
        write_json(temporary / _SOURCE, {"manifest": digest})
        temporary.chmod(0o755)
        if _source_of(cache) != digest:  # no other process was faster
            shutil.rmtree(cache, ignore_errors=True)
            temporary.rename(cache)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
