"""Which connected parts of a mesh stay."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from .measures import signed_volumes


def keep_components(
    vertices: np.ndarray, faces: np.ndarray, rule: str, min_component: float
) -> tuple[np.ndarray, np.ndarray]:
    """Drop connected parts by a rule of `recipe.COMPONENT_RULES`; the order of what stays is unchanged.

    A part is a set of faces connected over vertices, its size the volume it encloses. A part that is inside out is the
    wall of a cavity and goes under every rule, since it can never be seen.

    Args:
        vertices: (V, 3).
        faces: (F, 3) of a closed mesh.
        rule: `largest`; `floaters` drops what is smaller than `min_component` times the largest; `all`.

    Returns:
        vertices and faces of the parts that stay, without unused vertices.
    """
    label = component_labels(len(vertices), faces)[faces[:, 0]]
    volumes = np.bincount(label, weights=signed_volumes(vertices, faces))
    largest = int(volumes.argmax())  # the first of equals, so the choice is the same on every run
    keep = volumes > 0
    if rule == "largest":
        keep = np.arange(len(volumes)) == largest
    elif rule == "floaters":
        keep &= volumes >= min_component * volumes[largest]
    keep[largest] = True
    return compact(vertices, faces[keep[label]])


def component_labels(count: int, faces: np.ndarray) -> np.ndarray:
    """(count,) the part each vertex belongs to, numbered from 0 in the order of the vertices."""
    edges = np.concatenate([faces[:, :2], faces[:, 1:]])
    graph = sparse.coo_matrix((np.ones(len(edges), np.int8), (edges[:, 0], edges[:, 1])), shape=(count, count))
    return csgraph.connected_components(graph, directed=False)[1]


def compact(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Drop vertices that no face uses."""
    used = np.zeros(len(vertices), bool)
    used[faces] = True
    return vertices[used], (np.cumsum(used) - 1)[faces]
