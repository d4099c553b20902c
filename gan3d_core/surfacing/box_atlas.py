"""The atlas that always works: charts projected along the axes they face.

Like texturing by box projection, but without overlaps: each chart is a connected patch that faces one of six
directions, so no triangle is flipped and none shrinks by more than √3.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from .bake import rasterise
from .measures import face_vectors
from .packing import pack

ROUNDS = 4
"""Times that overlapping faces are moved into charts of their own; on chairs one or two empty the list."""
STEEPEST = 0.5
"""A face may join its neighbours' direction if the cosine to it is at least this; a face's own is at least 1/√3."""

_DIRECTIONS = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], np.float64)
# The two coordinates seen from each direction, ordered so that a face turned that way keeps its winding.
_PLANES = np.array([[1, 2], [2, 1], [2, 0], [0, 2], [0, 1], [1, 0]])


def box_atlas(
    vertices: np.ndarray, faces: np.ndarray, gutter: float, size: int, step: Callable[[float], None] = lambda _: None
) -> tuple[np.ndarray, np.ndarray]:
    """Unwrap by box projection.

    Args:
        vertices: (V, 3).
        faces: (F, 3) of a closed mesh.
        gutter: between charts, as a share of the square.
        size: texels along a side, at which overlaps are looked for.
        step: called with the fraction done before each round.

    Returns:
        (F, 3, 2) corner coordinates in [0, 1], (F,) chart of each face.
    """
    neighbours = _face_graph(faces)
    direction = _directions(face_vectors(vertices, faces), neighbours)
    corners = np.take_along_axis(vertices[faces], _PLANES[direction][:, None, :].repeat(3, axis=1), axis=2)
    depth = np.einsum("fkd,fd->f", vertices[faces], _DIRECTIONS[direction])
    layer = np.zeros(len(faces), np.int64)
    for round_ in range(ROUNDS):
        step(round_ / ROUNDS)
        charts = _charts(direction + 6 * layer, neighbours)
        uvs = pack(corners, charts, gutter)
        covered = overlapping_pairs(uvs, charts, size)
        # Of two faces of one chart on the same texel, the one further from the viewer goes a layer down.
        if not len(covered):
            break
        nearer = depth[covered[:, 0]] >= depth[covered[:, 1]]
        layer[np.unique(np.where(nearer, covered[:, 1], covered[:, 0]))] += 1
    else:
        charts = _charts(direction + 6 * layer, neighbours)
        uvs = pack(corners, charts, gutter)
    return uvs, charts


def overlapping_pairs(uvs: np.ndarray, charts: np.ndarray, size: int) -> np.ndarray:
    """(N, 2) pairs of faces that cover the same texel centre, more than by a common edge."""
    texels: list[np.ndarray] = []
    owners: list[np.ndarray] = []
    for _, texel, face, weights in rasterise(uvs, size):
        inside = weights.min(axis=1) > 1e-6
        texels.append(texel[inside])
        owners.append(face[inside])
    texel, face = np.concatenate(texels), np.concatenate(owners)
    order = np.argsort(texel, kind="stable")
    texel, face = texel[order], face[order]
    same = np.flatnonzero(texel[1:] == texel[:-1])
    return np.unique(np.stack([face[same], face[same + 1]], axis=1), axis=0)


def _face_graph(faces: np.ndarray) -> sparse.csr_matrix:
    """(F, F) ones where two faces share an edge."""
    count = len(faces)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    owner = np.tile(np.arange(count), 3)
    key = np.sort(edges, axis=1) @ np.array([int(faces.max()) + 1, 1])
    order = np.argsort(key, kind="stable")
    pair = np.flatnonzero(np.diff(key[order]) == 0)
    a, b = owner[order[pair]], owner[order[pair + 1]]
    ones = np.ones(2 * len(a))
    return sparse.csr_matrix((ones, (np.concatenate([a, b]), np.concatenate([b, a]))), shape=(count, count))


def _directions(normals: np.ndarray, neighbours: sparse.csr_matrix) -> np.ndarray:
    """(F,) the direction of each face; smoothed over neighbours where that keeps it turned towards it, so that rounded
    edges do not fray into many charts."""
    unit = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
    own = unit @ _DIRECTIONS.T
    wide = normals.copy()
    for _ in range(4):
        wide = wide + neighbours @ wide
    wished = (wide @ _DIRECTIONS.T).argmax(axis=1)
    allowed = np.take_along_axis(own, wished[:, None], axis=1)[:, 0] >= STEEPEST
    return np.where(allowed, wished, own.argmax(axis=1))


def _charts(label: np.ndarray, neighbours: sparse.csr_matrix) -> np.ndarray:
    """(F,) connected patches of equal label."""
    graph = neighbours.tocoo()
    same = label[graph.row] == label[graph.col]
    inner = sparse.coo_matrix((graph.data[same], (graph.row[same], graph.col[same])), shape=graph.shape)
    return csgraph.connected_components(inner, directed=False)[1].astype(np.int64)
