"""What the stages and their tests must know of a triangle mesh: volumes, areas, normals, topology."""

from __future__ import annotations

import dataclasses

import numpy as np


def signed_volumes(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(F,) volume of the tetrahedron of each face and the mesh's centre; their sum is the enclosed volume."""
    a, b, c = ((vertices[faces[:, i]] - vertices.mean(axis=0)) for i in range(3))
    return np.einsum("ij,ij->i", a, np.cross(b, c)) / 6.0


def face_vectors(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(F, 3) outward normals whose length is twice the face's area."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    return np.cross(b - a, c - a)


@dataclasses.dataclass(frozen=True)
class Topology:
    """Counts that tell a closed, oriented surface from anything else."""

    closed: bool
    """Every edge has exactly two faces, which run along it in opposite directions."""
    euler: int
    """Vertices − edges + faces, over used vertices: 2 per sphere-like part, less 2 for each handle."""


def topology(faces: np.ndarray) -> Topology:
    """Measure the connectivity of (F, 3) faces."""
    count = int(faces.max()) + 1 if len(faces) else 0
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    forward = np.sort(edges[:, 0] * count + edges[:, 1])
    backward = np.sort(edges[:, 1] * count + edges[:, 0])
    single = bool((np.diff(forward) > 0).all()) and bool((edges[:, 0] != edges[:, 1]).all())
    closed = single and bool((forward == backward).all())
    undirected = len(np.unique(np.sort(edges, axis=1) @ np.array([count, 1])))
    return Topology(closed, len(np.unique(faces)) - undirected + len(faces))
