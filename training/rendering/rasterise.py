"""Triangle meshes to pixels, differentiably: visibility by warp, barycentrics, depth and attributes in torch.

Which face a pixel sees has no gradient; everything computed from that does, with respect to vertices and attributes.
What happens at outlines, where a small move changes what is seen, is added by `antialias`.

Several meshes are packed: their vertices and faces one after the other, faces counting from the first vertex of all,
and `first_face` telling where each mesh's faces start. Attributes are packed as the vertices are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import torch

from gan3d_core.errors import RenderingError

from .cameras import Cameras
from .visibility import visible

MAX_SIZE = 4096


class Packed(NamedTuple):
    """M meshes in one."""

    vertices: torch.Tensor
    """(V, 3) in the cube."""
    faces: torch.Tensor
    """(F, 3) int64 into all vertices."""
    first_face: torch.Tensor
    """(M + 1,) int64: mesh m has the faces first_face[m] to first_face[m + 1]."""


def pack(meshes: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> Packed:
    """Pack meshes of vertices (V, 3) and faces (F, 3). Gradients pass; a mesh may be empty."""
    if not meshes:
        raise RenderingError("There are no meshes to pack.")
    vertices, faces = zip(*meshes, strict=True)
    sizes = torch.tensor([[len(v), len(f)] for v, f in meshes], device=vertices[0].device).cumsum(0)
    offsets = [0, *sizes[:-1, 0].tolist()]
    return Packed(
        torch.cat(vertices),
        torch.cat([own + offset for own, offset in zip(faces, offsets, strict=True)]),
        torch.cat([sizes.new_zeros(1), sizes[:, 1]]),
    )


@dataclasses.dataclass(frozen=True)
class Fragments:
    """What N cameras see in S × S pixels. P pixels of them see something."""

    face: torch.Tensor
    """(N, S, S) int64, −1 where nothing is seen."""
    nearest: torch.Tensor
    """(N, S, S) float32 depth without gradient, infinite where nothing is seen."""
    pixels: torch.Tensor
    """(P,) int64 indices of the pixels that see something, in the flattened (N, S, S)."""
    weights: torch.Tensor
    """(P, 3) barycentric weights of the face's three vertices, with gradient."""
    depths: torch.Tensor
    """(P,) distance along the view, in units of the cube, with gradient."""

    @property
    def mask(self) -> torch.Tensor:
        """(N, S, S) bool."""
        return self.face >= 0

    @property
    def camera(self) -> torch.Tensor:
        """(P,) which camera each seen pixel belongs to."""
        return self.pixels // self.face[0].numel()

    @property
    def seen(self) -> torch.Tensor:
        """(P,) the faces at `pixels`."""
        return self.face.reshape(-1)[self.pixels]

    @property
    def barycentric(self) -> torch.Tensor:
        """(N, S, S, 3), 0 where nothing is seen."""
        return self.spread(self.weights)

    @property
    def depth(self) -> torch.Tensor:
        """(N, S, S), 0 where nothing is seen."""
        return self.spread(self.depths[:, None])[..., 0]

    def spread(self, values: torch.Tensor, background: torch.Tensor | float = 0.0) -> torch.Tensor:
        """Put (P, C) values of the seen pixels into an image (N, S, S, C) over a background: a number, a colour (C,),
        or whatever broadcasts to the image."""
        shape = (*self.face.shape, values.shape[1])
        filled = torch.as_tensor(background, dtype=values.dtype, device=values.device).expand(shape)
        return filled.reshape(-1, shape[-1]).index_copy(0, self.pixels, values).reshape(shape)


def rasterise(
    vertices: torch.Tensor,
    faces: torch.Tensor,
    cameras: Cameras,
    size: int,
    first_face: torch.Tensor | None = None,
) -> Fragments:
    """Find what every camera sees of its mesh, at the centres of size × size pixels. Both sides of a face are seen.

    Args:
        vertices: (V, 3) floats in the cube; float64 gives float64 results (visibility is found in float32).
        faces: (F, 3) int64. Faces without area are never seen; no faces at all give empty images.
        cameras: N of them, on the device of the mesh.
        first_face: (M + 1,) for packed meshes (`pack`); without it there is one mesh, and every camera sees it.

    Raises:
        RenderingError: not finite, indices out of range, or sizes and devices that do not fit.
    """
    if first_face is None:
        first_face = torch.tensor([0, len(faces)], device=faces.device)
        cameras = cameras.seeing(torch.zeros_like(cameras.mesh))
    check(vertices, faces, first_face, cameras, size)
    face, nearest = visible(vertices, faces, first_face, cameras, size)
    face = face.long()
    pixels = (face.reshape(-1) >= 0).nonzero()[:, 0]
    weights, depths = _weights(vertices, faces[face.reshape(-1)[pixels]], pixels, cameras, size)
    return Fragments(face, nearest, pixels, weights, depths)


def _weights(
    vertices: torch.Tensor, corners: torch.Tensor, pixels: torch.Tensor, cameras: Cameras, size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Barycentric weights (P, 3) and depths (P,) where rays meet their faces (Möller & Trumbore 1997)."""
    origins, directions = cameras.rays(size)
    ray = directions.reshape(-1, 3)[pixels].to(vertices)
    origin = origins.to(vertices)[pixels // size**2]
    a, b, c = vertices.index_select(0, corners.reshape(-1)).reshape(-1, 3, 3).unbind(1)
    ab, ac, away = b - a, c - a, origin - a
    across = torch.linalg.cross(ray, ac)
    turned = torch.linalg.cross(away, ab)
    volume = (ab * across).sum(-1)
    # A face that some pixel sees has a volume, but rounding may make it nothing here and not in the kernel.
    inverse = 1 / torch.where(volume == 0, torch.full_like(volume, torch.finfo(volume.dtype).tiny ** 0.5), volume)
    at_b = (away * across).sum(-1) * inverse
    at_c = (ray * turned).sum(-1) * inverse
    depth = (ac * turned).sum(-1) * inverse
    # A face reaches a trifle beyond its edges (`visibility.SLACK`), its attributes do not.
    weights = torch.stack([1 - at_b - at_c, at_b, at_c], dim=-1).clamp(min=0)
    return weights / weights.sum(-1, keepdim=True), depth


def sample(fragments: Fragments, faces: torch.Tensor, attributes: torch.Tensor) -> torch.Tensor:
    """Interpolate (V, C) vertex attributes at the seen pixels only: (P, C). With the vertices themselves as attributes
    it gives the surface points."""
    corners = faces[fragments.seen]
    values = attributes.index_select(0, corners.reshape(-1)).reshape(*corners.shape, attributes.shape[1])  # (P, 3, C)
    return (values * fragments.weights.to(values.dtype)[..., None]).sum(1)


def interpolate(
    fragments: Fragments, faces: torch.Tensor, attributes: torch.Tensor, background: torch.Tensor | float = 0.0
) -> torch.Tensor:
    """Interpolate (V, C) vertex attributes over the image: (N, S, S, C), `background` where nothing is seen."""
    return fragments.spread(sample(fragments, faces, attributes), background)


def check(vertices: torch.Tensor, faces: torch.Tensor, first_face: torch.Tensor, cameras: Cameras, size: int) -> None:
    """Refuse what cannot be rasterised.

    Raises:
        RenderingError: see `rasterise`.
    """
    if not 1 <= size <= MAX_SIZE:
        raise RenderingError(f"Images of {size} pixels cannot be made.", f"Choose a size from 1 to {MAX_SIZE}.")
    if vertices.ndim != 2 or vertices.shape[1] != 3 or not vertices.is_floating_point():
        raise RenderingError(f"Vertices must be (V, 3) floats, not {tuple(vertices.shape)} {vertices.dtype}.")
    if faces.ndim != 2 or faces.shape[1] != 3 or faces.dtype != torch.int64:
        raise RenderingError(f"Faces must be (F, 3) int64, not {tuple(faces.shape)} {faces.dtype}.")
    devices = {value.device for value in (vertices, faces, first_face, cameras.mesh)}
    if len(devices) > 1:
        raise RenderingError(f"Mesh and cameras are on different devices: {', '.join(sorted(map(str, devices)))}.")
    if not bool(torch.isfinite(vertices).all()):
        raise RenderingError("A vertex is not a finite number.", "Look where the mesh comes from: it has diverged.")
    if len(faces) and (int(faces.min()) < 0 or int(faces.max()) >= len(vertices)):
        raise RenderingError(f"A face names a vertex that is none of the {len(vertices)}.")
    steps = first_face[1:] - first_face[:-1]
    if len(first_face) < 2 or int(first_face[0]) or int(first_face[-1]) != len(faces) or bool((steps < 0).any()):
        raise RenderingError(f"`first_face` does not divide {len(faces)} faces into meshes.")
    if len(cameras) and (int(cameras.mesh.min()) < 0 or int(cameras.mesh.max()) >= len(steps)):
        raise RenderingError(f"A camera sees a mesh that is none of the {len(steps)}.")
