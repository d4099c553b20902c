"""To points and to graphs: what PointNets and graph convolutions consume."""

from __future__ import annotations

import functools

import torch

from gan3d_core.representations import Implicit

from .recorded import Lattice, Scans, read
from .setting import Setting
from .surface import sample, to_meshes
from .volume import clipped, to_volume

SEES = {"surface": 3, "oriented": 6, "pairs": 4}
"""What a critic of points may be given, and how many numbers a point then has: its place; its place and unit normal; a
place anywhere and the distance there, over `DISTANCE_BAND` (Kleineberg et al. 2020, section 3)."""


def to_points(shapes: object, setting: Setting, sees: str, resolution: int) -> torch.Tensor:
    """(N, P, C): see `SEES`. Points of a surface are spread by area; pairs are at the setting's queries."""
    return _pairs(shapes, setting, resolution) if sees == "pairs" else _surface(shapes, setting, sees, resolution)


def to_graph(shapes: object, setting: Setting, resolution: int) -> torch.Tensor:
    """(N, P, 6): the nodes, points spread by area with their normals. The critic joins neighbours itself, of whatever
    it is shown. A mesh's own edges would tell a template's mesh from a recorded one."""
    return to_points(shapes, setting, "oriented", resolution)


@functools.singledispatch
def _surface(shapes: object, setting: Setting, sees: str, resolution: int) -> torch.Tensor:
    found = sample(to_meshes(shapes, resolution), setting.rolls)
    return found.points if sees == "surface" else torch.cat([found.points, found.normals], -1)


@_surface.register
def _(shapes: Scans, setting: Setting, sees: str, resolution: int) -> torch.Tensor:
    return shapes.points[..., : SEES[sees]]


@functools.singledispatch
def _pairs(shapes: object, setting: Setting, resolution: int) -> torch.Tensor:
    at = setting.queries[..., :3]
    return torch.cat([at, read(to_volume(shapes, resolution, setting)[:, 0], at)[..., None]], -1)


@_pairs.register
def _(shapes: Implicit, setting: Setting, resolution: int) -> torch.Tensor:
    at = setting.queries[..., :3]
    return torch.cat([at, clipped(shapes.distance(at))[..., None]], -1)


@_pairs.register
def _(shapes: Lattice, setting: Setting, resolution: int) -> torch.Tensor:
    # Recorded exactly, for these very points.
    return torch.cat([setting.queries[..., :3], clipped(setting.queries[..., 3:])], -1)
