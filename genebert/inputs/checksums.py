"""Every input file against the checksum that is pinned for it."""

from collections.abc import Mapping
from pathlib import Path

from genebert.files import open_text_for_writing, sha256
from genebert.inputs.download import verify
from genebert.inputs.locksheet import read_lock
from genebert.inputs.sheet import read_samples
from genebert.inputs.source import parse_source


def write_checksums(
    files: Mapping[str, str],
    samples: str | Path,
    data: str,
    lock: str | Path,
    out: str | Path,
) -> str:
    """Verify every file that is pinned and write what every file is; return a line on it.

    A file is pinned by its source (``#md5=…``), by the sheet, or by the lock if it was fetched without.

    Parameters
    ----------
    files
        Source by input, as the configuration names it.
    samples
        The sheet.
    data, lock
        Folder of fetched files and the table of what unpinned ones were when first fetched.
    out
        Table to write: input, source, path, bytes, sha256, pinned.

    Raises
    ------
    GenebertError
        For the first file that is not what is pinned; nothing is written then.
    """
    locked = read_lock(lock)
    sources = {name: parse_source(text) for name, text in files.items()}
    sources |= {sample.sample: sample.source for sample in read_samples(samples, data)}
    unpinned = 0
    with open_text_for_writing(out) as text:
        text.write("input\tsource\tpath\tbytes\tsha256\tpinned\n")
        for name, source in sources.items():
            path = Path(source.path(data))
            pinned = source.checksum or (locked[source.url].checksum if source.url in locked else "")
            if pinned:
                verify(path, pinned)
            unpinned += not pinned
            size = path.stat().st_size
            text.write(f"{name}\t{source.text}\t{path}\t{size}\t{sha256(path)}\t{pinned}\n")
    return f"{len(sources)} input files, {len(sources) - unpinned} of them as pinned"
