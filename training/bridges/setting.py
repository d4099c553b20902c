"""The circumstances in which shapes are shown: drawn once for a step, and the same for real and generated ones."""

from __future__ import annotations

import dataclasses
import math

import torch

from ..rendering.cameras import MAX_ELEVATION


@dataclasses.dataclass(frozen=True)
class Setting:
    """Every random number that bridges use, each tensor with the N shapes as its first axis."""

    rolls: torch.Tensor
    """(N, P, 3) in [0, 1): where surfaces are sampled."""
    azimuth: torch.Tensor
    """(N, V) radians: the cameras of each shape, as GET3D draws them."""
    elevation: torch.Tensor
    """(N, V) radians."""
    queries: torch.Tensor
    """(N, Q, 4) points at which distance is asked for, and the recorded shape's distance there."""

    @classmethod
    def draw(
        cls, count: int, points: int, views: int, noise: torch.Generator, queries: torch.Tensor | None = None
    ) -> Setting:
        """For `count` shapes, on the CPU whatever the device, so that a seed means one thing everywhere."""
        rolls = torch.rand((count, points, 3), generator=noise)
        angles = torch.rand((2, count, views), generator=noise)
        none = torch.zeros((count, 0, 4))
        return cls(rolls, angles[0] * (2 * math.pi), angles[1] * MAX_ELEVATION, none if queries is None else queries)

    def __len__(self) -> int:
        return len(self.rolls)

    def __getitem__(self, rows: slice) -> Setting:
        """The circumstances of some of the shapes."""
        return Setting(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))

    def asked(self, queries: torch.Tensor) -> Setting:
        """The same circumstances with other queries."""
        return dataclasses.replace(self, queries=queries)

    def alike(self) -> Setting:
        """All shapes seen by the cameras of the first."""
        azimuth, elevation = self.azimuth[:1].expand_as(self.azimuth), self.elevation[:1].expand_as(self.elevation)
        return dataclasses.replace(self, azimuth=azimuth, elevation=elevation)

    def to(self, device: torch.device | str) -> Setting:
        return Setting(*(getattr(self, field.name).to(device) for field in dataclasses.fields(self)))
