"""Voxels to a closed, smooth surface that keeps what is one voxel thin.

S. F. F. Gibson: Constrained Elastic Surface Nets, MICCAI 1998: the vertices of the voxels' outer faces are relaxed,
each within a box around its place, so that stairs go and no part can vanish. Blurring the volume instead would dissolve
chair legs of one voxel. The relaxation here is Taubin's λ|μ filter, which does not shrink.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

LAMBDA, MU = 0.5, -0.53
ITERATIONS = 8
REACH = 0.45
"""How far a vertex may go along each axis, in voxels: less than half, so that voxel centres stay on their side."""

# Corners of the face between a voxel and its neighbour along an axis, seen from outside of the voxel in order.
_RING = {
    0: np.array([[0, 0, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1]]),
    1: np.array([[0, 0, 0], [0, 0, 1], [1, 0, 1], [1, 0, 0]]),
    2: np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]),
}


def surface_nets(occupied: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The surface of a set of voxels.

    Args:
        occupied: (X, Y, Z) bool; what lies outside of the grid is empty.

    Returns:
        vertices (V, 3) float64 in voxels, voxel (i, j, k) filling [i, i + 1] × [j, j + 1] × [k, k + 1]; faces (F, 3)
        int64, outward. Every edge has as many faces in one direction as in the other; both are empty where no voxel
        is set.
    """
    corners = _quads(occupied)  # (Q, 4, 3)
    if not len(corners):
        return np.zeros((0, 3)), np.zeros((0, 3), np.int64)
    shape = np.array(occupied.shape) + 1
    flat = np.ravel_multi_index(tuple(np.moveaxis(corners, -1, 0)), tuple(shape))
    used, quads = np.unique(flat, return_inverse=True)
    quads = quads.reshape(-1, 4)
    places = np.stack(np.unravel_index(used, tuple(shape)), axis=1).astype(np.float64)
    vertices = _relax(places, quads)
    return vertices, np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def _quads(occupied: np.ndarray) -> np.ndarray:
    """(Q, 4, 3) grid corners of every face between a voxel that is set and one that is not, outward."""
    padded = np.pad(occupied.astype(np.int8), 1)
    found = []
    for axis in range(3):
        change = np.diff(padded, axis=axis)
        for sign in (1, -1):
            # change[i] lies between voxels i − 1 and i of the unpadded grid, on the plane i; the padding of the other
            # two axes shifts their indices by one.
            at = np.argwhere(change == sign)
            at[:, [other for other in range(3) if other != axis]] -= 1
            ring = _RING[axis] if sign < 0 else _RING[axis][::-1]
            found.append(at[:, None] + ring)
    return np.concatenate(found)


def _relax(places: np.ndarray, quads: np.ndarray) -> np.ndarray:
    edges = np.concatenate([quads[:, [k, (k + 1) % 4]] for k in range(4)])
    edges = np.unique(np.concatenate([edges, edges[:, ::-1]]), axis=0)
    count = len(places)
    adjacency = sparse.csr_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count))
    mean = sparse.diags(1.0 / np.asarray(adjacency.sum(axis=1)).ravel()) @ adjacency
    moved = places.copy()
    for _ in range(ITERATIONS):
        for factor in (LAMBDA, MU):
            moved = moved + factor * (mean @ moved - moved)
            moved = np.clip(moved, places - REACH, places + REACH)
    return moved
