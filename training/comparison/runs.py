"""The runs of a comparison: each trained for the same time, a failed one remembered with its reason."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gan3d_core.errors import Gan3DError, TrainingError
from gan3d_core.files import write_text

from ..budget import Budget
from ..gan_recipe import GanRecipe
from ..loop import SPENT
from ..report import GRAVE, read_metrics
from ..run_folder import read_snapshot
from ..train_gan import GanTrainer, train_gan

FAILED = "failed.json"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one run."""

    folder: Path
    seed: int
    steps: int
    seconds: float
    """Of training."""
    failed: str
    """Why there is nothing to judge, or nothing."""
    findings: tuple[str, ...]
    """What the monitor saw that is grave, with the step."""


def check(recipe: GanRecipe, where: str) -> None:
    """See that a recipe's networks fit each other, before anything is trained.

    Raises:
        TrainingError: they do not; `where` stands before the reason.
    """
    try:
        GanTrainer(recipe, "cpu")
    except Gan3DError as error:
        raise TrainingError(f"{where}: {error.message}", error.hint) from None


def finished(folder: Path, seconds: float) -> bool:
    """Whether a run has had its time, or has failed.

    Raises:
        TrainingError: its snapshot cannot be read.
    """
    return (folder / FAILED).exists() or (read_snapshot(folder) or {}).get(SPENT, 0.0) >= seconds


def run(
    recipe: GanRecipe,
    dataset: Path,
    folder: Path,
    seconds: float,
    device: str,
    label: str,
    clock: Callable[[], float] | None = None,
) -> Outcome:
    """Train one run until its time is spent, going on from where it stopped.

    Whatever stops it but Ctrl-C is written beside it, and it is not tried again: the others shall not wait for it.
    """
    if not finished(folder, seconds):
        budget = Budget(seconds, device, clock)
        try:
            train_gan(recipe, dataset, folder, device, budget, label)
        except Exception as error:  # one entry's trouble, of whatever kind, is a result and not the end of the others
            reason = error.message if isinstance(error, Gan3DError) else f"{type(error).__name__}: {error}"
            write_text(folder / FAILED, json.dumps({"reason": reason}, indent=2) + "\n")
    return outcome(folder, recipe.seed)


def outcome(folder: Path, seed: int) -> Outcome:
    """What became of a run that has ended.

    Raises:
        TrainingError: its files cannot be read.
    """
    state = read_snapshot(folder) or {}
    failed = str(read_json(folder / FAILED).get("reason", ""))
    findings = read_metrics(folder)[1] if (folder / "metrics.jsonl").exists() else []
    grave = tuple(f"{one.kind} from step {one.step}" for one in findings if one.kind in GRAVE)
    return Outcome(folder, seed, state.get("step", 0), state.get(SPENT, 0.0), failed, grave)


def read_json(path: Path) -> dict[str, Any]:
    """A file's object; an empty one where there is no file.

    Raises:
        TrainingError: it is no JSON.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path} cannot be read ({error}).", "Remove it; it is made again.") from None
