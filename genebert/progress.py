"""Progress of long work: a bar on a terminal, a line every few seconds in a log file."""

import sys
import time
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

from tqdm import tqdm

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 5.0


class Progress(Generic[T]):
    """Iterate over a sequence and show on stderr how far it is."""

    def __init__(self, items: Sequence[T], what: str) -> None:
        self._items, self._what, self._note = items, what, ""

    def note(self, text: str) -> None:
        """Show a few words beside the count, such as the current loss."""
        self._note = text

    def __iter__(self) -> Iterator[T]:
        if sys.stderr.isatty():
            bar = tqdm(self._items, desc=self._what, leave=False)
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
                print(
                    f"{self._what}: {done}/{len(self._items)}, {rate:.3g}/s, {left:.0f} s left"
                    + (f", {self._note}" if self._note else ""),
                    file=sys.stderr,
                    flush=True,
                )
