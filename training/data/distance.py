"""Signed distance to whatever triangles there are: open, thin, overlapping, many-part.

Inside is where the generalised winding number exceeds one half (Jacobson et al. 2013; warp evaluates it as Barill et
al. 2018 do), so overlapping closed parts unite and small holes are bridged; distances are to the outer surface alone
(`outer`). Where the solid is thinner than `THIN_VOXELS` voxels of the finest grid, or has no inside at all (an open
sheet), it is thickened to that: the distance becomes the distance to its surface less half of what is missing.
"""

from __future__ import annotations

import numpy as np
import trimesh
import warp as wp
from scipy import ndimage

from gan3d_core.errors import MeshFileError
from gan3d_core.field import lattice

from ..warp_runtime import make_mesh
from .outer import cut_to_size, outer_surface
from .queries import first_hit, nearest, nearest_and_side, nearest_face, side_in_front, winding_side

THIN_VOXELS = 1.5
FINEST = 64
_COARSEST = 16
_LAYERS = 12
"""What is missing of a thickness is rounded up to so many steps, of a sixteenth of a voxel on either side. A pole in
the middle between four columns of cells is seen by them from a thickness of 1.41 voxels on: little of 1.5 may be
lost."""
_BESIDE = 4.0
"""Voxels from thin parts within which others are measured too."""
_WIDE = 3.0
"""Voxels from which a thin piece is asked at four places before it is cut. If they agree, it stays whole, and the many
that it would become are not asked."""
_EVEN = 0.1
"""Voxels by which the thickness of such a piece may vary."""
_DEEPEST = 4.0
"""Voxels behind a face in which its other side is looked for."""
_SLIGHT = 0.1
"""Share of a step that may be missing all the same: what is just thick enough is left alone."""
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
        self.half_thickness = 0.5 * THIN_VOXELS * voxel
        self._find_thin_parts(voxel)

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

    def _find_thin_parts(self, voxel: float) -> None:
        """Thin is a surface with no cell of the grid properly inside nearby, or with no inside just behind it.

        A cell half a voxel deep lies within 0.75·√3 voxels of any corner of a thick solid, up to the grid's own 0.87.
        Open shells, such as a cushion without a bottom, lose their inside towards the rim: there the second rule keeps
        their faces whole.
        """
        self.thin_share = 0.0
        self._thin: wp.Mesh | None = None
        self._layers: list[tuple[float, wp.Mesh]] = []
        """By how much pieces of the surface are moved outward, and those pieces."""
        self._outward = np.zeros(0, np.float32)
        """(N,) that of each piece of `_thin`."""
        deep = self._grids[self._finest] < -0.5 * voxel
        away = ndimage.distance_transform_edt(~deep) if deep.any() else np.full(deep.shape, np.inf)

        def is_thin(points: np.ndarray) -> np.ndarray:
            cell = ((points + 1.0) / voxel).astype(np.int64).clip(0, len(deep) - 1)
            return away[cell[..., 0], cell[..., 1], cell[..., 2]] > 2.5

        # Pieces that are thin anywhere are cut to about a voxel, and those go by how thick the solid behind them is.
        pieces = self.outer.triangles
        thin = is_thin(_spread(pieces, 0.0)).any(axis=1)
        inner = _spread(pieces, 0.1)[:, 1:]
        for corner in range(3):  # one after the other: what is thin need not be asked again
            thick = np.flatnonzero(~thin)
            thin[thick] = self._is_hollow(pieces[thick], inner[thick, corner])
        if not thin.any():
            return
        # A pole that stands on a plate has the plate's cells beside its foot, and is as thin there. What is neither
        # hollow nor far from deep cells is asked by one ray.
        thick = np.flatnonzero(~thin)
        limit = np.full(len(thick), _BESIDE * voxel, np.float32)
        beside = nearest(_soup(pieces[thin]), pieces[thick].mean(1), limit) < limit
        beside = cut_to_size(pieces[thick[beside]], 1.5 * voxel)
        pieces = pieces[thin]
        even = self._even_thickness(pieces)
        whole, whole_thickness = pieces[even >= 0], even[even >= 0]
        pieces = cut_to_size(pieces[even < 0], 1.5 * voxel)
        middle = pieces.mean(1)
        hollow = self._is_hollow(pieces, middle)
        thin = hollow | is_thin(middle)
        others = np.concatenate([pieces[~thin], beside])
        others = others[self._behind(others.mean(1), -_normals(others)) < THIN_VOXELS * voxel]
        pieces = np.concatenate([pieces[thin], others])
        hollow = np.concatenate([hollow[thin], np.zeros(len(others), bool)])
        thickness = np.concatenate([self._thickness(pieces, hollow), whole_thickness])
        pieces = np.concatenate([pieces, whole])
        missing = 1.0 - thickness / (2.0 * self.half_thickness)
        layer = np.ceil(_LAYERS * missing - _SLIGHT).astype(np.int64).clip(0, _LAYERS)
        for step in np.unique(layer[layer > 0]):
            self._layers.append((self.half_thickness * step / _LAYERS, _soup(pieces[layer == step])))
        if self._layers:
            pieces, layer = pieces[layer > 0], layer[layer > 0]
            self._thin = _soup(pieces)
            self._outward = (self.half_thickness * layer / _LAYERS).astype(np.float32)
            self.thin_share = float(_area(pieces) / _area(self.outer.triangles))

    def _even_thickness(self, triangles: np.ndarray) -> np.ndarray:
        """(N,) how thick the solid is behind wide triangles (N, 3, 3), 0 where there is no inside; −1 for those that
        are not wide, and where it is not the same everywhere."""
        out = np.full(len(triangles), -1.0, np.float32)
        wide = np.flatnonzero(_longest(triangles) > _WIDE * self._voxel)
        points = _spread(triangles[wide], 0.1)
        hollow = np.stack([self._is_hollow(triangles[wide], points[:, probe]) for probe in range(4)], axis=1)
        out[wide[hollow.all(axis=1)]] = 0.0
        solid = wide[~hollow.any(axis=1)]
        behind = self._behind_all(triangles[solid], 0.1)
        least, most = behind.min(axis=1), behind.max(axis=1)
        even = (most - least < _EVEN * self._voxel) & (most < _DEEPEST * self._voxel)
        out[solid[even]] = least[even]
        return out

    def _thickness(self, triangles: np.ndarray, hollow: np.ndarray) -> np.ndarray:
        """(N,) how thick the solid is behind triangles; 0 where there is no inside, or one that ends at no face.

        Args:
            triangles: (N, 3, 3).
            hollow: (N,) bool: which of them have no inside just behind their middle.
        """
        thickness, solid = np.zeros(len(triangles), np.float32), np.flatnonzero(~hollow)
        thickness[solid] = self._behind_all(triangles[solid], 0.3).min(axis=1)
        endless = np.flatnonzero(thickness == _DEEPEST * self._voxel)
        open_behind = self._is_hollow(triangles[endless], triangles[endless].mean(1), THIN_VOXELS)
        thickness[endless[open_behind]] = 0.0
        return thickness

    def _behind_all(self, triangles: np.ndarray, inward: float) -> np.ndarray:
        """(N, 4) how far it is to the other side from the places of `_spread`."""
        points = _spread(triangles, inward)
        back = -_normals(triangles)[:, None].repeat(4, axis=1)
        return self._behind(points.reshape(-1, 3), back.reshape(-1, 3)).reshape(-1, 4)

    def _behind(self, points: np.ndarray, back: np.ndarray) -> np.ndarray:
        """(N,) how far it is from points of the surface to its other side, up to `_DEEPEST` voxels."""
        start, reach = 0.02 * self._voxel, _DEEPEST * self._voxel
        far = first_hit(self._surface, points + start * back, back, reach)
        return np.where(far < reach, far + start, reach).astype(np.float32)

    def _is_hollow(self, triangles: np.ndarray, points: np.ndarray, voxels: float = 0.25) -> np.ndarray:
        """(N,) bool: whether there is no inside so many voxels behind a point (N, 3) of each triangle."""
        away, back = voxels * self._voxel, -_normals(triangles)
        return ~self._is_inside(points + away * back, back, away)

    def plain(self, points: np.ndarray) -> np.ndarray:
        """(N,) float32 signed distances at (N, 3) points, before thin parts are thickened."""
        return self._signed(points)[0]

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """(N,) float32 distances at (N, 3) points, in units of the cube."""
        return self._thickened(points, self.plain(points))

    def _thickened(self, points: np.ndarray, plain: np.ndarray) -> np.ndarray:
        """The lesser of the plain distance and that to the thickened thin parts, which is searched for only where it
        can be the lesser."""
        if self._thin is None:
            return plain
        limit = plain + self.half_thickness
        at = np.flatnonzero(limit > 0)
        away, face = nearest_face(self._thin, points[at], limit[at])
        within = face >= 0
        at, away, outward = at[within], away[within], self._outward[face[within]]
        values = np.minimum(plain[at], away - outward)
        for farther, layer in reversed(self._layers):
            # No layer is nearer than all of them; only one that moves farther can overtake the nearest.
            close = np.flatnonzero((farther > outward) & (away - farther < values))
            values[close] = nearest(layer, points[at[close]], values[close] + farther) - farther
        out = plain.copy()
        out[at] = values
        return out

    def grid(self, resolution: int) -> np.ndarray:
        """(R, R, R) float32 at the cell centres; exact near the surface, interpolated where only the sign matters."""
        if resolution not in self._thick_grids:
            self._thick_grids[resolution] = self._thick_grid(resolution)
        return self._thick_grids[resolution].copy()

    def _thick_grid(self, resolution: int) -> np.ndarray:
        points = lattice(resolution)
        if resolution <= _COARSEST or resolution % 2:
            return self(points).reshape((resolution,) * 3)
        if self._thin is None and resolution in self._grids:
            return self._grids[resolution]
        values, near = _doubled(self.grid(resolution // 2))
        if resolution in self._grids:
            values[near] = self._thickened(points[near], self._grids[resolution].reshape(-1)[near])
        else:
            values[near] = self(points[near])
        return values.reshape((resolution,) * 3)


def _doubled(coarse: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A grid of twice the resolution, interpolated, flat; and the indices of its cells that need a closer look."""
    values = ndimage.zoom(coarse, 2, order=1, mode="nearest", grid_mode=True).astype(np.float32)
    near = np.abs(coarse) < _NEAR * 2.0 / len(coarse)
    return values.reshape(-1), np.flatnonzero(near.repeat(2, 0).repeat(2, 1).repeat(2, 2))


def _soup(triangles: np.ndarray) -> wp.Mesh:
    return make_mesh(triangles.reshape(-1, 3), np.arange(3 * len(triangles)).reshape(-1, 3))


def _spread(triangles: np.ndarray, inward: float) -> np.ndarray:
    """(N, 4, 3): the middle of triangles (N, 3, 3), and their corners moved so far of the way to it."""
    middle = triangles.mean(1, keepdims=True)
    return np.concatenate([middle, triangles + inward * (middle - triangles)], axis=1)


def _longest(triangles: np.ndarray) -> np.ndarray:
    """(N,) lengths of the longest edge."""
    return np.linalg.norm(triangles[:, [1, 2, 0]] - triangles, axis=2).max(axis=1)


def _normals(triangles: np.ndarray) -> np.ndarray:
    """(N, 3) unit normals."""
    normal = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    return normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-20)


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
