"""The bare zero surface of a grid, for pictures and metrics: no cleaning, no texture."""

from __future__ import annotations

import numpy as np
from skimage.measure import marching_cubes


def grid_mesh(values: np.ndarray, level: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Triangulate {values = level} of a grid sampled at cell centres, negative inside.

    Args:
        values: (R, R, R) float32 indexed [x, y, z] over the cube [−1, 1]³.

    Returns:
        vertices (V, 3) float32 in the cube and faces (F, 3) int32, outward; both empty when there is no surface.
    """
    resolution = values.shape[0]
    # One cell of "outside" all around closes shapes that touch the border.
    padded = np.pad(values, 1, constant_values=max(float(values.max()), level) + 2.0 / resolution)
    if not padded.min() < level < padded.max():
        return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32)
    vertices, faces, _, _ = marching_cubes(padded, level, gradient_direction="descent")
    # Padded index i lies at −1 + (2(i − 1) + 1)/R.
    return ((2.0 * vertices - 1.0) / resolution - 1.0).astype(np.float32), faces.astype(np.int32)
