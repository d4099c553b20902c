"""Outlines blended across pixels, so that images are smooth there and gradients reach the outline.

After S. Laine et al.: Modular Primitives for High-Performance Differentiable Rendering, SIGGRAPH Asia 2020, section
3.5: where an outline crosses the line between two pixel centres, its crossing tells how much of the one pixel the
other's surface covers, and that share is blended. Edges steeper than 45° are crossed with rows and the others with
columns, so that none counts twice. Here outlines are found by edges (`outline`) and not by the faces seen,
and rows are blended before columns: neither pass can take more than all of a pixel, however thin what it shows, so that
no colour leaves the range of the image.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import torch

from gan3d_core.errors import RenderingError

from .cameras import Cameras
from .outline import Edges, find_crossings
from .rasterise import Fragments


class Pass(NamedTuple):
    """K neighbouring pixels, in the flattened (N, S, S)."""

    source: torch.Tensor
    """(K,) int64."""
    target: torch.Tensor
    """(K,) int64."""
    share: torch.Tensor
    """(K,) in [0, ½], with gradient: how much of the target the source's surface covers."""


@dataclasses.dataclass(frozen=True)
class Blend:
    """What outlines do to an image: shares of colour carried from pixels to their neighbours."""

    rows: Pass
    """Between neighbours in a row, first."""
    columns: Pass

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Blend an image (N, S, S, C) across the outlines; gradients reach the image and the vertices."""
        flat = image.reshape(-1, image.shape[-1])
        for source, target, share in (self.rows, self.columns):
            change = flat.index_select(0, source) - flat.index_select(0, target)
            flat = flat.index_add(0, target, share.to(image.dtype)[:, None] * change)
        return flat.reshape(image.shape)


def outline_blend(fragments: Fragments, vertices: torch.Tensor, edges: Edges, cameras: Cameras) -> Blend:
    """Find the blend of what `rasterise` saw, for one or several images of it.

    Args:
        edges: `Edges.of(faces, first_face)`; keep them as long as the faces are the same.
    """
    size = fragments.face.shape[-1]
    found = find_crossings(vertices, edges, fragments.face.int(), fragments.nearest, cameras)
    origins, directions = cameras.rays(size)
    directions = directions.reshape(-1, 3).to(vertices)
    origin = origins.to(vertices).index_select(0, found.inner // size**2)
    ends = edges.ends[found.edge].long()
    a, b = vertices.index_select(0, ends.reshape(-1)).reshape(-1, 2, 3).unbind(1)
    # The plane through the eye and the edge; a ray's side of it changes linearly from one pixel centre to the next.
    plane = torch.linalg.cross(a - origin, b - a)
    inner = (plane * directions.index_select(0, found.inner)).sum(-1)
    outer = (plane * directions.index_select(0, found.outer)).sum(-1)
    crossing = (inner / (inner - outer)).clamp(0, 1)  # 0 at the inner pixel's centre, 1 at the outer's
    covers = crossing > 0.5
    source = torch.where(covers, found.inner, found.outer)
    target = torch.where(covers, found.outer, found.inner)
    share = (crossing - 0.5).abs()
    rows, columns = (~found.down).nonzero()[:, 0], found.down.nonzero()[:, 0]
    return Blend(*(Pass(source[part], target[part], share[part]) for part in (rows, columns)))


def antialias(
    image: torch.Tensor,
    fragments: Fragments,
    vertices: torch.Tensor,
    faces: torch.Tensor,
    cameras: Cameras,
    first_face: torch.Tensor | None = None,
    edges: Edges | None = None,
) -> torch.Tensor:
    """Blend an image across the outlines of what `rasterise` saw.

    Images of one view are best blended together, their channels joined: (colour, mask, …).

    Args:
        image: (N, S, S, C).
        fragments, vertices, faces, cameras, first_face: as in `rasterise`.
        edges: of the faces, if known already.

    Returns:
        (N, S, S, C), differentiable in the image and, at outlines, in the vertices.

    Raises:
        RenderingError: the image is not of these fragments' size.
    """
    if image.ndim != 4 or image.shape[:3] != fragments.face.shape:
        raise RenderingError(f"An image {tuple(image.shape)} does not fit fragments {tuple(fragments.face.shape)}.")
    if first_face is None:
        cameras = cameras.seeing(torch.zeros_like(cameras.mesh))
    edges = Edges.of(faces, first_face) if edges is None else edges
    return outline_blend(fragments, vertices, edges, cameras)(image)
