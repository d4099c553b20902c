"""Generated shapes and those of a dataset, brought to one form, so that no metric can tell them apart by how they came.

Both become the bare zero surface of a field on a grid, of 64³ unless told otherwise, and both take their colours from a
cloud of 16,384 surface points in 8 bits, each vertex from the nearest: a dataset keeps such a cloud, for a generator
it is sampled from its field.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.spatial import cKDTree

from gan3d_core.field import Field
from gan3d_core.surfacing.components import component_labels
from gan3d_core.surfacing.measures import signed_volumes

from ..data.distance import sample_surface
from ..data.store import Dataset
from ..metrics.point_sets import POINTS, normalise
from ..rendering.grid_mesh import grid_mesh

RESOLUTION = 64
COLOUR_POINTS = 16384
DENSE_POINTS = 8192
LOOSE = 0.02
"""Share of a shape's volume that may be in loose bits while it counts as one piece."""
PROTOCOL = f"surfaces of {RESOLUTION}³ fields, colours from the nearest of {COLOUR_POINTS:,} surface points"


@dataclasses.dataclass(frozen=True)
class PaintedMesh:
    """A surface in the cube."""

    vertices: np.ndarray
    """(V, 3) float32."""
    faces: np.ndarray
    """(F, 3) int32, outward; never empty."""
    colours: np.ndarray | None
    """(V, 3) float32 sRGB base colours in [0, 1]; None where there are none that can be trusted."""

    def cloud(self, seed: int) -> np.ndarray:
        """(POINTS, 3) surface points, centred, longest side 1, for point-set metrics."""
        return normalise(sample_surface(self.vertices, self.faces, count=POINTS, seed=seed)[0])

    def loose_share(self) -> float:
        """The share of the volume that is outside the largest part, 0 to 1. Walls of hollows, which are inside out,
        belong to nothing that could come loose."""
        label = component_labels(len(self.vertices), self.faces)[self.faces[:, 0]]
        volumes = np.bincount(label, weights=signed_volumes(self.vertices, self.faces)).clip(min=0.0)
        return float(1 - volumes.max() / volumes.sum())

    def whole(self) -> bool:
        """Whether it is in one piece, but for `LOOSE` of its volume."""
        return self.loose_share() <= LOOSE

    def dense(self) -> np.ndarray:
        """(DENSE_POINTS, 3) surface points for `surface_grids`."""
        return sample_surface(self.vertices, self.faces, count=DENSE_POINTS, seed=0)[0]


def from_field(field: Field, resolution: int | None = None) -> PaintedMesh | None:
    """A generated shape; None if its field has no surface."""
    vertices, faces = grid_mesh(field.values(resolution or RESOLUTION))
    if not len(faces):
        return None
    points = sample_surface(vertices, faces, count=COLOUR_POINTS, seed=1)[0].astype(np.float32)
    materials = field.materials(points)
    if materials is None:
        return PaintedMesh(vertices, faces, None)
    return PaintedMesh(vertices, faces, _nearest_colours(vertices, points, np.rint(materials.base_color * 255)))


def from_record(data: Dataset, index: int, resolution: int | None = None) -> PaintedMesh:
    """A shape of a dataset."""
    vertices, faces = grid_mesh(data.array(index, f"sdf{resolution or RESOLUTION}").astype(np.float32))
    if not data.entries[index].colored:
        return PaintedMesh(vertices, faces, None)
    points = data.array(index, "surface")[:, :3].astype(np.float32)
    return PaintedMesh(vertices, faces, _nearest_colours(vertices, points, data.array(index, "material")[:, :3]))


def _nearest_colours(vertices: np.ndarray, points: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """(V, 3) in [0, 1] from (P, 3) colours in 0 … 255."""
    return (colours[cKDTree(points).query(vertices)[1]] / 255).astype(np.float32)
