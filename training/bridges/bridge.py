"""The bridge of one run, and a generator with the bridge behind it as one module."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from gan3d_core.errors import TrainingError
from gan3d_core.representations import Implicit

from ..discriminators.images import camera_condition
from ..precision import sixteen_bits
from .images import to_images
from .points import SEES, to_graph, to_points
from .setting import Setting
from .shape_terms import TERMS
from .volume import to_volume

CONSUMED = ("volume", "points", "images", "graph")


class Seen(NamedTuple):
    """What a critic is shown of N shapes."""

    samples: torch.Tensor
    """(N, …)."""
    given: Any
    """What it is told besides: the cameras of pictures, (N, …), or None; with classes a `conditioning.Told`."""
    terms: dict[str, torch.Tensor] = {}
    """What the generator's loss counts besides, see `shape_terms`; empty for recorded shapes."""


@dataclasses.dataclass
class Bridge:
    """How shapes are shown to one critic."""

    consumes: str
    """One of `CONSUMED`."""
    resolution: int
    """Cells along each axis of volumes, and of the lattice on which the surface of a field is found."""
    points: int = 1024
    """Of a surface, for critics of points and graphs, and where volumes are made of surfaces."""
    sees: str = "surface"
    """What critics of points get, see `points.SEES`."""
    views: int = 2
    """Pictures of each shape."""
    image_size: int = 64
    """Pixels along their sides."""

    def __post_init__(self) -> None:
        if self.consumes not in CONSUMED:
            raise TrainingError(
                f"No bridge leads to {self.consumes!r}.", f"Critics consume one of {', '.join(CONSUMED)}."
            )
        if self.sees not in SEES:
            raise TrainingError(f"A critic of points cannot see {self.sees!r}.", f"It sees one of {', '.join(SEES)}.")
        if min(self.resolution, self.points, self.views, self.image_size) < 1:
            raise TrainingError("A bridge's resolution, points, views and image_size must be positive.")

    @property
    def queries(self) -> int:
        """How many recorded distances of each shape the setting needs."""
        return self.points if self.consumes == "points" and self.sees == "pairs" else 0

    def setting(self, count: int, noise: torch.Generator, queries: torch.Tensor | None = None) -> Setting:
        """Draw the circumstances of `count` shapes: as many numbers whatever the representation."""
        views = self.views if self.consumes == "images" else 0
        return Setting.draw(count, self.points, views, noise, queries)

    def __call__(self, shapes: object, setting: Setting) -> Seen:
        """Show shapes: representations of a generator, or recorded ones."""
        if self.consumes == "volume":
            return Seen(to_volume(shapes, self.resolution, setting), None)
        if self.consumes == "points":
            return Seen(to_points(shapes, setting, self.sees, self.resolution), None)
        if self.consumes == "graph":
            return Seen(to_graph(shapes, setting, self.resolution), None)
        known = camera_condition(setting.azimuth.reshape(-1), setting.elevation.reshape(-1))
        images = to_images(shapes, setting, self.image_size, self.resolution)
        return Seen(images, known.unflatten(0, setting.azimuth.shape))


class Sampler(nn.Module):
    """From codes to what the critic sees. All that a generator computes, fields that are evaluated where the bridge
    asks included, happens within this module's forward pass, as DistributedDataParallel wants it.

    Args:
        generator: see `generators.Generator`.
        bridge: of its run.
        terms: names of `shape_terms` to measure.
        autocast: let the generator's networks, not the geometry after them, compute in bfloat16.
    """

    def __init__(self, generator: nn.Module, bridge: Bridge, terms: Sequence[str] = (), autocast: bool = False) -> None:
        super().__init__()
        self.generator, self.bridge, self.terms, self.autocast = generator, bridge, tuple(terms), autocast

    def forward(self, codes: torch.Tensor, setting: Setting, labels: torch.Tensor | None = None) -> Seen:
        """(N, latent_size) codes, the circumstances of as many shapes, and their classes where there are any."""
        with sixteen_bits(codes.device, self.autocast):
            shapes = self.generator.represent(*(codes,) if labels is None else (codes, labels))  # type: ignore[operator]
        if isinstance(shapes, Implicit):
            distance = shapes.distance

            def cast(points: torch.Tensor) -> torch.Tensor:
                with sixteen_bits(codes.device, self.autocast):
                    return distance(points)

            shapes = dataclasses.replace(shapes, distance=cast)
        terms = {name: TERMS[name](shapes, self.bridge.resolution) for name in self.terms}
        return self.bridge(shapes, setting)._replace(terms=terms)
