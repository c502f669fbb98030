"""Where a file came from, as text: its own record, then all it was made from, down to raw inputs."""

import json
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
    find_record,
    input_paths,
    is_record,
    output_paths,
    read_record,
)

# What stands for a folder: of a model, a corpus, a run.
_STANDS_FOR = ("model.safetensors", "manifest.json", "metrics.json")
_CHANGED, _GONE = "CHANGED", "no longer there"


@dataclass
class _Disk:
    """What is on disk now; each file is read once."""

    digests: dict[Path, str | None] = field(default_factory=dict)

    def digest(self, path: Path) -> str | None:
        """Return the SHA-256 of a file, None if it is no longer there."""
        if path not in self.digests:
            self.digests[path] = sha256(path) if path.is_file() else None
        return self.digests[path]


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
    return "\n".join([*said, _verdict(said)])


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
        raise GenebertError(f"{file} does not exist", "correct the path")
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
        status = _status(digest, disk.digest(file))
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
    return f"  {name:10}{value}"


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
            nodes.append(_Node(wanted.sha256, _shown(file), "; ".join(notes), below))
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
    status = _status(wanted.sha256, disk.digest(file))
    notes = [status] if status else []
    try:
        found = find_record(file)
    except GenebertError as error:
        return None, [*notes, f"its record is damaged: {error.what}"]
    if found is None:
        missing = f"made by {wanted.made_by}, whose record is missing"
        return None, [*notes, missing if wanted.made_by else "input"]
    own = output_paths(*found)[file]
    if own != wanted.sha256 and not status:
        notes.append(f"{_CHANGED} after {found[1].stage} had made it: that was {own}")
    return found, [*notes, _made_by(found[1], top)]


def _made_by(record: Record, top: Record) -> str:
    """Return who made a file, and in what that job was unlike the one at the top."""
    said = f"{record.stage} {record.version}, settings {record.settings_digest}"
    said += "" if record.seed is None else f", seed {record.seed}"
    others = [
        name for name in ("versions", "code", "hardware") if getattr(record, name) != getattr(top, name)
    ]
    return said + (f", other {' and '.join(others)}" if others else "")


def _status(recorded: str, now: str | None) -> str:
    if now is None:
        return _GONE
    return "" if now == recorded else f"{_CHANGED} since: now {now}"


def _verdict(said: list[str]) -> str:
    changed = sum(_CHANGED in line for line in said)
    gone = sum(_GONE in line for line in said)
    verdict = f"{changed} of these files CHANGED" if changed else "no file changed since"
    return verdict + (f", {gone} no longer there and not compared" if gone else "")


def _shown(path: Path) -> str:
    """Return a path from here, where it lies below; else in full."""
    path = path.absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
