"""Images per second of the differentiable rasteriser, forward and backward.

Against what one would write in plain torch for a processor: the soft rasteriser of Liu et al. 2019, every face against
every pixel, which is also how such losses run where there is no CUDA. And against visibility by ray casting through
warp's bounding-volume hierarchy, the way that was not taken.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.utils.checkpoint
import trimesh
import warp as wp

from training.rendering.antialias import outline_blend
from training.rendering.cameras import Cameras
from training.rendering.outline import Edges
from training.rendering.preview import _cast
from training.rendering.rasterise import Packed, interpolate, pack, rasterise
from training.rendering.visibility import visible
from training.warp_runtime import make_mesh, vectors

SIZE = 128
BATCH = 16
FACES = 5120
SOFT_ROWS = 4


def run(options: argparse.Namespace) -> Iterator[str]:
    """milliseconds of clock and of all cores for an image of 128², of a batch of 16 meshes with 5,120 faces each."""
    meshes = pack([bumpy_ball(seed) for seed in range(BATCH)])
    colors = torch.rand(len(meshes.vertices), 3, generator=torch.Generator().manual_seed(0))
    cameras = Cameras.draw(BATCH, torch.Generator().manual_seed(1))
    edges = Edges.of(meshes.faces, meshes.first_face)
    one = Packed(*bumpy_ball(0), torch.tensor([0, FACES]))
    few, few_colors = cameras[:1], colors[: len(one.vertices)]
    # All rows of the soft rasteriser cost the same, so that some are enough to know.
    soft = SOFT_ROWS / SIZE
    works: list[tuple[str, Callable[[], object], float]] = [
        ("forward: colour and mask, blended", lambda: picture(meshes, colors, cameras), BATCH),
        ("forward and backward", lambda: step(picture, meshes, colors, cameras), BATCH),
        ("    forward, edges kept", lambda: picture(meshes, colors, cameras, edges), BATCH),
        ("    visibility alone", lambda: visible(*meshes, cameras, SIZE), BATCH),
        ("    visibility by ray casting (warp's BVH)", lambda: cast(meshes, cameras), BATCH),
        ("soft rasteriser in plain torch, forward", lambda: soft_picture(one, few_colors, few), soft),
        ("soft rasteriser, forward and backward", lambda: step(soft_picture, one, few_colors, few), soft),
    ]
    yield f"torch threads: {torch.get_num_threads()}"
    yield f"{'':<46}{'clock':>10}{'cores':>10}{'images/s':>10}"
    clocks, cores = {}, {}
    for name, work, images in works:
        clock, core = measure(work, options.repeats if images == BATCH else 1)
        clocks[name], cores[name] = clock / images, core / images
        yield f"{name:<46}{1000 * clocks[name]:10.2f}{1000 * cores[name]:10.2f}{1 / clocks[name]:10.2f}"
    forward, both, *_, soft_forward, soft_both = cores.values()
    yield f"{'backward, in forwards':<46}{both / forward - 1:20.2f}"
    yield f"{'times cheaper than soft, forward':<46}{soft_forward / forward:20.0f}"
    yield f"{'times cheaper than soft, forward and backward':<46}{soft_both / both:20.0f}"


def bumpy_ball(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """5,120 faces: a ball of radius 0.9 with waves on it."""
    ball = trimesh.creation.icosphere(subdivisions=4)
    phase = np.random.default_rng(seed).uniform(0, 6, 3)
    radius = 0.75 + 0.15 * np.sin(5 * ball.vertices + phase).prod(axis=1, keepdims=True)
    return torch.tensor(ball.vertices * radius, dtype=torch.float32), torch.tensor(np.asarray(ball.faces))


def picture(meshes: Packed, colors: torch.Tensor, cameras: Cameras, edges: Edges | None = None) -> torch.Tensor:
    """(N, S, S, 4) colour and mask, outlines blended."""
    seen = rasterise(meshes.vertices, meshes.faces, cameras, SIZE, meshes.first_face)
    image = torch.cat([interpolate(seen, meshes.faces, colors), seen.mask[..., None].float()], dim=-1)
    edges = Edges.of(meshes.faces, meshes.first_face) if edges is None else edges
    return outline_blend(seen, meshes.vertices, edges, cameras)(image)


def cast(meshes: Packed, cameras: Cameras) -> None:
    """Visibility of the batch by ray casting; a hierarchy is built for each mesh, as training would have to."""
    origins, directions = (value.numpy() for value in cameras.rays(SIZE))
    count = SIZE * SIZE
    face, weights, depth = wp.empty(count, dtype=int), wp.zeros(count, dtype=wp.vec3), wp.zeros(count, dtype=float)
    for camera, mesh in enumerate(cameras.mesh.tolist()):
        faces = meshes.faces[meshes.first_face[mesh] : meshes.first_face[mesh + 1]]
        tree = make_mesh(meshes.vertices.numpy(), faces.numpy())
        start = vectors(np.broadcast_to(origins[camera], (count, 3)))
        wp.launch(_cast, count, inputs=[tree.id, start, vectors(directions[camera]), face, weights, depth])


def soft_picture(meshes: Packed, colors: torch.Tensor, cameras: Cameras) -> torch.Tensor:
    """(1, SOFT_ROWS, S, 4) after S. Liu et al.: Soft Rasterizer, ICCV 2019, section 3, with σ = 10⁻⁵."""
    project = cameras.to_pixels(SIZE)[0]
    corner = (meshes.vertices - cameras.positions[0]) @ project.T  # (V, 3)
    points = torch.cat([corner[:, :2] / corner[:, 2:] / SIZE, corner[:, 2:]], dim=1)[meshes.faces]  # (F, 3, 3)
    color = colors[meshes.faces]  # (F, 3, 3)
    x = torch.arange(SIZE) / SIZE
    rows = []
    for y in x[:: SIZE // SOFT_ROWS]:  # a row at a time: all faces for all pixels do not fit into memory
        pixel = torch.stack([x, y.expand(SIZE)], dim=-1)[:, None]  # (S, 1, 2)
        rows.append(torch.utils.checkpoint.checkpoint(_soft_row, points, color, pixel, use_reentrant=False))
    return torch.stack(rows)[None]


def _soft_row(points: torch.Tensor, color: torch.Tensor, pixel: torch.Tensor) -> torch.Tensor:
    near, distance = [], []
    for i in range(3):
        a, b = points[:, i, :2], points[:, (i + 1) % 3, :2]
        side, away = b - a, pixel - a  # (F, 2), (S, F, 2)
        near.append(side[:, 0] * away[..., 1] - side[:, 1] * away[..., 0])
        along = ((away * side).sum(-1) / (side**2).sum(-1).clamp(min=1e-12)).clamp(0, 1)
        distance.append((away - along[..., None] * side).square().sum(-1))
    area = near[0] + near[1] + near[2]
    weights = torch.stack([near[1], near[2], near[0]], dim=-1) / torch.where(area == 0, 1e-12, area)[..., None]
    inside = (weights >= 0).all(-1)
    reach = torch.where(inside, 1.0, -1.0) * torch.stack(distance).amin(0)
    covers = torch.sigmoid(reach / 1e-5)  # (S, F)
    weights = weights.clamp(0, 1)
    weights = weights / weights.sum(-1, keepdim=True).clamp(min=1e-5)
    depth = (weights * points[:, :, 2]).sum(-1)
    score = (4.0 - depth) / 1e-1 + covers.clamp(min=1e-10).log()
    share = torch.softmax(torch.cat([score, torch.zeros(len(score), 1)], dim=1), dim=1)[:, :-1]  # (S, F)
    shown = torch.einsum("sf,sfk,fkc->sc", share, weights, color)
    return torch.cat([shown, 1 - (1 - covers).prod(-1, keepdim=True)], dim=-1)


def step(
    draw: Callable[[Packed, torch.Tensor, Cameras], torch.Tensor],
    meshes: Packed,
    colors: torch.Tensor,
    cameras: Cameras,
) -> None:
    """An image and its gradients with respect to vertices and colours."""
    vertices, colors = meshes.vertices.clone().requires_grad_(), colors.clone().requires_grad_()
    draw(meshes._replace(vertices=vertices), colors, cameras).square().mean().backward()


def measure(work: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median seconds of several runs, by the clock and of all cores together; the first of several is not counted."""
    runs = []
    for _ in range(repeats + (repeats > 1)):
        clock, core = time.perf_counter(), time.process_time()
        work()
        runs.append((time.perf_counter() - clock, time.process_time() - core))
    clocks, cores = zip(*runs[repeats > 1 :], strict=True)
    return statistics.median(clocks), statistics.median(cores)
