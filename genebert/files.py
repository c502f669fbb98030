"""Reading and writing files such that an output is complete or absent."""

import contextlib
import errno
import gzip
import hashlib
import io
import json
import os
import tempfile
import zlib
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

from genebert.errors import FULL, GenebertError, root_of, unwritable

# What the block of `together` has written so far; None outside of one.
_WRITTEN: ContextVar[list[Path] | None] = ContextVar("_WRITTEN", default=None)


@contextlib.contextmanager
def complete_or_absent(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` once the block has succeeded.

    The data is on disk (fsync) before it gets its final name. If the block raises, nothing is left.

    Raises
    ------
    GenebertError
        If ``path`` cannot be written: it is a folder, its folder is none or may not be written, or the
        disk is full.
    """
    path = Path(path)
    with _refused(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
    temporary, others = Path(name), _WRITTEN.get()
    try:
        try:
            yield temporary
        except OSError as error:
            root = root_of(error)
            # Other errors may be of a file that the block reads.
            if root.errno in FULL and root.filename in (None, name, temporary):
                raise unwritable(path, root) from None
            raise
        with _refused(path):
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            # mkstemp makes private files: give what an ordinary open() would have given.
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            temporary.replace(path)
        if others is not None:
            others.append(path)
    finally:
        _remove(temporary)


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Remove the files that the block has written if it raises: they are all there, or none.

    For those of :func:`complete_or_absent` and what is built on it, written by the thread that runs the
    block: those of threads that it starts stay.
    """
    written: list[Path] = []
    token = _WRITTEN.set(written)
    try:
        yield
    except BaseException:
        for path in written:
            _remove(path)
        raise
    finally:
        _WRITTEN.reset(token)


@contextlib.contextmanager
def _refused(path: Path) -> Iterator[None]:
    """Say of any error of the file system that ``path`` cannot be written."""
    try:
        yield
    except OSError as error:
        raise unwritable(path, error) from None


def _remove(path: Path) -> None:
    # A disk that became readable only keeps it; the error that led here says more.
    with contextlib.suppress(OSError):
        path.unlink()


@contextlib.contextmanager
def open_text_for_writing(path: str | Path) -> Iterator[TextIO]:
    """Open text for writing, complete or absent; ``.gz`` is compressed to the same bytes each time."""
    with complete_or_absent(path) as temporary:
        if str(path).endswith(".gz"):
            with (
                temporary.open("wb") as raw,
                # Level 4: a sixth of the time of the default 9, for 3 % more bytes.
                gzip.GzipFile("", "wb", compresslevel=4, fileobj=raw, mtime=0) as compressed,
                io.TextIOWrapper(compressed, encoding="utf-8", newline="\n") as text,
            ):
                yield text
        else:
            with temporary.open("w", encoding="utf-8", newline="\n") as text:
                yield text


def write_json(path: str | Path, content: Any) -> None:
    """Write JSON with sorted keys, complete or absent; NaN and infinity are refused."""
    with open_text_for_writing(path) as out:
        out.write(json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n")


@contextlib.contextmanager
def _open_bytes(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file, gzip or not, for reading; say readably what is wrong with it."""
    path = Path(path)
    try:
        with path.open("rb") as raw:
            compressed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            # The buffer makes lines of a gzip as cheap as those of a plain file.
            yield cast(BinaryIO, io.BufferedReader(gzip.GzipFile(fileobj=raw))) if compressed else raw
    except FileNotFoundError:
        raise GenebertError(f"{path} does not exist", "correct the path") from None
    except PermissionError:
        raise GenebertError(f"{path} may not be read", "change its permissions") from None
    except IsADirectoryError:
        raise GenebertError(f"{path} is a folder", "name a file") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise GenebertError(
            f"{path} is a truncated or corrupt gzip file ({error})",
            "fetch the file again and compare its checksum with the source's",
        ) from None


def read_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line without its end) of a text file, gzip or not.

    Raises
    ------
    GenebertError
        If the file is missing, not text, or a truncated or corrupt gzip.
    """
    number = 0
    with _open_bytes(path) as binary:
        try:
            for number, line in enumerate(binary, start=1):
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise GenebertError(
                f"{path} is not text", "give a text file, gzip-compressed or not", f"line {number}"
            ) from None


def read_blocks(path: str | Path, size: int = 1 << 22) -> Iterator[bytes]:
    """Yield the bytes of a file, gzip or not, in blocks of at most ``size`` bytes, cut anywhere.

    Raises
    ------
    GenebertError
        If the file is missing, or a truncated or corrupt gzip.
    """
    with _open_bytes(path) as binary:
        while block := binary.read(size):
            yield block


def json_object(text: str | bytes, what: str, fix: str) -> dict[str, Any]:
    """Read a JSON object.

    Parameters
    ----------
    text
        To read.
    what
        Whose text it is, for messages.
    fix
        What to do where it is none, for messages.

    Raises
    ------
    GenebertError
        If it is no JSON, or JSON of something else.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise GenebertError(f"{what} is no JSON: {error}", fix) from None
    if not isinstance(content, dict):
        raise GenebertError(f"{what} is no JSON object", fix)
    return content


def read_json_object(path: str | Path, fix: str) -> dict[str, Any]:
    """Read a file that holds a JSON object; errors as in :func:`json_object`, or if it is missing."""
    try:
        return json_object(Path(path).read_bytes(), str(path), fix)
    except OSError as error:
        raise GenebertError(f"cannot read {path}: {error.strerror}", fix) from None


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file as hexadecimal text."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as binary:
        while block := binary.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def digest_of(content: Any) -> str:
    """Return a short hash of anything JSON can hold, the same for equal content."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
