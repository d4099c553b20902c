"""What the runs of a plan come to: a mean and a spread over training seeds for every entry."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..evaluation.judge import spread
from ..evaluation.table import SECTIONS, Metric
from .plan import Entry, Plan
from .runs import Outcome

METRICS: tuple[Metric, ...] = (
    *SECTIONS["Geometry, as point clouds"],
    Metric(("frechet",), "Fréchet distance, grey", "lower"),
    Metric(("whole",), "in one piece, %", "as the floor", 100),
    Metric(("empty",), "empty, %", "0", 100),
)
FLOOR = "floor: training shapes"


@dataclasses.dataclass(frozen=True)
class Result:
    """One run and what was measured of it."""

    outcome: Outcome
    figures: Mapping[str, float]
    """Empty where there are none."""
    reason: str
    """Why there are none."""

    @property
    def troubles(self) -> list[str]:
        """Everything that went wrong, in words."""
        parts = [f"failed: {self.outcome.failed}"] if self.outcome.failed else []
        parts += [f"not judged: {self.reason}"] if self.reason else []
        return [*parts, *self.outcome.findings]


def summary(
    plan: Plan, results: Mapping[str, Sequence[Result]], floor: Sequence[Mapping[str, float]]
) -> dict[str, Any]:
    """What `comparison.json` holds of a plan's groups, and of their floor.

    Args:
        results: of every run by its name; runs that are not there yet have none.
        floor: the figures of draws of training shapes.
    """
    return {
        "floor_training_set": spread(floor),
        "groups": {
            group.name: {
                "about": group.about,
                "entries": {entry.name: _line(entry, results.get(entry.run, ())) for entry in group.entries},
            }
            for group in plan.groups
        },
    }


def _line(entry: Entry, results: Sequence[Result]) -> dict[str, Any]:
    judged = [one.figures for one in results if one.figures]
    steps = [one.outcome.steps for one in results]
    seconds = sum(one.outcome.seconds for one in results)
    return {
        "recipe": entry.recipe,
        "set": list(entry.settings),
        "run": entry.run,
        "runs": len(results),
        "judged": len(judged),
        "steps": round(float(np.mean(steps))) if steps else 0,
        "seconds": round(seconds / len(results), 1) if results else 0.0,
        "seconds_a_step": round(seconds / sum(steps), 4) if sum(steps) else 0.0,
        "samples": spread(judged) if judged else {},
        "by_seed": {str(one.outcome.seed): dict(one.figures) for one in results if one.figures},
        "troubles": [f"seed {one.outcome.seed} {trouble}" for one in results for trouble in one.troubles],
    }


HEAD = ("", "runs", "steps", "s a step", *(metric.label for metric in METRICS))


def cells(name: str, line: Mapping[str, Any]) -> list[str]:
    """A row of a table, under `HEAD`."""
    runs = str(line["runs"]) if line["judged"] == line["runs"] else f"{line['judged']} of {line['runs']}"
    texts = [metric.text(metric.of(line)) for metric in METRICS]
    if line["judged"] == 1:  # one run has no spread
        texts = [text.partition(" ±")[0] for text in texts]
    return [name, runs, f"{line['steps']:,}", f"{line['seconds_a_step']:.2g}", *texts]


def floor_cells(floor: Mapping[str, Any]) -> list[str]:
    """The last row of a table."""
    figures = {"floor_training_set": floor}
    return [FLOOR, "", "", "", *(metric.text(metric.floor_of(figures)) for metric in METRICS)]


def table_rows(group: Mapping[str, Any], floor: Mapping[str, Any]) -> list[list[str]]:
    """All rows of a group's table, the floor last."""
    return [*(cells(name, line) for name, line in group["entries"].items()), floor_cells(floor)]


def markdown(figures: Mapping[str, Any]) -> str:
    """The tables of a comparison, each with what went wrong under it."""
    out = [f"# {figures['plan']}", "", figures["about"], "", budget_text(figures), ""]
    for name, group in figures["groups"].items():
        out += [f"## {name.capitalize()}", "", group["about"], ""]
        out += [_line_of(HEAD), _line_of(["---"] * len(HEAD))]
        out += [_line_of(row) for row in table_rows(group, figures["floor_training_set"])]
        troubles = [f"- {entry}, {one}" for entry, line in group["entries"].items() for one in line["troubles"]]
        out += ["", *troubles, *([""] if troubles else [])]
    return "\n".join([*out, f"Protocol: {figures['protocol']}.", ""])


def budget_text(figures: Mapping[str, Any]) -> str:
    return (
        f"{figures['minutes']:g} minutes of training for each run, {figures['clock']}; {figures['seeds']} training "
        f"seeds (mean ± standard deviation over them); {figures['training_shapes']} training shapes."
    )


def _line_of(row: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
