"""What `WorkerClient.poll` hands back: everything that happened in the worker since the last call."""

from __future__ import annotations

import dataclasses

from ..errors import Gan3DError
from ..recipe import Recipe
from ..shape import Shape


@dataclasses.dataclass(frozen=True)
class WorkerInfo:
    """Who answers at the other end of the pipe."""

    pid: int
    python: str
    """Version of its Python, such as 3.11.9."""
    executable: str
    """Path of its Python, on its own machine."""
    torch: str
    """Version of its torch."""
    device: str
    """`cuda`, `mps` or `cpu`: where it generates."""
    device_name: str
    """The device's own name, for people."""
    version: str
    """Version of its gan3d_core."""


@dataclasses.dataclass(frozen=True)
class Started:
    """The worker is up and can take requests."""

    info: WorkerInfo


@dataclasses.dataclass(frozen=True)
class Progress:
    """Shape `index` of `count` is in `stage`."""

    request: int
    index: int
    count: int
    stage: str
    fraction: float
    """Of the whole request, 0 … 1, never falling."""
    eta_s: float | None
    """Seconds left for the whole request; None until a shape like it was measured."""


@dataclasses.dataclass(frozen=True)
class ShapeReady:
    """Shape `index` of `count` is finished; others may follow."""

    request: int
    index: int
    count: int
    shape: Shape
    recipe: Recipe
    """What made it, with the checkpoint's hash filled in."""
    timings: dict[str, float]
    """Seconds by stage, see `gan3d_core.progress.STAGES`."""


@dataclasses.dataclass(frozen=True)
class ShapeFailed:
    """Shape `index` of `count` cannot be made (its field has no surface); the others of the request go on."""

    request: int
    index: int
    count: int
    recipe: Recipe
    error: Gan3DError


@dataclasses.dataclass(frozen=True)
class Done:
    """The request ended: every shape was reported by `ShapeReady` or `ShapeFailed`."""

    request: int


@dataclasses.dataclass(frozen=True)
class Cancelled:
    """The request ended because `cancel` was called. Shapes reported before remain good."""

    request: int


@dataclasses.dataclass(frozen=True)
class Failed:
    """The request ended by an error, or (request None) the worker failed while there was none."""

    request: int | None
    error: Gan3DError


Event = Started | Progress | ShapeReady | ShapeFailed | Done | Cancelled | Failed
