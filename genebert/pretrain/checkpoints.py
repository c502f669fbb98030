"""Checkpoints of a training under way: read whole or not at all, its own or refused, one run at a time.

A checkpoint is a safetensors file named ``step-<step>.<digest of the file>.safetensors``: a name that is
there says that the file was complete, and a file that fits its name has changed in no bit.
"""

import contextlib
import errno
import fcntl
import json
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from genebert.errors import GenebertError
from genebert.files import digest_of, sha256
from genebert.progress import size_text

_LOCK = ".lock"
_UNFINISHED = ".tmp"
_NAME = re.compile(r"step-(\d+)\.([0-9a-f]{16})\.safetensors")
_FOLDER = re.compile(r"[0-9a-f]{16}")
# A tensor, for the header that metadata live in is bounded, and a history is not.
_FACTS = "facts"
# Lustre is often mounted without locks.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
_OF_ADAMW = ("step", "exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class State:
    """A training after some step.

    Attributes
    ----------
    step
        Optimiser steps done.
    tensors
        By name, on any device; those of :func:`tensors_of`, and others of the caller's.
    facts
        What JSON can hold, such as the rows of the history.
    """

    step: int
    tensors: dict[str, torch.Tensor]
    facts: dict[str, Any]


class Checkpoints:
    """The checkpoints of one training, in the sub-folder of ``parent`` that its identity names.

    A run enters it as a context, which locks the folder and removes what killed runs left half-written.
    Of several processes of a run, one does.

    Parameters
    ----------
    parent
        Folder below which the sub-folder is made; those of other identities are left, and told of.
    identity
        All that decides the result, by readable name: each a digest or a value. A checkpoint made with
        another one is refused by these names.
    kept
        Number of checkpoints kept, the newest ones.

    Attributes
    ----------
    folder
        Where they are.
    last
        The checkpoint that was read or saved last; None if there is none.
    """

    def __init__(self, parent: str | Path, identity: Mapping[str, str], kept: int) -> None:
        self.identity, self.kept = dict(identity), kept
        self.folder = Path(parent) / digest_of(self.identity)
        self.last: Path | None = None
        self._damaged: set[Path] = set()
        self._lock: TextIO | None = None

    def __enter__(self) -> Self:
        """Lock the folder.

        Raises
        ------
        GenebertError
            If another run holds it, or nothing can be written there.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock, alone = _locked(self.folder / _LOCK)
            with tempfile.TemporaryFile(dir=self.folder):
                pass  # better said now than after an hour of training
        except OSError as error:
            self.__exit__()
            raise GenebertError(
                f"{self.folder} cannot hold checkpoints: {error.strerror}",
                "name a folder that you may write to, with space left, or change its permissions",
            ) from None
        if alone:
            for path in self.folder.glob(f"*{_UNFINISHED}"):
                shutil.rmtree(path, ignore_errors=True)
        self._tell_of_others()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """Free the lock; killing the process frees it too."""
        if self._lock is not None:
            self._lock.close()

    def newest(self) -> State | None:
        """Return the newest checkpoint that is whole, on the CPU; None where there is none.

        Damaged ones are skipped with a warning.

        Raises
        ------
        GenebertError
            If it was made with another identity.
        """
        for path in self._paths():
            try:
                state, identity = _read(path)
            except (OSError, SafetensorError, ValueError, KeyError) as error:
                _warn(f"the checkpoint {path} is damaged and skipped: {error}")
                self._damaged.add(path)
                continue
            if others := self._differing(identity):
                raise GenebertError(
                    f"the checkpoint {path} was made with another {', another '.join(others)}",
                    f"go back to what it was made with, or train anew after: rm {_quoted(path)}",
                )
            self.last = path
            return state
        if self._damaged:
            _warn(f"no checkpoint of {self.folder} is whole: training starts anew")
        return None

    def save(self, state: State) -> bool:
        """Write a checkpoint; once it is on the disk, remove all but the newest ones.

        Training of hours does not end because a disk is full: what prevents the writing is told on
        stderr, and the checkpoints before stay.

        Returns
        -------
        Whether the checkpoint is on the disk.
        """
        try:
            self.last = self._write(state)
        except (OSError, SafetensorError) as error:
            _warn(
                f"the checkpoint of step {state.step} could not be saved in {self.folder}: {error}; "
                "those before it stay"
            )
            return False
        self._damaged.discard(self.last)
        paths = self._paths()
        whole = [path for path in paths if _step(path) <= state.step and path not in self._damaged]
        for path in set(paths) - set(whole[: self.kept]):
            with contextlib.suppress(OSError):
                path.unlink()
        return True

    def remove(self) -> None:
        """Remove all checkpoints, oldest first, and the folders that this leaves empty."""
        try:
            for path in reversed(self._paths()):
                path.unlink()
            (self.folder / _LOCK).unlink()
            self.__exit__()
            self.folder.rmdir()
        except OSError as error:
            _warn(f"checkpoints that nobody needs any more are left in {self.folder}: {error}")
            return
        with contextlib.suppress(OSError):
            self.folder.parent.rmdir()

    def _paths(self) -> list[Path]:
        return _checkpoints_in(self.folder)

    def _differing(self, identity: Mapping[str, str]) -> list[str]:
        names = sorted(self.identity.keys() | identity.keys())
        return [name for name in names if self.identity.get(name) != identity.get(name)]

    def _write(self, state: State) -> Path:
        facts = bytearray(json.dumps(state.facts).encode())
        tensors = state.tensors | {_FACTS: torch.frombuffer(facts, dtype=torch.uint8)}
        # One key: several come in any order.
        metadata = {"genebert": json.dumps({"step": state.step, "identity": self.identity})}
        # In a folder of its own, for safetensors has temporary files too.
        with tempfile.TemporaryDirectory(
            suffix=_UNFINISHED, dir=self.folder, ignore_cleanup_errors=True
        ) as unfinished:
            written = Path(unfinished) / "checkpoint"
            save_file(tensors, written, metadata)
            # Safetensors makes private files: give what an ordinary open() has given.
            shutil.copymode(self.folder / _LOCK, written)
            _sync(written)
            path = self.folder / f"step-{state.step:09}.{sha256(written)[:16]}.safetensors"
            written.replace(path)
        _sync(self.folder)
        return path

    def _tell_of_others(self) -> None:
        """Say which checkpoints of other identities take up space; runs may still need them."""
        for folder in sorted(self.folder.parent.iterdir()):
            if folder == self.folder or not _FOLDER.fullmatch(folder.name):
                continue
            if not (paths := _checkpoints_in(folder)):
                continue
            try:
                others = self._differing(_header(paths[0])["identity"])
                size = size_text(sum(path.stat().st_size for path in paths))
            except (OSError, SafetensorError, ValueError, KeyError):
                continue  # damaged, or just removed by a run that is using them
            print(
                f"not used: {size} of checkpoints made with another {', another '.join(others)}; "
                f"if no run needs them: rm -r {_quoted(folder)}",
                file=sys.stderr,
                flush=True,
            )


def tensors_of(model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Return copies on the CPU of what a network and its optimiser hold.

    Parameters
    ----------
    model
        The bare network, not one that is wrapped to be compiled or shared out.
    optimiser
        Of its parameters; one that has had no gradient yet has no state.

    Returns
    -------
    ``model.<name>``, and ``optimiser.<step | exp_avg | exp_avg_sq>.<name of the parameter>``.
    """
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        for kind, value in optimiser.state.get(parameter, {}).items():
            tensors[f"optimiser.{kind}.{name}"] = value
    # Copies, for tensors that share memory cannot be saved, and training goes on in place.
    return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()}


def restore(
    model: nn.Module, optimiser: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]
) -> None:
    """Give a network and its optimiser what :func:`tensors_of` has returned, to the bit.

    Parameters
    ----------
    model, optimiser
        As they were then, on any device; changed in place, or not at all.
    tensors
        Names that begin with neither ``model.`` nor ``optimiser.`` are the caller's own.

    Raises
    ------
    GenebertError
        If a name is missing or unknown, or a size or type is another.
    """
    given = {name: t for name, t in tensors.items() if name.startswith(("model.", "optimiser."))}
    names = {parameter: name for name, parameter in model.named_parameters()}
    trained = [parameter for group in optimiser.param_groups for parameter in group["params"]]

    expected = {f"model.{name}": _kind(value) for name, value in model.state_dict().items()}
    states: dict[int, dict[str, torch.Tensor]] = {}
    for number, parameter in enumerate(trained):
        own = {kind: f"optimiser.{kind}.{names[parameter]}" for kind in _OF_ADAMW}
        if given.keys() & own.values():
            expected |= dict.fromkeys(own.values(), _kind(parameter))
            expected[own["step"]] = (torch.Size(), torch.float32)
            states[number] = {
                kind: _laid_out(given[name], parameter) for kind, name in own.items() if name in given
            }

    found = {name: _kind(value) for name, value in given.items()}
    if wrong := sorted(
        name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)
    ):
        raise GenebertError(
            f"the checkpoint and the network differ in {len(wrong)} tensor(s), such as {wrong[0]}",
            "remove the checkpoint to train anew, or use the version of GeneBERT that wrote it",
        )
    prefix = "model."
    model.load_state_dict({n.removeprefix(prefix): t for n, t in given.items() if n.startswith(prefix)})
    optimiser.load_state_dict({"state": states, "param_groups": optimiser.state_dict()["param_groups"]})


def _laid_out(tensor: torch.Tensor, parameter: nn.Parameter) -> torch.Tensor:
    """Return a copy with the strides of its parameter: a fused optimiser walks both as they lie."""
    if tensor.shape != parameter.shape:
        return tensor.clone()
    return torch.empty_like(parameter, device=tensor.device, requires_grad=False).copy_(tensor)


def _kind(tensor: torch.Tensor) -> tuple[torch.Size, torch.dtype]:
    return tensor.shape, tensor.dtype


def _locked(path: Path) -> tuple[TextIO, bool]:
    """Return an open file that holds the lock of its path, and whether it does: some disks have none."""
    while True:
        file = path.open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise GenebertError(
                f"another run is training with the checkpoints of {path.parent}",
                "wait until it has ended, or stop it",
            ) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                file.close()
                raise
            _warn(f"{path.parent} is on a disk without locks: let no second run use it")
            return file, False
        if os.fstat(file.fileno()).st_nlink:
            return file, True
        file.close()  # of a run that has ended since, and removed its lock


def _checkpoints_in(folder: Path) -> list[Path]:
    """Return the paths of a folder's checkpoints, newest first."""
    if not folder.is_dir():
        return []
    paths = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)]
    return sorted(paths, key=lambda path: (_step(path), path.name), reverse=True)


def _step(path: Path) -> int:
    return int(path.name.removeprefix("step-").partition(".")[0])


def _header(path: Path) -> dict[str, Any]:
    with safe_open(path, "pt") as file:
        header: dict[str, Any] = json.loads(file.metadata()["genebert"])
    return header


def _read(path: Path) -> tuple[State, dict[str, str]]:
    """Return a checkpoint and its identity; ValueError if a bit has changed."""
    if sha256(path)[:16] != path.name.split(".")[1]:
        raise ValueError("its bytes are not those that were written")
    header = _header(path)
    with safe_open(path, "pt") as file:
        # No method `items`: each tensor is read when it is asked for.
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    facts = json.loads(tensors.pop(_FACTS).numpy().tobytes())
    return State(header["step"], tensors, facts), header["identity"]


def _sync(path: Path) -> None:
    """Have the disk hold a file or the names in a folder."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def _warn(what: str) -> None:
    print(f"warning: {what}", file=sys.stderr, flush=True)
