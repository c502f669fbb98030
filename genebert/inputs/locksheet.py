"""The lock sheet: the checksums that files without a pinned one had when they were first fetched."""

import contextlib
import errno
import fcntl
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from genebert.errors import GenebertError
from genebert.files import open_text_for_writing, read_lines
from genebert.inputs.source import parse_checksum

COLUMNS = ("url", "checksum", "bytes", "origin")
ORIGINS = ("portal", "first download")
_HEAD = "# Checksums of files that nothing else pins. Commit it; delete a row to accept a new version.\n"


@dataclass(frozen=True)
class LockedFile:
    """One row of the lock sheet.

    Attributes
    ----------
    checksum
        ``md5:…`` or ``sha256:…``.
    bytes
        Size of the file.
    origin
        Who vouches for the checksum: the ENCODE ``portal``, or only the ``first download``.
    where
        Sheet and line, for messages; empty for a row that is not written yet.
    """

    checksum: str
    bytes: int
    origin: str
    where: str = ""


def read_lock(path: str | Path) -> dict[str, LockedFile]:
    """Read the lock sheet; there need not be one.

    Returns
    -------
    dict
        URL, as the user named it, to its row.

    Raises
    ------
    GenebertError
        Naming file and line of the first thing wrong.
    """
    if not Path(path).exists():
        return {}
    found: dict[str, LockedFile] = {}
    header = True
    for number, line in read_lines(path):
        if not line or line.startswith("#"):
            continue
        cells, where = tuple(line.split("\t")), f"{path} line {number}"
        if header:
            header = False
            _refuse(cells != COLUMNS, f"the header is not {' '.join(COLUMNS)}, tab-separated", where)
            continue
        _refuse(len(cells) != len(COLUMNS), f"the row has {len(cells)} columns, not 4", where)
        url, checksum, size, origin = cells
        _refuse(url in found, f"{url} has two rows", where)
        _refuse(not size.isdecimal(), f"bytes '{size}' is no number", where)
        _refuse(origin not in ORIGINS, f"origin '{origin}' is none of: {', '.join(ORIGINS)}", where)
        try:
            found[url] = LockedFile(parse_checksum(checksum), int(size), origin, where)
        except ValueError as error:
            _refuse(True, f"'{checksum}' {error}", where)
    return found


def _refuse(wrong: bool, what: str, where: str) -> None:
    if wrong:
        raise GenebertError(what, "restore the committed lock sheet, or delete the row", where)


def record(path: str | Path, url: str, new: LockedFile) -> None:
    """Add a row to the lock sheet, which stays sorted by URL; any number of processes may do so at once.

    Raises
    ------
    GenebertError
        If another process has recorded other bytes for the URL meanwhile.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The sheet itself is replaced, so the lock is held on a file that stays.
    with path.with_name(f".{path.name}.lock").open("a") as file, alone_with(file, str(path)):
        rows = read_lock(path)
        known = rows.get(url)
        if known is not None and (known.checksum, known.bytes) != (new.checksum, new.bytes):
            raise GenebertError(
                f"{url} came twice with different bytes: {new.checksum} and {known.checksum}",
                "find out which is right, and pin it",
                known.where,
            )
        if known is None:
            rows[url] = new
            with open_text_for_writing(path) as text:
                text.write(_HEAD + "\t".join(COLUMNS) + "\n")
                for address, row in sorted(rows.items()):
                    text.write(f"{address}\t{row.checksum}\t{row.bytes}\t{row.origin}\n")


@contextlib.contextmanager
def alone_with(file: IO[Any], name: str) -> Iterator[None]:
    """Hold the exclusive lock of an open file; wait for a process that has it. Killing frees it."""
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{name}: another process is at it, waiting", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
        # Lustre is often mounted without locks; a workflow runs one job a file anyway.
        if error.errno not in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):
            raise
        print(
            f"warning: {name}: the file system has no locks; run one process at a time", file=sys.stderr
        )
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_UN)
