"""Flattening: dents go, edges stay.

What networks draw is wavy where furniture is flat, and round where it has edges. Y. Zheng, H. Fu, O. K.-C. Au, C.-L.
Tai: Bilateral Normal Filtering for Mesh Denoising, IEEE TVCG 17(10), 2011, section 3.2: the normals of faces become
means of those of their neighbours, near ones and like ones counting most, so that a normal on a seat's top never hears
of its rim. Vertices then follow by the rule of X. Sun, P. Rosin, R. Martin, F. Langbein: Fast and Effective
Feature-Preserving Mesh Denoising, IEEE TVCG 13(5), 2007, section 3.3.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse

from .measures import face_vectors

LIKENESS = 0.3
"""How far apart the ends of two unit normals may be to count as of one surface (σ of a Gaussian): 17 degrees. Dents are
shallower, the edges of furniture are not."""
FOLLOWING = 20
"""Steps in which vertices follow their faces' normals, as in Zheng et al., section 5."""


def flatten(
    vertices: np.ndarray, faces: np.ndarray, iterations: int, step: Callable[[float], None] = lambda _: None
) -> np.ndarray:
    """Filter the normals, and let the vertices follow.

    Best after decimation: then creases run along edges of the mesh, where before they are zigzags across it.

    Args:
        vertices: (V, 3).
        faces: (F, 3) of a closed mesh.
        iterations: of the filter of normals; with none everything stays where it is.
        step: called with the fraction done before each iteration and each step of the vertices.

    Returns:
        (V, 3) moved vertices, float64, none farther than the mean length of an edge: what would go farther has been
        misled by a part that is thinner than its neighbourhoods are wide.
    """
    moved = vertices.astype(np.float64)
    if not iterations or not len(faces):
        return moved
    total = iterations + FOLLOWING
    corners = _corners(faces, len(vertices))
    touching: sparse.csr_matrix = sum(corners[1:], corners[0])  # (V, F)
    normals = _filtered(moved, faces, touching, iterations, lambda done: step(done / total))
    shares = 1.0 / np.maximum(np.asarray(touching.sum(1)), 1.0)
    for turn in range(FOLLOWING):
        step((iterations + turn) / total)
        centres = moved[faces].mean(1)
        # Each face pulls its corners into the plane through its centre.
        pulls = [((centres - moved[faces[:, k]]) * normals).sum(1, keepdims=True) * normals for k in range(3)]
        moved = moved + shares * sum(at @ pull for at, pull in zip(corners, pulls, strict=True))
    path = moved - vertices
    length = np.linalg.norm(path, axis=1, keepdims=True)
    most = np.linalg.norm(vertices[faces] - vertices[np.roll(faces, 1, 1)], axis=2).mean()
    return vertices + path * np.minimum(1.0, most / np.maximum(length, 1e-12))


def _corners(faces: np.ndarray, count: int) -> list[sparse.csr_matrix]:
    """For the first, second and third corner of faces: (V, F), one where a vertex is that corner of a face."""
    ones, index = np.ones(len(faces)), np.arange(len(faces))
    return [sparse.csr_matrix((ones, (faces[:, k], index)), shape=(count, len(faces))) for k in range(3)]


def _filtered(
    vertices: np.ndarray,
    faces: np.ndarray,
    touching: sparse.csr_matrix,
    iterations: int,
    step: Callable[[int], None],
) -> np.ndarray:
    """(F, 3) unit normals, filtered among faces that share a corner."""
    normals = face_vectors(vertices, faces)
    doubled = np.linalg.norm(normals, axis=1, keepdims=True)
    normals = normals / np.maximum(doubled, 1e-20)
    near = (touching.T @ touching).tocsr()  # (F, F), itself included
    row = np.repeat(np.arange(len(faces)), np.diff(near.indptr))
    column = near.indices
    centres = vertices[faces].mean(1)
    apart = np.linalg.norm(centres[row] - centres[column], axis=1)
    reach = apart[row != column].mean()
    placed = doubled[column, 0] * np.exp(-0.5 * (apart / reach) ** 2)
    for turn in range(iterations):
        step(turn)
        unlike = ((normals[row] - normals[column]) ** 2).sum(1)
        near.data = placed * np.exp(-0.5 / LIKENESS**2 * unlike)
        normals = near @ normals
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-20)
    return normals
