"""Progress with time left, on a terminal as a bar and in a log as a line now and then."""

from __future__ import annotations

import sys
import time
from typing import TextIO


class ProgressLine:
    """Counts steps of a known total.

    Args:
        label: what is counted.
        total: how many there will be.
        start: how many were done before (a resumed task); they do not count for the speed.
        stream: where to write.
    """

    def __init__(self, label: str, total: int, start: int = 0, stream: TextIO | None = None) -> None:
        self.label, self.total, self.done, self._start = label, total, start, start
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._begin = self._last = time.monotonic()
        self._every = 0.2 if self._live else 20.0

    def update(self, done: int, note: str = "", force: bool = False) -> None:
        self.done = done
        now = time.monotonic()
        if not force and done < self.total and now - self._last < self._every:
            return
        self._last = now
        text = f"{self.label} {done}/{self.total} ({100 * done / max(self.total, 1):.0f} %)"
        fresh = done - self._start
        if fresh > 0 and done < self.total:
            text += f", {clock((now - self._begin) / fresh * (self.total - done))} left"
        if note:
            text += f" · {note}"
        self._stream.write(f"\r\x1b[K{text}" if self._live else f"{text}\n")
        self._stream.flush()

    def close(self) -> None:
        if self._live:
            self._stream.write("\n")


def clock(seconds: float) -> str:
    """`1:02:03`, `4:05` or `12 s`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
