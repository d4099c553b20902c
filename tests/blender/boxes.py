"""The shapes of the patient worker: boxes, the same wherever they are made."""

from __future__ import annotations

import numpy as np

from gan3d_core.shape import Shape


def box(seed: int) -> Shape:
    """A box on the floor, 0.5 … 0.9 m wide, off centre, every corner of every face with its own texture place."""
    random = np.random.default_rng(seed)
    size = np.array([0.5 + 0.1 * (seed % 5), 0.5, 1.0])
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float64)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))], np.int32)
    return Shape(
        vertices=((corners - [0.4, 0.5, 0]) * size).astype(np.float32),
        faces=faces,
        uvs=random.random((len(faces), 3, 2)).astype(np.float32),
        base_color=random.integers(0, 256, (8, 16, 3), np.uint8),
        roughness=random.integers(0, 256, (8, 16), np.uint8),
        metallic=np.zeros((8, 16), np.uint8),
    )
