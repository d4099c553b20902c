"""Texture coordinates: charts cut along the axes they face, laid flat and packed, without overlaps.

Nothing here watches a clock: the work is bounded by the number of faces, and the same mesh has the same coordinates on
a slow, a fast and a busy machine. Once xatlas did this, in a process that had to be ended after 30 s (on a torus of
39,000 faces it takes 26 s, and more on noise), so whether a shape got its atlas depended on the load.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from .bake import rasterise
from .charts import LAYERS, Surface, directions, flatten, overlapping_pairs
from .packing import pack, pack_on_shelves, upright

GUTTER = 8 / 1024
"""Empty space between charts and to the border, as a share of the texture's side: 8 texels at 1024². It grows with the
texture, so that charts are still apart on the same number of mip levels."""
MARGIN = 9 / 8
"""Gutters are laid out one texel wider: between two texel centres 9 texels apart lie 8."""
RESOLUTION = 1024
"""Texels along a side at which overlaps are looked for."""


@dataclasses.dataclass(frozen=True)
class Atlas:
    """A triangle mesh laid out in the unit square."""

    uvs: np.ndarray
    """(F, 3, 2) corner coordinates in [0, 1]."""
    charts: np.ndarray
    """(F,) number of the connected patch that each face lies in."""


def unwrap(vertices: np.ndarray, faces: np.ndarray, step: Callable[[float], None] = lambda _: None) -> Atlas:
    """Lay out a closed mesh without flipped or overlapping faces, with gutters of `GUTTER`.

    Every chart has the area of its part of the surface, times one factor for all; no face is stretched by more than
    1 / `charts.STEEPEST`.

    Args:
        vertices: (V, 3).
        faces: (F, 3).
        step: called with the fraction done several times; what it raises passes through.
    """
    surface = Surface(vertices, faces)
    step(0.0)
    label = directions(surface)
    layer = np.zeros(len(faces), np.int64)
    for number in range(LAYERS + 1):
        step(0.1 + 0.3 * number / LAYERS)
        charts = surface.patches(label + 6 * layer)
        flat, height = flatten(surface, label, charts)
        if number == LAYERS:
            break
        # Laid out in a hurry, only to see what covers itself. Of two faces the lower one goes a layer down; in the last
        # round each takes a layer, and with that a chart, of its own.
        covered = overlapping_pairs(
            pack_on_shelves(*upright(flat, charts), charts, 1 / RESOLUTION)[0], charts, RESOLUTION
        )
        if not len(covered):
            break
        lower = np.unique(np.where(height[covered[:, 0]] >= height[covered[:, 1]], covered[:, 1], covered[:, 0]))
        layer[lower] += 1 if number < LAYERS - 1 else LAYERS + np.arange(len(lower))
    uvs = pack(flat, charts, MARGIN * GUTTER, lambda f: step(0.4 + 0.6 * f))
    return Atlas(uvs, charts)


def flipped_share(uvs: np.ndarray) -> float:
    """Share of the covered area that lies in triangles turned over."""
    area = signed_areas(uvs)
    return float(-area[area < 0].sum() / max(np.abs(area).sum(), 1e-30))


def overlap_share(uvs: np.ndarray, size: int) -> float:
    """Share of the covered texel centres that more than one triangle covers; common edges do not count."""
    times = np.zeros(size * size, np.int64)
    for _, texel, _, weights in rasterise(uvs, size):
        times += np.bincount(texel[weights.min(axis=1) > 1e-6], minlength=size * size)
    return float((times > 1).sum() / max((times > 0).sum(), 1))


def signed_areas(uvs: np.ndarray) -> np.ndarray:
    """(F,) area of each triangle in the unit square, negative where it is turned over."""
    a, b = uvs[:, 1] - uvs[:, 0], uvs[:, 2] - uvs[:, 0]
    return 0.5 * (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).astype(np.float64)
