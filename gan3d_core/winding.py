"""Generalised winding numbers: how often an oriented surface goes round a point; 1 inside, 0 outside, in between where
it is open. A. Jacobson, L. Kavan, O. Sorkine-Hornung: Robust Inside-Outside Segmentation using Generalized Winding
Numbers, SIGGRAPH 2013; for oriented points G. Barill et al.: Fast Winding Numbers for Soups and Clouds, SIGGRAPH 2018.
"""

from __future__ import annotations

import functools
import math

import torch

_PAIRS = 1 << 22
"""Pairs of point and face that are in memory at once."""


def exactly(triangles: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """What triangles (P, K, 3, 3) contribute at points (P, 3), (P,): their solid angles over 4π (Jacobson et al. 2013,
    equation 5; Van Oosterom & Strackee 1983, equation 8)."""
    a, b, c = (triangles - points[:, None, None]).unbind(2)  # (P, K, 3) each
    la, lb, lc = a.norm(dim=-1), b.norm(dim=-1), c.norm(dim=-1)
    volume = (a * torch.linalg.cross(b, c)).sum(-1)
    below = la * lb * lc + (a * b).sum(-1) * lc + (b * c).sum(-1) * la + (c * a).sum(-1) * lb
    return torch.atan2(volume, below).sum(-1) / (2 * math.pi)


def of_mesh(triangles: torch.Tensor, points: torch.Tensor, near: torch.Tensor) -> torch.Tensor:
    """At (P, 3) points, of triangles (F, 3, 3) of about one size: those in `near` (P, K) exactly, the others as dipoles
    in their middles (Barill et al. 2018, equation 7). With the two dozen nearest in `near` a closed mesh's number is
    right to some hundredths."""
    middles = triangles.mean(1)
    dipoles = 0.5 * torch.linalg.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    along = (middles * dipoles).sum(1)
    step = max(1, _PAIRS // max(len(triangles), 1))
    out = []
    for p, rows in zip(points.split(step), near.split(step), strict=True):
        number = (along - p @ dipoles.T) / torch.cdist(p, middles).clamp(min=1e-6) ** 3
        number = number.scatter(1, rows, 0.0).sum(1) / (4 * math.pi)
        out.append(number + exactly(triangles[rows], p))
    return torch.cat(out) if out else points.new_zeros(0)


def on_lattice(points: torch.Tensor, dipoles: torch.Tensor, resolution: int) -> torch.Tensor:
    """At every cell centre, of oriented points: differentiable in both, for one Fourier transform.

    The dipoles are shared out to the eight cells around each point, and convolved with −r / (4π |r|³) on a lattice
    twice as large, so that nothing comes round from the other side. A surface so becomes a ramp about two cells wide,
    whose level one half lies on it.

    Args:
        points: (N, P, 3) in the cube.
        dipoles: (N, P, 3) outward normals, as long as the area that each point stands for.
        resolution: cells along each axis, R.

    Returns:
        (N, R, R, R).
    """
    count = len(points)
    place = (points.clamp(-1, 1) * (resolution / 2) + (resolution - 1) / 2).clamp(0, resolution - 1)
    low = place.detach().floor().clamp(max=resolution - 2)
    share = place - low
    cell = low.long()
    grid = dipoles.new_zeros(count, 3, resolution**3)
    for corner in range(8):
        bits = [corner >> axis & 1 for axis in (0, 1, 2)]
        weight = torch.stack([share[..., i] if bit else 1 - share[..., i] for i, bit in enumerate(bits)]).prod(0)
        at = cell + cell.new_tensor(bits)
        flat = (at[..., 0] * resolution + at[..., 1]) * resolution + at[..., 2]
        grid = grid.scatter_add(2, flat[:, None].expand(-1, 3, -1), (weight[..., None] * dipoles).transpose(1, 2))
    size = (2 * resolution,) * 3
    spectrum = torch.fft.rfftn(grid.reshape(count, 3, resolution, resolution, resolution), s=size, dim=(2, 3, 4))
    kernel = _kernel(resolution, grid.device, grid.dtype)
    out = torch.fft.irfftn((spectrum * kernel).sum(1), s=size, dim=(1, 2, 3))
    return out[:, :resolution, :resolution, :resolution]


@functools.lru_cache(maxsize=8)
def _kernel(resolution: int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """(3, 2R, 2R, R + 1) spectrum of a unit dipole's potential along each axis; nothing at the dipole itself."""
    steps = torch.arange(2 * resolution, device=device, dtype=torch.float64)
    steps = torch.where(steps < resolution, steps, steps - 2 * resolution) * (2.0 / resolution)
    r = torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij"))
    length = r.norm(dim=0).clamp(min=1e-9)
    spectrum = torch.fft.rfftn(-r / (4 * math.pi * length**3), dim=(1, 2, 3))
    return spectrum if dtype == torch.float64 else spectrum.to(torch.complex64)
