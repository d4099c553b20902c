"""`python -m training.compare PLAN.toml DATASET OUT`: many GANs, each trained for the same time, in one table.

A plan (`training/comparison/plan.py`) names groups of entries: recipes of kind "gan" with settings overridden. Every
entry is trained with the same seeds on the same data for the same minutes, however many steps those are; entries of
equal recipes are trained once. Stages of growing, which a recipe counts in steps, are stretched over the minutes: after
half of them a run has grown as far as its recipe has after half of its `steps`.

The same command goes on with what was stopped; with more minutes, with what was finished. A run that fails is named
with its reason and not tried again until its folder is removed. In OUT: `comparison.json`, `comparison.md`,
`comparison.html`, a sheet for each group, and the runs, each an ordinary run folder.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gan3d_core.errors import Gan3DError, TrainingError
from gan3d_core.files import write_text

from .comparison import page
from .comparison.judging import draw_references, floors, judge, protocol
from .comparison.plan import read_plan
from .comparison.runs import check, finished, read_json, run
from .comparison.table import Result, summary
from .configuration import best_device
from .evaluation.references import FEWEST, References
from .evaluation.renders import Views
from .metrics.features import load_features
from .progress import clock as time_text

SETTINGS = "settings.json"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.compare", description=__doc__.splitlines()[0])
    parser.add_argument("plan", type=Path, help="a .toml file, such as training/plans/chairs-cpu.toml")
    parser.add_argument("dataset", type=Path, help="folder made by python -m training.prepare")
    parser.add_argument("out", type=Path, help="folder for the runs and the report; one that is there is gone on with")
    parser.add_argument("--minutes", type=float, default=3.0, help="of training for each run (default: 3)")
    parser.add_argument("--seeds", type=int, default=3, help="training seeds, from 0 (default: 3)")
    parser.add_argument("--count", type=int, default=60, help="samples to judge, and held-out shapes at most")
    parser.add_argument("--views", type=int, default=2, help="pictures of each shape for the Fréchet distance")
    parser.add_argument("--resolution", type=int, default=32, help="of the fields whose surfaces are judged (32 or 64)")
    parser.add_argument("--device", default="auto", help="auto, cuda, mps or cpu")
    options = parser.parse_args(arguments)
    for name, least in (("minutes", 0.001), ("seeds", 1), ("count", FEWEST), ("views", 1)):
        if getattr(options, name) < least:
            parser.error(f"--{name} must be at least {least}")
    try:
        with stopped_gently():
            compare(
                options.plan, options.dataset, options.out, options.minutes, options.seeds, options.count,
                options.views, options.resolution, best_device(options.device),
            )  # fmt: skip
    except Gan3DError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped; snapshots are saved and the same command goes on from them.\n")
        return 130
    sys.stderr.write(f"{options.out / 'comparison.html'}: open it in a browser.\n")
    return 0


def compare(
    plan_path: Path,
    dataset: Path,
    out: Path,
    minutes: float,
    seeds: int,
    count: int = 60,
    views: int = 2,
    resolution: int = 32,
    device: str = "cpu",
    clock: Callable[[], float] | None = None,
) -> dict[str, Any]:
    """Train, judge and report every entry of a plan, seed by seed, so that all entries have equally many runs early.

    Args:
        minutes: of training for each run.
        seeds: how many training seeds.
        count: samples to judge, and held-out shapes at most.
        views: pictures of each shape for the Fréchet distance.
        resolution: of the fields whose surfaces are judged; the dataset must have grids of it.
        clock: gives seconds of training; None takes `Budget`'s.

    Returns:
        What `comparison.json` holds.

    Raises:
        DatasetError: too few shapes.
        TrainingError: a plan or an entry that is not valid, or a folder of another comparison.
        KeyboardInterrupt: after the snapshot is saved.
    """
    plan = read_plan(plan_path)
    runs = plan.runs
    for entry in runs.values():
        check(entry.resolved, f"Entry {entry.name!r}")
    _open(out, {"dataset": str(dataset.resolve()), "device": device, "minutes": minutes})
    references = References(dataset, plan.category, count, Views(views), load_features(None, device), resolution)
    draw_references(references, out / page.REFERENCES)
    floor = floors(references)
    known = {
        "plan": plan.name,
        "about": plan.about,
        "minutes": minutes,
        "seeds": seeds,
        "clock": "by processor time" if device == "cpu" else f"on {device}",
        "training_shapes": len(references.training),
        "protocol": protocol(references, resolution),
    }
    results: dict[str, list[Result]] = {name: [] for name in runs}
    figures: dict[str, Any] = {}
    orders = [
        (entry, dataclasses.replace(entry.resolved, seed=seed), out / "runs" / f"{name}-{seed}")
        for seed in range(seeds)
        for name, entry in runs.items()
    ]
    waiting = [folder for _, _, folder in orders if not finished(folder, 60 * minutes)]
    begin, done = time.monotonic(), 0
    for number, (entry, recipe, folder) in enumerate(orders, 1):
        left = f", {time_text((time.monotonic() - begin) / done * (len(waiting) - done))} left" if done else ""
        label = f"[{number}/{len(orders)}{left}] {entry.name}, seed {recipe.seed}"
        ended = run(recipe, dataset, folder, 60 * minutes, device, label, clock)
        judged = {} if ended.failed else judge(ended, references, resolution)
        results[entry.run].append(Result(ended, judged.get("figures", {}), judged.get("reason", "")))
        figures = {**known, **summary(plan, results, floor)}
        page.write(plan, results, figures, out)
        done += folder in waiting
    return figures


def _open(out: Path, settings: dict[str, Any]) -> None:
    """Make the folder of a comparison, or see that it may be gone on with.

    Raises:
        TrainingError: it may not.
    """
    before = read_json(out / SETTINGS)
    if not before and out.exists() and any(out.iterdir()):
        raise TrainingError(f"{out} is not empty and no comparison.", "Name a new folder.")
    changed = [key for key in ("dataset", "device") if before and before.get(key) != settings[key]]
    if changed:
        raise TrainingError(f"The comparison in {out} has another {' and '.join(changed)}.", "Name a new folder.")
    if before and before["minutes"] > settings["minutes"]:
        raise TrainingError(
            f"The runs in {out} had {before['minutes']:g} minutes each, more than {settings['minutes']:g}.",
            f"Give --minutes {before['minutes']:g} or more, or name a new folder.",
        )
    write_text(out / SETTINGS, json.dumps(settings, indent=2) + "\n")


@contextlib.contextmanager
def stopped_gently() -> Iterator[None]:
    """Let SIGTERM stop as Ctrl-C does."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
