"""Progress: how long work says where it stands, how long each stage took, and how much time is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable

Progress = Callable[[str, float], None]
"""Called as `progress(stage, fraction)`, fraction in [0, 1] of that stage. It may raise `CancelledError` at any call,
which the caller lets pass: that is how work is cancelled."""

STAGES = ("load", "generate", "extract", "clean", "decimate", "unwrap", "bake")
"""Every stage of one shape, in order. The first two are the pipeline's, the others those of `surfacing.surface`."""

ONCE = frozenset({"load"})
"""Stages that cost time for the first shape of a request only."""


def no_progress(stage: str, fraction: float) -> None:
    """A `Progress` that nobody watches."""


class StageClock:
    """A `Progress` that measures the seconds of each stage and passes every call on.

    A stage lasts from its first call to the first call of the next one, or to `stop`.
    """

    def __init__(self, progress: Progress = no_progress) -> None:
        self.timings: dict[str, float] = {}
        """Seconds by stage, in the order in which the stages began."""
        self._progress = progress
        self._stage = ""
        self._since = 0.0

    def __call__(self, stage: str, fraction: float) -> None:
        if stage != self._stage:
            self.stop()
            self._stage, self._since = stage, time.perf_counter()
        self._progress(stage, min(1.0, max(0.0, fraction)))

    def stop(self) -> None:
        """End the running stage."""
        if self._stage:
            seconds = time.perf_counter() - self._since
            self.timings[self._stage] = self.timings.get(self._stage, 0.0) + seconds
            self._stage = ""


class Estimator:
    """Tells how far a request of several shapes is and how long it still takes, from the shapes made before.

    Measurements are kept by `key` (whatever decides the cost: checkpoint, resolution, …), so they serve the next
    request too. Before the first shape of a key is done there is no estimate, rather than a guess.
    """

    # Shares of a shape's time, used for the bar only, until there are measurements.
    _SHARES = dict(zip(STAGES, (0.15, 0.15, 0.05, 0.1, 0.1, 0.3, 0.15), strict=True))

    def __init__(self) -> None:
        self._measured: dict[Hashable, dict[str, float]] = {}
        self._keys: list[Hashable] = []
        self._first: list[bool] = []
        self._best = 0.0

    def begin(self, keys: list[Hashable]) -> None:
        """Start a request whose shapes have these keys, in order."""
        self._keys = keys
        first = {key: index for index, key in reversed(list(enumerate(keys)))}
        self._first = [first[key] == index for index, key in enumerate(keys)]
        self._best = 0.0

    def finished(self, index: int, timings: dict[str, float]) -> None:
        """Learn from shape `index`: the mean of what was known and what was measured, so one slow shape fades."""
        known = self._measured.setdefault(self._keys[index], {})
        for stage, seconds in timings.items():
            if stage not in ONCE or self._first[index]:
                known[stage] = seconds if stage not in known else (known[stage] + seconds) / 2

    def at(self, index: int, stage: str, fraction: float) -> tuple[float, float | None]:
        """Where a request stands.

        Args:
            index: which shape runs, 0 … count − 1.
            stage: one of `STAGES`.
            fraction: of that stage, 0 … 1.

        Returns:
            The fraction of the whole request, which never falls within one request, and the seconds left (None
            while nothing like it was measured).
        """
        costs = self._costs(index)
        position = STAGES.index(stage) if stage in STAGES else len(STAGES)
        inside = sum(costs.get(name, 0.0) for name in STAGES[:position]) + costs.get(stage, 0.0) * fraction
        totals = [sum(self._costs(each).values()) for each in range(len(self._keys))]
        if sum(totals) > 0:
            self._best = max(self._best, min(1.0, (sum(totals[:index]) + inside) / sum(totals)))
        known = all(key in self._measured for key in self._keys[index:])
        return self._best, max(0.0, totals[index] - inside) + sum(totals[index + 1 :]) if known else None

    def _costs(self, index: int) -> dict[str, float]:
        """Seconds by stage of one shape, or shares where nothing was measured."""
        costs = self._measured.get(self._keys[index], self._SHARES)
        return {stage: cost for stage, cost in costs.items() if stage not in ONCE or self._first[index]}
