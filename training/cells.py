"""Shapes as the critic of cells sees them: half a voxel grid of 64³ distances in 32³ cells, with the materials of those
cells that the surface passes.

A volume shows what pictures hide (insides, backs, floaters), and where the surface is it costs a generator of fields no
more than pictures do: distances are found everywhere on the coarse lattice without gradients, and with gradients only
where the surface is near, some tenth of the volume.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree

from gan3d_core.field import lattice
from gan3d_core.generators.coded import MATERIAL_CHANNELS, Features
from gan3d_core.generators.textured import TexturedGenerator
from gan3d_core.generators.volume_encoder import space_to_depth

from .autoencoder_data import AutoencoderData
from .textured_surface import at_points, coarse_distance

CELLS = 32
"""Along each axis; each cell holds 2³ distances."""
SOFTNESS = 0.03
"""Distances are seen as tanh(distance / this), in units of the cube: far from the surface only the side counts."""
NEAR = 0.065
"""Distance at a cell's centre within which its own distances are worth a gradient: beyond, tanh is flat."""
CHANNELS = 8 + 1 + MATERIAL_CHANNELS
"""Distances, whether the surface passes, materials."""


def crossed(values: torch.Tensor) -> torch.Tensor:
    """(N, 8, …) to (N, 1, …) bool: whether the values of a cell differ in sign."""
    return (values.amin(1, keepdim=True) < 0) & (values.amax(1, keepdim=True) >= 0)


def generated(generator: TexturedGenerator, planes: Features) -> torch.Tensor:
    """What the critic sees of generated shapes, differentiable in planes and weights.

    Returns:
        (N, CHANNELS, A, 32, 32); A is 16 for a symmetric generator, whose other half is the mirror image.
    """
    first = CELLS // 2 if generator.symmetric else 0
    where = torch.as_tensor(lattice(CELLS)[first * CELLS**2 :], device=planes.geometry.device)  # x is the slowest
    with torch.no_grad():
        coarse = coarse_distance(generator, planes, CELLS)[:, first:].flatten(1)  # (N, cells)
    places = [(one.abs() < NEAR).nonzero()[:, 0] for one in coarse]
    offsets = torch.as_tensor(lattice(2), device=where.device) / CELLS  # (8, 3)
    fine = at_points(generator.distance, planes, [(where[p, None] + offsets).reshape(-1, 3) for p in places])
    distances = coarse[:, None].expand(-1, 8, -1)
    rows = [
        one.index_copy(1, place, found.reshape(-1, 8).T)
        for one, place, found in zip(distances, places, fine, strict=True)
    ]
    distances = torch.stack(rows)
    passes = crossed(distances)  # (N, 1, cells)
    on = [one[0].nonzero()[:, 0] for one in passes]
    materials = at_points(generator.material, planes, [where[p] for p in on])
    blank = where.new_zeros(MATERIAL_CHANNELS, len(where))
    painted = torch.stack([blank.index_copy(1, p, found.T) for p, found in zip(on, materials, strict=True)])
    return _seen(distances, passes, painted).unflatten(2, (-1, CELLS, CELLS))


def _seen(distances: torch.Tensor, passes: torch.Tensor, materials: torch.Tensor) -> torch.Tensor:
    """Put side by side: materials lie in [−1, 1] where the surface passes and are 0 elsewhere."""
    mask = passes.to(distances)
    return torch.cat([torch.tanh(distances / SOFTNESS), mask, (2 * materials - 1) * mask], 1)


class CellData:
    """Real shapes for the critic of cells.

    Args:
        data: the shapes, in memory.
        wanted: (N,) bool, those to draw: their materials must be known.
        symmetric: show the half x > 0 alone, or in turn the mirror image of the other half.
    """

    def __init__(self, data: AutoencoderData, wanted: np.ndarray, symmetric: bool) -> None:
        self.data, self.symmetric = data, symmetric
        self.index = np.flatnonzero(wanted)
        points = lattice(CELLS)
        self.materials = np.zeros((len(self.index), MATERIAL_CHANNELS, CELLS, CELLS, CELLS), np.uint8)
        for row, shape in enumerate(self.index):
            values = space_to_depth(torch.from_numpy(data.sdf[shape].astype(np.float32))[None])
            cells = np.flatnonzero(crossed(values).reshape(-1).numpy())
            known = np.flatnonzero(data.known[shape])
            # Of the nearest point and not a mean over the cell: a generated material is read at one point too.
            _, nearest = cKDTree(data.surface[shape, known, :3].astype(np.float32)).query(points[cells])
            self.materials[row].reshape(MATERIAL_CHANNELS, -1)[:, cells] = data.material[shape, known[nearest]].T

    def __len__(self) -> int:
        return len(self.index)

    def draw(self, count: int, order: np.random.Generator) -> torch.Tensor:
        """(count, CHANNELS, A, 32, 32) as `generated` gives them."""
        rows = order.choice(len(self), count, replace=len(self) < count)
        volumes = self.data.sdf[self.index[rows]].astype(np.float32)
        materials = self.materials[rows].astype(np.float32) / 255
        flip = order.random(count) < 0.5
        volumes[flip], materials[flip] = volumes[flip, ::-1], materials[flip, :, ::-1]
        distances, painted = space_to_depth(torch.from_numpy(volumes)), torch.from_numpy(materials)
        if self.symmetric:
            distances, painted = distances[:, :, CELLS // 2 :], painted[:, :, CELLS // 2 :]
        return _seen(distances, crossed(distances), painted)
