"""To meshes: the surface of a representation, and points spread over it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import torch

from gan3d_core.errors import TrainingError
from gan3d_core.field import cell_centres, lattice
from gan3d_core.fusion import fuse
from gan3d_core.representations import Implicit, Surfaces, Views, Volume

from ..isosurface import corners_of_crossed_cells, isosurface, scattered_isosurface
from .recorded import Lattice, Scans, resample

FALLBACK = 0.1
"""Where nothing is inside, the surface is taken at the level that has this share of the values' range below it."""

Meshes = list[tuple[torch.Tensor, torch.Tensor]]


@functools.singledispatch
def to_meshes(shapes: object, resolution: int) -> Meshes:
    """The vertices (V, 3), differentiable, and faces (F, 3) int64 of every shape.

    A field's surface is found on a lattice of `resolution` cells along each axis. A field that is positive everywhere
    has none, and no gradient would ever reach it: it is read at a level a little above its least value instead.
    """
    raise TrainingError(f"There is no bridge from {type(shapes).__name__} to a surface.")


@to_meshes.register
def _(shapes: Volume, resolution: int) -> Meshes:
    return _of_grids(0.5 - resample(shapes.occupancy, resolution))


@to_meshes.register
def _(shapes: Lattice, resolution: int) -> Meshes:
    return _of_grids(resample(shapes.distance, resolution))


@to_meshes.register
def _(shapes: Scans, resolution: int) -> Meshes:
    # As fine as they are recorded: it is the generated surface that need not be a field's.
    return _of_grids(shapes.distance)


@to_meshes.register
def _(shapes: Surfaces, resolution: int) -> Meshes:
    return [(vertices, shapes.faces) for vertices in shapes.vertices]


@to_meshes.register
def _(shapes: Implicit, resolution: int) -> Meshes:
    return _of_fields(shapes.distance, len(shapes), resolution, shapes.device)


@to_meshes.register
def _(shapes: Views, resolution: int) -> Meshes:
    return _of_fields(functools.partial(fuse, shapes), len(shapes), resolution, shapes.height.device)


def _of_grids(grids: torch.Tensor) -> Meshes:
    half = 1 - 1 / grids.shape[-1]
    return [isosurface(one - _level(one), half=half) for one in grids.float()]


def _of_fields(
    distance: Callable[[torch.Tensor], torch.Tensor], count: int, resolution: int, device: torch.device
) -> Meshes:
    """Values everywhere without gradients, and once more with gradients at the corners of the crossed cells."""
    centres = torch.as_tensor(cell_centres(resolution), device=device)
    with torch.no_grad():
        every = torch.as_tensor(lattice(resolution), device=device).expand(count, -1, -1)
        values = distance(every).reshape(count, resolution, resolution, resolution)
        levels = [_level(one) for one in values]
        corners = [corners_of_crossed_cells(one - level) for one, level in zip(values, levels, strict=True)]
    longest = max(1, *(len(one) for one in corners))
    padded = torch.stack(
        [torch.nn.functional.pad(centres[one], (0, 0, 0, longest - len(one))) for one in corners]
    )  # (N, K, 3)
    found = distance(padded)
    return [
        scattered_isosurface(one, row[: len(one)] - level, resolution, half=1 - 1 / resolution)
        for one, row, level in zip(corners, found, levels, strict=True)
    ]


def _level(values: torch.Tensor) -> torch.Tensor | float:
    """0 where something lies inside, else the level to read the surface at."""
    inner = values.detach()[1:-1, 1:-1, 1:-1]
    low, high = inner.amin(), inner.amax()
    return 0.0 if bool(low < 0) else low + FALLBACK * (high - low) + 1e-6


class Samples(NamedTuple):
    """Points spread over surfaces by area."""

    points: torch.Tensor
    """(N, P, 3)."""
    normals: torch.Tensor
    """(N, P, 3) unit normals of the faces."""
    area: torch.Tensor
    """(N,) of each whole surface."""


def sample(meshes: Meshes, rolls: torch.Tensor) -> Samples:
    """Points of meshes, differentiable in their vertices; which face a point lies on has no gradient.

    Args:
        meshes: N of them.
        rolls: (N, P, 3) uniform in [0, 1): the first spread along the running sum of areas, which is more even than
            independent draws, the others within the face.

    Raises:
        TrainingError: a mesh without faces.
    """
    points, normals, areas = [], [], []
    for (vertices, faces), roll in zip(meshes, rolls, strict=True):
        if not len(faces):
            raise TrainingError(
                "A generated shape has no surface.", "Begin with one (start_radius), or lower the generator's rate."
            )
        a, b, c = vertices.index_select(0, faces.reshape(-1)).reshape(-1, 3, 3).unbind(1)
        cross = torch.linalg.cross(b - a, c - a)
        double = cross.norm(dim=1)
        running = double.detach().cumsum(0)
        at = (torch.arange(len(roll), device=roll.device) + roll[:, 0]) / len(roll) * running[-1]
        face = torch.searchsorted(running, at).clamp(max=len(faces) - 1)
        root = roll[:, 1].sqrt()
        weights = torch.stack([1 - root, root * (1 - roll[:, 2]), root * roll[:, 2]], -1)
        corners = torch.stack([each[face] for each in (a, b, c)], 1)
        points.append((weights[..., None] * corners).sum(1))
        normals.append(torch.nn.functional.normalize(cross[face], dim=1, eps=1e-12))
        areas.append(0.5 * double.sum())
    return Samples(torch.stack(points), torch.stack(normals), torch.stack(areas))
