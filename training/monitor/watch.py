"""From the figures of each step to findings."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping

import numpy as np

from .detectors import growth, oscillation
from .findings import Finding, Kind


@dataclasses.dataclass(frozen=True)
class Limits:
    """When something counts as a failure. Set on runs that went well and on runs made to fail."""

    grace: int = 200
    """Steps at the start of which nothing is judged: everything is one grey blob then, and losses find their level."""
    window: int = 256
    """Steps that are looked at."""
    every: int = 32
    """Steps between two looks."""
    growth: float = 10.0
    """Factor by which a loss may grow within a window."""
    largest: float = 1e4
    """Size that a loss may have at all."""
    share: float = 0.5
    """Of a loss's variance that one rhythm may have."""
    amplitude: float = 0.1
    """Of that rhythm, relative to the loss."""
    diversity: float = 0.1
    """Of generated batches, relative to real ones (`training/diversity.py`)."""
    measures: int = 8
    """Of diversity, over which it is averaged; it is not measured at every step."""


class Monitor:
    """Judges what the steps report: keys that end in `loss`, and `diversity`.

    A failure is told when it begins, and again only after it was gone.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.active: dict[Kind, Finding] = {}
        """What is wrong at present."""
        self._series: dict[str, collections.deque[float]] = {}
        self._rhythms: collections.Counter[str] = collections.Counter()
        self._seen = 0

    def watch(self, step: int, report: Mapping[str, float]) -> list[Finding]:
        """Take in the figures of one step, not smoothed.

        Returns:
            Failures that begin here.
        """
        for key, value in report.items():
            if key.endswith("loss") or key == "diversity":
                self._series.setdefault(key, collections.deque(maxlen=self.limits.window)).append(value)
        self._seen += 1
        # A resumed run begins with empty windows, and waits until they are full.
        if step < self.limits.grace or self._seen % self.limits.every:
            return []
        found = [*self._divergence(step), *self._oscillation(step), *self._collapse(step)]
        kinds = {finding.kind for finding in found}
        fresh = [finding for finding in found if finding.kind not in self.active]
        self.active = {kind: finding for kind, finding in self.active.items() if kind in kinds}
        for finding in fresh:
            self.active.setdefault(finding.kind, finding)
        return list({finding.kind: finding for finding in reversed(fresh)}.values())

    def stopped(self, step: int, reason: str) -> Finding:
        """The finding for a run that a figure which is none has stopped."""
        return Finding(step, "not a number", reason)

    def _losses(self) -> list[tuple[str, np.ndarray]]:
        full = self.limits.window
        return [(key, np.array(v)) for key, v in self._series.items() if key.endswith("loss") and len(v) == full]

    def _divergence(self, step: int) -> list[Finding]:
        found = []
        for key, series in self._losses():
            size, factor = float(np.median(np.abs(series))), growth(series)
            if size > self.limits.largest or (factor > self.limits.growth and np.abs(series[-1]) > 1):
                how = f"grew {factor:.0f}-fold in {len(series)} steps, to" if factor > 1 else "is at"
                text = f"{key} {how} {series[-1]:.3g}: the two networks drive each other away. "
                text += "Lower the learning rates, or use a gradient penalty, R1 or spectral normalisation."
                found.append(Finding(step, "divergence", text))
        return found

    def _oscillation(self, step: int) -> list[Finding]:
        found = []
        for key, series in self._losses():
            period, share, amplitude = oscillation(series)
            rhythm = share > self.limits.share and amplitude > self.limits.amplitude
            self._rhythms[key] = self._rhythms[key] + 1 if rhythm else 0
            # Chance makes a rhythm now and then: it must last while half of the window is exchanged.
            if self._rhythms[key] * self.limits.every > self.limits.window // 2:
                text = f"{key} swings with a period of about {period:.0f} steps, {share:.0%} of its variance: the two "
                text += "networks chase each other in circles. Use R1, lower beta1, or lower the learning rates."
                found.append(Finding(step, "oscillation", text))
        return found

    def _collapse(self, step: int) -> list[Finding]:
        series = self._series.get("diversity")
        if series is None or len(series) < self.limits.measures:
            return []
        mean = float(np.mean(list(series)[-self.limits.measures :]))
        if mean >= self.limits.diversity:
            return []
        text = f"Generated batches are {mean:.0%} as varied as real ones: many codes give one shape. "
        text += "Try minibatch deviation or discrimination in the critic, a normal prior, or feature matching."
        return [Finding(step, "mode collapse", text)]
