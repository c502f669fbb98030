"""Being asked to stop: a training finishes its step and saves what it has."""

import contextlib
import os
import signal
import sys
import time
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self

from genebert.pretrain import parallel


class StopRequest:
    """Note SIGTERM and Ctrl-C instead of ending at once, for the length of a block.

    Schedulers and torchrun may pass SIGTERM on twice: it stays a request, and SIGKILL is there for more.
    A second Ctrl-C does what Ctrl-C did before. What the process was started to ignore it goes on
    ignoring.

    Parameters
    ----------
    quiet
        Leave it to another process of the run to say something.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._asked: signal.Signals | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Take over the signals."""
        for number in (signal.SIGTERM, signal.SIGINT):
            if signal.getsignal(number) is not signal.SIG_IGN:
                # None is what was not installed from Python.
                self._before[number] = signal.signal(number, self._note) or signal.SIG_DFL
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the signals back; leave without a word where another process had ended before."""
        for number, before in self._before.items():
            signal.signal(number, before)
        if self._asked is not None and isinstance(error, RuntimeError) and parallel.world() > 1:
            # torchrun tells what became of the one that failed first: this must not be it.
            time.sleep(parallel.SECONDS_FOR_THE_FIRST)
            sys.exit(128 + self._asked)

    @property
    def requested(self) -> bool:
        """Whether the process was asked to stop."""
        return self._asked is not None

    def leave(self, step: int, saved: bool) -> NoReturn:
        """End the process, with the status of one that the signal has ended.

        Parameters
        ----------
        step
            Optimiser steps done.
        saved
            Whether there is a checkpoint of this step.
        """
        asked = self._asked or signal.SIGTERM  # of another process of the same run
        what = "checkpoint saved; the same command goes on from there"
        if not saved:
            what = "no checkpoint of this step; the same command goes on from the one before, if any"
        if not self._quiet:
            print(f"stopped at step {step} on {asked.name}: {what}", file=sys.stderr, flush=True)
        sys.exit(128 + asked)

    def _note(self, number: int, frame: FrameType | None) -> None:
        again = ""
        if number == signal.SIGINT:
            signal.signal(number, self._before[number])
            again = " (Ctrl-C again to lose it)"
        elif self._asked is not None:
            return
        self._asked = self._asked or signal.Signals(number)
        if self._quiet:
            return
        # Not print(): what the signal has interrupted may be a print.
        with contextlib.suppress(OSError):
            os.write(2, f"{signal.Signals(number).name}: stopping after this step{again}\n".encode())
