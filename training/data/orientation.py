"""Faces turned outward, whatever the file says, so that winding numbers mean inside and outside.

Faces are grouped into patches that agree along their shared edges; then each patch looks both ways: the side from which
more rays escape to infinity is its outside. Flipped parts, mixed parts and open shells come out right; duplicated faces
are dropped first, since two opposed copies would cancel.
"""

from __future__ import annotations

import numpy as np
import warp as wp
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from ..warp_runtime import make_mesh, vectors
from .rows import unique_rows

DIRECTIONS = 24
SAMPLES_PER_PATCH = 64


@wp.kernel
def _escapes(mesh: wp.uint64, origin: wp.array(dtype=wp.vec3), side: wp.array(dtype=wp.vec3),
             directions: wp.array(dtype=wp.vec3), offset: float, score: wp.array(dtype=float)):  # fmt: skip
    i = wp.tid()
    n = side[i]
    total = float(0.0)  # noqa: UP018 (warp: a literal would be a constant)
    for k in range(directions.shape[0]):
        d = directions[k]
        facing = wp.dot(d, n)
        if not wp.mesh_query_ray_anyhit(mesh, origin[i] + n * offset, d * wp.sign(facing), 10.0):
            total += wp.abs(facing)
        if not wp.mesh_query_ray_anyhit(mesh, origin[i] - n * offset, d * (-wp.sign(facing)), 10.0):
            total -= wp.abs(facing)
    score[i] = total


def sphere_directions(count: int) -> np.ndarray:
    """(count, 3) directions spread evenly over the sphere (Fibonacci lattice)."""
    index = np.arange(count) + 0.5
    polar, azimuth = np.arccos(1 - 2 * index / count), np.pi * (1 + 5**0.5) * index
    return np.stack([np.cos(azimuth) * np.sin(polar), np.sin(azimuth) * np.sin(polar), np.cos(polar)], axis=-1)


def turn_outward(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Drop duplicated and collapsed faces and turn the rest outward.

    Args:
        vertices: (V, 3) in the cube. Equal positions are taken as one vertex.
        faces: (F, 3).

    Returns:
        faces (G, 3), and for each its index in the input (G,).
    """
    _, merged = unique_rows(np.round(vertices, 6))
    welded = merged[faces]
    ring = np.sort(welded, axis=1)
    sound = (ring[:, 0] != ring[:, 1]) & (ring[:, 1] != ring[:, 2])
    first, _ = unique_rows(ring)
    keep = np.sort(first[sound[first]])
    faces, welded = faces[keep].copy(), welded[keep]
    if len(faces) == 0:
        return faces, keep

    patch, flip = _patches(welded)
    faces[flip] = faces[flip][:, ::-1]
    score = _patch_scores(vertices, faces, patch)
    inward = score[patch] < 0
    faces[inward] = faces[inward][:, ::-1]
    return faces, keep


def _patches(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Connected groups of faces over manifold edges, and which faces to flip so that a group agrees.

    The sign-doubled graph: face f has nodes f (as given) and f + F (flipped). Neighbours that traverse their
    shared edge in opposite directions agree. A component of the doubled graph is one consistent choice of orientations.
    """
    count = len(faces)
    edges = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    owner = np.repeat(np.arange(count), 3)
    forward = edges[:, 0] < edges[:, 1]
    edges = np.sort(edges, axis=1)
    _, group = unique_rows(edges)
    order = np.argsort(group, kind="stable")
    order = order[np.bincount(group)[group[order]] == 2]
    one, two = order[0::2], order[1::2]
    a, b, agree = owner[one], owner[two], forward[one] != forward[two]
    rows = np.concatenate([a, a + count])
    columns = np.concatenate([np.where(agree, b, b + count), np.where(agree, b + count, b)])
    graph = coo_matrix((np.ones(len(rows), bool), (rows, columns)), shape=(2 * count, 2 * count))
    _, label = connected_components(graph, directed=False)
    as_given, flipped = label[:count], label[count:]
    # The two mirror labels of a patch name the same patch; the smaller is "as the first face is".
    root = np.minimum(as_given, flipped)
    _, patch = np.unique(root, return_inverse=True)
    return patch.reshape(-1), as_given > flipped


def _patch_scores(vertices: np.ndarray, faces: np.ndarray, patch: np.ndarray) -> np.ndarray:
    """For each patch, how much more of the sky its front sees than its back (positive: outward already)."""
    triangles = vertices[faces].astype(np.float64)
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    area = np.linalg.norm(normals, axis=1)
    normals /= np.maximum(area, 1e-20)[:, None]
    patches = int(patch.max()) + 1
    # Faces in each patch are drawn with chances proportional to area: SAMPLES_PER_PATCH systematic draws along the
    # running sum of areas.
    order = np.argsort(patch, kind="stable")
    running = np.cumsum(np.maximum(area[order], 1e-20))
    ends = np.searchsorted(patch[order], np.arange(patches), side="right") - 1
    high = running[ends]
    low = np.concatenate([[0.0], high[:-1]])
    at = low[:, None] + (high - low)[:, None] * (np.arange(SAMPLES_PER_PATCH) + 0.5) / SAMPLES_PER_PATCH
    chosen = order[np.searchsorted(running, at.reshape(-1)).clip(0, len(order) - 1)]
    # Where a patch has few faces they are drawn again and again; each looks once.
    chosen, drawn = np.unique(chosen, return_inverse=True)
    mesh = make_mesh(vertices, faces)
    score = wp.zeros(len(chosen), dtype=float)
    origin = triangles[chosen].mean(axis=1)
    inputs = [mesh.id, vectors(origin), vectors(normals[chosen]), vectors(sphere_directions(DIRECTIONS)), 1e-4, score]
    wp.launch(_escapes, len(chosen), inputs=inputs)
    # Ties (nothing escapes on either side: inner parts) keep the enclosed volume positive.
    total = score.numpy()[drawn].reshape(patches, SAMPLES_PER_PATCH).sum(axis=1)
    volume = np.bincount(patch, np.einsum("ij,ij->i", triangles[:, 0], np.cross(triangles[:, 1], triangles[:, 2])))
    return np.where(np.abs(total) > 1e-3, total, volume)
