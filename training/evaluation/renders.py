"""Pictures of painted meshes by the differentiable rasteriser, the one renderer of samples and references alike."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import torch

from ..rendering.antialias import antialias
from ..rendering.cameras import Cameras
from ..rendering.preview import BACKGROUND, PLAIN
from ..rendering.rasterise import rasterise, sample
from ..rendering.shading import lit, vertex_normals
from .painted import PaintedMesh

LOOKS = ("plain", "coloured")
"""`plain` gives every shape one grey, so that geometry alone is judged; `coloured` its base colours."""
ELEVATION = 20.0
START = 30.0
SHEET_AZIMUTH = 35.0
SHEET_SIZE = 144


@dataclasses.dataclass(frozen=True)
class Views:
    """From where shapes are looked at for metrics."""

    count: int = 4
    """Cameras, evenly spaced all the way round."""
    size: int = 128
    """Pixels along a side."""

    @property
    def cameras(self) -> Cameras:
        return Cameras.ring(self.count, math.radians(ELEVATION), math.radians(START))

    @property
    def protocol(self) -> str:
        return (
            f"{self.count} views all round from azimuth {START:.0f}°, elevation {ELEVATION:.0f}°, "
            f"{self.size}², rasterised with anti-aliased outlines, smooth normals and one fixed light, "
            "roughness and metallic not shown"
        )


def render(mesh: PaintedMesh | None, cameras: Cameras, size: int, look: str) -> np.ndarray:
    """Draw a mesh; None is an empty picture.

    Args:
        look: one of `LOOKS`; a mesh without colours is plain in both.

    Returns:
        (N, size, size, 3) uint8 sRGB.
    """
    background = torch.from_numpy(BACKGROUND)
    if mesh is None:
        image = background.expand(len(cameras), size, size, 3)
    else:
        vertices, faces = torch.from_numpy(mesh.vertices), torch.from_numpy(mesh.faces.astype(np.int64))
        fragments = rasterise(vertices, faces, cameras, size)
        if look == "coloured" and mesh.colours is not None:
            colour = sample(fragments, faces, torch.from_numpy(mesh.colours))
        else:
            colour = torch.from_numpy(PLAIN).expand(len(fragments.pixels), 3)
        normal = torch.nn.functional.normalize(sample(fragments, faces, vertex_normals(vertices, faces)), dim=-1)
        image = fragments.spread(lit(colour, normal, fragments, cameras), background)
        image = antialias(image, fragments, vertices, faces, cameras)
    return (image.clamp(0, 1) * 255 + 0.5).to(torch.uint8).numpy()


def portrait(mesh: PaintedMesh | None, size: int = SHEET_SIZE) -> np.ndarray:
    """(size, size, 3) uint8: a mesh from the front right in its own colours, for sheets and films."""
    camera = Cameras.at([math.radians(SHEET_AZIMUTH)], math.radians(ELEVATION))
    return render(mesh, camera, size, "coloured")[0]
