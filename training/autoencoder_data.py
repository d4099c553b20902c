"""Batches for the tri-plane autoencoder: grids to encode, and points to be right at."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from gan3d_core.generators.coded import TRUNCATION

from .data.store import Dataset

MATERIAL_GRID = 32
DARKEST = 30
"""Darker base colours (sRGB, of 255) are learned as this one: coal, the darkest in charts of measured albedo, is about
there, and no light would show a darker part."""
UNKNOWN = 8
"""Below this in all three channels a base colour is taken for one that could not be baked, as nothing is so black, and
nothing is learned from it."""
MEDIAN_OF_NORMAL = 0.6745
"""Median of the absolute value of a standard normal number: an absolute error is least at a median, and what is wanted
of mottling is its standard deviation."""


@dataclasses.dataclass
class Batch:
    distance: torch.Tensor
    """(B, 1, 64, 64, 64) signed distance, clipped and scaled to [−1, 1]."""
    material: torch.Tensor
    """(B, 6, 32, 32, 32): base colour, roughness, metallic where the surface passes, and a mask of where."""
    near: torch.Tensor
    """(B, P, 4) points near the surface and their distance."""
    volume: torch.Tensor
    """(B, Q, 4) points anywhere."""
    surface: torch.Tensor
    """(B, S, 6) surface points and normals."""
    surface_material: torch.Tensor
    """(B, S, 5) in [0, 1]."""
    log_size: torch.Tensor
    """(B,) logarithm of the longest side in metres."""
    known: torch.Tensor
    """(B, S) one where a point's material can be learned from, else zero (a missing texture, voxels, a failed bake)."""
    mottling: torch.Tensor
    """(B, S) how far base colour lies from its mean in that cell of 32³, as a standard deviation."""

    def to(self, device: str) -> Batch:
        return Batch(**{field.name: getattr(self, field.name).to(device) for field in dataclasses.fields(self)})


class AutoencoderData:
    """A split of a dataset in memory (about 1 MB per shape).

    Args:
        dataset: what to hold.
        points: surface-distance points drawn per shape and batch; a quarter of them from the whole volume.
        surface_points: points drawn for materials.
    """

    def __init__(self, dataset: Dataset, points: int, surface_points: int) -> None:
        self.points, self.surface_points = points, surface_points
        self.entries = dataset.entries
        self.sdf = dataset.stack("sdf64")
        self.near = dataset.stack("near")
        self.volume = dataset.stack("volume")
        self.surface = dataset.stack("surface")
        self.material = dataset.stack("material")
        self.known = (self.material[..., :3] >= UNKNOWN).any(-1)
        self.known &= np.array([entry.colored for entry in dataset.entries])[:, None]
        self.material[..., :3] = np.maximum(self.material[..., :3], DARKEST)
        self.log_size = np.log(np.array([entry.size_m for entry in dataset.entries], np.float32))
        self.material_grid = np.stack(
            [_material_grid(s[k], m[k]) for s, m, k in zip(self.surface, self.material, self.known, strict=True)]
        )

    def __len__(self) -> int:
        return len(self.sdf)

    def known_share(self) -> np.ndarray:
        """(N,) the share of each surface whose material is known."""
        return self.known.mean(1)

    def dark_share(self, below: int = 57) -> np.ndarray:
        """(N,) the share of each surface whose base colour is below this sRGB value (57: linear 0.04, coal) in all
        three channels."""
        return (self.material[..., :3] < below).all(-1).mean(1)

    def grids(self, index: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """What the encoder reads of these shapes."""
        distance = np.clip(self.sdf[index].astype(np.float32) / TRUNCATION, -1, 1)
        return torch.from_numpy(distance)[:, None], torch.from_numpy(self.material_grid[index].astype(np.float32) / 255)

    def batch(self, index: np.ndarray, generator: np.random.Generator) -> Batch:
        """Draw points of the shapes `index` (B,)."""
        distance, material = self.grids(index)
        rows = index[:, None]

        def draw(array: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
            columns = generator.integers(array.shape[1], size=(len(index), count))
            return array[rows, columns].astype(np.float32), columns

        near, _ = draw(self.near, self.points - self.points // 4)
        volume, _ = draw(self.volume, self.points // 4)
        surface, columns = draw(self.surface, self.surface_points)
        own = self.material[rows, columns].astype(np.float32) / 255
        around = self.material_grid[rows, :3, *_cell(surface).transpose(2, 0, 1)].astype(np.float32) / 255
        return Batch(
            distance,
            material,
            torch.from_numpy(near),
            torch.from_numpy(volume),
            torch.from_numpy(surface),
            torch.from_numpy(own),
            torch.from_numpy(self.log_size[index]),
            torch.from_numpy(self.known[rows, columns].astype(np.float32)),
            torch.from_numpy(np.abs((own[..., :3] - around).mean(2)) / MEDIAN_OF_NORMAL),
        )


def _cell(surface: np.ndarray) -> np.ndarray:
    """Indices (…, 3) of the cells of the grid of materials in which points (…, 3 or more) are."""
    return ((surface[..., :3].astype(np.float32) + 1) * (MATERIAL_GRID / 2)).astype(np.int64).clip(0, MATERIAL_GRID - 1)


def _material_grid(surface: np.ndarray, material: np.ndarray) -> np.ndarray:
    """(6, G, G, G) uint8: the mean material of the surface points in each cell, and 255 where there are any."""
    size = MATERIAL_GRID
    cell = _cell(surface)
    flat = (cell[:, 0] * size + cell[:, 1]) * size + cell[:, 2]
    count = np.bincount(flat, minlength=size**3)
    out = np.zeros((6, size**3), np.uint8)
    for channel in range(5):
        total = np.bincount(flat, material[:, channel], minlength=size**3)
        out[channel] = np.rint(total / np.maximum(count, 1))
    out[5] = np.where(count > 0, 255, 0)
    return out.reshape(6, size, size, size)
