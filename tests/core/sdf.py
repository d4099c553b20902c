"""Analytic shapes as fields, for tests and benchmarks: everything about them is known exactly."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gan3d_core.field import Materials, cell_centres

Distance = Callable[[np.ndarray], np.ndarray]
"""(…, 3) points → (…) signed distances, negative inside."""


def sphere(radius: float, centre: tuple[float, float, float] = (0, 0, 0)) -> Distance:
    return lambda p: np.linalg.norm(p - np.asarray(centre, p.dtype), axis=-1) - p.dtype.type(radius)


def torus(major: float, minor: float) -> Distance:
    """Around the z axis."""
    return lambda p: np.hypot(np.hypot(p[..., 0], p[..., 1]) - major, p[..., 2]) - minor


def box(half: tuple[float, float, float], centre: tuple[float, float, float] = (0, 0, 0)) -> Distance:
    def distance(p: np.ndarray) -> np.ndarray:
        q = np.abs(p - np.asarray(centre, p.dtype)) - np.asarray(half, p.dtype)
        return np.linalg.norm(np.maximum(q, 0), axis=-1) + np.minimum(q.max(axis=-1), 0)

    return distance


def union(*parts: Distance) -> Distance:
    return lambda p: np.minimum.reduce([part(p) for part in parts])


def minus(whole: Distance, part: Distance) -> Distance:
    return lambda p: np.maximum(whole(p), -part(p))


SEAT, BACK, LEG = 0.05, 0.05, 3 / 64
"""Half the thickness of a chair's parts: a leg is 3 voxels thick at 64³."""


def chair() -> Distance:
    """Four legs, a seat, a back at +y; 1.8 units tall, with its feet at z = −0.9."""
    legs = [box((LEG, LEG, 0.45), (x, y, -0.45)) for x in (-0.44, 0.44) for y in (-0.44, 0.44)]
    return union(box((0.5, 0.5, SEAT)), box((0.5, BACK, 0.45), (0, 0.45, 0.45)), *legs)


def colour_by_place(points: np.ndarray) -> Materials:
    """Smooth colours, so that a texel's width of difference in place is a small difference in colour."""
    colour = (0.5 + 0.45 * points).clip(0, 1).astype(np.float32)
    return Materials(
        colour, (0.5 + 0.4 * points[:, 2]).astype(np.float32), (0.5 - 0.4 * points[:, 0]).astype(np.float32)
    )


class AnalyticField:
    """A `Field` of a distance function."""

    def __init__(
        self,
        distance: Distance,
        size_m: float = 1.0,
        materials: Callable[[np.ndarray], Materials] | None = None,
    ) -> None:
        self.distance = distance
        self.size_m = size_m
        self._materials = materials

    def values(self, resolution: int) -> np.ndarray:
        return self.distance(grid(resolution)).astype(np.float32)

    def materials(self, points: np.ndarray) -> Materials | None:
        return None if self._materials is None else self._materials(points)


def grid(resolution: int) -> np.ndarray:
    """(R, R, R, 3) float32 cell centres, indexed [x, y, z]."""
    centres = cell_centres(resolution)
    return np.stack(np.meshgrid(centres, centres, centres, indexing="ij"), axis=-1)
