"""The outer surface of a soup of overlapping parts: what is left when hidden faces are taken away.

Legs run into seats and walls stand inside boxes. Distances to such hidden faces are wrong inside the shape, and a
surface extracted from them is dented along every joint. A hidden face has inside on both of its sides.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

# Where a face is probed: its centre, and points near its corners.
_PROBES = np.array([[1 / 3, 1 / 3, 1 / 3], [0.9, 0.05, 0.05], [0.05, 0.9, 0.05], [0.05, 0.05, 0.9]])


@dataclasses.dataclass(frozen=True)
class OuterSurface:
    """Pieces of the faces of a mesh, each wholly outside the other parts up to the size of a piece."""

    triangles: np.ndarray
    """(N, 3, 3) float32 corner positions."""
    parent: np.ndarray
    """(N,) the face each piece is part of."""
    corners: np.ndarray
    """(N, 3, 3) float64: barycentric weights, in the parent, of the piece's corners."""

    @property
    def vertices(self) -> np.ndarray:
        return self.triangles.reshape(-1, 3)

    @property
    def faces(self) -> np.ndarray:
        return np.arange(3 * len(self.triangles)).reshape(-1, 3)

    def is_whole(self, count: int) -> np.ndarray:
        """(count,) bool: which of so many faces of the mesh are there in one piece."""
        uncut = (self.corners == np.eye(3)).all(axis=(1, 2))
        whole = np.zeros(count, bool)
        whole[self.parent[uncut]] = True
        return whole


def outer_surface(
    vertices: np.ndarray,
    faces: np.ndarray,
    is_inside: Callable[[np.ndarray, np.ndarray], np.ndarray],
    largest: float,
    smallest: float,
    offset: float,
) -> OuterSurface:
    """Cut faces along joints and drop the hidden pieces.

    Args:
        vertices, faces: the mesh, turned outward.
        is_inside: (N, 3) points in front of faces, and the faces' normals there, to (N,) bool.
        largest: pieces with a longer edge are cut before they are probed, so that no joint is overlooked.
        smallest: pieces with no longer edge are not cut any more; they go by their centre.
        offset: how far in front of a face it is probed.
    """
    triangles = vertices[faces].astype(np.float64)
    parent = np.arange(len(faces))
    corners = np.broadcast_to(np.eye(3), (len(faces), 3, 3)).copy()
    done: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    while len(triangles):
        edges = edge_lengths(triangles)
        longest = edges.max(axis=1)
        cut = longest > largest
        probed = np.flatnonzero(~cut)
        front = is_inside(*_in_front(triangles[probed], _PROBES[:1], offset))
        hidden = front.copy()
        # Pieces that are large enough to be cut must be of one mind at all probes.
        wide = longest[probed] > smallest
        if wide.any():
            votes = is_inside(*_in_front(triangles[probed[wide]], _PROBES[1:], offset)).reshape(-1, 3)
            mixed = (votes != front[wide, None]).any(axis=1)
            cut[probed[wide][mixed]] = True
        keep = probed[~hidden & ~cut[probed]]
        done.append((triangles[keep], parent[keep], corners[keep]))
        triangles, parent, corners = _bisect(triangles[cut], parent[cut], corners[cut], edges[cut].argmax(axis=1))
    return OuterSurface(
        np.concatenate([piece[0] for piece in done]).astype(np.float32),
        np.concatenate([piece[1] for piece in done]),
        np.concatenate([piece[2] for piece in done]),
    )


def edge_lengths(triangles: np.ndarray) -> np.ndarray:
    """(N, 3) of triangles (N, 3, 3): of the edges from each corner to the next."""
    return np.linalg.norm(triangles[:, [1, 2, 0]] - triangles, axis=2)


def unit_normals(triangles: np.ndarray) -> np.ndarray:
    """(N, 3) of triangles (N, 3, 3); 0 for those without an area."""
    normal = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    return normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-20)


def cut_to_size(triangles: np.ndarray, largest: float) -> np.ndarray:
    """Halve (N, 3, 3) triangles until no edge is longer than `largest`."""
    done = [triangles[:0]]
    while len(triangles):
        edges = edge_lengths(triangles)
        long = edges.max(axis=1) > largest
        done.append(triangles[~long])
        triangles = _halve(triangles[long], edges[long].argmax(axis=1))
    return np.concatenate(done)


def _in_front(triangles: np.ndarray, weights: np.ndarray, offset: float) -> tuple[np.ndarray, np.ndarray]:
    """Points in front of each triangle and its normal at each, all (N · P, 3)."""
    normal = unit_normals(triangles)[:, None].repeat(len(weights), axis=1)
    points = np.einsum("pc,nck->npk", weights, triangles) + offset * normal
    return points.reshape(-1, 3), normal.reshape(-1, 3)


def _bisect(
    triangles: np.ndarray, parent: np.ndarray, corners: np.ndarray, edge: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return _halve(triangles, edge), np.concatenate([parent, parent]), _halve(corners, edge)


def _halve(values: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """Cut (N, 3, …) corner values across the middle of edge number `edge` (from that corner to the next)."""
    row = np.arange(len(values))
    a, b, c = values[row, edge], values[row, (edge + 1) % 3], values[row, (edge + 2) % 3]
    middle = (a + b) / 2
    return np.concatenate([np.stack([a, middle, c], axis=1), np.stack([middle, b, c], axis=1)])
