"""Which GPUs this process may use, and leasing some of them among the jobs of one machine.

A scheduler or a user may have named GPUs in ``CUDA_VISIBLE_DEVICES``, but Snakemake's
``--resources gpu=4`` only counts: four jobs at a time would all compute on the first. So each job leases
the GPUs it computes on.

A lease is an abstract Unix socket named after the GPU's UUID (``man 7 unix``). The kernel lets one
process of the machine have a name, and frees it when that process ends, however it ends. There is no
file: nothing goes stale, and temporary folders that are private to a job, cleaned or not writable do
not matter. Only containers with a network of their own (Docker's default) do not see the others' leases.

Nothing here imports torch or initialises CUDA.
"""

import errno
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from genebert.errors import GenebertError

SECONDS_FOR_NVIDIA_SMI = 60.0
SECONDS_BETWEEN_TRIES = 0.5
SECONDS_BETWEEN_MESSAGES = 60.0

_CARD = re.compile(r"GPU (?P<index>\d+): (?P<name>.+) \(UUID: (?P<uuid>[^()]+)\)")
_SLICE = re.compile(r"\s+MIG (?P<name>\S+) .*\(UUID: (?P<uuid>[^()]+)\)")


@dataclass(frozen=True)
class Gpu:
    """What CUDA computes on: a whole card, or one slice (MIG device) of a card.

    Parameters
    ----------
    index
        Of the card, as ``nvidia-smi`` counts (order of the PCI bus).
    card
        UUID of the card.
    uuid
        Its own UUID: that of the card, unless it is a slice.
    name
        For people.
    """

    index: int
    card: str
    uuid: str
    name: str

    def __str__(self) -> str:
        return f"{self.name} ({self.uuid})"


# The leases of this process: a socket that is open is a lease that is held.
_held: dict[Gpu, socket.socket] = {}


def visible_gpus() -> list[Gpu]:
    """Return the GPUs that this process may use, in the order of ``CUDA_VISIBLE_DEVICES``; never empty.

    Entries are read as CUDA reads them (CUDA C++ Programming Guide, "CUDA Environment Variables"):
    indices, UUIDs or unambiguous beginnings of UUIDs, up to the first that is invalid. Three things
    differ. Indices are those of ``nvidia-smi``; CUDA's own order puts the fastest card first unless
    ``CUDA_DEVICE_ORDER=PCI_BUS_ID``, so on a machine with different cards name UUIDs. A card that is
    cut into slices stands for all of its slices. A GPU named twice counts once, where CUDA sees none.

    Raises
    ------
    GenebertError
        If there is none, saying why.
    """
    gpus = _parse(_nvidia_smi())
    if not gpus:
        raise GenebertError(
            "nvidia-smi lists no GPU", "run on a machine, or in an allocation, with GPUs"
        )
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        return gpus
    visible: list[Gpu] = []
    for entry in wanted.split(","):
        named = _named(entry.strip(), gpus)
        if not named:
            if visible and entry.strip() != "-1":
                _say(
                    f"CUDA_VISIBLE_DEVICES='{wanted}': '{entry}' is no GPU of this machine; "
                    "it and what follows is ignored"
                )
            break
        visible += [gpu for gpu in named if gpu not in visible]
    if not visible:
        raise GenebertError(
            f"CUDA_VISIBLE_DEVICES='{wanted}' makes none of {len(gpus)} GPUs visible",
            "unset it, or name GPUs by index or UUID as `nvidia-smi -L` lists them",
        )
    return visible


def lease(number: int, among: Sequence[Gpu]) -> list[Gpu]:
    """Take so many GPUs for this process alone until it ends, and make only these visible to CUDA.

    Its children see them too, but hold no lease: one that lives on keeps no GPU from other jobs.
    Waits for as long as other jobs have too many of them, and says so. It takes all or none, so that no
    two jobs wait for one another's half; a job that wants many may be overtaken by jobs that want few.

    Parameters
    ----------
    number
        How many; more than one must be whole cards, since CUDA uses one slice a process at most.
    among
        Of which, the first free ones.

    Raises
    ------
    GenebertError
        If there are not so many.
    """
    assert not _held, "a process leases once"
    if number > 1:
        among = [gpu for gpu in among if gpu.uuid == gpu.card]
    if len(among) < number:
        raise GenebertError(
            f"{number} GPUs asked, {len(among)} visible",
            "lower it, or make more whole GPUs visible (CUDA_VISIBLE_DEVICES, the scheduler's request)",
            "compute.gpus",
        )
    began = time.monotonic()
    next_message = 0.0
    while not _try_lease(number, among):
        waited = time.monotonic() - began
        if waited >= next_message:
            _say(
                f"waiting for {number} of {len(among)} GPUs: other jobs have leased too many "
                f"(`ss -xap | grep genebert` lists them), {waited / 60:.0f} min so far"
            )
            next_message += SECONDS_BETWEEN_MESSAGES
        time.sleep(SECONDS_BETWEEN_TRIES)
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpu.uuid for gpu in _held)
    _say(", ".join(str(gpu) for gpu in _held))
    return list(_held)


def leased() -> list[Gpu]:
    """Return the GPUs that this process has leased."""
    return list(_held)


def release() -> None:
    """Give back all leases of this process, which has not used the GPUs yet."""
    for lock in _held.values():
        lock.close()
    _held.clear()


def _nvidia_smi() -> str:
    # run() would wait for good where a broken driver keeps the process from dying.
    try:
        process = subprocess.Popen(
            ["nvidia-smi", "-L"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    except OSError as error:
        raise GenebertError(
            f"nvidia-smi cannot be run ({error.strerror})",
            "install NVIDIA's driver, or put nvidia-smi on PATH",
        ) from None
    try:
        output, _ = process.communicate(timeout=SECONDS_FOR_NVIDIA_SMI)
    except subprocess.TimeoutExpired:
        process.kill()
        raise GenebertError(
            f"nvidia-smi gave no answer within {SECONDS_FOR_NVIDIA_SMI:.0f} s",
            "run `nvidia-smi -L` yourself; the driver may need a restart",
        ) from None
    if process.returncode:
        said = " ".join(output.split())
        raise GenebertError(
            f"nvidia-smi failed with exit code {process.returncode}: {said}",
            "run `nvidia-smi -L` yourself and repair the driver",
        )
    return output


def _parse(listing: str) -> list[Gpu]:
    """Return the GPUs that ``nvidia-smi -L`` lists; of a card with slices these only."""
    gpus: list[Gpu] = []
    for line in listing.splitlines():
        if found := _CARD.match(line):
            gpus.append(Gpu(int(found["index"]), found["uuid"], found["uuid"], found["name"]))
        elif (found := _SLICE.match(line)) and gpus:
            card = gpus[-1]
            gpus.append(Gpu(card.index, card.card, found["uuid"], f"slice {found['name']}"))
    sliced = {gpu.card for gpu in gpus if gpu.uuid != gpu.card}
    return [gpu for gpu in gpus if gpu.uuid not in sliced]


def _named(entry: str, gpus: list[Gpu]) -> list[Gpu]:
    """Return the GPUs that one entry of ``CUDA_VISIBLE_DEVICES`` stands for; none if it is invalid."""
    if entry.isdecimal():
        return [gpu for gpu in gpus if gpu.index == int(entry)]
    if entry.startswith("GPU-"):
        of_card = [gpu for gpu in gpus if gpu.card.startswith(entry)]
        return of_card if len({gpu.card for gpu in of_card}) == 1 else []
    if entry.startswith("MIG-"):
        slices = [gpu for gpu in gpus if gpu.uuid.startswith(entry)]
        return slices if len(slices) == 1 else []
    return []


def _try_lease(number: int, among: Sequence[Gpu]) -> bool:
    """Lease so many GPUs, or none."""
    while (turn := _lock("turn")) is None:  # another process holds it for the microseconds of this block
        time.sleep(0.01)
    with turn:
        for gpu in among:
            if len(_held) < number and (lock := _lock(gpu.uuid)):
                _held[gpu] = lock
        if len(_held) < number:
            release()
    return bool(_held)


def _lock(name: str) -> socket.socket | None:
    """Take a name that one process of the machine can have at a time; None where another has it."""
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        lock.bind(f"\0genebert-gpu:{name}")
    except OSError as error:
        lock.close()
        if error.errno != errno.EADDRINUSE:
            raise GenebertError(
                f"no GPU can be leased: {error.strerror}",
                "let GeneBERT use abstract Unix sockets (security profile of the machine or container)",
            ) from None
        return None
    return lock


def _say(text: str) -> None:
    print(f"device: {text}", file=sys.stderr, flush=True)
