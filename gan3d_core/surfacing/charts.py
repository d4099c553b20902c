"""Cutting a closed mesh into charts and laying each flat, without a fold and in bounded time.

Each face takes one of the six directions of the axes, so that charts stay flat and borders short: the labels minimise
the area's deviation from them plus the length of the borders, by iterated conditional modes (J. Besag: On the
Statistical Analysis of Dirty Pictures, 1986). A chart is a connected patch of one direction, seen along its own mean
normal, which stretches nothing where it is flat, whatever way it leans. Furniture is made of such patches; on generated
chairs the borders come out a little shorter than xatlas's, and areas truer.

All of it is array operations in a fixed number of rounds: the same mesh gives the same charts however busy the machine.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from .bake import rasterise
from .measures import face_vectors

FLATNESS = 8.0
"""Weight of a face's area times one minus the cosine to its direction, against the length of a border; per unit."""
STEEPEST = 0.4
"""A face may take a direction whose cosine to its normal is at least this; the best one's is at least 1/√3."""
SWEEPS = 24
SMALL = 0.004
"""Charts below this share of the area join a neighbour where `STEEPEST` allows it."""
MERGES = 6
LAYERS = 4
"""Times that covered faces are moved into charts of their own; on chairs one or two empty the list."""

_DIRECTIONS = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], np.float64)


class Surface:
    """The faces of a closed mesh as nodes of a graph: (F, 3) unit normals, (F,) areas, and for each of E edges its two
    faces and its length."""

    def __init__(self, vertices: np.ndarray, faces: np.ndarray) -> None:
        normals = face_vectors(vertices, faces)
        lengths = np.linalg.norm(normals, axis=1)
        self.vertices, self.faces = vertices, faces
        self.areas = 0.5 * lengths
        self.normals = normals / np.maximum(lengths, 1e-30)[:, None]
        edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
        owner = np.tile(np.arange(len(faces)), 3)
        key = np.sort(edges, axis=1) @ np.array([int(faces.max()) + 1, 1])
        order = np.argsort(key, kind="stable")
        pair = np.flatnonzero(np.diff(key[order]) == 0)
        self.first, self.second = owner[order[pair]], owner[order[pair + 1]]
        ends = vertices[edges[order[pair]]]
        self.lengths = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)
        # How much of a face looks along each direction. One without an area looks everywhere.
        self.cosines = np.where(self.areas[:, None] > 0, self.normals @ _DIRECTIONS.T, 1.0)

    def graph(self, weights: np.ndarray) -> sparse.csr_matrix:
        """(F, F), symmetric, of (E,) weights."""
        count = len(self.faces)
        rows, columns = np.concatenate([self.first, self.second]), np.concatenate([self.second, self.first])
        return sparse.csr_matrix((np.tile(weights, 2), (rows, columns)), shape=(count, count))

    def patches(self, label: np.ndarray) -> np.ndarray:
        """(F,) connected patches of equal label, numbered from 0."""
        same = label[self.first] == label[self.second]
        inner = sparse.coo_matrix(
            (np.ones(same.sum()), (self.first[same], self.second[same])), (len(label), len(label))
        )
        return csgraph.connected_components(inner, directed=False)[1].astype(np.int64)


def directions(surface: Surface) -> np.ndarray:
    """(F,) number of the axis direction that each face is to be seen from."""
    cosines = surface.cosines
    allowed = cosines >= np.minimum(STEEPEST, cosines.max(axis=1, keepdims=True))
    # The start: what a face's surroundings look towards.
    neighbours = surface.graph(np.ones(len(surface.lengths)))
    wide = surface.normals * surface.areas[:, None]
    for _ in range(4):
        wide = wide + neighbours @ wide
    label = np.where(allowed, wide @ _DIRECTIONS.T, -np.inf).argmax(axis=1)
    borders = surface.graph(surface.lengths)
    cost = np.where(allowed, FLATNESS * surface.areas[:, None] * (1.0 - cosines), np.inf)
    # Half of the faces at a time, or neighbours would swap labels for ever; which half looks random and is not.
    half = (np.arange(len(label)) * 2654435761 >> 7) & 1
    for sweep in range(SWEEPS):
        best = (cost - borders @ np.eye(6)[label]).argmin(axis=1)
        label = np.where(half == sweep % 2, best, label)
    for _ in range(MERGES):
        merged = _merge(surface, label)
        if np.array_equal(merged, label):
            break
        label = merged
    return label


def _merge(surface: Surface, label: np.ndarray) -> np.ndarray:
    """Give every small patch the label of the larger neighbour with which it has the longest border."""
    patch = surface.patches(label)
    count = int(patch.max()) + 1
    area = np.bincount(patch, surface.areas)
    own = np.zeros(count, np.int64)
    own[patch] = label
    least = np.ones((count, 6))
    np.minimum.at(least, patch, surface.cosines)
    a, b = patch[surface.first], patch[surface.second]
    border = sparse.coo_matrix((surface.lengths, (a, b)), shape=(count, count)).tocsr()
    border = (border + border.T).tocoo()
    small, large = border.row, border.col
    larger = (area[large] > area[small]) | ((area[large] == area[small]) & (large > small))
    fits = (area[small] < SMALL * surface.areas.sum()) & larger & (least[small, own[large]] >= STEEPEST)
    small, large, length = small[fits], large[fits], border.data[fits]
    order = np.lexsort((large, length))  # of several assignments to one place the last, with the longest border, holds
    result = own.copy()
    result[small[order]] = own[large[order]]
    return result[patch]


def flatten(surface: Surface, label: np.ndarray, charts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Project each chart along its mean normal, or along its direction where that would turn a face too far away.

    Args:
        label: (F,) direction of each face, one for all of a chart.
        charts: (F,) chart of each face.

    Returns:
        (F, 3, 2) planar corner coordinates, every chart with the area of its surface, and (F,) the height of each face
        above the plane, towards the viewer.
    """
    count = int(charts.max()) + 1
    axis = np.zeros(count, np.int64)
    axis[charts] = label
    mean = np.stack([np.bincount(charts, surface.areas * surface.normals[:, k], count) for k in range(3)], axis=1)
    mean = mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-30)
    worst = np.ones((2, count))
    solid = surface.areas > 0
    for number, seen in enumerate((mean, _DIRECTIONS[axis])):
        cosine = np.einsum("fk,fk->f", surface.normals, seen[charts])
        np.minimum.at(worst[number], charts[solid], cosine[solid])
    view = np.where((worst[0] >= np.minimum(worst[1], STEEPEST))[:, None], mean, _DIRECTIONS[axis])
    # Up in the room is up in the chart, where there is such a direction.
    up = np.where(np.abs(view[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[0.0, 1.0, 0.0]])
    right = np.cross(up, view)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    up = np.cross(view, right)
    points = surface.vertices[surface.faces]
    flat = np.stack([np.einsum("fkd,fd->fk", points, direction[charts]) for direction in (right, up)], axis=2)
    a, b = flat[:, 1] - flat[:, 0], flat[:, 2] - flat[:, 0]
    seen_area = np.bincount(charts, 0.5 * np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]), count)
    scale = np.sqrt(np.bincount(charts, surface.areas, count) / np.maximum(seen_area, 1e-30))
    return flat * scale[charts][:, None, None], np.einsum("fkd,fd->f", points, view[charts])


def overlapping_pairs(uvs: np.ndarray, charts: np.ndarray, size: int) -> np.ndarray:
    """(N, 2) pairs of faces of one chart that cover the same texel centre, more than by a common edge."""
    texels: list[np.ndarray] = []
    owners: list[np.ndarray] = []
    for _, texel, face, weights in rasterise(uvs, size):
        inside = weights.min(axis=1) > 1e-6
        texels.append(texel[inside])
        owners.append(face[inside])
    texel, face = np.concatenate(texels), np.concatenate(owners)
    order = np.argsort(texel, kind="stable")
    texel, face = texel[order], face[order]
    same = np.flatnonzero((texel[1:] == texel[:-1]) & (charts[face[1:]] == charts[face[:-1]]))
    return np.unique(np.stack([face[same], face[same + 1]], axis=1), axis=0)
