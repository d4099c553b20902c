"""A fixed, simple light for pictures of base colours: sky, ground and one lamp above the viewer's shoulder.

Light adds up in linear colour; images are stored in sRGB. All of it is differentiable.
"""

from __future__ import annotations

import torch

from .cameras import Cameras
from .rasterise import Fragments

AMBIENT_SKY, AMBIENT_GROUND = 0.55, 0.25
KEY = 0.75
KEY_DIRECTION = (-0.45, 0.55, -0.75)
"""Towards the lamp, in the camera's right, up and forward: it moves with the viewer."""


def to_linear(color: torch.Tensor) -> torch.Tensor:
    """sRGB in [0, 1] to linear light (IEC 61966-2-1)."""
    return torch.where(color <= 0.04045, color / 12.92, ((color.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4)


def to_srgb(light: torch.Tensor) -> torch.Tensor:
    """Linear light to sRGB (IEC 61966-2-1)."""
    return torch.where(light <= 0.0031308, light * 12.92, 1.055 * light.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)


def face_normals(fragments: Fragments, vertices: torch.Tensor, faces: torch.Tensor, cameras: Cameras) -> torch.Tensor:
    """(P, 3) unit normals of the faces at the seen pixels, turned towards the viewer."""
    a, b, c = vertices.index_select(0, faces[fragments.seen].reshape(-1)).reshape(-1, 3, 3).unbind(1)
    normal = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=-1, eps=1e-12)
    to_eye = cameras.positions.to(vertices)[fragments.camera] - a
    return normal * torch.sign((normal * to_eye).sum(-1, keepdim=True))


def vertex_normals(vertices: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    """(V, 3) unit normals, faces weighted by their area; for smooth shading of meshes that are turned outward."""
    a, b, c = vertices.index_select(0, faces.reshape(-1)).reshape(-1, 3, 3).unbind(1)
    normal = torch.linalg.cross(b - a, c - a)
    total = torch.zeros_like(vertices).index_add(0, faces.reshape(-1), normal.repeat_interleave(3, dim=0))
    return torch.nn.functional.normalize(total, dim=-1, eps=1e-12)


def lit(color: torch.Tensor, normal: torch.Tensor, fragments: Fragments, cameras: Cameras) -> torch.Tensor:
    """Light the seen pixels.

    Args:
        color: (P, 3) sRGB base colours.
        normal: (P, 3) unit normals towards the viewer.

    Returns:
        (P, 3) sRGB in [0, 1].
    """
    key = torch.nn.functional.normalize(torch.tensor(KEY_DIRECTION), dim=0).to(color)
    lamp = (key @ cameras.axes.to(color))[fragments.camera]
    sky = 0.5 + 0.5 * normal[:, 2:]
    light = AMBIENT_GROUND + (AMBIENT_SKY - AMBIENT_GROUND) * sky
    light = light + KEY * (normal * lamp).sum(-1, keepdim=True).clamp(min=0)
    return to_srgb((to_linear(color) * light).clamp(0, 1))
