"""From the planes of a textured generator to pictures, differentiably: distances → mesh → pixels → materials.

GET3D's path (Gao et al. 2022, section 3.1), with three savings for small machines: distances are found everywhere on a
coarse lattice only, then near it without gradients, and once more with gradients at the corners of the cells that the
surface crosses (some 3 % of them); a symmetric shape is read on one side; and materials are read where pixels see the
surface, never in a volume.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import torch

from gan3d_core.errors import TrainingError
from gan3d_core.field import cell_centres, lattice
from gan3d_core.generators.coded import TRUNCATION, Features, reach
from gan3d_core.generators.textured import TexturedGenerator

from .isosurface import corners_of_crossed_cells, numbers, scattered_isosurface
from .rendering.antialias import outline_blend
from .rendering.cameras import Cameras
from .rendering.outline import Edges
from .rendering.rasterise import Packed, pack, rasterise, sample


@dataclasses.dataclass(frozen=True)
class Resolution:
    """Cells along each axis."""

    coarse: int = 32
    """Where distances are found everywhere."""
    fine: int = 64
    """Of the surface; a multiple of `coarse`."""

    def __post_init__(self) -> None:
        # Half a coarse cell's diagonal must stay well within the distances that are learned, or surfaces are missed.
        if self.coarse * TRUNCATION < 1.4 * np.sqrt(3.0):
            raise TrainingError(f"{self.coarse} coarse cells are too few to find a surface.", "Use 32 or more.")
        if self.fine % self.coarse:
            raise TrainingError("fine must be a multiple of coarse.", f"Use {2 * self.coarse}, for example.")


class Pictures(NamedTuple):
    """What N cameras see."""

    materials: torch.Tensor
    """(N, 5, S, S) in [0, 1]: sRGB base colour, roughness, metallic, over a background of ½."""
    silhouette: torch.Tensor
    """(N, 1, S, S) in [0, 1]."""

    @staticmethod
    def over(premultiplied: torch.Tensor, silhouette: torch.Tensor) -> Pictures:
        """From materials multiplied by the silhouette: both (N, ·, S, S) in [0, 1]."""
        return Pictures(premultiplied + 0.5 * (1 - silhouette), silhouette)


def coarse_distance(generator: TexturedGenerator, planes: Features, cells: int) -> torch.Tensor:
    """(N, cells, cells, cells) distances at the centres of the cells."""
    points = torch.as_tensor(lattice(cells), device=planes.geometry.device).reshape(cells, -1, 3)
    if generator.symmetric and cells % 2 == 0:
        half = points[cells // 2 :].reshape(-1, 3).expand(len(planes.codes), -1, -1)
        found = generator.distance(planes, half).unflatten(1, (cells // 2, cells, cells))
        return torch.cat([found.flip(1), found], 1)
    every = points.reshape(-1, 3).expand(len(planes.codes), -1, -1)
    return generator.distance(planes, every).unflatten(1, (cells, cells, cells))


def surfaces(
    generator: TexturedGenerator, planes: Features, resolution: Resolution, coarse: torch.Tensor
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The meshes (V, 3), (F, 3) of N shapes, differentiable in planes and weights.

    Args:
        coarse: (N, coarse³) as `coarse_distance` gives it; read without its gradient.
    """
    factor = resolution.fine // resolution.coarse
    near = reach(resolution.coarse)
    centres = torch.as_tensor(cell_centres(resolution.fine), device=coarse.device, dtype=torch.float32)
    corners = []

    def distances(places: list[torch.Tensor]) -> list[torch.Tensor]:
        """At lattice points (K, 3); a symmetric shape's left half is read off its right one."""
        if not generator.symmetric or resolution.fine % 2:
            return at_points(generator.distance, planes, [centres[place] for place in places])
        at, back = [], []
        for place in places:
            right = torch.cat([torch.maximum(place[:, :1], resolution.fine - 1 - place[:, :1]), place[:, 1:]], 1)
            _, first = torch.unique(numbers(right, resolution.fine), return_inverse=True)
            one = right.new_empty((int(first.max()) + 1 if len(first) else 0, 3))
            one[first] = right
            at.append(centres[one])
            back.append(first)
        found = at_points(generator.distance, planes, at)
        return [values[first] for values, first in zip(found, back, strict=True)]

    with torch.no_grad():
        values = coarse.detach()
        for axis in (1, 2, 3):
            values = values.repeat_interleave(factor, axis)
        places = [(one.abs() < near).nonzero() for one in values]
        found = distances(places)
        for one, place, known in zip(values, places, found, strict=True):
            one[tuple(place.unbind(1))] = known
            corners.append(corners_of_crossed_cells(one))
    meshes = []
    for place, known in zip(corners, distances(corners), strict=True):
        meshes.append(scattered_isosurface(place, known, resolution.fine, half=1 - 1 / resolution.fine))
    return meshes


def at_points(function, planes: Features, points: list[torch.Tensor]) -> list[torch.Tensor]:
    """Evaluate `function(planes, (N, P, 3))` at as many points for every shape as it asks for: the rest is padding."""
    longest = max(1, *(len(one) for one in points))
    padded = torch.stack([torch.nn.functional.pad(one, (0, 0, 0, longest - len(one))) for one in points])
    out = function(planes, padded)
    return [row[: len(one)] for row, one in zip(out, points, strict=True)]


def pictures(
    generator: TexturedGenerator,
    planes: Features,
    meshes: list[tuple[torch.Tensor, torch.Tensor]],
    cameras: Cameras,
    size: int,
) -> Pictures:
    """Render shape i by the cameras whose `mesh` is i, in base colours without light, as GET3D's critics see them."""
    packed: Packed = pack(meshes)
    fragments = rasterise(packed.vertices, packed.faces, cameras, size, packed.first_face)
    points = sample(fragments, packed.faces, packed.vertices)
    owner = cameras.mesh[fragments.camera]
    chosen = [(owner == index).nonzero()[:, 0] for index in range(len(meshes))]
    found = at_points(generator.material, planes, [points[index] for index in chosen])
    grouped = torch.cat(found)
    materials = torch.zeros_like(grouped).index_copy(0, torch.cat(chosen), grouped)
    seen = materials.new_ones(len(materials), 1)
    image = fragments.spread(torch.cat([materials, seen], 1))  # (N, S, S, 6)
    if len(packed.faces):
        blend = outline_blend(fragments, packed.vertices, Edges.of(packed.faces, packed.first_face), cameras)
        image = blend(image)
    image = image.permute(0, 3, 1, 2)
    return Pictures.over(image[:, :5], image[:, 5:])
