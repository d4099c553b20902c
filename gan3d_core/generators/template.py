"""Spheres of triangles, coarse to fine: what surfaces are deformed from."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

_GOLDEN = (1 + math.sqrt(5)) / 2


@dataclasses.dataclass(frozen=True)
class Level:
    """A sphere of radius 1."""

    vertices: np.ndarray
    """(V, 3) float32; the first are those of the level before."""
    faces: np.ndarray
    """(F, 3) int64, counter-clockwise seen from outside."""
    parents: np.ndarray
    """(V − V', 2) int64: the ends of the edge of the level before that each further vertex halves."""
    neighbours: np.ndarray
    """(V, 6) int64: the vertices around each; the twelve that have five name themselves as the sixth."""


def spheres(levels: int) -> list[Level]:
    """An icosahedron and `levels` subdivisions of it, each edge halved: 10 · 4^l + 2 vertices, 20 · 4^l faces."""
    corners = [(0, a, b * _GOLDEN) for a in (-1, 1) for b in (-1, 1)]
    vertices = np.array([np.roll(c, shift) for shift in (0, 1, 2) for c in corners], np.float64)
    vertices /= np.linalg.norm(vertices, axis=1, keepdims=True)
    away = np.linalg.norm(vertices[:, None] - vertices[None], axis=-1)
    edge = (away > 0) & (away < 1.1)
    faces = np.array(
        [(a, b, c) for a in range(12) for b in range(a) for c in range(b) if edge[a, b] and edge[b, c] and edge[c, a]]
    )
    inward = np.linalg.det(vertices[faces]) < 0
    faces[inward] = faces[inward][:, ::-1]
    out = [_level(vertices, faces, np.zeros((0, 2), np.int64))]
    for _ in range(levels):
        ends = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
        parents, inverse = np.unique(ends, axis=0, return_inverse=True)
        ab, bc, ca = inverse.reshape(3, -1) + len(vertices)
        a, b, c = faces.T
        faces = np.concatenate([np.stack(part, 1) for part in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
        middle = vertices[parents].mean(axis=1)
        vertices = np.concatenate([vertices, middle / np.linalg.norm(middle, axis=1, keepdims=True)])
        out.append(_level(vertices, faces, parents))
    return out


def _level(vertices: np.ndarray, faces: np.ndarray, parents: np.ndarray) -> Level:
    neighbours = np.repeat(np.arange(len(vertices))[:, None], 6, axis=1)
    filled = np.zeros(len(vertices), np.int64)
    # Every edge is run along once in each direction by the two faces at it.
    for start, end in np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).tolist():
        neighbours[start, filled[start]] = end
        filled[start] += 1
    return Level(vertices.astype(np.float32), faces.astype(np.int64), parents, neighbours)
