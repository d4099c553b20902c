"""Chamfer distances from every shape to every other, for thousands of pairs in a second.

A set of surface points reads another surface's squared distance by trilinear interpolation from a grid. Reading is
linear in the grid, so all pairs are one product of a sparse matrix (where the points are) and a dense one (the
grids):

    d(A, B) = mean_{a ∈ A} δ_B²(a) + mean_{b ∈ B} δ_A²(b),   δ_X the distance to the surface X

An interpolated squared distance is too high, by up to h²/4 at a plane between lattice points of spacing h. How much a
surface reads of itself, where 0 would be right, is taken off both ways: neighbours lie alike in the lattice, and two
samples of one surface are at 0, where clouds of 2,048 points keep half the distance of neighbours apart.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from gan3d_core.field import EXTENT, lattice

from .point_sets import normalise

RESOLUTION = 32
SIDE = 2.0 * EXTENT
"""Longest side of a shape while it lies in the grid; distances are given for a longest side of 1."""


@dataclasses.dataclass(frozen=True)
class SurfaceGrids:
    """N surfaces."""

    where: sparse.csr_matrix
    """(N, R³) trilinear weights of each one's points, rows sum to 1."""
    squared: np.ndarray
    """(N, R³) float32 squared distances from the grid's points, in units of the cube."""

    def __len__(self) -> int:
        return len(self.squared)

    @functools.cached_property
    def own(self) -> np.ndarray:
        """(N,) what each surface reads of itself: the excess of interpolation."""
        return np.array([(self.where[i] @ self.squared[i])[0] for i in range(len(self))])


def join(parts: Sequence[SurfaceGrids]) -> SurfaceGrids:
    """The surfaces of several, one after the other."""
    where = sparse.vstack([part.where for part in parts], format="csr")
    return SurfaceGrids(where, np.concatenate([part.squared for part in parts]))


def surface_grids(clouds: Sequence[np.ndarray], resolution: int = RESOLUTION) -> SurfaceGrids:
    """Grids of dense surface samples, each (P, 3), centred and scaled to one longest side first."""
    grid = lattice(resolution)
    squared = np.empty((len(clouds), len(grid)), np.float32)
    rows = []
    for index, cloud in enumerate(clouds):
        points = normalise(cloud) * SIDE
        squared[index] = cKDTree(points).query(grid)[0] ** 2
        rows.append(_weights(points, resolution))
    return SurfaceGrids(sparse.vstack(rows, format="csr"), squared)


def surface_distances(first: SurfaceGrids, second: SurfaceGrids) -> np.ndarray:
    """(A, B) squared Chamfer distances between surfaces, longest side 1."""
    forth = first.where @ second.squared.T  # (A, B)
    back = (second.where @ first.squared.T).T
    excess = first.own[:, None] + second.own[None]
    return np.maximum(forth + back - excess, 0.0) / SIDE**2


def _weights(points: np.ndarray, resolution: int) -> sparse.csr_matrix:
    """(1, R³): the mean of the points' trilinear weights."""
    position = (points.astype(np.float64) + 1.0) * (0.5 * resolution) - 0.5
    base = np.clip(np.floor(position).astype(np.int64), 0, resolution - 2)
    part = position - base
    total = np.zeros(resolution**3)
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, part, 1.0 - part), axis=1)
        index = np.ravel_multi_index(tuple((base + corner).T), (resolution,) * 3)
        total += np.bincount(index, weight, minlength=len(total))
    return sparse.csr_matrix(total[None] / len(points))
