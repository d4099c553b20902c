"""The one loop of every training run: step, report, watch, snapshot, sheet; going on where a run stopped."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Protocol

import torch

from gan3d_core.errors import NotFiniteError

from .budget import Budget
from .monitor import Monitor
from .progress import ProgressLine
from .run_folder import NoFolder, RunFolder

LOG_EVERY = 20
SMOOTHING = 0.95
"""Of the reported figures: each is a running mean over some twenty steps."""
SPENT = "seconds"
"""Where a snapshot says how much of a budget is spent."""


class Schedule(Protocol):
    """What the loop reads of a recipe."""

    @property
    def steps(self) -> int: ...
    @property
    def snapshot_every(self) -> int: ...
    @property
    def sheet_every(self) -> int: ...


class Trainer(Protocol):
    """What the loop needs of a trainer: everything that a run consists of is in its state."""

    step: int

    def state(self) -> dict[str, Any]: ...
    def restore(self, state: dict[str, Any]) -> None: ...


def prepare(device: str, threads: int) -> None:
    """Set up torch for a run: so many CPU threads, 0 leaves it to torch; on CUDA convolutions by whichever algorithm is
    found fastest for their sizes, which change a few times during a run if at all."""
    if threads:
        torch.set_num_threads(threads)
    if device.startswith("cuda"):
        torch.backends.cudnn.benchmark = True


def restore(trainer: Trainer, folder: RunFolder | NoFolder, budget: Budget | None = None) -> None:
    """Put a trainer where the run's snapshot stands, if there is one, and take from its budget what is spent."""
    state = folder.load()
    if state is not None:
        trainer.restore(state)
        if budget is not None:
            budget.spent = state.get(SPENT, 0.0)


def check(loss: torch.Tensor, name: str, step: int) -> None:
    """See that a loss is a number, before its gradients spoil anything.

    Raises:
        NotFiniteError: it is not.
    """
    if not torch.isfinite(loss):
        raise NotFiniteError(f"{name} is not a number at step {step}.", "Lower the learning rates.")


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all weights."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def apply(optimiser: torch.optim.Optimizer, name: str, step: int) -> None:
    """One step of an optimiser with the gradients that are there.

    Raises:
        NotFiniteError: one of them is infinite or not a number; nothing has been changed then.
    """
    gradients = [p.grad for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
    if not torch.isfinite(torch.nn.utils.get_total_norm(gradients)):
        raise NotFiniteError(f"The gradient of {name} is not a number at step {step}.", "Lower the learning rates.")
    optimiser.step()


def descend(
    loss: torch.Tensor, optimiser: torch.optim.Optimizer, report: dict[str, float], name: str, step: int
) -> None:
    """One step of an optimiser down a loss, which is reported under its name.

    Raises:
        NotFiniteError: the loss or its gradient is not a number; nothing has been changed then.
    """
    check(loss, name, step)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    apply(optimiser, name, step)
    report[name] = float(loss.detach())


def run(
    trainer: Trainer,
    folder: RunFolder | NoFolder,
    recipe: Schedule,
    label: str,
    step: Callable[[], dict[str, float]],
    sheet: Callable[[], None],
    monitor: Monitor | None = None,
    budget: Budget | None = None,
) -> None:
    """Step until `recipe.steps`, or until a budget is spent. Ctrl-C saves and stops.

    Args:
        trainer: its `step` is counted up by `step()`.
        folder: of the run; closed at the end.
        recipe: how many steps, and when to save and to draw.
        label: what the progress line calls it.
        step: one training step; returns figures to report.
        sheet: draws the sample sheet of the trainer's present step.
        monitor: of failures; None takes one with the usual limits.
        budget: seconds in place of `recipe.steps`.

    Raises:
        NotFiniteError, TrainingError: as `step` does; the last snapshot stays as it was.
    """
    monitor = monitor or Monitor()
    # Of several processes one tells how it goes.
    stream = None if isinstance(folder, RunFolder) else io.StringIO()
    if budget is None:
        progress = ProgressLine(label, recipe.steps, trainer.step, stream)
    else:
        progress = ProgressLine(label, round(budget.seconds), round(budget.spent), stream)
    mean: dict[str, float] = {}

    def save() -> None:
        folder.save(trainer.state() | ({} if budget is None else {SPENT: budget.spent}))

    def done() -> bool:
        return trainer.step >= recipe.steps if budget is None else budget.over

    try:
        while not done():
            report = step() if budget is None else budget.timed(step)
            for key, value in report.items():
                mean[key] = SMOOTHING * mean[key] + (1 - SMOOTHING) * value if key in mean else value
            for finding in monitor.watch(trainer.step, report):
                folder.note(finding)
            last = done()
            if trainer.step % LOG_EVERY == 0 or last:
                folder.log(trainer.step, mean)
            wrong = [f"! {kind}" for kind in monitor.active]
            figures = [f"{key} {value:.3f}" for key, value in mean.items()]
            if budget is None:
                progress.update(trainer.step, " ".join([*wrong, *figures]))
            else:
                spent = round(budget.share * budget.seconds)
                progress.update(spent, " ".join([f"s, step {trainer.step}", *wrong, *figures]))
            if trainer.step % recipe.snapshot_every == 0 or last:
                save()
            if trainer.step % recipe.sheet_every == 0 or last:
                sheet()
                folder.drawn(trainer.step)
    except NotFiniteError as error:
        folder.note(monitor.stopped(trainer.step, str(error)))
        raise
    except KeyboardInterrupt:
        save()
        raise
    finally:
        progress.close()
        folder.close()
