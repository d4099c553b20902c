"""What the page tells of every shape, read once from its record."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from gan3d_core.field import EXTENT

from ..data.store import Dataset

SAMPLES = 512


@dataclasses.dataclass(frozen=True)
class Measures:
    """Sizes and materials, one row for each entry of the dataset."""

    sides_m: np.ndarray
    """(N, 3) width, depth and height in metres."""
    colour: np.ndarray
    """(N, SAMPLES, 3) sRGB base colour in [0, 1] at points spread evenly over the surface."""
    roughness: np.ndarray
    """(N, SAMPLES) in [0, 1]."""
    metallic: np.ndarray
    """(N, SAMPLES) in [0, 1]."""


def measure(data: Dataset, progress: Callable[[int, int], None] | None = None) -> Measures:
    """Read surface points and materials of every shape.

    Args:
        progress: called with shapes read and shapes in all.

    Raises:
        DatasetError: a record cannot be read.
    """
    sides = np.zeros((len(data), 3))
    material = np.zeros((len(data), SAMPLES, 5), np.float32)
    for index, entry in enumerate(data.entries):
        points = data.array(index, "surface")[:, :3].astype(np.float32)
        sides[index] = np.ptp(points, axis=0) / (2 * EXTENT) * entry.size_m
        of_shape = data.array(index, "material")
        chosen = np.linspace(0, len(of_shape) - 1, SAMPLES).astype(int)
        material[index] = of_shape[chosen].astype(np.float32) / 255
        if progress:
            progress(index + 1, len(data))
    return Measures(sides, material[..., :3], material[..., 3], material[..., 4])
