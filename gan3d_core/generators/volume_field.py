"""A field that is a grid of values, resampled when another resolution is asked for."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..field import Materials


class VolumeField:
    """Distances, clipped to a band around the surface, on a cubic grid of cell centres.

    Args:
        grid: (R, R, R) float32 indexed [x, y, z], in the units of the cube [−1, 1]³, negative inside.
        size_m: longest side in metres.
    """

    def __init__(self, grid: np.ndarray, size_m: float) -> None:
        self.grid = np.ascontiguousarray(grid, dtype=np.float32)
        self.size_m = size_m

    def values(self, resolution: int) -> np.ndarray:
        own = self.grid.shape[0]
        if resolution == own:
            return self.grid
        # grid_mode keeps cells, not their centres, in place: no shift of (n − 1)/n.
        return ndimage.zoom(self.grid, resolution / own, order=3, mode="nearest", grid_mode=True, prefilter=True)

    def materials(self, points: np.ndarray) -> Materials | None:
        return None
