"""A field of open charts: the level one half of their winding number, as a distance."""

from __future__ import annotations

import numpy as np
import torch
from skimage import measure

from .. import winding
from ..field import Materials, lattice
from ..fusion import camera_frames
from .mesh_field import distance_to_mesh

_DIRECTIONS = 26
_BUFFER = 64
"""Pixels along the side of the pictures in which charts are looked at."""


class ChartField:
    """Charts may overlap, cross and leave gaps. Where a chart faces the wrong way as seen from outside it is turned;
    gaps are closed as the winding number closes them.

    Args:
        vertices: (V, 3) in the cube.
        faces: (F, 3).
        chart: (F,) the chart of each face.
        size_m: longest side in metres.
    """

    def __init__(self, vertices: np.ndarray, faces: np.ndarray, chart: np.ndarray, size_m: float) -> None:
        self.vertices = np.ascontiguousarray(vertices, np.float32)
        self.faces = turned_outward(self.vertices, faces, chart)
        self.size_m = size_m

    def values(self, resolution: int) -> np.ndarray:
        points, dipoles = _spread(self.vertices[self.faces], 1.0 / resolution)
        number = winding.on_lattice(torch.from_numpy(points)[None], torch.from_numpy(dipoles)[None], resolution)
        level = 0.5 - number[0].numpy()
        border = np.pad(level, 1, constant_values=0.5)
        if not (level < 0).any():
            return level
        vertices, faces, _, _ = measure.marching_cubes(border, 0.0)
        vertices = (2.0 * vertices - 1.0) / resolution - 1.0  # index i of the border's grid is sample i − 1
        away, _, _ = distance_to_mesh(lattice(resolution), vertices, faces, 2.0 / resolution)
        return np.where(level < 0, -1.0, 1.0).astype(np.float32) * away.reshape(level.shape).astype(np.float32)

    def materials(self, points: np.ndarray) -> Materials | None:
        return None


def turned_outward(vertices: np.ndarray, faces: np.ndarray, chart: np.ndarray) -> np.ndarray:
    """The faces, those of a chart reversed that is mostly seen from behind.

    Cameras all around see points of the charts, the nearest in each pixel; a point that is seen votes for its chart
    with its normal's cosine. A chart that is never seen stays as it is.
    """
    triangles = vertices[faces]
    cross = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    normals = cross / np.maximum(np.linalg.norm(cross, axis=1, keepdims=True), 1e-12)
    middles = triangles.mean(axis=1)
    # Coarse charts are seen at more places than their faces' middles.
    places = np.concatenate([middles, *(0.6 * triangles[:, i] + 0.4 * middles for i in range(3))])
    owner = np.tile(np.arange(len(faces)), 4)
    votes = np.zeros(int(chart.max()) + 1)
    for axes, reach in zip(*camera_frames(_DIRECTIONS), strict=True):
        local = places @ axes.T
        pixel = ((local[:, :2] / reach + 1) * (_BUFFER / 2)).astype(np.int64).clip(0, _BUFFER - 1)
        flat = pixel[:, 1] * _BUFFER + pixel[:, 0]
        order = np.lexsort((-local[:, 2], flat))
        seen = order[np.r_[True, np.diff(flat[order]) > 0]]
        np.add.at(votes, chart[owner[seen]], normals[owner[seen]] @ axes[2])
    wrong = votes[chart] < 0
    return np.where(wrong[:, None], faces[:, ::-1], faces)


def _spread(triangles: np.ndarray, size: float) -> tuple[np.ndarray, np.ndarray]:
    """Points (M, 3) over triangles (F, 3, 3) about `size` apart, and the area vector (M, 3) that each stands for."""
    sides = np.linalg.norm(triangles - np.roll(triangles, 1, axis=1), axis=-1).max(axis=1)
    cuts = np.clip(np.ceil(sides / size), 1, 32).astype(np.int64)
    area = 0.5 * np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    points, dipoles = [], []
    for count in np.unique(cuts):
        chosen = cuts == count
        weights = _middles(int(count))
        points.append(np.einsum("kc,fcx->fkx", weights, triangles[chosen]).reshape(-1, 3))
        dipoles.append(np.repeat(area[chosen] / len(weights), len(weights), axis=0))
    return np.concatenate(points).astype(np.float32), np.concatenate(dipoles).astype(np.float32)


def _middles(count: int) -> np.ndarray:
    """(count², 3) barycentric middles of a triangle cut into count² equal ones."""
    up = [(i + 1 / 3, j + 1 / 3) for i in range(count) for j in range(count - i)]
    down = [(i + 2 / 3, j + 2 / 3) for i in range(count - 1) for j in range(count - 1 - i)]
    uv = np.array(up + down) / count
    return np.column_stack([1 - uv.sum(axis=1), uv])
