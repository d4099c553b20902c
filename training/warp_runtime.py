"""warp, silenced, and triangle meshes in it. Kernels run on the CPU here and on CUDA where it is."""

from __future__ import annotations

import numpy as np
import warp as wp

wp.config.quiet = True
wp.init()


def make_mesh(vertices: np.ndarray, faces: np.ndarray, winding: bool = False) -> wp.Mesh:
    """Build the bounding-volume hierarchy of (V, 3) vertices and (F, 3) faces; `winding` adds its moments."""
    points = wp.array(np.ascontiguousarray(vertices, np.float32), dtype=wp.vec3)
    indices = wp.array(np.ascontiguousarray(faces, np.int32).reshape(-1), dtype=int)
    return wp.Mesh(points, indices, support_winding_number=winding)


def vectors(points: np.ndarray) -> wp.array:
    return wp.array(np.ascontiguousarray(points, np.float32).reshape(-1, 3), dtype=wp.vec3)
