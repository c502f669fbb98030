"""Fetching a file such that it is right or absent: resumed, retried, verified before it has its name."""

import contextlib
import gzip
import hashlib
import json
import os
import re
import shutil
import sys
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import requests

from genebert.config import Downloads
from genebert.errors import GenebertError
from genebert.files import write_json
from genebert.inputs import encode
from genebert.inputs.locksheet import LockedFile, alone_with, read_lock, record
from genebert.inputs.web import PassingError, answer_to, mirrored, name_of, retried
from genebert.progress import bytes_shown, size_text

_BLOCK = 1 << 16
_SAME_AGAIN = "fetch again later or from another address (downloads.mirrors)"


@dataclass(frozen=True)
class _Expected:
    """What a file must be.

    Attributes
    ----------
    checksum
        None where nothing says.
    by
        Who says it, for messages.
    fix
        What to do where the file is another.
    origin
        What the lock sheet is to say of it; None where it says something already, or need not.
    """

    checksum: str | None
    by: str
    fix: str
    origin: str | None = None


@dataclass(frozen=True)
class _Partial:
    """What is known of the file whose first bytes are there; kept beside them as JSON.

    ``validator`` is the server's strong ETag or its date of the file: equal means the same bytes.
    """

    url: str
    validator: str | None
    size: int | None


def fetch(url: str, checksum: str | None, out: str | Path, settings: Downloads) -> str:
    """Fetch a file, unless the right one is there.

    Received bytes are kept in ``out`` + ``.part`` until the file is whole and verified: an interrupted
    download, even a killed one, goes on where it stopped.

    Parameters
    ----------
    url
        Address as the user names it.
    checksum
        ``md5:…`` or ``sha256:…``; where None, the lock sheet is asked, then for files of ENCODE its
        portal. Where none of them knows it, a warning is given and the lock sheet records it.
    out
        File to write.
    settings
        Lock sheet, mirrors, time-outs, attempts.

    Returns
    -------
    str
        A line for the log.

    Raises
    ------
    GenebertError
        If the file cannot be had, or is not what it must be; ``out`` is then as it was.
    """
    out = Path(out)
    name = name_of(url, settings.mirrors)
    expected = _expectation(url, checksum, settings)
    if _is(out, expected.checksum):
        return _accept(url, out, expected, settings)
    if settings.offline:
        return _make_do(url, out, expected)
    if out.exists():
        print(f"{out}: there already, but not known to be right: fetched anew", file=sys.stderr)
    part = Path(f"{out}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with _alone_with_part(part, str(out)) as file:
            if out.exists():
                # Perhaps another process has put it there, and its checksum into the lock sheet.
                expected = _expectation(url, checksum, settings)
                if _is(out, expected.checksum):
                    part.unlink()
                    return _accept(url, out, expected, settings)
            attempt = _Attempt(url, name, part, Path(f"{part}.json"), file, expected, settings)
            try:
                actual = retried(attempt.run, name, settings.attempts)
            except BaseException:
                if _is_at(file, part) and part.stat().st_size == 0:
                    _forget(part, attempt.notes)
                raise
            os.fsync(file.fileno())
            size = part.stat().st_size
            _lock(url, actual, size, expected, settings)
            attempt.notes.unlink()
            part.replace(out)
    except OSError as error:
        raise GenebertError(
            f"{error.filename or part} cannot be written ({error.strerror})",
            "free some space or correct permissions, or set another downloads.folder",
        ) from None
    if expected.checksum is None:
        print(
            f"warning: nothing vouches for {name}: no checksum is pinned, locked or published\n"
            f"warning: its {actual} is now in {settings.lock}: check it at the source and commit it",
            file=sys.stderr,
        )
    return f"{out}: {size_text(size)} from {name}, {actual} as {expected.by}"


def verify(path: str | Path, checksum: str) -> None:
    """Check that a fetched file has its checksum (``md5:…`` or ``sha256:…``).

    Raises
    ------
    GenebertError
        If it has not, or is missing.
    """
    if not Path(path).is_file():
        raise GenebertError(f"{path} does not exist", "fetch it")
    actual = _checksum(Path(path), checksum.partition(":")[0])
    if actual != checksum:
        raise GenebertError(
            f"{path} has {actual}, not {checksum}",
            "delete it: the next run fetches it again; or correct the checksum",
        )


def _expectation(url: str, checksum: str | None, settings: Downloads) -> _Expected:
    if checksum is not None:
        return _Expected(checksum, "pinned", f"{_SAME_AGAIN}; or pin the checksum of the new version")
    if locked := read_lock(settings.lock).get(url):
        return _Expected(
            locked.checksum,
            f"locked ({locked.where})",
            f"{_SAME_AGAIN}; or, to accept the new version, delete {locked.where}",
        )
    if not settings.offline and encode.is_portal_file(url):
        try:
            md5 = encode.ask_md5(url, settings)
            return _Expected(md5, "published by the ENCODE portal", _SAME_AGAIN, "portal")
        except GenebertError as error:
            print(f"warning: the portal gives no md5 of {url}: {error.what}", file=sys.stderr)
    return _Expected(None, "first seen", _SAME_AGAIN, "first download")


def _is(path: Path, checksum: str | None) -> bool:
    return (
        checksum is not None
        and path.is_file()
        and _checksum(path, checksum.partition(":")[0]) == checksum
    )


def _accept(url: str, out: Path, expected: _Expected, settings: Downloads) -> str:
    assert expected.checksum is not None
    _lock(url, expected.checksum, out.stat().st_size, expected, settings)
    return f"{out}: there already, {expected.checksum} as {expected.by}"


def _lock(url: str, checksum: str, size: int, expected: _Expected, settings: Downloads) -> None:
    if expected.origin is not None:
        record(settings.lock, url, LockedFile(checksum, size, expected.origin))


def _make_do(url: str, out: Path, expected: _Expected) -> str:
    """Accept offline what nothing vouches for; refuse what is missing or wrong."""
    if not out.exists():
        raise GenebertError(
            f"{out} is missing, and offline is set", f"put {url} there, or set downloads.offline: false"
        )
    if expected.checksum is not None:
        verify(out, expected.checksum)
    print(f"warning: offline: nothing vouches for {out}", file=sys.stderr)
    return f"{out}: there already, not verified"


@contextlib.contextmanager
def _alone_with_part(part: Path, name: str) -> Iterator[BinaryIO]:
    """Yield the partial file, opened to append, which no other process has meanwhile."""
    while True:
        with part.open("ab") as file, alone_with(file, name):
            # While this process waited, the other may have renamed or removed what was opened.
            if _is_at(file, part):
                yield file
                return


def _is_at(file: BinaryIO, path: Path) -> bool:
    return path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())


def _forget(part: Path, notes: Path) -> None:
    notes.unlink(missing_ok=True)
    part.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Attempt:
    """All that one attempt to complete and verify the partial file needs."""

    url: str
    name: str
    part: Path
    notes: Path
    file: BinaryIO
    expected: _Expected
    settings: Downloads

    def run(self) -> str:
        """Return the checksum of the partial file, which is then whole and as expected."""
        resumed, announced = self.receive()
        wanted = self.expected.checksum
        actual = _checksum(self.part, (wanted or "sha256:").partition(":")[0])
        wrong = _gzip_damage(self.part) if wanted is None and _names_gzip(self.url) else ""
        if wanted is not None and actual != wanted:
            wrong = (
                f"has {actual} ({self.part.stat().st_size} bytes), not {wanted} as {self.expected.by}"
            )
        if not wrong:
            return actual
        # Bytes of two downloads may not fit together, and without a size the end may be missing:
        # only a file that came in one piece, and whole, is known to be another one.
        if resumed or not announced:
            self.restart(wrong)
        _forget(self.part, self.notes)
        raise GenebertError(f"{self.name} {wrong}", self.expected.fix)

    def receive(self) -> tuple[bool, bool]:
        """Bring the partial file to its full length.

        Returns
        -------
        tuple
            Whether some of its bytes were there before, and whether the server had told the size.
        """
        kept = self.read_notes()
        have = self.part.stat().st_size if kept else 0
        if kept and have and have == kept.size:
            return True, True
        # Never let the transfer be compressed: checksums and ranges count the file's own bytes.
        headers = {"Accept-Encoding": "identity"}
        if kept and have:
            headers["Range"] = f"bytes={have}-"
            if kept.validator:
                headers["If-Range"] = kept.validator
        accepted = (200, 206, 416) if have else (200,)
        with answer_to(self.url, headers, accepted, self.settings) as answer:
            if answer.status_code == 200 or kept is None:
                have, kept = 0, self.start_anew(answer)
            elif reason := _does_not_continue(answer, have, kept):
                self.restart(reason)
            self.check_space(kept.size, have)
            # A .gz that comes with Content-Encoding: gzip is the file as it lies on the server, which
            # names its type that way; requests would unpack it. So the raw bytes are taken.
            blocks = answer.raw.stream(_BLOCK, decode_content=False)
            for block in bytes_shown(blocks, self.part.stem, kept.size, have):
                self.file.write(block)
                self.file.flush()
        size = self.part.stat().st_size
        if kept.size is not None and size < kept.size:
            raise PassingError(f"only {size} of {kept.size} bytes came")
        if kept.size is not None and size > kept.size:
            self.restart(f"{size} bytes came instead of {kept.size}")
        if size == 0:
            raise PassingError("the file is empty")
        return have > 0, kept.size is not None

    def read_notes(self) -> _Partial | None:
        """Return what the kept bytes are of; None where they cannot be gone on with."""
        try:
            kept = _Partial(**json.loads(self.notes.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        vouched = kept.validator is not None or self.expected.checksum is not None
        return kept if vouched and kept.url == mirrored(self.url, self.settings.mirrors) else None

    def start_anew(self, answer: requests.Response) -> _Partial:
        """Empty the partial file and note what its bytes are going to be of."""
        self.refuse_compressed(answer)
        length = answer.headers.get("Content-Length", "")
        fresh = _Partial(
            url=mirrored(self.url, self.settings.mirrors),
            validator=_validator(answer.headers),
            size=int(length) if length.isdecimal() else None,
        )
        # In this order: bytes never lie beside the notes of other bytes.
        self.file.truncate(0)
        write_json(self.notes, asdict(fresh))
        return fresh

    def refuse_compressed(self, answer: requests.Response) -> None:
        """Refuse what a server or proxy packed on its way, unless a checksum is going to judge it."""
        coding = answer.headers.get("Content-Encoding", "identity")
        if coding != "identity" and not _names_gzip(self.url) and self.expected.checksum is None:
            raise GenebertError(
                f"{self.name} comes compressed ({coding}) although it was asked for as it is",
                "use another address (downloads.mirrors), or pin its checksum",
            )

    def check_space(self, size: int | None, have: int) -> None:
        free = shutil.disk_usage(self.part.parent).free
        if size is not None and size - have > free:
            raise GenebertError(
                f"no space left for {self.name}: it needs {size_text(size - have)}, "
                f"{self.part.parent} has {size_text(free)}",
                "free some space, or set another downloads.folder",
            )

    def restart(self, reason: str) -> None:
        """Throw the kept bytes away and have the next attempt start from zero."""
        self.notes.unlink(missing_ok=True)
        self.file.truncate(0)
        raise PassingError(f"{reason}; starting from zero")


def _validator(headers: Mapping[str, str]) -> str | None:
    """Return what If-Range may name: a strong ETag, else the date of the file."""
    tag = headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified")


def _does_not_continue(answer: requests.Response, have: int, kept: _Partial) -> str:
    """Return why an answer to a range request does not go on with the kept bytes; empty if it does."""
    if answer.status_code == 416:
        return f"the server has no bytes after {have}"
    validator = _validator(answer.headers)
    if None not in (validator, kept.validator) and validator != kept.validator:
        return "the file on the server has changed"
    span = answer.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", span)
    if match is None or int(match[1]) != have:
        return f"the server sends '{span}' instead of bytes {have}-"
    if kept.size is not None and match[3] not in ("*", str(kept.size)):
        return "the size of the file on the server has changed"
    return ""


def _checksum(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False))
    return f"{algorithm}:{digest.hexdigest()}"


def _names_gzip(url: str) -> bool:
    """Return whether an address is that of a gzip file, whatever its query (``?download=1``)."""
    return urlsplit(url).path.endswith((".gz", ".bgz", ".tgz"))


def _gzip_damage(part: Path) -> str:
    """Return what is wrong with a gzip file, read to its end."""
    try:
        with gzip.open(part) as file:
            while file.read(1 << 20):
                pass
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        return f"is a truncated or corrupt gzip file ({error})"
    return ""
