"""Long edges split, so that a map that bends lines bends them, and neighbouring faces alike."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..rows import unique_rows
from ..source import SourceMesh

MOST_FACES = 500_000

_SLOTS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0], [0, 0.5, 0.5], [0.5, 0, 0.5]])
"""Barycentric weights of a face's three corners and of the middles of its edges 0–1, 1–2, 2–0."""


def _patterns() -> dict[int, np.ndarray]:
    """For each set of split edges (bit i: edge i) the new faces, by rows of `_SLOTS`, turning as the old did."""
    one: list[tuple[int, ...]] = [(0, 3, 2), (3, 1, 2)]
    two: list[tuple[int, ...]] = [(3, 1, 4), (0, 3, 4), (0, 4, 2)]
    found: dict[int, list[tuple[int, ...]]] = {0: [(0, 1, 2)], 7: [(0, 3, 5), (3, 1, 4), (5, 4, 2), (3, 4, 5)]}
    for turn in range(3):
        for bits, faces in ((0b001, one), (0b011, two)):
            turned = sum(1 << (i + turn) % 3 for i in range(3) if bits >> i & 1)
            found[turned] = [tuple((s + turn) % 3 + (3 if s > 2 else 0) for s in face) for face in faces]
    return {code: np.array(faces) for code, faces in found.items()}


_PATTERNS = _patterns()


def split_long_edges(mesh: SourceMesh, longest: float, most_faces: int = MOST_FACES) -> SourceMesh:
    """Halve every edge longer than `longest`, again and again, in all faces that share it.

    The surface stays the same set of points with the same materials, and closed where it was closed.

    Args:
        longest: in units of the mesh.
        most_faces: refinement stops rather than grow beyond this.
    """
    while True:
        finer = _split_once(mesh, longest)
        if finer is None or len(finer.faces) > most_faces:
            return mesh
        mesh = finer


def _split_once(mesh: SourceMesh, longest: float) -> SourceMesh | None:
    faces = mesh.faces
    ends = np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1)  # (F, 3, 2)
    sides = np.sort(ends.reshape(-1, 2), axis=1)
    first, which = unique_rows(sides)
    edges = sides[first]
    long = np.linalg.norm(mesh.vertices[edges[:, 0]] - mesh.vertices[edges[:, 1]], axis=1) > longest
    if not long.any():
        return None
    middle = len(mesh.vertices) + np.cumsum(long) - 1
    which = which.reshape(-1, 3)
    slots = np.concatenate([faces, middle[which]], axis=1)  # (F, 6) vertices
    codes = long[which] @ (1, 2, 4)
    new_faces, parents, weights = [], [], []
    for code, pattern in _PATTERNS.items():
        of_code = np.flatnonzero(codes == code)
        new_faces.append(slots[of_code][:, pattern].reshape(-1, 3))
        parents.append(np.repeat(of_code, len(pattern)))
        weights.append(np.tile(_SLOTS[pattern], (len(of_code), 1, 1)))  # (f · pattern, corner, old corner)
    parent, weight = np.concatenate(parents), np.concatenate(weights)

    def of_vertices(values: np.ndarray | None) -> np.ndarray | None:
        if values is None:
            return None
        middles = values[edges[long]].mean(axis=1).astype(values.dtype)
        return np.concatenate([values, middles])

    def of_corners(values: np.ndarray | None) -> np.ndarray | None:
        if values is None:
            return None
        return np.einsum("fcp,fpk->fck", weight, values[parent]).astype(values.dtype)

    vertices = of_vertices(mesh.vertices)
    assert vertices is not None
    return dataclasses.replace(
        mesh,
        vertices=vertices,
        faces=np.concatenate(new_faces).astype(faces.dtype),
        face_material=None if mesh.face_material is None else mesh.face_material[parent],
        face_uvs=of_corners(mesh.face_uvs),
        corner_color=of_corners(mesh.corner_color),
        vertex_color=of_vertices(mesh.vertex_color),
        vertex_roughness=of_vertices(mesh.vertex_roughness),
        vertex_metallic=of_vertices(mesh.vertex_metallic),
    )
