"""Smoothing that takes away voxel steps and keeps size.

G. Taubin: A Signal Processing Approach to Fair Surface Design, SIGGRAPH 1995: a step of factor λ > 0 shrinks, one of
μ < −λ expands again. The pass band ends at k = 1/λ + 1/μ; below it features keep their size.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse

LAMBDA = 0.5
MU = -0.53
"""Pass band up to k = 1/0.5 − 1/0.53 = 0.11, about the 0.1 that Taubin recommends: on marching-cubes meshes, waves of
some eight voxels and longer stay."""


def smooth(
    vertices: np.ndarray, faces: np.ndarray, iterations: int, step: Callable[[float], None] = lambda _: None
) -> np.ndarray:
    """Taubin's λ|μ filter with equal weights for all neighbours.

    Args:
        vertices: (V, 3).
        faces: (F, 3) of a closed mesh.
        iterations: pairs of a λ and a μ step.
        step: called with the fraction done before each pair.

    Returns:
        (V, 3) moved vertices, float64.
    """
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    count = len(vertices)
    # On a closed oriented mesh each edge occurs once in either direction: one entry per neighbour.
    adjacency = sparse.csr_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count))
    degree = np.maximum(np.asarray(adjacency.sum(axis=1)).ravel(), 1.0)
    mean = sparse.diags(1.0 / degree) @ adjacency
    moved = vertices.astype(np.float64)
    for i in range(iterations):
        step(i / iterations)
        for factor in (LAMBDA, MU):
            moved = moved + factor * (mean @ moved - moved)
    return moved
