"""Quick pictures of meshes by ray casting, for contact sheets: no window, no graphics driver, the same everywhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import warp as wp
from PIL import Image, ImageDraw

from gan3d_core.files import atomic_path

from ..warp_runtime import make_mesh, vectors

BACKGROUND = np.array([244, 244, 242], np.float32) / 255
PLAIN = np.array([0.78, 0.74, 0.68], np.float32)

Colouring = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(N,) faces and (N, 3) barycentric weights to (N, 3) sRGB colours in [0, 1]."""


@wp.kernel
def _cast(mesh: wp.uint64, origin: wp.array(dtype=wp.vec3), direction: wp.array(dtype=wp.vec3),
          face: wp.array(dtype=int), weights: wp.array(dtype=wp.vec3), depth: wp.array(dtype=float)):  # fmt: skip
    i = wp.tid()
    hit = wp.mesh_query_ray(mesh, origin[i], direction[i], 1.0e6)
    face[i] = -1
    if hit.result:
        face[i] = hit.face
        weights[i] = wp.vec3(hit.u, hit.v, 1.0 - hit.u - hit.v)
        depth[i] = hit.t


@dataclasses.dataclass(frozen=True)
class Camera:
    """An orthographic camera that looks at the centre of the cube."""

    azimuth: float = 35.0
    """Degrees from the front (−Y) towards the right (+X)."""
    elevation: float = 22.0
    """Degrees above the horizon."""
    half_width: float = 1.12
    """Half the width of the view, in units of the cube."""


CAMERA = Camera()


def render(
    vertices: np.ndarray,
    faces: np.ndarray,
    colouring: Colouring | None = None,
    camera: Camera = CAMERA,
    size: int = 128,
    supersample: int = 2,
    alpha: bool = False,
) -> np.ndarray:
    """Draw a mesh of the cube.

    Returns:
        (size, size, 3) uint8, row 0 at the top; with `alpha` (size, size, 4), for any background.
    """
    pixels = size * supersample
    azimuth, elevation = np.radians(camera.azimuth), np.radians(camera.elevation)
    eye = np.array([np.sin(azimuth) * np.cos(elevation), -np.cos(azimuth) * np.cos(elevation), np.sin(elevation)])
    right = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
    above = np.cross(eye, right)
    along = ((np.arange(pixels) + 0.5) / pixels * 2 - 1) * camera.half_width
    origin = eye * 4 + along[None, :, None] * right - along[:, None, None] * above
    count = pixels * pixels
    face = wp.empty(count, dtype=int)
    weights = wp.zeros(count, dtype=wp.vec3)
    depth = wp.zeros(count, dtype=float)
    mesh = make_mesh(vertices, faces)
    direction = np.broadcast_to(-eye, (count, 3))
    wp.launch(_cast, count, inputs=[mesh.id, vectors(origin), vectors(direction), face, weights, depth])
    image = np.broadcast_to(BACKGROUND, (count, 3)).copy()
    seen = face.numpy()
    hit = seen >= 0
    if hit.any():
        at, barycentric = seen[hit], weights.numpy()[hit]
        corners = vertices[faces[at]]
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-20)
        normal *= np.sign(normal @ eye)[:, None]  # open sheets show both sides
        colour = PLAIN if colouring is None else colouring(at, barycentric)
        key = eye + 0.6 * above - 0.7 * right
        key /= np.linalg.norm(key)
        light = 0.32 + 0.60 * np.clip(normal @ key, 0, 1) + 0.16 * (0.5 + 0.5 * normal[:, 2])
        image[hit] = np.clip(colour * light[:, None], 0, 1)
    if alpha:
        image[~hit] = 0
        image = np.concatenate([image, hit[:, None].astype(np.float32)], axis=1)
    image = image.reshape(size, supersample, size, supersample, -1).mean(axis=(1, 3))
    if alpha:
        image[..., :3] /= np.maximum(image[..., 3:], 1e-6)  # colours of what was hit, not mixed with nothing
    return (image * 255 + 0.5).astype(np.uint8)


def contact_sheet(images: list[np.ndarray], path: Path, columns: int = 8, captions: list[str] | None = None) -> None:
    """Write equally sized images as a grid, with a short caption under each if given."""
    if not images:
        return
    height, width = images[0].shape[:2]
    strip = 14 if captions else 0
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * width, rows * (height + strip)), tuple(int(c * 255) for c in BACKGROUND))
    draw = ImageDraw.Draw(sheet)
    for index, image in enumerate(images):
        x, y = index % columns * width, index // columns * (height + strip)
        sheet.paste(Image.fromarray(image), (x, y))
        if captions:
            draw.text((x + 3, y + height), captions[index][: width // 6], fill=(90, 90, 90))
    with atomic_path(path) as temporary:
        sheet.save(temporary)
