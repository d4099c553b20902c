"""Where a new object finds room: beside what stands there already."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import bpy
import numpy as np

GAP = 0.25
"""Free space between neighbours, in metres."""
ROW = 6.0
"""Length of a row along +X, in metres; the next row starts behind it (+Y)."""
ROOM = 4.0
"""Objects longer than this are rooms, floors and landscapes: things are put into them, not beside them."""

Box = np.ndarray
"""(2, 3) float: lowest and highest corner, in world space."""


def world_box(thing: bpy.types.Object) -> Box:
    """The axis-aligned bounds of an object. A moved object's matrix must have been evaluated."""
    corners = np.array([(*corner, 1.0) for corner in thing.bound_box])
    world = corners @ np.array(thing.matrix_world).T
    return np.stack([world[:, :3].min(axis=0), world[:, :3].max(axis=0)])


def obstacles(things: Iterable[bpy.types.Object]) -> list[Box]:
    """The bounds of every visible mesh that is no room."""
    boxes = [world_box(thing) for thing in things if thing.type == "MESH" and not thing.hide_viewport]
    return [box for box in boxes if (box[1] - box[0]).max() <= ROOM]


def free_place(size: Iterable[float], start: Iterable[float], taken: list[Box]) -> tuple[float, float, float]:
    """The centre of the floor of the first free place, looking along rows from `start`.

    Args:
        size: extent of the newcomer along x, y, z in metres.
        start: where to look first: the floor's centre of the first place.
        taken: the bounds that must not be touched.
    """
    width, depth, height = (float(value) for value in size)
    x0, y0, z0 = (float(value) for value in start)
    pitch = depth + GAP
    for row in itertools.count():
        y = y0 + row * pitch
        x = x0
        while x <= x0 + ROW:
            low = np.array([x - width / 2 - GAP, y - depth / 2 - GAP, z0])
            high = np.array([x + width / 2 + GAP, y + depth / 2 + GAP, z0 + height])
            # A hair of tolerance: neighbours exactly one gap apart are apart.
            hit = [box for box in taken if (box[0] < high - 1e-5).all() and (box[1] > low + 1e-5).all()]
            if not hit:
                return x, y, z0
            x = max(box[1][0] for box in hit) + GAP + width / 2
    raise AssertionError("unreachable: rows go on for ever")
