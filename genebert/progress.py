"""Progress of long work: a bar on a terminal, a line every few seconds in a log file."""

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from tqdm import tqdm

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 5.0


class Progress(Generic[T]):
    """Iterate over a sequence and show on stderr how far it is.

    Parameters
    ----------
    items
        What is left to do.
    what
        Name of the work.
    before
        Items that an earlier run has done.
    """

    def __init__(self, items: Sequence[T], what: str, before: int = 0) -> None:
        self._items, self._what, self._before, self._note = items, what, before, ""

    def note(self, text: str) -> None:
        """Show a few words beside the count, such as the current loss."""
        self._note = text

    def __iter__(self) -> Iterator[T]:
        if sys.stderr.isatty():
            total = self._before + len(self._items)
            bar = tqdm(self._items, self._what, total, leave=False, initial=self._before)
            for item in bar:
                yield item
                bar.set_postfix_str(self._note, refresh=False)
            return
        started = shown = time.monotonic()
        for done, item in enumerate(self._items, start=1):
            yield item
            now = time.monotonic()
            if now - shown >= SECONDS_BETWEEN_LINES or done == len(self._items):
                shown = now
                rate = done / max(now - started, 1e-9)
                left = (len(self._items) - done) / rate
                of = self._before + len(self._items)
                print(
                    f"{self._what}: {self._before + done}/{of}, {rate:.3g}/s, {left:.0f} s left"
                    + (f", {self._note}" if self._note else ""),
                    file=sys.stderr,
                    flush=True,
                )


def bytes_shown(blocks: Iterable[bytes], what: str, total: int | None, done: int) -> Iterator[bytes]:
    """Yield the blocks of a transfer and show on stderr how far it is.

    Parameters
    ----------
    blocks
        What comes.
    what
        Name of the file.
    total
        Its size in bytes, as far as known.
    done
        Bytes that were there before.
    """
    if sys.stderr.isatty():
        with tqdm(
            desc=what, total=total, initial=done, unit="B", unit_scale=True, leave=False
        ) as progress:
            for block in blocks:
                yield block
                progress.update(len(block))
        return
    before, started = done, time.monotonic()
    shown = started

    def line() -> str:
        rate = (done - before) / max(time.monotonic() - started, 1e-9)
        of = "" if total is None else f" of {size_text(total)}"
        left = "" if total is None else f", {(total - done) / max(rate, 1e-9):.0f} s left"
        return f"{what}: {size_text(done)}{of}, {size_text(int(rate))}/s{left}"

    for block in blocks:
        yield block
        done += len(block)
        if time.monotonic() - shown >= SECONDS_BETWEEN_LINES:
            shown = time.monotonic()
            print(line(), file=sys.stderr, flush=True)
    print(line(), file=sys.stderr, flush=True)


def size_text(size: int) -> str:
    """Return a number of bytes for people: 983.7 MB."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} B"
