"""A field that is the signed distance to a closed mesh, which may cross itself."""

from __future__ import annotations

import numpy as np
import torch
import trimesh
from scipy import ndimage, spatial

from .. import winding
from ..field import Materials, lattice

_CANDIDATES = 8
"""Pieces of faces that are tried for the distance at a point near the surface."""
_EXACT = 24
"""Pieces whose winding number at a point is exact."""


class MeshField:
    """Inside is where the generalised winding number exceeds one half, so parts that overlap unite.

    Args:
        vertices: (V, 3) in the cube.
        faces: (F, 3) of a closed mesh, counter-clockwise seen from outside.
        size_m: longest side in metres.
    """

    def __init__(self, vertices: np.ndarray, faces: np.ndarray, size_m: float) -> None:
        self.vertices = np.ascontiguousarray(vertices, np.float32)
        self.faces = np.ascontiguousarray(faces, np.int64)
        self.size_m = size_m

    def values(self, resolution: int) -> np.ndarray:
        points = lattice(resolution)
        away, pieces, tree = distance_to_mesh(points, self.vertices, self.faces, 2.0 / resolution)
        inside = _inside(points, away.reshape((resolution,) * 3), pieces, tree)
        return np.where(inside, -away, away).astype(np.float32).reshape((resolution,) * 3)

    def materials(self, points: np.ndarray) -> Materials | None:
        return None


def _inside(points: np.ndarray, away: np.ndarray, pieces: np.ndarray, tree: spatial.cKDTree) -> np.ndarray:
    """(R³,) bool. Two neighbours that are both farther than half a cell from the surface lie on one side of it: so one
    winding number serves for each connected part of those, and near the surface every cell has its own."""
    parts, count = ndimage.label(away > 1.02 / len(away))
    parts = parts.reshape(-1)
    first = np.unique(parts, return_index=True)[1][-count:] if count else np.zeros(0, np.int64)
    near = np.flatnonzero(parts == 0)
    asked = points[np.concatenate([first, near])]
    _, nearest = tree.query(asked, k=min(_EXACT, len(pieces)))
    rows = torch.from_numpy(nearest.reshape(len(asked), -1))
    inside = winding.of_mesh(torch.from_numpy(pieces), torch.from_numpy(asked), rows).numpy() > 0.5
    of_part = np.concatenate([[False], inside[: len(first)]])
    out = of_part[parts]
    out[near] = inside[len(first) :]
    return out


def distance_to_mesh(
    points: np.ndarray, vertices: np.ndarray, faces: np.ndarray, voxel: float
) -> tuple[np.ndarray, np.ndarray, spatial.cKDTree]:
    """Distances (P,) from points to a mesh, exact within four voxels of it and to a voxel farther away.

    Returns also what they were found by: the faces cut to pieces (M, 3, 3) with sides of at most two voxels, whose
    middles are about as near as they are, and the tree of their middles.
    """
    cut, parts = trimesh.remesh.subdivide_to_size(vertices, faces, 2.0 * voxel)
    pieces = cut[parts].astype(np.float32)
    tree = spatial.cKDTree(pieces.mean(axis=1))
    away, _ = tree.query(points)
    band = np.flatnonzero(away < 4.0 * voxel)
    _, candidates = tree.query(points[band], k=min(_CANDIDATES, len(pieces)))
    candidates = candidates.reshape(len(band), -1)
    away[band] = np.min([_to_triangles(points[band], pieces[one]) for one in candidates.T], axis=0)
    return away, pieces, tree


def _to_triangles(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(P,) distances from points (P, 3) to a triangle each, (P, 3, 3)."""
    return np.linalg.norm(trimesh.triangles.closest_point(triangles, points) - points, axis=1)
