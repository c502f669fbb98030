"""GPUs are pretended by an ``nvidia-smi`` put first on PATH; all processes are real."""

import itertools
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from genebert import gpus
from genebert.errors import GenebertError
from genebert.gpus import lease, visible_gpus

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="leases are abstract sockets of Linux")

# Leases so many GPUs, prints them as CUDA will see them, and holds them until its input ends.
HOLDER = """
import os, signal, sys
from genebert.errors import GenebertError
from genebert.gpus import lease, visible_gpus
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
try:
    leased = lease(int(sys.argv[1]), visible_gpus())
except GenebertError as error:
    sys.exit(str(error))
assert os.environ["CUDA_VISIBLE_DEVICES"] == ",".join(gpu.uuid for gpu in leased)
print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
sys.stdin.read()
"""

Start = Callable[..., subprocess.Popen]


@pytest.fixture
def pretend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make ``nvidia-smi`` a shell script."""

    def write(script: str) -> None:
        program = tmp_path / "bin" / "nvidia-smi"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return write


@pytest.fixture
def cards(pretend: Callable[[str], None]) -> Callable[[int], list[str]]:
    """Pretend so many cards; return their UUIDs, which no other test has."""

    def make(number: int) -> list[str]:
        uuids = [f"GPU-{uuid.uuid4()}" for _ in range(number)]
        pretend(listing(*(f"GPU {i}: NVIDIA H100 (UUID: {name})" for i, name in enumerate(uuids))))
        return uuids

    return make


def listing(*lines: str) -> str:
    return "\n".join(["cat <<END", *lines, "END"])


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a job that leases so many GPUs; all are killed in the end."""
    started: list[subprocess.Popen] = []

    def job(number: int = 1, **environment: str) -> subprocess.Popen:
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", HOLDER, str(number)],
                env=os.environ | environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield job
    for process in started:
        with process:  # which closes its pipes
            process.kill()


def held_by(job: subprocess.Popen) -> list[str]:
    return job.stdout.readline().strip().split(",")


def cpu_seconds(pid: int) -> float:
    user_and_system = Path(f"/proc/{pid}/stat").read_text().split()[13:15]
    return sum(map(int, user_and_system)) / os.sysconf("SC_CLK_TCK")


def ends(job: subprocess.Popen) -> tuple[int, str]:
    _, said = job.communicate(timeout=20)
    return job.returncode, said


@pytest.mark.parametrize("exported", [{}, {"CUDA_VISIBLE_DEVICES": "0,1,2,3"}])
def test_concurrent_jobs_have_different_gpus(cards, start: Start, exported: dict[str, str]) -> None:
    uuids = cards(4)
    jobs = [start(**exported) for _ in range(4)]
    assert sorted(name for job in jobs for name in held_by(job)) == sorted(uuids)
    code, said = ends(jobs[0])
    assert code == 0
    assert said.startswith("device: NVIDIA H100 (GPU-")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("way", ["ends", "SIGTERM", "SIGKILL"])
def test_a_lease_is_free_at_once(cards, start: Start, way: str) -> None:
    cards(2)
    first, second = start(), start()
    names = held_by(first)
    held_by(second)
    if way == "ends":
        first.stdin.close()
    else:
        first.send_signal(signal.Signals[way])
    first.wait()
    third = start()
    assert held_by(third) == names
    assert "waiting" not in ends(third)[1]


def test_one_too_many_waits_and_says_so(cards, start: Start) -> None:
    cards(1)
    first = start()
    names = held_by(first)
    second = start()
    assert second.stderr.readline().startswith("device: waiting for 1 of 1 GPUs: ")
    first.kill()
    assert held_by(second) == names


def test_waiting_is_quiet_and_ends_on_sigterm(cards, start: Start) -> None:
    cards(1)
    held_by(start())
    waiting = start()
    waiting.stderr.readline()
    before = cpu_seconds(waiting.pid)
    time.sleep(3 * gpus.SECONDS_BETWEEN_TRIES)
    assert cpu_seconds(waiting.pid) - before < 0.1
    waiting.terminate()
    assert ends(waiting) == (143, "")  # the next message would come after a minute


def test_who_waits_for_two_holds_none(cards, start: Start) -> None:
    uuids = cards(3)
    first = start(2)
    assert held_by(first) == uuids[:2]
    second = start(2)
    assert "waiting for 2 of 3" in second.stderr.readline()
    third = start(1)
    assert held_by(third) == uuids[2:]
    first.stdin.close()
    assert held_by(second) == uuids[:2]


def test_jobs_of_one_and_two_all_come_through(cards) -> None:
    cards(3)
    script = """
import json, sys, time
from genebert.gpus import lease, visible_gpus
leased = lease(int(sys.argv[1]), visible_gpus())
began = time.monotonic()
time.sleep(0.1)
print(json.dumps([began, time.monotonic(), [gpu.uuid for gpu in leased]]))
"""
    jobs = [
        subprocess.Popen([sys.executable, "-c", script, number], stdout=subprocess.PIPE, text=True)
        for number in "2121112"
    ]
    spans = [json.loads(job.communicate(timeout=30)[0]) for job in jobs]
    for one, other in itertools.combinations(spans, 2):
        apart = one[1] <= other[0] or other[1] <= one[0]
        assert apart or not set(one[2]) & set(other[2])
    assert [len(names) for _, _, names in spans] == [2, 1, 2, 1, 1, 1, 2]


def test_jobs_of_snakemake(cards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All four hold their GPU before any ends."""
    uuids = cards(4)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    (tmp_path / "job.py").write_text(
        textwrap.dedent("""
        import pathlib, sys, time
        from genebert.gpus import lease, visible_gpus
        [gpu] = lease(1, visible_gpus())
        pathlib.Path(sys.argv[1]).write_text(gpu.uuid)
        deadline = time.monotonic() + 30
        while len(list(pathlib.Path().glob("*.uuid"))) < 4:
            assert time.monotonic() < deadline, "the others have no GPU"
            time.sleep(0.05)
        """)
    )
    (tmp_path / "Snakefile").write_text(
        textwrap.dedent(f"""
        rule all:
            input: expand("{{n}}.uuid", n=range(4))
        rule job:
            output: "{{n}}.uuid"
            resources: gpu=1
            shell: "{sys.executable} job.py {{output}}"
        """)
    )
    command = [sys.executable, "-m", "snakemake", "--cores", "8", "--resources", "gpu=4"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(path.read_text() for path in tmp_path.glob("*.uuid")) == sorted(uuids)


def test_children_hold_nothing(cards, start: Start) -> None:
    names = cards(1)
    script = """
import subprocess
from genebert.gpus import lease, visible_gpus
lease(1, visible_gpus())
print(subprocess.Popen(["sleep", "20"], close_fds=False).pid, flush=True)
input()
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", script], **pipes) as holder:
        child = int(holder.stdout.readline())
        job = start()
        assert "waiting" in job.stderr.readline()
        holder.kill()
        assert held_by(job) == names
        os.kill(child, signal.SIGKILL)  # fails if it does not live


def test_more_than_there_are(cards, start: Start) -> None:
    cards(4)
    code, said = ends(start(3, CUDA_VISIBLE_DEVICES="1,3"))
    assert code == 1
    assert said.startswith("3 GPUs asked, 2 visible (compute.gpus)\nfix: lower it")


@pytest.mark.parametrize(
    ("wanted", "seen"),
    [
        (None, [0, 1, 2, 3]),
        ("2,3", [2, 3]),
        (" 3, 1", [3, 1]),
        ("{2},{0}", [2, 0]),
        ("{1:.12}", [1]),
        ("1,1", [1]),
        ("0,-1,2", [0]),
        ("0,9,2", [0]),
        ("{3},nonsense", [3]),
    ],
)
def test_only_what_was_made_visible(
    cards, monkeypatch: pytest.MonkeyPatch, capfd, wanted: str | None, seen: list[int]
) -> None:
    uuids = cards(4)
    if wanted is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", wanted.format(*uuids))
    assert [gpu.uuid for gpu in visible_gpus()] == [uuids[i] for i in seen]
    invalid = "9" if wanted == "0,9,2" else "nonsense" if wanted == "{3},nonsense" else None
    said = capfd.readouterr().err
    assert f"'{invalid}' is no GPU of this machine" in said if invalid else said == ""


@pytest.mark.parametrize("wanted", ["", "-1", "NoDevFiles", "9", "²", "GPU-", "GPU-0000", "MIG-1"])
def test_nothing_was_made_visible(cards, monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    cards(4)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", wanted)
    with pytest.raises(GenebertError, match=f"'{wanted}' makes none of 4 GPUs visible"):
        visible_gpus()


SLICED = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77)
  MIG 3g.20gb     Device  0: (UUID: MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f)
  MIG 3g.20gb     Device  1: (UUID: MIG-cba663e8-9bed-5b25-b243-5985ef7c9beb)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-fcf41002-68b6-5900-d7d1-74026173bb44)
GPU 2: NVIDIA A100-SXM4-40GB (UUID: GPU-838f60d9-651f-9166-ea42-f9da674a6947)
  MIG 1g.5gb      Device  0: (UUID: MIG-GPU-838f60d9-651f-9166-ea42-f9da674a6947/7/0)"""


@pytest.mark.parametrize(
    ("wanted", "seen"),
    [
        (None, ["MIG-c6", "MIG-cb", "GPU-fc", "MIG-GPU-83"]),
        ("1,0", ["GPU-fc", "MIG-c6", "MIG-cb"]),
        ("GPU-5d5ba0d6", ["MIG-c6", "MIG-cb"]),
        ("MIG-cba663e8-9bed-5b25-b243-5985ef7c9beb", ["MIG-cb"]),
        ("MIG-GPU-838f60d9-651f-9166-ea42-f9da674a6947/7/0", ["MIG-GPU-83"]),
        ("1,MIG-c", ["GPU-fc"]),  # ambiguous
    ],
)
def test_cards_that_are_cut_into_slices(
    pretend, monkeypatch: pytest.MonkeyPatch, wanted: str | None, seen: list[str]
) -> None:
    pretend(listing(SLICED))
    if wanted is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", wanted)
    found = visible_gpus()
    assert len(found) == len(seen)
    assert all(gpu.uuid.startswith(name) for gpu, name in zip(found, seen, strict=True))
    if wanted is None:
        with pytest.raises(GenebertError, match="2 GPUs asked, 1 visible"):
            lease(2, found)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            "echo Unable to reach the driver; exit 9",
            "failed with exit code 9: Unable to reach the driver$",
        ),
        ("echo No devices were found", "lists no GPU"),
        ("exec sleep 20", "no answer within 0 s"),
    ],
)
def test_a_broken_nvidia_smi(
    pretend, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    pretend(script)
    if "sleep" in script:
        monkeypatch.setattr(gpus, "SECONDS_FOR_NVIDIA_SMI", 0.3)
    with pytest.raises(GenebertError, match=f"^nvidia-smi .*{message}".replace("$", "\n")):
        visible_gpus()


def test_no_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GenebertError, match="nvidia-smi cannot be run"):
        visible_gpus()
