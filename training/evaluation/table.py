"""Figures as rows of a table, each with what is good and with its floor."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

Spread = Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Metric:
    """One row."""

    path: tuple[str, ...]
    """Where the figure lies in metrics.json, `samples` left out: ("renders", "plain", "frechet")."""
    label: str
    good: str
    """What to hope for."""
    scale: float = 1.0
    digits: int = 1
    floor: str = ""
    """Key of the floor beside the figure, where it is not under `floor_training_set`."""

    def of(self, figures: Mapping[str, Any]) -> Spread | None:
        """The samples' mean and standard deviation; None where it was not measured."""
        return _find(figures, (*self.path[:-1], "samples", self.path[-1]))

    def floor_of(self, figures: Mapping[str, Any]) -> Spread | None:
        if self.floor:
            return _find(figures, (*self.path[:-1], "samples", self.floor))
        return _find(figures, (*self.path[:-1], "floor_training_set", self.path[-1]))

    def text(self, value: Spread | None) -> str:
        """`59.2 ± 2.5`, or a dash."""
        if value is None:
            return "–"
        mean, spread = (f"{value[name] * self.scale:.{self.digits}f}" for name in ("mean", "std"))
        return f"{mean} ± {spread}".replace("-", "−")


def _renders(look: str) -> tuple[Metric, ...]:
    return (
        Metric(("renders", look, "frechet"), "Fréchet distance", "lower", 1, 2),
        Metric(("renders", look, "kernel"), "kernel distance, unbiased, ·10³", "0", 1000, 2),
        Metric(("renders", look, "precision"), "precision, %", "higher", 100),
        Metric(("renders", look, "recall"), "recall, %", "higher", 100),
    )


SECTIONS: Mapping[str, tuple[Metric, ...]] = {
    "Geometry, as point clouds": (
        Metric(("nna",), "1-NNA, %", "50", 100),
        Metric(("coverage",), "COV, %", "higher", 100),
        Metric(("mmd",), "MMD, ·10³", "lower", 1000, 2),
    ),
    "Pieces": (
        Metric(("pieces", "whole"), "no more than a fiftieth loose, %", "as the floor", 100),
        Metric(("pieces", "one"), "one part, %", "as the floor", 100),
    ),
    "Renders, all shapes grey": _renders("plain"),
    "Renders, in their colours": _renders("coloured"),
    "Memorising": (
        Metric(("memorising", "share_near"), "near a training shape, %", "as the floor", 100, 1, "share_near_held_out"),
        Metric(
            ("memorising", "share_repeated"),
            "near another sample, %",
            "as the floor",
            100,
            1,
            "share_repeated_held_out",
        ),
        Metric(
            ("memorising", "median"),
            "median distance to the nearest training shape, ·10³",
            "as the floor",
            1000,
            2,
            "median_held_out",
        ),
        Metric(("memorising", "copying_z"), "data-copying z", "above −3", 1, 1),
    ),
    "Walks between samples": (
        Metric(("path_length", "length"), "perceptual path length", "lower", 1, 1),
        Metric(("path_length", "relative"), "the same by the distance of the ends", "1", 1, 2),
        Metric(("between", "whole"), "shapes between: no more than a fiftieth loose, %", "as of the samples", 100),
        Metric(("between", "precision"), "shapes between: precision, %", "as of the samples", 100),
    ),
}


def rows(figures: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[list[str]]]]:
    """Sections with rows of cells: label, one cell for each checkpoint, floor, what is good.

    Rows and sections that no checkpoint has are left out. The floor is the first one's that has one: they are the same
    for all that were judged together.
    """
    out = []
    for title, metrics in SECTIONS.items():
        lines = []
        for metric in metrics:
            values = [metric.of(one) for one in figures]
            if any(values):
                floor = next((found for one in figures if (found := metric.floor_of(one))), None)
                lines.append([metric.label, *map(metric.text, values), metric.text(floor), metric.good])
        if lines:
            out.append((title, lines))
    return out


def _find(figures: Mapping[str, Any], path: tuple[str, ...]) -> Spread | None:
    found: Any = figures
    for key in path:
        if not isinstance(found, Mapping) or key not in found:
            return None
        found = found[key]
    return found
