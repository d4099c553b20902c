"""Recorded shapes in the terms of generators: what stands beside a representation on the real side of a bridge."""

from __future__ import annotations

import dataclasses

import torch
from torch.nn import functional as F


@dataclasses.dataclass(frozen=True)
class Lattice:
    """Signed distances at cell centres: what stands beside `Implicit`."""

    distance: torch.Tensor
    """(N, R, R, R), negative inside."""

    def __len__(self) -> int:
        return len(self.distance)


@dataclasses.dataclass(frozen=True)
class Scans:
    """Points of surfaces, and the distances to them: what stands beside `Surfaces`."""

    points: torch.Tensor
    """(N, P, 6) points spread by area, and outward unit normals."""
    distance: torch.Tensor
    """(N, R, R, R), negative inside."""

    def __len__(self) -> int:
        return len(self.points)


def read(grid: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """A grid (N, R, R, R) of cell centres at points (N, P, 3), trilinear: (N, P). The border goes on outside."""
    # grid_sample wants the last axis first; ours are x, y, z.
    at = points.flip(-1)[:, :, None, None]
    found = F.grid_sample(grid[:, None], at, mode="bilinear", padding_mode="border", align_corners=False)
    return found[:, 0, :, 0, 0]


def resample(grid: torch.Tensor, resolution: int) -> torch.Tensor:
    """A grid (N, R, R, R) read at the cell centres of another resolution, trilinear."""
    if grid.shape[-1] == resolution:
        return grid
    size = (resolution,) * 3
    return F.interpolate(grid[:, None], size, mode="trilinear", align_corners=False)[:, 0]
