"""The grid of signed distances that serves a purpose best: which ones a dataset has is its maker's choice."""

from __future__ import annotations

import numpy as np

from .store import Dataset, read_settings


class Grids:
    """Grids of a dataset of about a wanted resolution.

    Args:
        data: the dataset.
        wanted: the least resolution that will do; where all are coarser, the finest is taken.
    """

    def __init__(self, data: Dataset, wanted: int) -> None:
        there = sorted(int(resolution) for resolution in read_settings(data.folder)["grids"])
        self.data = data
        self.resolution = next((resolution for resolution in there if resolution >= wanted), there[-1])

    def __getitem__(self, index: int) -> np.ndarray:
        """(R, R, R) float32 of one shape."""
        return self.data.array(index, f"sdf{self.resolution}").astype(np.float32)
