"""Signed distance to whatever triangles there are: open, thin, overlapping, many-part.

Inside is where the generalised winding number exceeds one half (Jacobson et al. 2013; warp evaluates it as Barill et
al. 2018 do), so overlapping closed parts unite and small holes are bridged; distances are to the outer surface alone
(`outer`). Where the solid is thinner than the finest grid can show, or has no inside at all (an open sheet), it is
thickened (`thin`): the distance becomes the distance to its surface less half of what is missing.
"""

from __future__ import annotations

import numpy as np
import trimesh
from scipy import ndimage

from gan3d_core.errors import MeshFileError
from gan3d_core.field import lattice

from ..warp_runtime import make_mesh
from .outer import outer_surface
from .queries import nearest, nearest_and_side, side_in_front, winding_side
from .thin import thickening

FINEST = 64
_COARSEST = 16
_NEAR = np.sqrt(3.0) / 2 + 1.5
"""Cells of a grid within so many cells of its half are looked at one by one; the rest are interpolated. Distance is
1-Lipschitz: beyond a cell's half diagonal plus a margin it cannot hide a surface."""


class SignedDistance:
    """Signed distance of one shape, negative inside.

    Args:
        vertices: (V, 3) in the cube.
        faces: (F, 3), turned outward (`orientation.turn_outward`).
        resolution: the finest grid that must show thin parts, a power of two; sets how thick they become.
    """

    def __init__(self, vertices: np.ndarray, faces: np.ndarray, resolution: int = FINEST) -> None:
        self._voxel = voxel = 2.0 / resolution
        self._solid = self._surface = make_mesh(vertices, faces, winding=True)
        self._grids: dict[int, np.ndarray] = {}
        """(R, R, R) float32 plain signed distances."""
        self._thick_grids: dict[int, np.ndarray] = {}
        faces_near: dict[int, np.ndarray] = {}  # (R³,) the nearest face, −1 where interpolated
        self._finest = 0
        """Resolution of the finest grid so far."""
        level = _COARSEST
        while level <= resolution:
            self._grids[level], faces_near[level] = self._first_grid(level)
            self._finest = level
            level *= 2
        offset = 0.02 * voxel

        def is_inside(points: np.ndarray, normals: np.ndarray) -> np.ndarray:
            return self._is_inside(points, normals, offset)

        self.outer = outer_surface(vertices, faces, is_inside, 6.0 * voxel, voxel, offset)
        if len(self.outer.triangles) == 0:
            raise MeshFileError("The mesh has no outer surface.")
        whole = self.outer.is_whole(len(faces))
        self._surface = make_mesh(self.outer.vertices, self.outer.faces)
        if not whole.all():
            for level, near in faces_near.items():
                self._mend_grid(level, (near >= 0) & whole[near])
        deep = self._grids[self._finest] < -0.5 * voxel
        self._thickening = thickening(self.outer.triangles, self._surface, deep, self._is_inside)

    @property
    def thin_share(self) -> float:
        """The share of the surface that is thickened."""
        return self._thickening.share

    def _is_inside(self, points: np.ndarray, normals: np.ndarray, away: float) -> np.ndarray:
        """(N,) bool at points `away` from faces, whose normals there point away from the face."""
        side = side_in_front(self._solid, points, normals, 1.5 * self._voxel, self._grids[self._finest])
        unsure = np.flatnonzero(side == 0)
        if len(unsure):
            side[unsure] = winding_side(self._solid, points[unsure], np.full(len(unsure), away), accuracy=1.6)
        return side < 0

    def _first_grid(self, resolution: int) -> tuple[np.ndarray, np.ndarray]:
        """A grid from that of half the resolution, and the nearest face of each cell that was looked at."""
        points = lattice(resolution)
        if resolution == _COARSEST:
            away = nearest(self._solid, points)
            values = away * winding_side(self._solid, points, away)
            return values.reshape((resolution,) * 3), np.full(resolution**3, -1, np.int32)
        values, near = _doubled(self._grids[resolution // 2])
        values[near], face = self._signed(points[near])
        faces = np.full(resolution**3, -1, np.int32)
        faces[near] = face
        return values.reshape((resolution,) * 3), faces

    def _mend_grid(self, resolution: int, right: np.ndarray) -> None:
        """Bring a grid up to date with the outer surface. `right` (R³,) bool: cells that are so already."""
        points, values = lattice(resolution), self._grids[resolution].reshape(-1)
        if resolution == _COARSEST:
            at = np.arange(resolution**3)
        else:
            interpolated, near = _doubled(self._grids[resolution // 2])
            at = near[~right[near]]
            interpolated[near] = values[near]
            values = interpolated
        side = np.sign(self._grids[resolution].reshape(-1)[at])
        values[at] = nearest(self._surface, points[at]) * np.where(side == 0, 1.0, side)
        self._grids[resolution] = values.reshape((resolution,) * 3)

    def _signed(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N,) plain signed distances and nearest faces."""
        known = self._grids[self._finest]
        found = nearest_and_side(self._surface, points, known, exact=2.0 * 2.0 / self._finest)
        side, unsure = found.side, np.flatnonzero(found.side == 0)
        if len(unsure):
            side[unsure] = winding_side(self._solid, points[unsure], found.distance[unsure])
        return found.distance * side, found.face

    def plain(self, points: np.ndarray) -> np.ndarray:
        """(N,) float32 signed distances at (N, 3) points, before thin parts are thickened."""
        return self._signed(points)[0]

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """(N,) float32 distances at (N, 3) points, in units of the cube."""
        return self._thickening(points, self.plain(points))

    def grid(self, resolution: int) -> np.ndarray:
        """(R, R, R) float32 at the cell centres; exact near the surface, interpolated where only the sign matters."""
        if resolution not in self._thick_grids:
            self._thick_grids[resolution] = self._thick_grid(resolution)
        return self._thick_grids[resolution].copy()

    def _thick_grid(self, resolution: int) -> np.ndarray:
        points = lattice(resolution)
        if resolution <= _COARSEST or resolution % 2:
            return self(points).reshape((resolution,) * 3)
        if not self._thickening and resolution in self._grids:
            return self._grids[resolution]
        values, near = _doubled(self.grid(resolution // 2))
        if resolution in self._grids:
            values[near] = self._thickening(points[near], self._grids[resolution].reshape(-1)[near])
        else:
            values[near] = self(points[near])
        return values.reshape((resolution,) * 3)


def _doubled(coarse: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A grid of twice the resolution, interpolated, flat; and the indices of its cells that need a closer look."""
    values = ndimage.zoom(coarse, 2, order=1, mode="nearest", grid_mode=True).astype(np.float32)
    near = np.abs(coarse) < _NEAR * 2.0 / len(coarse)
    return values.reshape(-1), np.flatnonzero(near.repeat(2, 0).repeat(2, 1).repeat(2, 2))


def sample_surface(
    vertices: np.ndarray, faces: np.ndarray, spacing: float | None = None, count: int | None = None, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Points spread over a mesh in proportion to area, deterministic for a seed.

    Args:
        vertices, faces: the mesh.
        spacing: mean distance of neighbours; or
        count: how many.

    Returns:
        points (N, 3), face indices (N,), barycentric weights (N, 3), face normals at the points (N, 3).
    """
    triangles = vertices[faces].astype(np.float64)
    cross = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    double_area = np.linalg.norm(cross, axis=1)
    if count is None:
        assert spacing is not None
        count = int(np.clip(0.5 * double_area.sum() / spacing**2, 1000, 400_000))
    generator = np.random.default_rng(seed)
    running = np.cumsum(double_area)
    # Stratified along the running sum of areas: more even than independent draws.
    at = (np.arange(count) + generator.random(count)) / count * running[-1]
    face = np.searchsorted(running, at).clip(0, len(faces) - 1)
    u, v = generator.random((2, count))
    root = np.sqrt(u)
    barycentric = np.stack([1 - root, root * (1 - v), root * v], axis=-1)
    points = np.einsum("nc,nck->nk", barycentric, triangles[face])
    normals = cross[face] / np.maximum(double_area[face], 1e-20)[:, None]
    return points.astype(np.float32), face, barycentric, normals.astype(np.float32)


def is_watertight(vertices: np.ndarray, faces: np.ndarray) -> bool:
    """Whether every edge, with equal positions merged, is shared by exactly two faces."""
    return bool(trimesh.Trimesh(vertices, faces, process=True).is_watertight)
