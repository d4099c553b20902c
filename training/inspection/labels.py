"""What the labels of a dataset are and how far they range."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Label:
    """One label over all shapes that have it. Nested labels have names such as `params.leg_height`."""

    name: str
    kind: str
    """`number`, `choice`, or `constant`."""
    present: int
    """How many shapes have it."""
    values: np.ndarray | None = None
    """(present,) float64 of a number."""
    counts: tuple[tuple[str, int], ...] = ()
    """Values of a choice with how often they occur, most frequent first; the one value of a constant."""


def flatten(labels: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one, with dotted names; lists are left out, since they are no single label."""
    flat: dict[str, Any] = {}
    for name, value in labels.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        elif not isinstance(value, list | tuple) and value is not None:
            flat[prefix + str(name)] = value
    return flat


def summarise(every: Iterable[Mapping[str, Any]]) -> list[Label]:
    """The labels of many shapes: numbers first, then choices, then those that never change."""
    columns: dict[str, list[Any]] = collections.defaultdict(list)
    for labels in every:
        for name, value in flatten(labels).items():
            columns[name].append(value)
    found = [_label(name, values) for name, values in columns.items()]
    order = ("number", "choice", "constant")
    return sorted(found, key=lambda label: order.index(label.kind))


def _label(name: str, values: list[Any]) -> Label:
    counts = collections.Counter(str(value) for value in values)
    if len(counts) == 1:
        return Label(name, "constant", len(values), counts=tuple(counts.items()))
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)]
    if len(numbers) == len(values) and len(counts) > 2:
        return Label(name, "number", len(values), values=np.array(numbers, float))
    return Label(name, "choice", len(values), counts=tuple(counts.most_common()))
