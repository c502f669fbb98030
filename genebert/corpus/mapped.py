"""A corpus larger than memory: its columns as files, mapped."""

import contextlib
import errno
import fcntl
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from genebert.corpus.columns import column_shapes, fill
from genebert.corpus.manifest import read_manifest
from genebert.corpus.read import Corpus
from genebert.corpus.schema import Metadata
from genebert.errors import GenebertError, fix_of
from genebert.files import digest_of

_LOCK = ".lock"
# Columns by the digest of what they were made from, and such under construction.
_OWN_NAME = re.compile(r"[0-9a-f]{16}(\..*\.tmp)?")
# Lustre is often mounted without locks; a finished cache may be readable only.
_NO_LOCK = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EACCES, errno.EROFS)


def map_corpus(folder: str | Path, cache: str | Path) -> Corpus:
    """Return a corpus whose columns are mapped from files, for one larger than memory.

    Parameters
    ----------
    folder
        Of the parts.
    cache
        Folder of the columns, on a local disk where possible: ``.npy`` files in a sub-folder named by
        the digest of the manifest and of the columns' types. The first of several processes writes
        them, and removes those of other manifests; the others wait.

    Raises
    ------
    GenebertError
        As :func:`genebert.corpus.read.read_corpus`; or if ``cache`` cannot be written, or its files
        are not the columns that they should be.
    """
    manifest, cache = read_manifest(folder), Path(cache)
    shapes = column_shapes(manifest)
    types = {name: [np.dtype(dtype).str, shape] for name, (dtype, shape) in shapes.items()}
    own = cache / digest_of({"manifest": manifest, "columns": types})
    with _lock_of(cache) as alone:
        if not own.exists():
            if alone:
                _remove_stale(cache)
            _write_columns(Path(folder), manifest, own)
        columns: dict[str, Any] = {name: _mapped(own / f"{name}.npy", *shapes[name]) for name in shapes}
    return Corpus(Metadata(**manifest["metadata"]), manifest["contigs"], **columns)


@contextlib.contextmanager
def _lock_of(cache: Path) -> Iterator[bool]:
    """Hold the exclusive lock of a folder, waiting for it; yield whether there is one to hold.

    Closing the file frees the lock, and so does killing the process.
    """
    with contextlib.ExitStack() as stack:
        try:
            cache.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context((cache / _LOCK).open("a"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"{cache}: another process is at it, waiting", file=sys.stderr, flush=True)
                fcntl.flock(file, fcntl.LOCK_EX)
            alone = True
        except OSError as error:
            if error.errno not in _NO_LOCK:
                raise _unusable(cache, error) from None
            alone = False
        yield alone


def _remove_stale(cache: Path) -> None:
    """Remove columns of other manifests, and what killed processes left.

    Only for the holder of the lock: nobody else writes. Who has mapped a file keeps what it holds.
    """
    for path in cache.iterdir():
        if _OWN_NAME.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)


def _write_columns(folder: Path, manifest: Mapping[str, Any], own: Path) -> None:
    """Write the columns to a folder of another name, which gets its own when they are complete."""
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f"{own.name}.", suffix=".tmp", dir=own.parent))
    except OSError as error:
        raise _unusable(own.parent, error) from None
    try:
        columns = {
            name: _new_column(temporary / f"{name}.npy", dtype, shape)
            for name, (dtype, shape) in column_shapes(manifest).items()
        }
        fill(folder, manifest, columns)
        for column in columns.values():
            column.flush()
        temporary.chmod(0o755)
        try:
            temporary.rename(own)
        except OSError:
            if not own.exists():  # without a lock, another process may have been faster
                raise
    except OSError as error:
        raise _unusable(own.parent, error) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _new_column(path: Path, dtype: type, shape: tuple[int, ...]) -> np.memmap:
    column = np.lib.format.open_memmap(path, "w+", dtype, shape)
    if hasattr(os, "posix_fallocate"):  # macOS has none
        # A mapped file has holes: where the disk has no block for one, a write kills the process.
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return column


def _mapped(path: Path, dtype: type, shape: tuple[int, ...]) -> np.ndarray:
    """Map a column, copy-on-write: torch takes it without a warning, and the file stays as it is."""
    try:
        column: np.ndarray = np.lib.format.open_memmap(path, "c")
    except (OSError, ValueError) as error:
        raise _foreign(path, str(error)) from None
    if (column.dtype, column.shape) != (np.dtype(dtype), shape):
        raise _foreign(path, f"{column.dtype} {column.shape}, not {np.dtype(dtype)} {shape}")
    return column


def _foreign(path: Path, what: str) -> GenebertError:
    return GenebertError(f"{path} is not the column it should be: {what}", f"remove {path.parent}")


def _unusable(cache: Path, error: OSError) -> GenebertError:
    return GenebertError(f"{cache} cannot hold mapped columns: {error.strerror}", fix_of(error))
