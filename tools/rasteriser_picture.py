"""The rasteriser's picture in the docs: what it draws of a chair, and a ball fitted to that chair's silhouettes."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import trimesh
from PIL import Image

from gan3d_core.field import EXTENT
from gan3d_core.files import atomic_path
from training.rendering.antialias import antialias
from training.rendering.cameras import Cameras
from training.rendering.outline import Edges
from training.rendering.rasterise import Fragments, rasterise, sample
from training.rendering.shading import face_normals, lit

ROOT = Path(__file__).resolve().parents[1]
CHAIR = ROOT / "tests" / "shapes" / "furniture" / "chair" / "000001.npz"
SIZE = 192
WHITE = 1.0
STEPS = 240
SHOWN = (0, 20, 60, 120, STEPS)
CAMERA = Cameras.at([math.radians(35)])
AROUND = Cameras.at([0.8 * i for i in range(8)], [0.1, 0.5, 0.2, 0.45, 0.05, 0.4, 0.3, 0.5])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.rasteriser_picture", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "rasteriser.png")
    options = parser.parse_args(arguments)
    vertices, faces, colors = chair()
    rows = [torch.cat(maps(vertices, faces, colors), dim=1), torch.cat(fitted(vertices, faces), dim=1)]
    pixels = (torch.cat(rows).clamp(0, 1) * 255 + 0.5).byte().numpy()
    with atomic_path(options.out) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG", optimize=True)
    return 0


def chair() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Vertices in the cube, faces, and vertex colours of one of the tests' chairs, whose front is +X in its file."""
    data = np.load(CHAIR)
    x, y, z = torch.tensor(data["position"].astype(np.float32)).unbind(1)
    vertices = torch.stack([y, -x, z], dim=1)
    low, high = vertices.amin(0), vertices.amax(0)
    vertices = (vertices - (low + high) / 2) * (2 * EXTENT / (high - low).max())
    return vertices, torch.tensor(data["face"].astype(np.int64)), torch.tensor(data["rgb"] / 255, dtype=torch.float32)


def maps(vertices: torch.Tensor, faces: torch.Tensor, colors: torch.Tensor) -> list[torch.Tensor]:
    """Base colour, lit, silhouette, normals, depth: (SIZE, SIZE, 3) each."""
    seen = rasterise(vertices, faces, CAMERA, SIZE)
    color, normal = sample(seen, faces, colors), face_normals(seen, vertices, faces, CAMERA)
    towards = torch.einsum("pij,pj->pi", CAMERA.axes[seen.camera], normal) * torch.tensor([1.0, 1.0, -1.0])
    span = (seen.depths - seen.depths.min()) / (seen.depths.max() - seen.depths.min())
    depth = (0.9 - 0.85 * span)[:, None].expand(-1, 3)
    drawn = [color, lit(color, normal, seen, CAMERA), towards * 0.5 + 0.5, depth]
    images = [blended(seen.spread(values, WHITE), seen, vertices, faces) for values in drawn]
    mask = blended(seen.mask[..., None].expand(-1, -1, -1, 3).float(), seen, vertices, faces)
    return [*images[:2], mask, *images[2:]]


def blended(image: torch.Tensor, seen: Fragments, vertices: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    return antialias(image, seen, vertices, faces, CAMERA)[0]


def fitted(target: torch.Tensor, target_faces: torch.Tensor) -> list[torch.Tensor]:
    """A ball after some steps of gradient descent on silhouettes from eight sides: (SIZE, SIZE, 3) each."""
    wanted = silhouettes(target, target_faces, Edges.of(target_faces))
    ball = trimesh.creation.icosphere(subdivisions=4, radius=0.75)
    vertices = torch.tensor(ball.vertices, dtype=torch.float32, requires_grad=True)
    faces = torch.tensor(np.asarray(ball.faces))
    edges = Edges.of(faces)
    low, high = edges.ends.long().unbind(1)
    optimiser = torch.optim.Adam([vertices], lr=0.01)
    shown = []
    for step in range(STEPS + 1):
        if step in SHOWN:
            shown.append(in_clay(vertices.detach(), faces))
        smooth = (vertices[low] - vertices[high]).square().sum(-1).mean()
        loss = (silhouettes(vertices, faces, edges) - wanted).square().mean() + 0.6 * smooth
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return shown


def silhouettes(vertices: torch.Tensor, faces: torch.Tensor, edges: Edges) -> torch.Tensor:
    seen = rasterise(vertices, faces, AROUND, SIZE // 2)
    return antialias(seen.mask[..., None].float(), seen, vertices, faces, AROUND, edges=edges)


def in_clay(vertices: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    seen = rasterise(vertices, faces, CAMERA, SIZE)
    normal = face_normals(seen, vertices, faces, CAMERA)
    return blended(seen.spread(lit(torch.full_like(normal, 0.72), normal, seen, CAMERA), WHITE), seen, vertices, faces)


if __name__ == "__main__":
    sys.exit(main())
