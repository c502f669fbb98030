"""Every input file against the checksum that is pinned for it."""

from collections.abc import Mapping
from pathlib import Path

from genebert.errors import GenebertError
from genebert.files import open_text_for_writing, sha256
from genebert.inputs.download import verify
from genebert.inputs.locksheet import LockedFile, read_lock
from genebert.inputs.sheet import read_samples
from genebert.inputs.source import Source, source_of


def check_pinned(source: Source, path: str | Path, locked: Mapping[str, LockedFile], where: str) -> str:
    """Verify a file that is pinned; return its checksum, empty where nothing pins it.

    A file is pinned by its source (``#md5=…``), by the sheet, or by the lock if it was fetched without.

    Parameters
    ----------
    source, path
        Where the file comes from and where it lies.
    locked
        The lock sheet.
    where
        Where the source is named, for messages.

    Raises
    ------
    GenebertError
        If the file is another.
    """
    row = locked.get(source.url or "")
    pinned = source.checksum or (row.checksum if row else "")
    if not pinned:
        return ""
    try:
        verify(path, pinned)
    except GenebertError as error:
        fix = error.fix if source.url else "restore the file, or correct the checksum"
        raise GenebertError(
            error.what, fix, where if source.checksum or not row else row.where
        ) from None
    return pinned


def write_checksums(
    files: Mapping[str, str],
    samples: str | Path,
    data: str,
    lock: str | Path,
    out: str | Path,
) -> str:
    """Verify every file that is pinned and write what every file is; return a line on it.

    Parameters
    ----------
    files
        Source by input, as the configuration names it.
    samples
        The sheet.
    data, lock
        Folder of fetched files and the table of what unpinned ones were when first fetched.
    out
        Table to write: input, assay, source, path, bytes, sha256, pinned.

    Raises
    ------
    GenebertError
        For the first file that is not what is pinned; nothing is written then.
    """
    locked = read_lock(lock)
    inputs = [(name, "", source_of(text, name), name) for name, text in files.items()]
    inputs += [(s.sample, s.assay, s.source, s.where) for s in read_samples(samples, data)]
    pinned = 0
    with open_text_for_writing(out) as text:
        text.write("input\tassay\tsource\tpath\tbytes\tsha256\tpinned\n")
        for name, assay, source, where in inputs:
            path = Path(source.path(data))
            checksum = check_pinned(source, path, locked, where)
            pinned += bool(checksum)
            cells = (name, assay, source.text, path, path.stat().st_size, sha256(path), checksum)
            text.write("\t".join(map(str, cells)) + "\n")
    return f"{len(inputs)} input files, {pinned} of them as pinned"
