"""The files under resources/: how contents are packed, pinned, compared and written."""

import gzip
import zlib
from collections import defaultdict
from pathlib import Path

from recipes.packages import RebuildError, sha256

RESOURCES = Path(__file__).resolve().parents[2]
BGZIP_BLOCK = 65_280  # content of a BGZF block, as bgzip cuts it


def deflated(content: bytes) -> bytes:
    """The content as raw DEFLATE data of level 9."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return deflate.compress(content) + deflate.flush()


def gzip_trailer(content: bytes) -> bytes:
    """Checksum and length that end a gzip member."""
    return zlib.crc32(content).to_bytes(4, "little") + len(content).to_bytes(4, "little")


def bgzip_block(content: bytes) -> bytes:
    """One BGZF block (SAM specification, section 4.1): a gzip member that states its own size."""
    body = deflated(content)
    last_byte = len(body) + 25  # 18 bytes of header and 8 of trailer, less 1
    header = b"\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\xff\x06\x00BC\x02\x00"
    return header + last_byte.to_bytes(2, "little") + body + gzip_trailer(content)


def pack(path: str, content: bytes) -> bytes:
    """The file's bytes: .gz is one gzip member without a time or a name, .vcf.gz is BGZF."""
    if path.endswith(".vcf.gz"):
        starts = range(0, len(content), BGZIP_BLOCK)
        blocks = (bgzip_block(content[start : start + BGZIP_BLOCK]) for start in starts)
        return b"".join(blocks) + bgzip_block(b"")
    if not path.endswith(".gz"):
        return content
    header = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"
    return header + deflated(content) + gzip_trailer(content)


def unpack(path: str, data: bytes) -> bytes:
    """The content of a file's bytes."""
    return gzip.decompress(data) if path.endswith(".gz") else data


def write(path: Path, data: bytes) -> None:
    """Write a file under a temporary name, then rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data)
    partial.replace(path)


def read_pins() -> dict[str, str]:
    """Path under resources/ -> SHA-256, from the SHA256SUMS of each folder."""
    pins = {}
    for folder in ("demo", "motifs"):
        for line in (RESOURCES / folder / "SHA256SUMS").read_text().splitlines():
            digest, _, name = line.partition("  ")
            pins[f"{folder}/{name}"] = digest
    return pins


def write_pins(files: dict[str, bytes]) -> None:
    """Write the SHA256SUMS of each folder, in the format of sha256sum."""
    lines = defaultdict(list)
    for path in sorted(files):
        folder, _, name = path.partition("/")
        lines[folder].append(f"{sha256(files[path])}  {name}\n")
    for folder, entries in lines.items():
        write(RESOURCES / folder / "SHA256SUMS", "".join(entries).encode())


def check(outputs: dict[str, bytes]) -> None:
    """Compare the files here with SHA256SUMS and their contents with a fresh build.

    Contents, not compressed bytes, are compared with the build: another zlib may pack differently.
    """
    pins = read_pins()
    for path in sorted(pins.keys() | outputs.keys()):
        if path not in pins or path not in outputs:
            raise RebuildError(f"{path}: {'built' if path in outputs else 'in SHA256SUMS'} only")
        file = RESOURCES / path
        data = file.read_bytes() if file.exists() else b""
        if sha256(data) != pins[path]:
            raise RebuildError(f"{path}: the file is missing or differs from SHA256SUMS")
        if unpack(path, data) != outputs[path]:
            raise RebuildError(f"{path}: the content differs from the rebuilt one")


def restore(outputs: dict[str, bytes]) -> None:
    """Write every file, once all agree with SHA256SUMS."""
    pins = read_pins()
    files = {path: pack(path, content) for path, content in outputs.items()}
    for path, data in files.items():
        if sha256(data) != pins.get(path):
            raise RebuildError(f"{path}: the file built differs from SHA256SUMS; nothing was written")
    for path, data in files.items():
        write(RESOURCES / path, data)


def update(outputs: dict[str, bytes]) -> None:
    """Write every file and the SHA256SUMS that pin them from now on."""
    files = {path: pack(path, content) for path, content in outputs.items()}
    for path, data in files.items():
        write(RESOURCES / path, data)
    write_pins(files)
