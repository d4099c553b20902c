"""Where a solid is thinner than the finest grid can show, and its distance once it is made as thick as that.

Thin is a surface with no cell of the grid properly inside nearby, or with no inside just behind it. A cell half a voxel
deep lies within 0.75·√3 voxels of any corner of a thick solid, up to the grid's own 0.87. Open shells, such as a
cushion without a bottom, lose their inside towards the rim: there the second rule keeps their faces whole. Thin pieces
of the surface get what they lack of `THIN_VOXELS`, half of it on either side.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import warp as wp
from scipy import ndimage

from ..warp_runtime import make_mesh
from .outer import cut_to_size, edge_lengths, unit_normals
from .queries import first_hit, nearest, nearest_face

THIN_VOXELS = 1.5
_PIECE = 1.5
"""Voxels to which thin pieces are cut; each goes by how thick the solid behind it is."""
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

IsInside = Callable[[np.ndarray, np.ndarray, float], np.ndarray]
"""Points (N, 3) so far from faces, and the directions (N, 3) from those, to (N,) bool."""


class Thickening:
    """The distances to a solid whose thin pieces are moved outward, from plain ones.

    Args:
        triangles: (N, 3, 3) the pieces.
        steps: (N,) how far each is moved, 1 … `_LAYERS`.
        half_thickness: how far the last step is.
        share: of the surface that they are.
    """

    def __init__(self, triangles: np.ndarray, steps: np.ndarray, half_thickness: float, share: float) -> None:
        self.share, self._half_thickness = share, half_thickness
        self._layers: list[tuple[float, wp.Mesh]] = []
        """How far pieces are moved, and those pieces; the farthest first, without those that overtake no others."""
        for step in np.unique(steps)[:0:-1]:
            self._layers.append((half_thickness * step / _LAYERS, _soup(triangles[steps == step])))
        self._all = _soup(triangles) if len(triangles) else None
        self._outward = (half_thickness * steps / _LAYERS).astype(np.float32)

    def __bool__(self) -> bool:
        """Whether anything is thin."""
        return self._all is not None

    def __call__(self, points: np.ndarray, plain: np.ndarray) -> np.ndarray:
        """(N,) the lesser of the plain distance and that to the moved pieces, at (N, 3) points. Pieces are searched for
        only where theirs can be the lesser."""
        if self._all is None:
            return plain
        limit = plain + self._half_thickness
        at = np.flatnonzero(limit > 0)
        away, piece = nearest_face(self._all, points[at], limit[at])
        within = piece >= 0
        at, away, outward = at[within], away[within], self._outward[piece[within]]
        values = np.minimum(plain[at], away - outward)
        for farther, layer in self._layers:
            # No layer is nearer than all of them; only one that moves farther can overtake the nearest.
            close = np.flatnonzero((farther > outward) & (away - farther < values))
            values[close] = nearest(layer, points[at[close]], values[close] + farther) - farther
        out = plain.copy()
        out[at] = values
        return out


def thickening(triangles: np.ndarray, surface: wp.Mesh, deep: np.ndarray, is_inside: IsInside) -> Thickening:
    """Find what is thin.

    Args:
        triangles: (N, 3, 3) the outer surface, in the cube, turned outward.
        surface: the same.
        deep: (R, R, R) bool: cells of the finest grid that are at least half a voxel inside.
        is_inside: of the solid.
    """
    behind = _Behind(surface, 2.0 / len(deep), is_inside)
    pieces, thickness = _thin_pieces(triangles, deep, behind)
    missing = 1.0 - thickness / (THIN_VOXELS * behind.voxel)
    steps = np.ceil(_LAYERS * missing - _SLIGHT).astype(np.int64).clip(0, _LAYERS)
    pieces, steps = pieces[steps > 0], steps[steps > 0]
    return Thickening(pieces, steps, 0.5 * THIN_VOXELS * behind.voxel, float(_area(pieces) / _area(triangles)))


def _thin_pieces(triangles: np.ndarray, deep: np.ndarray, behind: _Behind) -> tuple[np.ndarray, np.ndarray]:
    """(M, 3, 3) pieces that may be too thin, and how thick (M,) the solid behind them is."""
    voxel = behind.voxel
    away = ndimage.distance_transform_edt(~deep) if deep.any() else np.full(deep.shape, np.inf)

    def is_thin(points: np.ndarray) -> np.ndarray:
        cell = ((points + 1.0) / voxel).astype(np.int64).clip(0, len(deep) - 1)
        return away[cell[..., 0], cell[..., 1], cell[..., 2]] > 2.5

    thin = is_thin(_spread(triangles, 0.0)).any(axis=1)
    inner = _spread(triangles, 0.1)[:, 1:]
    for corner in range(3):  # one after the other: what is thin need not be asked again
        thick = np.flatnonzero(~thin)
        thin[thick] = behind.is_hollow(triangles[thick], inner[thick, corner])
    if not thin.any():
        return triangles[:0], np.zeros(0, np.float32)
    # A pole that stands on a plate has the plate's cells beside its foot, and is as thin there. What is neither hollow
    # nor far from deep cells is asked by one ray.
    others = triangles[~thin]
    limit = np.full(len(others), _BESIDE * voxel, np.float32)
    others = others[nearest(_soup(triangles[thin]), others.mean(1), limit) < limit]
    pieces = triangles[thin]
    even = behind.even_thickness(pieces)
    whole, pieces = pieces[even >= 0], cut_to_size(pieces[even < 0], _PIECE * voxel)
    hollow = behind.is_hollow(pieces, pieces.mean(1))
    thin = hollow | is_thin(pieces.mean(1))
    others = np.concatenate([pieces[~thin], cut_to_size(others, _PIECE * voxel)])
    others = others[behind.other_side(others.mean(1), -unit_normals(others)) < THIN_VOXELS * voxel]
    pieces = np.concatenate([pieces[thin], others])
    hollow = np.concatenate([hollow[thin], np.zeros(len(others), bool)])
    thickness = np.concatenate([behind.thickness(pieces, hollow), even[even >= 0]])
    return np.concatenate([pieces, whole]), thickness


class _Behind:
    """What there is behind triangles (N, 3, 3) of the surface."""

    def __init__(self, surface: wp.Mesh, voxel: float, is_inside: IsInside) -> None:
        self.voxel = voxel
        self._surface, self._is_inside = surface, is_inside

    def is_hollow(self, triangles: np.ndarray, points: np.ndarray, voxels: float = 0.25) -> np.ndarray:
        """(N,) bool: whether there is no inside so many voxels behind a point (N, 3) of each triangle."""
        away, back = voxels * self.voxel, -unit_normals(triangles)
        return ~self._is_inside(points + away * back, back, away)

    def other_side(self, points: np.ndarray, back: np.ndarray) -> np.ndarray:
        """(N,) how far it is from points of the surface to its other side, up to `_DEEPEST` voxels."""
        start, reach = 0.02 * self.voxel, _DEEPEST * self.voxel
        far = first_hit(self._surface, points + start * back, back, reach)
        return np.where(far < reach, far + start, reach).astype(np.float32)

    def even_thickness(self, triangles: np.ndarray) -> np.ndarray:
        """(N,) how thick the solid is behind wide triangles, 0 where there is no inside; −1 for those that are not
        wide, and where it is not the same everywhere."""
        out = np.full(len(triangles), -1.0, np.float32)
        wide = np.flatnonzero(edge_lengths(triangles).max(axis=1) > _WIDE * self.voxel)
        points = _spread(triangles[wide], 0.1)
        hollow = np.stack([self.is_hollow(triangles[wide], points[:, place]) for place in range(4)], axis=1)
        out[wide[hollow.all(axis=1)]] = 0.0
        solid = wide[~hollow.any(axis=1)]
        far = self._other_sides(triangles[solid], 0.1)
        least, most = far.min(axis=1), far.max(axis=1)
        even = (most - least < _EVEN * self.voxel) & (most < _DEEPEST * self.voxel)
        out[solid[even]] = least[even]
        return out

    def thickness(self, triangles: np.ndarray, hollow: np.ndarray) -> np.ndarray:
        """(N,) how thick the solid is behind small triangles; 0 where there is no inside, or one that ends at no face.

        Args:
            triangles: (N, 3, 3).
            hollow: (N,) bool: which of them have no inside just behind their middle.
        """
        thickness, solid = np.zeros(len(triangles), np.float32), np.flatnonzero(~hollow)
        thickness[solid] = self._other_sides(triangles[solid], 0.3).min(axis=1)
        endless = np.flatnonzero(thickness == _DEEPEST * self.voxel)
        open_behind = self.is_hollow(triangles[endless], triangles[endless].mean(1), THIN_VOXELS)
        thickness[endless[open_behind]] = 0.0
        return thickness

    def _other_sides(self, triangles: np.ndarray, inward: float) -> np.ndarray:
        """(N, 4) how far it is to the other side from the places of `_spread`."""
        back = -unit_normals(triangles)[:, None].repeat(4, axis=1)
        return self.other_side(_spread(triangles, inward).reshape(-1, 3), back.reshape(-1, 3)).reshape(-1, 4)


def _spread(triangles: np.ndarray, inward: float) -> np.ndarray:
    """(N, 4, 3): the middle of triangles (N, 3, 3), and their corners moved so far of the way to it."""
    middle = triangles.mean(1, keepdims=True)
    return np.concatenate([middle, triangles + inward * (middle - triangles)], axis=1)


def _area(triangles: np.ndarray) -> float:
    edges = np.diff(triangles.astype(np.float64), axis=1)
    return float(np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1).sum() / 2)


def _soup(triangles: np.ndarray) -> wp.Mesh:
    return make_mesh(triangles.reshape(-1, 3), np.arange(3 * len(triangles)).reshape(-1, 3))
