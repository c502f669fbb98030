"""SIGTERM and Ctrl-C ask a training to stop; they do not end it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from genebert.pretrain.stopping import StopRequest


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    """Whatever a test installs."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def ask(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_noted_and_told(number: signal.Signals, capfd: pytest.CaptureFixture[str]) -> None:
    with StopRequest() as stop:
        assert not stop.requested
        ask(number)
        assert stop.requested
    assert capfd.readouterr().err.startswith(f"{number.name}: stopping after this step")


def test_sigterm_may_come_twice() -> None:
    with StopRequest() as stop:
        for _ in range(3):
            ask(signal.SIGTERM)
        assert stop.requested


def test_a_second_ctrl_c_ends_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), StopRequest():
        ask(signal.SIGTERM)
        ask(signal.SIGINT)
        ask(signal.SIGINT)


def test_signals_are_given_back() -> None:
    def own(*_: object) -> None: ...

    signal.signal(signal.SIGTERM, own)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ValueError, match="in the block"), StopRequest():
        ask(signal.SIGINT)
        assert signal.getsignal(signal.SIGTERM) != own
        raise ValueError("in the block")
    assert signal.getsignal(signal.SIGTERM) == own
    assert signal.getsignal(signal.SIGINT) == before


def test_what_the_process_ignores_it_goes_on_ignoring() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as `nohup` and `&` in a script do
    with StopRequest() as stop:
        ask(signal.SIGINT)
        assert not stop.requested
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_status_is_that_of_the_signal(
    number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left, StopRequest() as stop:
        ask(number)
        ask(signal.SIGTERM)
        stop.leave(12, saved=True)
    assert left.value.code == 128 + number
    told = capfd.readouterr().err
    assert f"stopped at step 12 on {number.name}: checkpoint saved; the same command goes on" in told


def test_who_was_not_asked_itself_leaves_as_on_sigterm(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left, StopRequest() as stop:
        stop.leave(12, saved=False)
    assert left.value.code == 143
    assert "stopped at step 12 on SIGTERM: no checkpoint of this step" in capfd.readouterr().err


PRINTS = """
import os, signal, sys, threading
from genebert.pretrain.stopping import StopRequest
with StopRequest() as stop:
    done = threading.Event()
    def ask():
        while not done.is_set():
            os.kill(os.getpid(), signal.SIGTERM)
    threading.Thread(target=ask).start()
    for number in range(20_000):
        print(number, file=sys.stderr)
    done.set()
"""


def test_a_signal_in_the_middle_of_a_print_does_no_harm() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRINTS], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr[-500:]
    assert "SIGTERM: stopping" in done.stderr
