"""Where a result came from: a record beside the files of every stage, ``{name}.provenance.json``.

A record is a file of its own: what it says of code and hardware must not change the bytes of a result.
"""

import contextlib
import functools
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from genebert import __version__
from genebert.errors import GenebertError, first_line, fix_of, shown
from genebert.files import digest_of, read_json_object, sha256, together, write_json
from genebert.versions import STAGES

PACKAGES = (
    "torch",
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "safetensors",
    "transformers",
    "tokenizers",
    "scikit-learn",
    "MOODS-python",
    "pybedtools",
    "pyfaidx",
)
_SUFFIX = ".provenance.json"
_OF_MODEL = "provenance.json"


def _known(stage: str) -> str:
    if stage not in STAGES:
        raise ValueError("no stage of this project")
    return stage


Stage = Annotated[str, AfterValidator(_known)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Input(BaseModel):
    """A file that a stage read: its SHA-256, and the stage that made it (None: it came from outside)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: Digest
    made_by: Stage | None = None


class Revision(BaseModel):
    """Commit of the code that ran, and whether files of it had been changed.

    None: the code lies in no git checkout, or git is not there or cannot read it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    commit: str | None
    changed: bool | None


class Record(BaseModel):
    """Where the files of one job came from. A stage may keep facts of its own besides (pre-training).

    Attributes
    ----------
    stage, version
        Key and value in :data:`genebert.versions.STAGES`.
    settings, settings_digest
        All that decided the result beside the inputs and the seed, and its hash.
    seed
        None where nothing is drawn.
    inputs
        What was read, by path as the stage was given it; ``root`` is the folder, seen from the record's
        own, that such paths count from.
    outputs
        SHA-256 of what was written, by path from the record's folder.
    versions, code, hardware
        With what, and on what.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    stage: Stage
    version: PositiveInt
    settings: dict[str, Any]
    settings_digest: str
    seed: int | None
    inputs: dict[str, Input]
    root: str
    outputs: Annotated[dict[str, Digest], Field(min_length=1)]
    versions: dict[str, str]
    code: Revision
    hardware: dict[str, str | int]

    @field_validator("settings_digest")
    @classmethod
    def _is_of_the_settings(cls, digest: str, before: ValidationInfo) -> str:
        # Settings that are wrong themselves are missing here, and said to be wrong.
        if "settings" in before.data and digest != digest_of(before.data["settings"]):
            raise ValueError("not the hash of the settings")
        return digest


@functools.cache
def revision() -> Revision:
    """Return which code this process runs; asked of git once."""
    project = Path(__file__).resolve().parents[1]
    try:
        changes = _git(project, "status", "--porcelain", "--", "genebert", "workflow")
        return Revision(commit=_git(project, "rev-parse", "HEAD"), changed=bool(changes))
    except (OSError, subprocess.SubprocessError):
        return Revision(commit=None, changed=None)


def _git(project: Path, *arguments: str) -> str:
    # Named rather than searched for: an installed package may lie in a checkout of something else; and
    # git does not ask who owns what is named. A colleague's checkout is read: its code runs already.
    checkout = (f"--git-dir={project / '.git'}", f"--work-tree={project}")
    # Without optional locks: jobs ask at the same time, and none may disturb a commit under way.
    return subprocess.run(
        ["git", "--no-optional-locks", *checkout, *arguments],
        cwd=project,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    ).stdout.strip()


def versions() -> dict[str, str]:
    """Return the versions of Python, this package and those that compute; none is imported."""
    found = {"genebert": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def hardware() -> dict[str, str | int]:
    """Return processor, the cores this process may use, and the GPU if one is in use."""
    found: dict[str, str | int] = {"cpu": _cpu(), "cores": len(os.sched_getaffinity(0))}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        found |= {"gpu": torch.cuda.get_device_name(), "gpus": torch.cuda.device_count()}
    return found


def _cpu() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _record_of(
    stage: str,
    settings: Mapping[str, Any],
    inputs: Iterable[str | Path],
    outputs: Iterable[str | Path],
    seed: int | None = None,
    **more: Any,
) -> tuple[Path, Record]:
    """Return the record of a job that has done its work, and where it belongs; see :func:`recorded`."""
    files = [Path(path) for path in outputs]
    path = record_path(files[0])
    plain = json.loads(json.dumps(settings))
    record = Record(
        stage=stage,
        version=STAGES[stage],
        settings=plain,
        settings_digest=digest_of(plain),
        seed=seed,
        inputs={str(path): _input(path) for path in inputs},
        root=os.path.relpath(Path.cwd(), path.parent),
        outputs={os.path.relpath(file, path.parent): sha256(file) for file in files},
        versions=versions(),
        code=revision(),
        hardware=hardware(),
        **more,
    )
    return path, record


@contextlib.contextmanager
def recorded(
    stage: str,
    outputs: Iterable[str | Path],
    inputs: Iterable[str | Path],
    settings: Mapping[str, Any],
    seed: int | None = None,
    **more: Any,
) -> Iterator[None]:
    """Write the record of what the block makes, beside its first output, once the block has succeeded.

    Where either fails, nothing that the block has written is left.

    Parameters
    ----------
    stage
        Key of :data:`genebert.versions.STAGES`.
    outputs, inputs
        Files that are written and read; what is written is hashed, and what is read where its maker's
        record is missing or not newer. The block may add to a list of inputs what it only then knows.
    settings
        All else that decides the result: anything JSON can hold.
    seed
        If anything is drawn.
    more
        What the stage keeps besides.
    """
    revision()  # of the code that runs: it may be changed before the block ends
    with together():
        yield
        path, record = _record_of(stage, settings, inputs, outputs, seed, **more)
        write_json(path, record.model_dump())


def record_path(file: str | Path) -> Path:
    """Return where the record of a job lies, whose first output is a file.

    It has the file's name up to the suffix; that of a model has none, for its folder is its name.
    """
    file = Path(file)
    if file.suffix == ".safetensors":
        return file.with_name(_OF_MODEL)
    name = file.name.removesuffix(".gz")
    return file.with_name(f"{name.rpartition('.')[0] or name}{_SUFFIX}")


def is_record(path: Path) -> bool:
    """Return whether a path is that of a record, by its name."""
    return path.name == _OF_MODEL or path.name.endswith(_SUFFIX)


def read_record(path: str | Path) -> Record:
    """Read a record.

    Raises
    ------
    GenebertError
        If it is missing, cannot be read, is damaged, or of another program.
    """
    path = Path(path)
    try:
        return Record.model_validate_json(path.read_text(encoding="utf-8"), strict=True)
    except FileNotFoundError:
        raise GenebertError(f"{path} does not exist", "correct the path, or make it first") from None
    except OSError as error:
        raise GenebertError(one_line(f"{path} {cannot_be_read(error)}"), fix_of(error)) from None
    except ValidationError as error:
        first = error.errors()[0]
        key, said = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
        what = f"{key}: {said}" if key else said
    except UnicodeDecodeError as error:
        what = str(error)
    raise GenebertError(
        one_line(f"{path} is no record of this version, or damaged ({what})"),
        "run the stage that makes the file beside it again",
    )


def find_record(file: str | Path) -> tuple[Path, Record] | None:
    """Return the record that names a file among its outputs, and where it lies; None without one.

    Raises
    ------
    GenebertError
        If there is none, and the one that is meant for it is damaged.
    """
    file = _joined(Path(file))
    damaged = None
    for path in _records_near(file):
        try:
            record = read_record(path)
        except GenebertError as error:
            damaged = damaged or (error if _meant_for(path, file) else None)
            continue
        if file in output_paths(path, record):
            return path, record
    if damaged is not None:
        raise damaged
    return None


def _records_near(file: Path) -> list[Path]:
    """Return the records that can be of a file, the likeliest first."""
    if not file.name:  # the root, which a record can name as well
        return []
    # Of a model: within its folder, and in the one above, where the history of its training lies.
    likely = [record_path(file), file.with_name(_OF_MODEL), file.parent / "model" / _OF_MODEL]
    others: list[Path] = []
    # What a record names may be longer than the disk allows, and so may be its name with a suffix.
    with contextlib.suppress(OSError):
        others = sorted(file.parent.glob(f"*{_SUFFIX}"))
    return [path for path in dict.fromkeys([*likely, *others]) if _is_file(path)]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _meant_for(path: Path, file: Path) -> bool:
    """Return whether a damaged record is that of a file: by its name, else by what it still says."""
    if path == record_path(file):
        return True
    try:
        outputs = read_json_object(path, "").get("outputs")
    except GenebertError:
        return path.name == _OF_MODEL  # nothing is left but its place
    return isinstance(outputs, dict) and file in {_joined(path.parent, name) for name in outputs}


def one_line(text: str) -> str:
    """Return text of a record, which may hold anything, as a line that a terminal can show."""
    return shown(text.replace("\n", "\\n"))


def cannot_be_read(error: OSError) -> str:
    """Return what to say of a file that the system does not let us read."""
    return f"cannot be read: {error.strerror or first_line(error)}"


def output_paths(path: Path, record: Record) -> dict[Path, str]:
    """Return the SHA-256 of the files that a record is of, by absolute path."""
    return {_joined(path.parent, name): digest for name, digest in record.outputs.items()}


def input_paths(path: Path, record: Record) -> dict[Path, Input]:
    """Return what a record says was read, by absolute path."""
    return {_joined(path.parent, record.root, name): found for name, found in record.inputs.items()}


def _joined(folder: Path, *names: str) -> Path:
    # As text: a results folder that is a link to another disk counts as lying where the link does.
    return Path(os.path.normpath(folder.absolute().joinpath(*names)))


def _input(path: str | Path) -> Input:
    """Return what to record of a file that was read; what a stranger's folder holds stops no job.

    A genome is read by a hundred jobs: where its maker's record is newer than the file, the SHA-256 in
    that record is taken, and the file is not read for it. A file written since is newer, or as old where
    the disk's clock is coarse, and is hashed. Missed is one put in its place with an older time;
    Snakemake goes by the same times, and :func:`genebert.lineage.lineage` hashes all files anew.
    """
    digest = made_by = None
    with contextlib.suppress(GenebertError, OSError):
        if found := find_record(path):
            made_by = found[1].stage
            if Path(path).stat().st_mtime_ns < found[0].stat().st_mtime_ns:
                digest = output_paths(*found)[_joined(Path(path))]
    return Input(sha256=digest or sha256(path), made_by=made_by)
