"""Splitting triangles until none of their edges is long, without a gap and without a second face anywhere.

Pure numpy: Infinigen's Python and the project's own can both run it.
"""

from __future__ import annotations

import dataclasses

import numpy as np

_PASSES = 24


@dataclasses.dataclass(frozen=True)
class Refined:
    """A refined triangle mesh, and where in the old one each of its corners lies."""

    vertices: np.ndarray
    """(V, 3) float64; the old vertices first, in their order."""
    faces: np.ndarray
    """(F, 3) int64."""
    parent: np.ndarray
    """(F,) int64, the old face that each face is a piece of."""
    weights: np.ndarray
    """(F, 3, 3) float64: for each corner, the weights of the old face's three corners."""


def refine(vertices: np.ndarray, faces: np.ndarray, spacing: float, most: int) -> Refined:
    """Halve edges until all are at most `spacing` long or there are `most` vertices; the longest go first.

    An edge is halved for all the faces around it at once, so a closed surface stays closed. Where the surface is too
    large for `most` vertices at this spacing, the spacing grows until it is not.

    Args:
        vertices: (V, 3).
        faces: (F, 3).
        spacing: in the vertices' unit.
        most: vertices; a mesh that has more already comes back as it is.
    """
    vertices, faces = vertices.astype(np.float64), faces.astype(np.int64)
    parent = np.arange(len(faces))
    weights = np.broadcast_to(np.eye(3), (len(faces), 3, 3)).copy()
    corners = vertices[faces]
    area = float(
        np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum() / 2
    )
    # Halved edges end between half the spacing and all of it: 1.6 vertices per spacing squared, as measured.
    spacing = max(spacing, float(np.sqrt(1.6 * area / max(most - len(vertices), most // 10))))
    for _ in range(_PASSES):
        # Side i runs from corner i to corner i + 1.
        other = np.roll(faces, -1, axis=1)
        # One number for an edge: sorting pairs would take ten times as long.
        edges, side_edge = np.unique(
            np.minimum(faces, other) * len(vertices) + np.maximum(faces, other), return_inverse=True
        )
        ends, side_edge = np.stack(np.divmod(edges, len(vertices)), -1), side_edge.reshape(-1, 3)
        length = np.linalg.norm(vertices[ends[:, 0]] - vertices[ends[:, 1]], axis=1)
        chosen = np.flatnonzero(length > spacing)
        room = most - len(vertices)
        if len(chosen) == 0 or room <= 0:
            break
        chosen = chosen[np.argsort(-length[chosen], kind="stable")][:room]
        middle = np.full(len(ends), -1)
        middle[chosen] = len(vertices) + np.arange(len(chosen))
        vertices = np.concatenate([vertices, vertices[ends[chosen]].mean(axis=1)])
        faces, parent, weights = _split(faces, parent, weights, middle[side_edge], vertices)
    return Refined(vertices, faces, parent, weights)


def _split(
    faces: np.ndarray, parent: np.ndarray, weights: np.ndarray, middle: np.ndarray, vertices: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut every face at the middles of its sides; `middle` (F, 3) has the new vertex of each side or −1."""
    marked = middle >= 0
    count = marked.sum(axis=1)
    # Turned so that a lone marked side comes first, and a lone unmarked one too.
    first = np.where(count == 2, np.argmin(marked, axis=1), np.argmax(marked, axis=1))
    turn = (first[:, None] + np.arange(3)) % 3
    rows = np.arange(len(faces))[:, None]
    # Six places of a face: its corners a b c, then the middles of ab, bc and ca.
    places = np.concatenate([faces[rows, turn], middle[rows, turn]], axis=1)
    weights = weights[rows, turn]
    place_weights = np.concatenate([weights, (weights + np.roll(weights, -1, axis=1)) / 2], axis=1)

    far = np.linalg.norm(vertices[places[:, 0]] - vertices[places[:, 4]], axis=1)
    near = np.linalg.norm(vertices[places[:, 1]] - vertices[places[:, 5]], axis=1)
    cases = (
        (count == 0, ((0, 1, 2),)),
        (count == 1, ((0, 3, 2), (3, 1, 2))),
        ((count == 2) & (far <= near), ((5, 4, 2), (0, 1, 4), (0, 4, 5))),
        ((count == 2) & (far > near), ((5, 4, 2), (0, 1, 5), (1, 4, 5))),
        (count == 3, ((0, 3, 5), (3, 1, 4), (5, 4, 2), (3, 4, 5))),
    )
    new_faces, new_parent, new_weights = [], [], []
    for which, pieces in cases:
        for piece in pieces:
            new_faces.append(places[which][:, piece])
            new_parent.append(parent[which])
            new_weights.append(place_weights[which][:, piece])
    return np.concatenate(new_faces), np.concatenate(new_parent), np.concatenate(new_weights)
