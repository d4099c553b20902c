"""What generators yield while they are trained: batches of N shapes, differentiable in the generator's weights.

Everything lies in the cube [−1, 1]³ of `field`. What a critic is shown of a shape is made by a bridge, which is found
from the representation's class; so a new representation needs one class here and its bridges in `training/bridges`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

DISTANCE_BAND = 0.1
"""Distances are learned up to this far from the surface, in units of the cube (DeepSDF's δ)."""


@dataclass(frozen=True)
class Volume:
    """Occupancies on a grid of cell centres."""

    occupancy: torch.Tensor
    """(N, R, R, R) in [0, 1], indexed [x, y, z]; the surface is where it is one half."""

    def __len__(self) -> int:
        return len(self.occupancy)


@dataclass(frozen=True)
class Implicit:
    """Signed distance as a function of space."""

    distance: Callable[[torch.Tensor], torch.Tensor]
    """(N, P, 3) points, P of each shape, to (N, P) distances: negative inside, right up to ±`DISTANCE_BAND`."""
    count: int
    device: torch.device

    def __len__(self) -> int:
        return self.count


@dataclass(frozen=True)
class Surfaces:
    """Triangle meshes of one connectivity: a deformed template, or several charts side by side."""

    vertices: torch.Tensor
    """(N, V, 3)."""
    faces: torch.Tensor
    """(F, 3) int64, counter-clockwise seen from outside where the surface has an outside."""

    def __len__(self) -> int:
        return len(self.vertices)


@dataclass(frozen=True)
class Views:
    """Maps of a shape as C orthographic cameras around it see it; `fusion` makes one surface of them."""

    height: torch.Tensor
    """(N, C, S, S) where the surface is along the axis towards the camera, 0 at the cube's centre."""
    normal: torch.Tensor
    """(N, C, 3, S, S) of unit length, in the shape's axes, turned towards the camera."""
    clearance: torch.Tensor
    """(N, C, S, S) how far from the shape each pixel's ray passes, up to ±`DISTANCE_BAND`; negative where it goes
    through it, by how deep. Its zeros are the silhouette."""
    axes: torch.Tensor
    """(C, 3, 3) rows right, up and towards each camera; pixel rows run downwards."""
    reach: torch.Tensor
    """(C,) half the side of each picture, in units of the cube."""

    def __len__(self) -> int:
        return len(self.height)
