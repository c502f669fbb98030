"""Where an input comes from: a local path, a URL or an ENCODE accession, with or without a checksum."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from genebert.errors import GenebertError

ENCODE = "https://www.encodeproject.org"
_ACCESSION = re.compile(r"ENCFF[0-9]{3}[A-Z]{3}")
_CHECKSUM = re.compile(r"(md5|sha256)[:=]([0-9a-fA-F]+)")
_DIGITS = {"md5": 32, "sha256": 64}


@dataclass(frozen=True)
class Source:
    """One input file.

    Attributes
    ----------
    text
        As the user wrote it, without the checksum.
    url
        Where to fetch it; None for a local path.
    checksum
        ``md5:…`` or ``sha256:…`` in lower case; None where nothing is pinned.
    """

    text: str
    url: str | None
    checksum: str | None

    def path(self, folder: str) -> str:
        """Return where the file lies: a local path as it is, a fetched one as ``folder/host/path``."""
        return self.text if self.url is None else f"{folder.rstrip('/')}/{place_of(self.url)}"


def parse_source(text: str, checksum: str = "") -> Source:
    """Read ``path``, ``https://…`` or ``ENCFF…``; ``#md5=…`` or ``#sha256=…`` after it pins the bytes.

    Raises
    ------
    ValueError
        If the checksum is none, the address is not http(s) or has no host or file name, or the path
        begins with ``-`` or holds braces, a line break or the like.
    """
    location, mark, fragment = text.strip().rpartition("#")
    if mark and _CHECKSUM.match(fragment):
        if checksum:
            raise ValueError("gives two checksums; give one")
        checksum = fragment
    else:
        location = text.strip()
    if not location.isprintable():
        raise ValueError("holds a character that cannot be seen; write it anew")
    url = None
    if _ACCESSION.fullmatch(location):
        url = f"{ENCODE}/files/{location}/@@download/{location}.bed.gz"
    elif re.fullmatch(r"ENC[A-Z]{2}[0-9A-Z]*", location):
        raise ValueError("is no accession of an ENCODE file; write ENCFF, 3 digits and 3 letters")
    elif "://" in location:
        url = location
        parts = urlsplit(url)
        if "@" in parts.netloc:
            raise ValueError("holds a password that files would show; put it into ~/.netrc")
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.endswith("/"):
            raise ValueError("is no address of a file; write http(s)://host/path, or a local path")
    elif set(location) & set("{}"):
        raise ValueError("has braces, which Snakemake takes for its own; rename the file")
    elif location.startswith("-"):
        raise ValueError(f"would be read as an option; write ./{location}")
    return Source(location, url, parse_checksum(checksum) if checksum else None)


# Two names of one assembly.
_SYNONYMS = {"hg38": "grch38", "hg19": "grch37", "mm10": "grcm38", "mm39": "grcm39"}


def canonical(assembly: str) -> str:
    """Return one name for an assembly that has two: hg38 is GRCh38."""
    return _SYNONYMS.get(assembly.lower(), assembly.lower())


def source_of(text: str, where: str, checksum: str = "") -> Source:
    """Do what :func:`parse_source` does; raise a GenebertError that says where."""
    try:
        return parse_source(text, checksum)
    except ValueError as error:
        what, _, fix = str(error).partition("; ")
        raise GenebertError(f"source '{text}' {what}", fix, where) from None


def parse_checksum(text: str) -> str:
    """Return ``md5:…`` or ``sha256:…`` in lower case; bare hexadecimal is told apart by its length."""
    if re.fullmatch(r"[0-9a-fA-F]+", text):
        text = {32: "md5:", 64: "sha256:"}.get(len(text), "") + text
    match = _CHECKSUM.fullmatch(text)
    if not match or len(match.group(2)) != _DIGITS[match.group(1)]:
        raise ValueError("has no checksum of the form md5:… (32 digits) or sha256:… (64); copy it whole")
    return f"{match.group(1)}:{match.group(2).lower()}"


def place_of(url: str) -> str:
    """Return ``host/path`` of a URL as a relative path, different for different URLs."""
    parts = urlsplit(url)
    whole = f"{parts.netloc}{parts.path}" + (f"?{parts.query}" if parts.query else "")
    safe = re.sub(r"[^A-Za-z0-9_./@+=-]", "_", whole)
    safe = str(Path(re.sub(r"(^|/)\.+(?=/|$)", r"\1_", safe)))
    if safe == whole:
        return safe
    # Two addresses must not share a file because their odd characters were replaced.
    folder, _, name = safe.rpartition("/")
    return f"{folder}/{hashlib.sha256(url.encode()).hexdigest()[:8]}-{name}"
