"""Recorded shapes as the multi-view generator's cameras see them: rays through their distance grids."""

from __future__ import annotations

import torch
from scipy import ndimage
from torch.nn import functional as F

from gan3d_core.fusion import camera_frames
from gan3d_core.representations import DISTANCE_BAND, Views

from .bridges.recorded import read

_STRIDE = 0.75
"""Cells from one sample of a ray to the next: less than the thinnest part of a recorded shape."""
_HALVINGS = 6
_STEEPEST = 0.1
"""Cosine between a surface and a camera's axis below which its plane is not followed any farther beside the shape."""


@torch.no_grad()
def observe(distance: torch.Tensor, views: int, size: int) -> Views:
    """Follow the ray of every pixel through one shape's grid.

    Args:
        distance: (R, R, R) signed distances at cell centres.
        views: how many cameras, see `fusion.camera_frames`.
        size: pixels along the side of each map.

    Returns:
        views of one shape.
    """
    axes, reach = (torch.from_numpy(a) for a in camera_frames(views))
    cell = 2.0 / len(distance)
    centre = (2 * torch.arange(size) + 1) / size - 1
    across = centre * reach[:, None]  # (C, S)
    start = (
        across[:, None, :, None] * axes[:, 0, None, None] - across[:, :, None, None] * axes[:, 1, None, None]
    ).reshape(-1, 1, 3)  # (C S S, 1, 3)
    towards = axes[:, 2].repeat_interleave(size**2, 0)[:, None]

    def at(height: torch.Tensor) -> torch.Tensor:
        """Distances (C S S, T) at heights (C S S or 1, T) of every ray."""
        points = start + height[..., None] * towards
        beyond = (points.abs() - 1).clamp(min=0).norm(dim=-1)
        return read(distance[None], points.reshape(1, -1, 3)).reshape(beyond.shape) + beyond

    farthest = float(reach.max())
    heights = torch.arange(farthest, -farthest, -_STRIDE * cell)[None]
    values = at(heights)
    clearance = values.amin(1)
    inside = values < 0
    hit = inside.any(1)
    first = inside.int().argmax(1, keepdim=True)
    low = heights.expand_as(values).gather(1, first)  # inside, or the ray's first sample
    high = low + _STRIDE * cell
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        below = at(middle) < 0
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    points = (start + low[..., None] * towards).reshape(1, -1, 3)
    steps = 0.5 * cell * torch.eye(3)
    slope = torch.stack([read(distance[None], points + s) - read(distance[None], points - s) for s in steps], -1)[0]
    maps = (views, size, size)
    seen, height = hit.reshape(maps).numpy(), low.reshape(maps)
    normal = F.normalize(slope, dim=-1).reshape(*maps, 3)
    # Where nothing is seen stands the plane of the nearest pixel that sees something: reading between pixels mixes no
    # background in.
    for view in range(views):
        if seen[view].any():
            rows, columns = ndimage.distance_transform_edt(~seen[view], return_distances=False, return_indices=True)
            normal[view] = normal[view][rows, columns]
            lift = normal[view] @ axes[view].T  # along right, up, towards
            right, down = across[view][None, :] - across[view][columns], across[view][:, None] - across[view][rows]
            slant = (lift[..., 0] * right - lift[..., 1] * down) / lift[..., 2].clamp(min=_STEEPEST)
            height[view] = (height[view][rows, columns] - slant).clamp(-farthest, farthest)
    return Views(
        height[None],
        normal.permute(0, 3, 1, 2)[None],
        clearance.clamp(-DISTANCE_BAND, DISTANCE_BAND).reshape(1, *maps),
        axes,
        reach,
    )
