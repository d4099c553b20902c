"""Pictures of a shape as a critic of images sees real ones: drawn by the renderer that draws generated shapes.

Cameras are drawn as GET3D draws them. Base colours are looked up in the source's materials where each pixel's ray
meets the surface. Outlines are blended as they are for generated shapes: colours are premultiplied by the silhouette,
so that a picture over any background is `rgb + (1 − silhouette) · background`, in sRGB values as generated ones are.
"""

from __future__ import annotations

import numpy as np
import torch

from ..rendering.antialias import outline_blend
from ..rendering.cameras import Cameras
from ..rendering.outline import Edges
from ..rendering.rasterise import rasterise
from ..rendering.shading import face_normals, lit
from .rows import unique_rows
from .source import SourceMesh

DEPTH_STEP = 1 / 8192
"""Of the stored depths, in units of the cube: 0.07 mm of a chair of one metre; they reach to 8."""
PICTURES = frozenset({"rgba", "orm", "lit", "depth", "normal"})


def render_views(mesh: SourceMesh, count: int, size: int, seed: int) -> dict[str, np.ndarray]:
    """Draw a shape that lies in the cube from random sides.

    Returns:
        `cameras` (N, 4) float32: azimuth, elevation, radius, vertical field of view (`stored_cameras` makes them
        cameras again); `rgba` (N, S, S, 4) uint8: premultiplied sRGB base colour and silhouette; `orm` (N, S, S, 3)
        uint8: occlusion (1), roughness and metallic as glTF packs them, premultiplied; `lit` (N, S, S, 3) uint8: the
        base colour lit, premultiplied; `depth` (N, S, S) uint16 along the view in `DEPTH_STEP`, 0 where nothing
        is seen; `normal` (N, S, S, 3) uint8: unit normals in the cube's frame, towards the viewer, as
        round(127 n) + 128, and 0 where nothing is seen. Depths and normals are those at pixels' centres.
    """
    cameras = Cameras.draw(count, torch.Generator().manual_seed(seed)).seeing(torch.zeros(count, dtype=torch.int64))
    # One vertex for each place, whatever texture seams made of it, so that seams are no outlines.
    first, merged = unique_rows(mesh.vertices)
    vertices = torch.from_numpy(np.ascontiguousarray(mesh.vertices[first], np.float32))
    faces = torch.from_numpy(merged[mesh.faces])
    fragments = rasterise(vertices, faces, cameras, size)
    color, roughness, metallic = mesh.materials_at(fragments.seen.numpy(), fragments.weights.numpy())
    base = torch.from_numpy(np.ascontiguousarray(color, np.float32))
    normal = face_normals(fragments, vertices, faces, cameras)

    seen = torch.ones(len(base), 1)
    packed = torch.from_numpy(np.stack([roughness, metallic], axis=1).astype(np.float32))
    channels = [base, seen, seen, packed, lit(base, normal, fragments, cameras)]
    flat = fragments.spread(torch.cat(channels, dim=1))  # (N, S, S, 10)
    edges = Edges.of(faces, torch.tensor([0, len(faces)]))
    smooth = outline_blend(fragments, vertices, edges, cameras)(flat).clamp(0, 1)
    pixels = (smooth * 255).round().to(torch.uint8).numpy()
    depth = (fragments.depth / DEPTH_STEP).round().clamp(0, 65535).numpy().astype(np.uint16)
    normals = fragments.spread((normal * 127).round() + 128).to(torch.uint8).numpy()
    columns = [cameras.azimuth, cameras.elevation, cameras.radius, cameras.field_of_view]
    return {
        "cameras": torch.stack(columns, dim=1).numpy(),
        "rgba": pixels[..., :4],
        "orm": pixels[..., 4:7],
        "lit": pixels[..., 7:],
        "depth": depth,
        "normal": normals,
    }


def stored_cameras(cameras: np.ndarray) -> Cameras:
    """The `cameras` (N, 4) of a record, each in front of the one mesh of a batch of one."""
    azimuth, elevation, radius, field_of_view = torch.from_numpy(np.array(cameras, np.float32)).unbind(1)
    return Cameras.at(azimuth, elevation, radius, field_of_view)
