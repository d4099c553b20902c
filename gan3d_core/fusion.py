"""Depth and normal maps of fixed cameras made one signed field.

A point that lies in front of what some camera sees, or beside the silhouette, is outside; all others are inside. In
front is the signed distance to the plane through the surface that the camera sees at the point's pixel, which is why it
wants the normal; beside is how clear of the shape the pixel's ray passes. The field is the largest of these. So far it
is K. N. Kutulakos, S. M. Seitz: A Theory of Shape by Space Carving, IJCV 2000, with depths and silhouettes in place of
colours. It is metric near the surface, and every step is differentiable in the maps. Hollows that no camera looks into
are filled.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812

from .representations import DISTANCE_BAND, Views

CAMERAS = (6, 14, 26)
"""Along the axes; and along the cube's diagonals; and towards the middles of its edges."""


def camera_frames(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Orthographic cameras around the cube.

    Args:
        count: one of `CAMERAS`.

    Returns:
        axes (C, 3, 3) float32, rows right, up, towards the camera; and reach (C,): half the side of the square that the
        whole cube fits in.

    Raises:
        ValueError: another count.
    """
    if count not in CAMERAS:
        raise ValueError(f"there are 6, 14 or 26 views, not {count}")
    every = [np.array(d, np.float64) for d in itertools.product((-1, 0, 1), repeat=3) if any(d)]
    order = {1: 0, 3: 1, 2: 2}
    every.sort(key=lambda d: order[int(np.abs(d).sum())])
    frames = []
    for direction in every[:count]:
        towards = direction / np.linalg.norm(direction)
        # From above and below, "up" is the shape's back.
        up = np.array([0.0, 1.0, 0.0]) if abs(towards[2]) > 0.99 else np.array([0.0, 0.0, 1.0])
        right = np.cross(up, towards)
        right /= np.linalg.norm(right)
        frames.append(np.stack([right, np.cross(towards, right), towards]))
    axes = np.stack(frames).astype(np.float32)
    corners = np.array(list(itertools.product((-1, 1), repeat=3)), np.float32)
    reach = np.abs(np.einsum("cij,kj->cki", axes[:, :2], corners)).max(axis=(1, 2))
    return axes, reach.astype(np.float32)


def fuse(views: Views, points: torch.Tensor) -> torch.Tensor:
    """The field at points.

    Args:
        views: of N shapes.
        points: (N, P, 3) in the cube.

    Returns:
        (N, P) signed distances within ±`DISTANCE_BAND`, negative inside.
    """
    count, cameras, size = views.height.shape[:3]
    local = torch.einsum("cij,npj->ncpi", views.axes, points)  # (N, C, P, 3): right, up, towards
    centre = (2 * torch.arange(size, device=points.device, dtype=points.dtype) + 1) / size - 1
    u = (centre * views.reach[:, None])[:, None, :]  # (C, 1, S)
    v = -(centre * views.reach[:, None])[:, :, None]
    normal = torch.einsum("ncksv,cik->ncisv", views.normal, views.axes)
    # The plane at each pixel is normal · place = offset. Planes are read between pixels, not heights: on a steep
    # surface the height there is no use, the plane is.
    offset = normal[:, :, 0] * u + normal[:, :, 1] * v + normal[:, :, 2] * views.height
    maps = torch.cat([normal, offset[:, :, None], views.clearance[:, :, None]], 2).reshape(-1, 5, size, size)
    at = local[..., :2] / views.reach[:, None, None] * local.new_tensor([1.0, -1.0])
    seen = F.grid_sample(maps, at.flatten(0, 1)[:, None], mode="bilinear", padding_mode="border", align_corners=False)
    planes, beside = seen.reshape(count, cameras, 5, -1).split([4, 1], 2)  # (N, C, ·, P)
    front = (planes[:, :, :3] * local.transpose(2, 3)).sum(2) - planes[:, :, 3]
    front = DISTANCE_BAND * torch.tanh(front / DISTANCE_BAND)
    return torch.maximum(front, beside[:, :, 0]).amax(1)
