"""Watches a run while it trains, and names what goes wrong: divergence, not a number, oscillation, mode collapse.

`detectors` are pure functions of a series of figures; `watch` feeds them with what the steps report.
"""

from .findings import Finding
from .watch import Limits, Monitor

__all__ = ["Finding", "Limits", "Monitor"]
