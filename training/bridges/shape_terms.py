"""What a generator's loss may count of its shapes themselves, whatever the critic says."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch

from gan3d_core.field import lattice
from gan3d_core.fusion import fuse
from gan3d_core.representations import DISTANCE_BAND, Implicit, Surfaces, Views, Volume

_CELLS = 16
"""Of the lattice on which the deepest point is looked for."""
_DEPTH = 0.5
"""How deep it shall be at least, in units of `DISTANCE_BAND`."""


@functools.singledispatch
def hollowness(shapes: object, resolution: int) -> torch.Tensor:
    """Zero while every shape has an inside: how far the deepest value is from half the band, else.

    A field that is outside everywhere has no surface to show (`to_meshes` then shows another level), and the worker
    would have nothing to draw.
    """
    return torch.zeros(())


@hollowness.register
def _(shapes: Volume, resolution: int) -> torch.Tensor:
    return torch.relu((0.5 + 0.5 * _DEPTH) - shapes.occupancy.flatten(1).amax(1)).mean()


@hollowness.register
def _(shapes: Implicit, resolution: int) -> torch.Tensor:
    return _shallow(shapes.distance, len(shapes), shapes.device)


@hollowness.register
def _(shapes: Views, resolution: int) -> torch.Tensor:
    return _shallow(functools.partial(fuse, shapes), len(shapes), shapes.height.device)


def _shallow(distance: Callable[[torch.Tensor], torch.Tensor], count: int, device: torch.device) -> torch.Tensor:
    every = torch.as_tensor(lattice(_CELLS), device=device)
    with torch.no_grad():
        deepest = distance(every.expand(count, -1, -1)).argmin(1)
    return torch.relu(_DEPTH + distance(every[deepest][:, None]) / DISTANCE_BAND).mean()


@functools.singledispatch
def roughness(shapes: object, resolution: int) -> torch.Tensor:
    """Of surfaces the mean square of the uniform Laplacian: from each vertex to the middle of its neighbours, times the
    number of vertices, so that a mesh's fineness does not count (Wang et al. 2018, Pixel2Mesh, section 3.5, likewise).
    Zero for all else."""
    return torch.zeros(())


@roughness.register
def _(shapes: Surfaces, resolution: int) -> torch.Tensor:
    vertices = shapes.vertices
    start, end = shapes.faces.reshape(-1), shapes.faces.roll(-1, 1).reshape(-1)
    # Both ways along every face's side: an inner edge counts twice for either end, a border's once.
    start, end = torch.cat([start, end]), torch.cat([end, start])
    total = torch.zeros_like(vertices).index_add(1, start, vertices[:, end])
    around = start.bincount(minlength=vertices.shape[1]).clamp(min=1)
    return vertices.shape[1] * ((total / around[:, None] - vertices) ** 2).sum(-1).mean()


TERMS: dict[str, Callable[[object, int], torch.Tensor]] = {"hollowness": hollowness, "roughness": roughness}
