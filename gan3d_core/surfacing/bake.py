"""Baking: the field's materials on the texels of an atlas."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
from scipy import ndimage

from ..errors import InternalError
from ..field import Field, Materials

PLAIN_BASE_COLOR = (222, 213, 200)
PLAIN_ROUGHNESS = 153
"""Where a generator has no materials: light, untreated wood; sRGB, and roughness 0.6."""
PLAIN_SIZE = 64
QUERY = 1 << 16
"""Points per question to the field: bounds memory and the time between two chances to cancel."""


@dataclasses.dataclass(frozen=True)
class Images:
    """The three square images of a `Shape`, row 0 at the bottom."""

    base_color: np.ndarray
    roughness: np.ndarray
    metallic: np.ndarray


def plain() -> Images:
    """The images of a shape without materials of its own."""
    shape = (PLAIN_SIZE, PLAIN_SIZE)
    color = np.empty((*shape, 3), np.uint8)
    color[:] = PLAIN_BASE_COLOR
    return Images(color, np.full(shape, PLAIN_ROUGHNESS, np.uint8), np.zeros(shape, np.uint8))


def bake(
    field: Field,
    vertices: np.ndarray,
    faces: np.ndarray,
    uvs: np.ndarray,
    size: int,
    step: Callable[[float], None] = lambda _: None,
) -> Images:
    """Ask the field for the material at the surface point of every texel; the rest repeats the nearest such texel.

    Args:
        vertices: (V, 3) in the units of the cube.
        faces: (F, 3).
        uvs: (F, 3, 2) in [0, 1].
        size: side of the images in texels.
        step: called with the fraction done before each portion of work.
    """
    if field.materials(vertices[:1].astype(np.float32)) is None:
        return plain()
    texels: list[np.ndarray] = []
    points: list[np.ndarray] = []
    for done, texel, face, weights in rasterise(uvs, size):
        step(0.3 * done)
        texels.append(texel)
        points.append(np.einsum("nk,nkd->nd", weights, vertices[faces[face]]).astype(np.float32))
    # Neighbours share the texels on their common edge; the first face in the list keeps them.
    texel, first = np.unique(np.concatenate(texels), return_index=True)
    point = np.concatenate(points)[first]
    if not len(texel):
        raise InternalError("No texel of the texture lies on the shape.", "Choose a larger texture size.")
    values = np.zeros((size * size, 5), np.uint8)
    for start in range(0, len(texel), QUERY):
        step(0.3 + 0.5 * start / len(texel))
        chunk = slice(start, start + QUERY)
        values[texel[chunk]] = _bytes(field.materials(point[chunk]), len(texel[chunk]))
    step(0.8)
    empty = np.ones(size * size, bool)
    empty[texel] = False
    nearest = ndimage.distance_transform_edt(
        empty.reshape(size, size), return_distances=False, return_indices=True
    ).reshape(2, -1)
    filled = values[nearest[0] * size + nearest[1]].reshape(size, size, 5)
    return Images(*(np.ascontiguousarray(filled[..., part]) for part in (slice(0, 3), 3, 4)))


def rasterise(
    uvs: np.ndarray, size: int, portion: int = 1 << 20
) -> Iterator[tuple[float, np.ndarray, np.ndarray, np.ndarray]]:
    """Find the texels whose centre lies in each triangle.

    Texel (row, column) has its centre at u = (column + ½)/size, v = (row + ½)/size.

    Args:
        uvs: (F, 3, 2).
        portion: about how many texels are looked at between two results.

    Yields:
        the fraction done before, texels (N,) as row · size + column, faces (N,), barycentric weights (N, 3).
    """
    corners = uvs.astype(np.float64) * size - 0.5  # texel centres at whole numbers
    low = np.ceil(corners.min(axis=1) - 1e-9).astype(np.int64).clip(0, size - 1)
    high = np.floor(corners.max(axis=1) + 1e-9).astype(np.int64).clip(0, size - 1)
    extent = np.maximum(high - low + 1, 0)
    counts = extent[:, 0] * extent[:, 1]
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    area = _cross(b - a, c - a)
    counts[np.abs(area) < 1e-12] = 0
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    start = 0
    while start < len(counts):
        before = int(ends[start - 1]) if start else 0
        stop = max(int(np.searchsorted(ends, before + portion, side="right")), start + 1)
        face = np.repeat(np.arange(start, stop), counts[start:stop])
        index = np.arange(len(face)) - np.repeat(ends[start:stop] - counts[start:stop] - before, counts[start:stop])
        column = low[face, 0] + index % extent[face, 0]
        row = low[face, 1] + index // extent[face, 0]
        point = np.stack([column, row], axis=1).astype(np.float64)
        weights = np.empty((len(face), 3))
        weights[:, 1] = _cross(point - a[face], (c - a)[face]) / area[face]
        weights[:, 2] = _cross((b - a)[face], point - a[face]) / area[face]
        weights[:, 0] = 1.0 - weights[:, 1] - weights[:, 2]
        inside = (weights >= -1e-9).all(axis=1)
        yield before / max(total, 1), (row * size + column)[inside], face[inside], weights[inside]
        start = stop


def _cross(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]


def _bytes(materials: Materials | None, count: int) -> np.ndarray:
    """(N, 5) uint8 of colour, roughness, metallic."""
    if materials is None:
        raise InternalError("The generator yielded materials for a part of the shape only.")
    stacked = np.concatenate(
        [
            np.reshape(materials.base_color, (count, 3)),
            np.reshape(materials.roughness, (count, 1)),
            np.reshape(materials.metallic, (count, 1)),
        ],
        axis=1,
    )
    if not np.isfinite(stacked).all():
        raise InternalError("The generator yielded materials that are not finite.")
    return np.round(stacked.clip(0.0, 1.0) * 255.0).astype(np.uint8)
