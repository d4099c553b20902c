"""Winding numbers of meshes and of oriented points, and the fusion of views, against what is known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sdf import grid

from gan3d_core import winding
from gan3d_core.fusion import CAMERAS, camera_frames, fuse
from gan3d_core.generators.template import spheres
from gan3d_core.representations import DISTANCE_BAND, Views


def ball(radius: float, levels: int = 4) -> torch.Tensor:
    """(F, 3, 3) triangles."""
    level = spheres(levels)[-1]
    return torch.from_numpy(level.vertices[level.faces] * np.float32(radius))


def dipoles(triangles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    cross = torch.linalg.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    return triangles.mean(1)[None], 0.5 * cross[None]


def test_solid_angles_of_a_closed_mesh_and_of_one_face() -> None:
    points = torch.tensor([[0.0, 0.0, 0.0], [0.3, -0.2, 0.1], [0.9, 0.0, 0.0], [2.0, 1.0, 0.0]])
    triangles = ball(0.6, 2)
    found = winding.exactly(triangles.expand(len(points), -1, -1, -1), points)
    assert torch.allclose(found, torch.tensor([1.0, 1.0, 0.0, 0.0]), atol=1e-4)
    # From a cube's corner the opposite octant's face is an eighth of everything.
    octant = torch.eye(3)[None, None]
    assert float(winding.exactly(octant, torch.zeros(1, 3))) == pytest.approx(1 / 8, abs=1e-6)
    assert float(winding.exactly(octant.flip(2), torch.zeros(1, 3))) == pytest.approx(-1 / 8, abs=1e-6)


def test_dipoles_far_away_stand_for_solid_angles() -> None:
    triangles, generator = ball(0.6, 3), np.random.default_rng(0)
    points = torch.from_numpy(generator.uniform(-0.9, 0.9, (200, 3)).astype(np.float32))
    away = (points.norm(dim=1) - 0.6).abs()
    near = torch.cdist(points, triangles.mean(1)).topk(24, largest=False).indices
    open_one = triangles[triangles.mean(1)[:, 2] < 0.3]  # a bowl: its number is no whole one
    near_open = torch.cdist(points, open_one.mean(1)).topk(24, largest=False).indices
    for one, rows in ((triangles, near), (open_one, near_open)):
        exact = winding.exactly(one.expand(len(points), -1, -1, -1), points)
        assert (winding.of_mesh(one, points, rows) - exact).abs().max() < 0.03
    assert ((winding.of_mesh(triangles, points, near) > 0.5) == (points.norm(dim=1) < 0.6))[away > 5e-3].all()


def test_on_a_lattice_it_is_one_inside_and_nothing_outside() -> None:
    resolution = 24
    number = winding.on_lattice(*dipoles(ball(0.6)), resolution)[0].numpy()
    distance = np.linalg.norm(grid(resolution), axis=-1) - 0.6
    voxel = 2 / resolution
    assert np.abs(number - (distance < 0))[np.abs(distance) > 1.5 * voxel].max() < 0.01
    assert ((number > 0.5) == (distance < 0))[np.abs(distance) > 0.15 * voxel].all()
    # Its integral is the enclosed volume.
    assert number.sum() * voxel**3 == pytest.approx(4 / 3 * math.pi * 0.6**3, rel=0.01)


def test_on_a_lattice_an_open_surface_has_its_solid_angle() -> None:
    """Away from the surface it is what the triangles' solid angles say; nothing comes round from the other side."""
    triangles, resolution = ball(0.6), 24
    triangles = triangles[triangles.mean(1)[:, 2] < 0.3]
    number = winding.on_lattice(*dipoles(triangles), resolution)[0].reshape(-1)
    points = torch.from_numpy(grid(resolution).reshape(-1, 3))
    far = torch.cdist(points, triangles.mean(1)).amin(1) > 2.0 * 2 / resolution
    chosen = far.nonzero()[::37, 0]
    exact = winding.exactly(triangles.expand(len(chosen), -1, -1, -1), points[chosen])
    assert (number[chosen] - exact).abs().max() < 0.01


def test_gradients_of_the_lattice() -> None:
    generator = torch.Generator().manual_seed(0)
    points = (torch.rand((1, 2, 3), generator=generator, dtype=torch.float64) - 0.5).requires_grad_(True)
    normals = torch.randn((1, 2, 3), generator=generator, dtype=torch.float64).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda p, n: winding.on_lattice(p, n, 4), (points, normals), fast_mode=True)


# ── fusion ────────────────────────────────────────────────────────────────────────────────────────────────────────


def views_of_a_ball(radius: float, count: int, size: int) -> Views:
    """In closed form: heights √(r² − u² − v²), normals (u, v, height) / r, clearances √(u² + v²) − r."""
    axes, reach = (torch.from_numpy(each) for each in camera_frames(count))
    centre = (2 * torch.arange(size) + 1) / size - 1
    u = (reach[:, None] * centre)[:, None, :].expand(-1, size, -1)
    v = -(reach[:, None] * centre)[:, :, None].expand(-1, -1, size)
    left = radius**2 - u**2 - v**2
    height = left.clamp(min=0).sqrt()
    local = torch.nn.functional.normalize(torch.stack([u, v, height], 1), dim=1)  # (C, 3, S, S)
    normal = torch.einsum("ckuv,cki->ciuv", local, axes)
    clearance = ((u**2 + v**2).sqrt() - radius).clamp(-DISTANCE_BAND, DISTANCE_BAND)
    return Views(height[None], normal[None], clearance[None], axes, reach)


@pytest.mark.parametrize("count", CAMERAS)
def test_cameras_stand_around_the_cube(count: int) -> None:
    axes, reach = camera_frames(count)
    assert np.allclose(axes @ axes.transpose(0, 2, 1), np.eye(3), atol=1e-6)
    assert np.allclose(np.linalg.det(axes), 1, atol=1e-6)
    assert np.allclose(axes[:, 2].sum(axis=0), 0, atol=1e-6)
    assert len(np.unique(axes[:, 2].round(4), axis=0)) == count
    assert np.allclose(reach[:6], 1)
    assert (reach <= math.sqrt(3) + 1e-6).all()


@pytest.mark.parametrize("count", CAMERAS)
def test_the_views_of_a_ball_fuse_to_its_distance(count: int) -> None:
    points = torch.from_numpy(grid(20).reshape(1, -1, 3))
    found = fuse(views_of_a_ball(0.6, count, 96), points)[0]
    exact = points[0].norm(dim=1) - 0.6
    near = exact.abs() < 0.03
    assert (found - exact).abs()[near].max() < 0.015
    assert ((found < 0) == (exact < 0))[exact.abs() > 5e-3].all()


def test_gradients_of_the_fusion() -> None:
    views = views_of_a_ball(0.6, 6, 6)
    points = torch.from_numpy(np.random.default_rng(0).uniform(-0.8, 0.8, (1, 6, 3)))
    axes, reach = views.axes.double(), views.reach.double()

    def field(height: torch.Tensor, normal: torch.Tensor, clearance: torch.Tensor) -> torch.Tensor:
        return fuse(Views(height, normal, clearance, axes, reach), points)

    # A little unevenness, since the largest of equal verdicts has no one gradient.
    generator = torch.Generator().manual_seed(0)
    maps = [
        (each + 0.01 * torch.rand(each.shape, generator=generator)).double().requires_grad_(True)
        for each in (views.height, views.normal, views.clearance)
    ]
    assert torch.autograd.gradcheck(field, maps, fast_mode=True)
