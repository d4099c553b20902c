"""Recorded shapes as the multi-view generator's cameras see them: rays through their distance grids."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from gan3d_core.fusion import camera_frames
from gan3d_core.representations import Views

from .bridges.recorded import read

_STEPS = 96
_HALVINGS = 5
_LEAST = 0.35
"""Cells that a ray goes on at least at each step, so that grazing ones arrive."""


@torch.no_grad()
def observe(distance: torch.Tensor, views: int, size: int) -> Views:
    """Trace rays from every camera to the surface (J. C. Hart: Sphere Tracing, The Visual Computer 1996).

    Args:
        distance: (N, R, R, R) signed distances at cell centres.
        views: how many cameras, see `fusion.camera_frames`.
        size: pixels along the side of each map.
    """
    axes, reach = (torch.from_numpy(a).to(distance.device) for a in camera_frames(views))
    count, resolution = distance.shape[:2]
    cell = 2.0 / resolution
    centre = (2 * torch.arange(size, device=distance.device) + 1) / size - 1
    across = centre[None, :] * reach[:, None]  # (C, S)
    start = (
        across[:, None, :, None] * axes[:, 0, None, None]
        - across[:, :, None, None] * axes[:, 1, None, None]
        + math.sqrt(3) * axes[:, 2, None, None]
    ).reshape(-1, 3)  # (C S S, 3)
    towards = axes[:, 2].repeat_interleave(size * size, 0)

    def at(t: torch.Tensor) -> torch.Tensor:
        points = start - t[..., None] * towards
        outside = (points.abs() - 1).clamp(min=0).norm(dim=-1)
        return read(distance, points) + outside

    t = torch.zeros(count, len(start), device=distance.device)
    before, hit = t, torch.zeros_like(t, dtype=torch.bool)
    for _ in range(_STEPS):
        value = at(t)
        hit = hit | (value < 0)
        before = torch.where(hit, before, t)
        t = torch.where(hit, t, t + value.clamp(min=_LEAST * cell))
        if bool((hit | (t > 2 * math.sqrt(3))).all()):
            break
    low, high = before, t
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        inside = at(middle) < 0
        low, high = torch.where(inside, low, middle), torch.where(inside, middle, high)
    points = start - high[..., None] * towards
    slope = torch.stack([read(distance, points + s) - read(distance, points - s) for s in cell * torch.eye(3)], -1)
    normal = F.normalize(slope, dim=-1, eps=1e-9)
    shape = (count, views, size, size)
    mask = hit.reshape(shape).float()
    height = (math.sqrt(3) - high).reshape(shape)
    # Beside the silhouette heights go on, so that reading between pixels mixes no background in.
    known = torch.where(mask > 0, height, -1e9)
    grown = F.max_pool2d(known, 3, stride=1, padding=1)
    height = torch.where(mask > 0, height, torch.where(grown > -1e8, grown, 0.0))
    normal = torch.where(mask[..., None] > 0, normal.reshape(*shape, 3), axes[:, 2][:, None, None])
    return Views(height, normal.permute(0, 1, 4, 2, 3), mask, axes, reach)
