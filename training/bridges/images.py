"""To images: silhouette, depth and normals, drawn by the one rasteriser."""

from __future__ import annotations

import math

import torch

from ..rendering.antialias import outline_blend
from ..rendering.cameras import RADIUS, Cameras
from ..rendering.outline import Edges
from ..rendering.rasterise import pack, rasterise, sample
from ..rendering.shading import vertex_normals
from .setting import Setting
from .surface import to_meshes

CHANNELS = 5
"""Silhouette, depth, and normals in the shape's axes."""


def to_images(shapes: object, setting: Setting, size: int, resolution: int) -> torch.Tensor:
    """(N, V, 5, S, S) in [−1, 1]: silhouette ±1; times the silhouette in [0, 1]: nearness (1 − depth from the middle of
    the cube over √3), and smooth normals turned towards the viewer. Outlines are blended, and carry gradients.

    Shapes have no colour here, and no light falls on them: normals say what shading would.
    """
    meshes = to_meshes(shapes, resolution)
    count, views = setting.azimuth.shape
    packed = pack(meshes)
    mesh = torch.arange(count, device=packed.vertices.device).repeat_interleave(views)
    cameras = Cameras.at(setting.azimuth.reshape(-1), setting.elevation.reshape(-1), mesh=mesh)
    fragments = rasterise(packed.vertices, packed.faces, cameras, size, packed.first_face)
    normal = sample(fragments, packed.faces, vertex_normals(packed.vertices, packed.faces))
    point = sample(fragments, packed.faces, packed.vertices)
    to_eye = cameras.positions.to(point)[fragments.camera] - point
    normal = torch.nn.functional.normalize(normal, dim=-1, eps=1e-6)
    normal = normal * torch.where((normal * to_eye).sum(-1, keepdim=True) < 0, -1.0, 1.0)
    near = (RADIUS - fragments.depths[:, None]) / math.sqrt(3)
    image = fragments.spread(torch.cat([torch.ones_like(near), near, normal], 1))  # (N V, S, S, 5)
    if len(packed.faces):
        edges = Edges.of(packed.faces, packed.first_face)
        image = outline_blend(fragments, packed.vertices, edges, cameras)(image)
    image = torch.cat([image[..., :1] * 2 - 1, image[..., 1:]], -1)
    return image.permute(0, 3, 1, 2).unflatten(0, (count, views))
