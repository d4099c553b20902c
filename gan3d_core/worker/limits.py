"""How long the worker may take, and a clock to hold it to that."""

from __future__ import annotations

import dataclasses
import time


@dataclasses.dataclass(frozen=True)
class Limits:
    """How long the worker may take, in seconds. Time in which nobody polls counts for one second at most, so a
    sleeping computer or a busy Blender is not mistaken for a hung worker."""

    start: float = 180.0
    """From its start to its first word. Importing torch takes seconds, on a cold disk a minute."""
    silence: float = 60.0
    """Between two messages during a request. The worker gives a sign of life every two seconds, but a library that
    computes without releasing Python's lock can delay it."""
    stage: float = 900.0
    """Without any progress during a request, signs of life or not."""
    cancel: float = 5.0
    """From `cancel` to the worker's obedience; then it is killed."""
    stop: float = 2.0
    """From `stop` to the worker's end; then it is killed."""


STANDARD = Limits()


class PatientClock:
    """Seconds that pass while somebody looks: a gap between two looks counts for one second at most."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self._elapsed = 0.0

    def tick(self) -> float:
        now = time.monotonic()
        self._elapsed += min(1.0, now - self._last)
        self._last = now
        return self._elapsed
