"""To volumes: what a critic of 3D convolutions consumes."""

from __future__ import annotations

import functools

import torch

from gan3d_core import winding
from gan3d_core.errors import TrainingError
from gan3d_core.field import lattice
from gan3d_core.fusion import fuse
from gan3d_core.representations import DISTANCE_BAND, Implicit, Surfaces, Views, Volume

from .recorded import Lattice, Scans, resample
from .setting import Setting
from .surface import sample, to_meshes


@functools.singledispatch
def to_volume(shapes: object, resolution: int, setting: Setting) -> torch.Tensor:
    """(N, 1, R, R, R) at cell centres, indexed [x, y, z].

    Occupancy in [0, 1] of what has occupancies; distance over `DISTANCE_BAND`, clipped to ±1, of what has distances; of
    surfaces the winding number of points spread over them, a smoothed occupancy (S. Peng et al.: Shape As Points,
    NeurIPS 2021, bridge the two likewise, by a Poisson equation in place of the winding number).
    """
    raise TrainingError(f"There is no bridge from {type(shapes).__name__} to a volume.")


@to_volume.register
def _(shapes: Volume, resolution: int, setting: Setting) -> torch.Tensor:
    return resample(shapes.occupancy, resolution)[:, None]


@to_volume.register
def _(shapes: Lattice, resolution: int, setting: Setting) -> torch.Tensor:
    return clipped(resample(shapes.distance, resolution))[:, None]


@to_volume.register
def _(shapes: Implicit, resolution: int, setting: Setting) -> torch.Tensor:
    return _on_lattice(shapes.distance, len(shapes), resolution, shapes.device)


@to_volume.register
def _(shapes: Views, resolution: int, setting: Setting) -> torch.Tensor:
    return _on_lattice(functools.partial(fuse, shapes), len(shapes), resolution, shapes.height.device)


@to_volume.register(Surfaces)
@to_volume.register(Scans)
def _(shapes: Surfaces | Scans, resolution: int, setting: Setting) -> torch.Tensor:
    points, normals, area = sample(to_meshes(shapes, resolution), setting.rolls)
    dipoles = normals * (area / points.shape[1])[:, None, None]
    return winding.on_lattice(points, dipoles, resolution)[:, None]


def clipped(distance: torch.Tensor) -> torch.Tensor:
    """Distances in units of the band, as critics see them."""
    return (distance / DISTANCE_BAND).clamp(-1, 1)


def _on_lattice(distance, count: int, resolution: int, device: torch.device) -> torch.Tensor:
    points = torch.as_tensor(lattice(resolution), device=device).expand(count, -1, -1)
    return clipped(distance(points)).reshape(count, 1, resolution, resolution, resolution)
