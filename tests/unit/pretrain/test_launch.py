import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from genebert.gpus import Gpu, lease, release
from genebert.pretrain.launch import LAUNCHER

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="leases are abstract sockets of Linux")

# Script of the workers; UUIDs of the GPUs to lease.
LAUNCH = """
import signal, sys
from genebert.errors import GenebertError
from genebert.gpus import Gpu, lease
from genebert.pretrain.launch import exec_torchrun
worker, *names = sys.argv[1:]
if names:
    lease(len(names), [Gpu(0, name, name, "pretended") for name in names])
try:
    exec_torchrun(2, [worker])
except GenebertError as error:
    sys.exit(str(error))
"""

# The second worker does not ask to die with its parent: it shows that the kernel kills the first.
WORKER = """
import os, pathlib, signal, sys, time
from genebert.pretrain.launch import die_with_parent
rank, folder = os.environ["LOCAL_RANK"], pathlib.Path(__file__).parent
def stop(*_):
    (folder / f"stopped{rank}").touch()
    sys.exit(143)
signal.signal(signal.SIGTERM, stop)
if rank == "0":
    die_with_parent()
(folder / f"new{rank}").write_text(f"{os.getpid()} {os.environ['CUDA_VISIBLE_DEVICES']}")
(folder / f"new{rank}").rename(folder / f"worker{rank}")
time.sleep(60)
"""


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[tuple[subprocess.Popen, list[int], list[Gpu]]]:
    """Start two workers on two leased GPUs; yield their launcher, them and the GPUs."""
    worker = tmp_path / "worker.py"
    worker.write_text(WORKER)
    names = [f"GPU-{uuid.uuid4()}" for _ in range(2)]
    command = [sys.executable, "-c", LAUNCH, str(worker), *names]
    pids: list[int] = []
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as launcher:
        try:
            files = [tmp_path / f"worker{rank}" for rank in range(2)]
            until(lambda: all(path.exists() for path in files))
            for path in files:
                pid, visible = path.read_text().split()
                assert visible == ",".join(names)
                pids.append(int(pid))
            yield launcher, pids, [Gpu(0, name, name, "pretended") for name in names]
        finally:
            launcher.kill()
            for pid in filter(is_alive, pids):
                os.kill(pid, signal.SIGKILL)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_a_killed_launcher_leaves_no_lease_and_no_worker(launch, capfd, monkeypatch) -> None:
    launcher, (first, second), gpus = launch
    launcher.kill()
    launcher.wait()
    until(lambda: not is_alive(first))
    assert is_alive(second)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # put back in the end
    try:
        assert lease(2, gpus) == gpus
    finally:
        release()
    assert "waiting" not in capfd.readouterr().err


def test_workers_are_stopped_gently(launch, tmp_path: Path) -> None:
    launcher, workers, _ = launch
    launcher.terminate()
    assert launcher.wait() == 128 + signal.SIGTERM
    assert not any(map(is_alive, workers))
    assert (tmp_path / "stopped0").exists()
    assert (tmp_path / "stopped1").exists()


def test_the_launcher_ends_as_its_workers_do(tmp_path: Path) -> None:
    """The first worker would sleep on where the second fails."""
    launched = []
    for second, code, said in (
        ("sys.exit('error: bad')", 1, "error: bad\n"),
        ("os.kill(os.getpid(), 9)", 1, "worker 1 was killed by SIGKILL\nfix: "),
        ("sys.exit(0)", 0, ""),
    ):
        worker = tmp_path / f"worker{len(launched)}.py"
        seconds = 60 if said else 0
        script = f"import os, sys, time\nif os.environ['RANK'] == '1': {second}\ntime.sleep({seconds})"
        worker.write_text(script)
        command = [sys.executable, "-c", LAUNCH, str(worker)]
        launched.append((subprocess.Popen(command, stderr=subprocess.PIPE, text=True), code, said))
    for launcher, code, said in launched:
        _, heard = launcher.communicate(timeout=50)
        assert launcher.returncode == code
        assert said in heard
        assert "Traceback" not in heard


def test_an_orphan_does_not_even_start() -> None:
    script = "from genebert.pretrain.launch import die_with_parent; die_with_parent(); print('lives')"
    for launcher, lives in ((os.getpid(), True), (os.getpid() + 1, False)):
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {LAUNCHER: str(launcher)},
            capture_output=True,
            check=False,
        )
        assert (done.returncode == -signal.SIGKILL) is not lives
        assert (done.stdout == b"lives\n") is lives
