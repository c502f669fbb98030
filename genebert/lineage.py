"""Where a file came from, as text: its own record, then all it was made from, down to raw inputs."""

import json
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genebert.errors import GenebertError
from genebert.files import sha256
from genebert.provenance import (
    Input,
    Record,
    Revision,
    cannot_be_read,
    find_record,
    input_paths,
    is_record,
    one_line,
    output_paths,
    read_record,
)
from genebert.versions import TEMPORARY

# What stands for a folder: of a model, a corpus, a run.
_STANDS_FOR = ("model.safetensors", "manifest.json", "metrics.json")


@dataclass
class _Disk:
    """What is on disk now, each file read once; and which files are not as they were recorded.

    Attributes
    ----------
    digests
        SHA-256 of files; None where one is no longer there, the error where it cannot be read.
    changed, gone, unreadable
        Files by what was found; no names are looked at, for a file may be called anything.
    cut
        Files whose record is missing or damaged: what they were made from is not known.
    """

    digests: dict[Path, str | OSError | None] = field(default_factory=dict)
    changed: set[Path] = field(default_factory=set)
    gone: set[Path] = field(default_factory=set)
    unreadable: set[Path] = field(default_factory=set)
    cut: set[Path] = field(default_factory=set)

    def status(self, path: Path, recorded: str) -> str:
        """Return in what a file is not as recorded, empty if it is the same, and keep count."""
        if path not in self.digests:
            self.digests[path] = _digest(path)
        now = self.digests[path]
        if now is None:
            self.gone.add(path)
            return "no longer there"
        if isinstance(now, OSError):
            self.unreadable.add(path)
            return cannot_be_read(now)
        if now == recorded:
            return ""
        self.changed.add(path)
        return f"CHANGED since: now {now}"

    def verdict(self) -> str:
        """Return what was found, in one line."""
        said = [
            f"{len(self.changed)} of these files CHANGED" if self.changed else "no file changed since"
        ]
        if self.gone:
            said.append(f"{len(self.gone)} no longer there and not compared")
        if self.unreadable:
            said.append(f"{len(self.unreadable)} cannot be read and not compared")
        if self.cut:
            said.append(
                f"{len(self.cut)} with a record that is missing or damaged: "
                "what that was made from is not compared"
            )
        return ", ".join(said)


def _digest(path: Path) -> str | OSError | None:
    try:
        # A pipe would be waited for.
        return sha256(path) if stat.S_ISREG(path.stat().st_mode) else None
    except (FileNotFoundError, NotADirectoryError, ValueError):  # the last: NUL in a name
        return None
    except OSError as error:
        return error


@dataclass(frozen=True)
class _Node:
    """A file in the tree: its SHA-256 when it was read, its name, a note, what it is made from."""

    digest: str
    name: str
    note: str = ""
    below: Sequence["_Node"] = ()


def lineage(file: str | Path) -> str:
    """Return where a file came from, to print.

    Parameters
    ----------
    file
        A file that a stage made, the folder of a model, corpus or run, or a record itself.

    Raises
    ------
    GenebertError
        If it does not exist, has no record, or its record is damaged.
    """
    file, path, record = _located(Path(file))
    disk = _Disk()
    rows = list(_rows(_made_from(path, record, record, disk, set())))
    width = max((len(name) for _, name, _ in rows), default=0)
    tree = [f"{digest:64}  {name:{width}}  {note}".rstrip() for digest, name, note in rows]
    said = [_shown(file), *_details(path, record, disk), "", "made from", *tree, ""]
    return "\n".join([*said, disk.verdict()])


def _located(file: Path) -> tuple[Path, Path, Record]:
    """Return the file that is meant, and its record."""
    if file.is_dir():
        inside = [file / name for name in _STANDS_FOR if (file / name).is_file()]
        if not inside:
            raise GenebertError(
                f"{file} is no folder of a model, a corpus or a run", "name one of the files in it"
            )
        file = inside[0]
    if not file.is_file():
        raise GenebertError(
            f"{file} does not exist", "correct the path, or have snakemake make it first: snakemake PATH"
        )
    if is_record(file):
        return file, file, read_record(file)
    found = find_record(file)
    if found is None:
        raise GenebertError(
            f"{file} has no record of where it came from",
            "name a file that a stage of this workflow made, with its record "
            "(….provenance.json) beside it",
        )
    return file, *found


def _details(path: Path, record: Record, disk: _Disk) -> Iterator[str]:
    """Yield what a record says, one aligned line a fact."""
    yield _line("stage", f"{record.stage}, version {record.version}")
    for number, (file, digest) in enumerate(output_paths(path, record).items()):
        status = disk.status(file, digest)
        yield _line("" if number else "files", f"{digest}  {_shown(file)}{status and f'  {status}'}")
    yield _line("settings", record.settings_digest)
    for name, value in _flat(record.settings):
        yield _line("", f"{name} = {json.dumps(value)}")
    yield _line("seed", "none" if record.seed is None else str(record.seed))
    yield _line("versions", ", ".join(f"{name} {number}" for name, number in record.versions.items()))
    yield _line("code", _code(record.code))
    yield _line("hardware", ", ".join(f"{name} {value}" for name, value in record.hardware.items()))
    for number, (name, value) in enumerate(_flat(record.model_extra or {})):
        yield _line("" if number else "besides", f"{name} = {json.dumps(value)}")


def _line(name: str, value: str) -> str:
    return f"  {name:10}{one_line(value)}"


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in sorted(settings.items()):
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _code(code: Revision) -> str:
    if code.commit is None:
        return "commit unknown: no git checkout, or git cannot read it"
    return f"commit {code.commit}" + (", with changes that are not committed" if code.changed else "")


def _made_from(
    path: Path, record: Record, top: Record, disk: _Disk, seen: set[tuple[Path, str]]
) -> list[_Node]:
    """Return what the files of a record were made from; what was read twice is counted then."""
    nodes, inputs = [], input_paths(path, record)
    for file, wanted in inputs.items():
        read = (file, wanted.sha256)
        if read not in seen:
            seen.add(read)
            found, notes = _notes(file, wanted, top, disk)
            below = _made_from(*found, top, disk, seen) if found else []
            nodes.append(_Node(wanted.sha256, _shown(file), one_line("; ".join(notes)), below))
    if above := len(inputs) - len(nodes):
        nodes.append(_Node("", f"and {above} listed above"))
    return nodes


def _rows(nodes: Sequence[_Node], indent: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield checksum, name in the tree and note of each node, line by line."""
    for number, node in enumerate(nodes, start=1):
        last = number == len(nodes)
        yield node.digest, f"{indent}{'└─ ' if last else '├─ '}{node.name}", node.note
        # Files that are all listed above need no line of their own.
        if any(below.digest for below in node.below):
            yield from _rows(node.below, indent + ("   " if last else "│  "))


def _notes(
    file: Path, wanted: Input, top: Record, disk: _Disk
) -> tuple[tuple[Path, Record] | None, list[str]]:
    """Return the record of an input, if there is one, and what to say of it."""
    if wanted.made_by in TEMPORARY and not file.exists():
        return None, [f"made by {wanted.made_by}, removed by the workflow once it was read"]
    status = disk.status(file, wanted.sha256)
    notes = [status] if status else []
    try:
        found = find_record(file)
    except GenebertError as error:
        disk.cut.add(file)
        return None, [*notes, f"its record is damaged: {error.what}"]
    if found is None and wanted.made_by is None:
        return None, [*notes, "input"]
    if found is None:
        disk.cut.add(file)
        return None, [*notes, f"made by {wanted.made_by}, whose record is missing"]
    own = output_paths(*found)[file]
    if own != wanted.sha256 and not status:
        disk.changed.add(file)
        notes.append(f"CHANGED after {found[1].stage} had made it: that was {own}")
    return found, [*notes, _made_by(found[1], top)]


def _made_by(record: Record, top: Record) -> str:
    """Return who made a file, and in what that job was unlike the one at the top."""
    said = f"{record.stage} {record.version}, settings {record.settings_digest}"
    said += "" if record.seed is None else f", seed {record.seed}"
    others = [
        name for name in ("versions", "code", "hardware") if getattr(record, name) != getattr(top, name)
    ]
    return said + (f", other {' and '.join(others)}" if others else "")


def _shown(path: Path) -> str:
    """Return a path from here, where it lies below; else in full."""
    path, here = path.absolute(), Path.cwd()
    return one_line(str(path.relative_to(here) if path.is_relative_to(here) else path))
