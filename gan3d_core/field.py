"""What a generator yields before it is a mesh: a signed field over the cube [−1, 1]³, with materials if it has them.

Axes are the shape's: x right, y back (−Y is the front), z up; the longest side of a shape spans [−`EXTENT`, `EXTENT`].
"""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np

EXTENT = 0.9
"""Half the longest side of every training shape, in the units of the cube: the rest is margin."""


@dataclasses.dataclass(frozen=True)
class Materials:
    """Physically based values at N points: all float32 in [0, 1]."""

    base_color: np.ndarray
    """(N, 3) sRGB."""
    roughness: np.ndarray
    """(N,) linear."""
    metallic: np.ndarray
    """(N,) linear."""


class Field(Protocol):
    """One generated shape as a function of space. Implementations live beside their generators."""

    size_m: float
    """Longest side in metres."""

    def values(self, resolution: int) -> np.ndarray:
        """(R, R, R) float32, indexed [x, y, z], sampled at the cell centres −1 + (2i + 1)/R.

        Negative inside, positive outside, zero on the surface. Near the surface the values are proportional to
        distance; far from it only the sign counts.
        """
        ...

    def materials(self, points: np.ndarray) -> Materials | None:
        """Materials at (N, 3) float32 points on or near the surface; None for a generator without texture."""
        ...


def cell_centres(resolution: int) -> np.ndarray:
    """(R,) float32: the coordinates −1 + (2i + 1)/R at which every grid of this project is sampled."""
    return (-1.0 + (2.0 * np.arange(resolution) + 1.0) / resolution).astype(np.float32)


def lattice(resolution: int) -> np.ndarray:
    """(R³, 3) float32: every cell centre, z running fastest, so that `reshape(R, R, R)` is indexed [x, y, z]."""
    axis = cell_centres(resolution)
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
