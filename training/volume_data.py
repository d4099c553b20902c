"""Occupancy volumes of a dataset, in memory, for the volumetric GAN."""

from __future__ import annotations

import numpy as np
import torch

from gan3d_core.generators.volumetric import SURFACE_BAND

from .data.store import Dataset


class VolumeData:
    """Signed-distance grids turned into occupancies that ramp from 1 to 0 across the surface.

    A ramp of ±SURFACE_BAND voxels keeps where in its cell the surface lies, which binary voxels forget.

    Args:
        dataset: what to hold (0.25 MB per shape at 64³).
        resolution: 32 or 64.
        mirror: flip half of the drawn shapes left to right.
    """

    def __init__(self, dataset: Dataset, resolution: int, mirror: bool) -> None:
        band = 2.0 * SURFACE_BAND * 2.0 / resolution
        self.mirror = mirror
        first = dataset.array(0, f"sdf{resolution}")
        self.volumes = np.empty((len(dataset), *first.shape), np.uint8)
        for index in range(len(dataset)):
            distance = dataset.array(index, f"sdf{resolution}").astype(np.float32)
            self.volumes[index] = np.rint(np.clip(0.5 - distance / band, 0, 1) * 255)

    def __len__(self) -> int:
        return len(self.volumes)

    def draw(self, count: int, order: np.random.Generator) -> torch.Tensor:
        """(count, 1, R, R, R) float32 in [0, 1]."""
        chosen = self.volumes[order.choice(len(self), count, replace=len(self) < count)]
        if self.mirror:
            flip = order.random(count) < 0.5
            chosen[flip] = chosen[flip, ::-1]
        return torch.from_numpy(chosen.astype(np.float32) / 255)[:, None]
