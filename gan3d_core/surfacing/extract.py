"""From samples of a signed field to a closed triangle mesh.

W. E. Lorensen, H. E. Cline: Marching Cubes, SIGGRAPH 1987; with the topologically consistent table of T. Lewiner,
H. Lopes, A. W. Vieira, G. Tavares: Efficient Implementation of Marching Cubes' Cases with Topological Guarantees,
Journal of Graphics Tools 8(2), 2003. Its meshes are closed and edge-manifold even on noise (see the tests), which the
later stages rely on.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage import measure

from ..errors import EmptyShapeError, InternalError

ZERO_SNAP = 1e-3
"""Samples nearer to zero than this share of a typical value beside the surface are moved away from it: a crossing at a
sample itself makes triangles without area. It moves the surface by at most about a thousandth of a voxel."""
JITTER = 1e-4
"""Samples beside the surface are scaled by up to this share more, each differently. On grids with equal values (on-off
voxels, a clipped distance) cells are ambiguous to the last bit, and the table then leaves holes."""


def extract(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Polygonise the zero level of a field; every face looks outward and the mesh is closed.

    A surface that runs into the border of the cube is closed at the border. Cavities are filled (`fill_cavities`).

    Args:
        values: (R, R, R), indexed [x, y, z], at the cell centres −1 + (2i + 1)/R; negative inside.

    Returns:
        vertices (V, 3) float64 in the units of the cube, faces (F, 3) int64.

    Raises:
        EmptyShapeError: no value is negative.
        InternalError: a value is not a number or not finite, or the grid is not cubic.
    """
    if values.ndim != 3 or len(set(values.shape)) != 1 or values.shape[0] < 2:
        raise InternalError(f"A field must be a cubic grid, not of shape {values.shape}.")
    if not np.isfinite(values).all():
        share = 1.0 - np.isfinite(values).mean()
        raise InternalError(
            f"The generator yielded values that are not finite ({share:.1%} of the field).",
            "The checkpoint is damaged, or its network overflows on this device: try the CPU.",
        )
    resolution = values.shape[0]
    values = np.pad(values.astype(np.float32), 1, mode="edge")
    # The mirrored sign beyond the border puts the closing wall on the border of the cube itself.
    inner = (slice(1, -1),) * 3
    border = np.abs(values)
    border[inner] = values[inner]
    values = fill_cavities(_generic(border))
    if not (values < 0).any():
        raise EmptyShapeError("The field has no surface: nothing lies inside.")
    vertices, faces, _, _ = measure.marching_cubes(values, 0.0, method="lewiner")
    # Index i of the padded grid is sample i − 1 of the field.
    return -1.0 + (2.0 * vertices.astype(np.float64) - 1.0) / resolution, faces.astype(np.int64)


def fill_cavities(values: np.ndarray) -> np.ndarray:
    """Make solid what cannot be seen: hollows without a way out, and whatever floats in them.

    A hollow shell would cost faces and texels on both sides and confuse slicers and Booleans. The way out may lead over
    the corners of cells, so that nothing is filled which marching cubes would leave open.
    """
    outside, count = ndimage.label(values > 0, structure=np.ones((3, 3, 3)))
    if count <= 1:
        return values
    hollow = (outside > 0) & (outside != outside[0, 0, 0])
    return np.where(hollow, -values, values)


def _generic(values: np.ndarray) -> np.ndarray:
    """Move samples beside the surface off the exact ties that marching cubes decides differently from cell to cell."""
    inside = values < 0
    beside = np.zeros(values.shape, bool)
    for axis in range(3):
        crossing = np.diff(inside, axis=axis)
        low = [slice(None)] * 3
        high = [slice(None)] * 3
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        beside[tuple(low)] |= crossing
        beside[tuple(high)] |= crossing
    near = values[beside].astype(np.float64)
    if not len(near):
        return values
    smallest = max(ZERO_SNAP * float(np.abs(near).mean()), 1e-30)
    # The same "random" numbers every time: the result must be repeatable.
    jitter = np.random.Generator(np.random.Philox(key=0)).uniform(1.0, 1.0 + JITTER, len(near))
    sizes = np.maximum(np.abs(values), np.float32(smallest))
    sizes[beside] *= jitter
    return np.where(inside, -sizes, sizes)
