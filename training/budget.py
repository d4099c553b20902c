"""A run's length in time and not in steps: what makes runs of unequal networks comparable."""

from __future__ import annotations

import time
from collections.abc import Callable


class Budget:
    """Seconds that the steps of a run may take, all sittings together. What happens between steps (snapshots, sheets,
    reading data) does not count.

    On a CPU the clock is processor time, of all threads: what else the machine does then costs a run nothing but
    patience. On another device it is wall time, since the processor waits there.

    Args:
        seconds: how many there are.
        device: of the run.
        clock: gives seconds; None takes the device's.
    """

    def __init__(self, seconds: float, device: str = "cpu", clock: Callable[[], float] | None = None) -> None:
        self.seconds, self.spent = seconds, 0.0
        self._clock = clock or (time.process_time if device == "cpu" else time.monotonic)

    @property
    def share(self) -> float:
        """How much of it is spent, 0 … 1."""
        return min(self.spent / self.seconds, 1.0) if self.seconds > 0 else 1.0

    @property
    def over(self) -> bool:
        return self.spent >= self.seconds

    def timed(self, step: Callable[[], dict[str, float]]) -> dict[str, float]:
        """Make one step, and count what it takes."""
        begin = self._clock()
        report = step()
        self.spent += self._clock() - begin
        return report
