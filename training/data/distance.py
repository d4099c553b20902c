"""Signed distance to whatever triangles there are: open, thin, overlapping, many-part.

Inside is where the generalised winding number exceeds one half (Jacobson et al. 2013; warp evaluates it as Barill et
al. 2018 do), so overlapping closed parts unite and small holes are bridged; distances are to the outer surface alone
(`outer`). Where the solid is thinner than `THIN_VOXELS` voxels of the finest grid, or has no inside at all (an open
sheet), its surface is thickened to that: the distance becomes the distance to the thin part less half of it.
"""

from __future__ import annotations

import numpy as np
import trimesh
import warp as wp
from scipy import ndimage

from gan3d_core.errors import MeshFileError
from gan3d_core.field import lattice

from ..warp_runtime import make_mesh, vectors
from .outer import cut_to_size, outer_surface

THIN_VOXELS = 1.5
FINEST = 64


@wp.kernel
def _unsigned(mesh: wp.uint64, points: wp.array(dtype=wp.vec3), out: wp.array(dtype=float)):
    i = wp.tid()
    query = wp.mesh_query_point_no_sign(mesh, points[i], 1.0e6)
    out[i] = wp.length(wp.mesh_eval_position(mesh, query.face, query.u, query.v) - points[i])


@wp.kernel
def _winding_sign(mesh: wp.uint64, points: wp.array(dtype=wp.vec3), out: wp.array(dtype=float), accuracy: float):
    i = wp.tid()
    query = wp.mesh_query_point_sign_winding_number(mesh, points[i], 1.0e6, accuracy, 0.5)
    out[i] = query.sign


class SignedDistance:
    """Signed distance of one shape, negative inside.

    Args:
        vertices: (V, 3) in the cube.
        faces: (F, 3), turned outward (`orientation.turn_outward`).
        resolution: the finest grid that must show thin parts; sets how thick they become.
    """

    def __init__(self, vertices: np.ndarray, faces: np.ndarray, resolution: int = FINEST) -> None:
        voxel = 2.0 / resolution
        self._solid = make_mesh(vertices, faces, winding=True)
        self.outer = outer_surface(vertices, faces, self._is_inside, 6.0 * voxel, voxel, 0.02 * voxel)
        if len(self.outer.triangles) == 0:
            raise MeshFileError("The mesh has no outer surface.")
        self._surface = make_mesh(self.outer.vertices, self.outer.faces)
        self._known: np.ndarray | None = None  # (R, R, R) plain signed distances, the finest so far
        for level in (16, 32, resolution):
            self._known = self._plain_grid(level)
        self.half_thickness = 0.5 * THIN_VOXELS * voxel
        self._find_thin_parts(voxel)

    def _is_inside(self, points: np.ndarray, accuracy: float = 1.6) -> np.ndarray:
        found = wp.empty(len(points), dtype=float)
        wp.launch(_winding_sign, len(points), inputs=[self._solid.id, vectors(points), found, accuracy])
        return found.numpy() < 0

    def _find_thin_parts(self, voxel: float) -> None:
        """Thin is a surface with no cell of the grid properly inside nearby.

        A cell half a voxel deep lies within 0.75·√3 voxels of any corner of a thick solid, up to the grid's own 0.87.
        """
        assert self._known is not None
        self.thin_share = 0.0
        self._thin: wp.Mesh | None = None
        deep = self._known < -0.5 * voxel
        away = ndimage.distance_transform_edt(~deep) if deep.any() else np.full(deep.shape, np.inf)

        def is_thin(points: np.ndarray) -> np.ndarray:
            cell = ((points + 1.0) / voxel).astype(np.int64).clip(0, len(deep) - 1)
            return away[cell[..., 0], cell[..., 1], cell[..., 2]] > 2.5

        # Pieces that are thin anywhere are cut to about a voxel, and those go by their centres.
        pieces = self.outer.triangles
        pieces = pieces[is_thin(np.concatenate([pieces, pieces.mean(1, keepdims=True)], axis=1)).any(axis=1)]
        pieces = cut_to_size(pieces, 1.5 * voxel)
        pieces = pieces[is_thin(pieces.mean(axis=1))]
        if len(pieces):
            self._thin = make_mesh(pieces.reshape(-1, 3), np.arange(3 * len(pieces)).reshape(-1, 3))
            self.thin_share = float(_area(pieces) / _area(self.outer.triangles))

    def _plain_grid(self, resolution: int) -> np.ndarray:
        """Plain distances at cell centres: exact where |distance| is below some two cells of half the resolution."""
        if self._known is None:
            return self.plain(lattice(resolution)).reshape((resolution,) * 3)
        coarse = self._known
        factor = resolution // len(coarse)
        if resolution % len(coarse):
            return self.plain(lattice(resolution)).reshape((resolution,) * 3)
        values = ndimage.zoom(coarse, factor, order=1, mode="nearest", grid_mode=True).astype(np.float32)
        # Distance is 1-Lipschitz: beyond a cell's half diagonal plus a margin it cannot hide a surface.
        near = np.abs(coarse) < (np.sqrt(3.0) / 2 + 1.5) * 2.0 / len(coarse)
        near = near.repeat(factor, 0).repeat(factor, 1).repeat(factor, 2)
        values[near] = self.plain(lattice(resolution)[near.reshape(-1)])
        return values

    def plain(self, points: np.ndarray) -> np.ndarray:
        """(N,) float32 signed distances at (N, 3) points, before thin parts are thickened."""
        distance = _distance_to(self._surface, points)
        sign, sure = self._sign_from_known(points, distance)
        unsure = np.flatnonzero(~sure)
        if len(unsure):
            sign[unsure] = np.where(self._is_inside(points[unsure], accuracy=2.0), -1.0, 1.0)
        return distance * sign

    def _sign_from_known(self, points: np.ndarray, distance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Signs that follow from grid points whose sign is known: no surface lies between two points that are nearer to
        each other than the sum of their distances to it. A winding number costs ten distance queries, so this is exact
        and several times faster."""
        sign = np.ones(len(points), np.float32)
        sure = np.zeros(len(points), bool)
        if self._known is None:
            return sign, sure
        resolution = self._known.shape[0]
        cell = (points + 1.0) * (0.5 * resolution) - 0.5
        base = np.floor(cell).astype(np.int64)
        for corner in np.ndindex(2, 2, 2):
            at = (base + corner).clip(0, resolution - 1)
            value = self._known[at[:, 0], at[:, 1], at[:, 2]]
            apart = np.linalg.norm(cell - at, axis=1) * (2.0 / resolution)
            good = (np.abs(value) + distance > 1.0001 * apart + 1e-6) & ~sure
            sign[good] = np.sign(value[good])
            sure |= good
        return sign, sure

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """(N,) float32 distances at (N, 3) points, in units of the cube."""
        distance = self.plain(points)
        if self._thin is None:
            return distance
        return np.minimum(distance, _distance_to(self._thin, points) - self.half_thickness)

    def grid(self, resolution: int) -> np.ndarray:
        """(R, R, R) float32 at the cell centres; exact near the surface, interpolated where only the sign matters."""
        values = self._plain_grid(resolution)
        if self._thin is not None:
            thick = _distance_to(self._thin, lattice(resolution)) - self.half_thickness
            values = np.minimum(values, thick.reshape(values.shape))
        return values


def _distance_to(mesh: wp.Mesh, points: np.ndarray) -> np.ndarray:
    out = wp.empty(len(points), dtype=float)
    wp.launch(_unsigned, len(points), inputs=[mesh.id, vectors(points), out])
    return out.numpy().copy()


def _area(triangles: np.ndarray) -> float:
    edges = np.diff(triangles.astype(np.float64), axis=1)
    return float(np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1).sum() / 2)


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
