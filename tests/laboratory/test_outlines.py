"""Outlines: pixels hold the share that is covered, and its derivative; a silhouette can be followed to a target."""

from __future__ import annotations

import math

import numpy as np
import pytest
import solids
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from training.rendering.antialias import antialias, outline_blend
from training.rendering.cameras import Cameras
from training.rendering.outline import Edges, welded
from training.rendering.rasterise import Packed, interpolate, pack, rasterise


def tensors(mesh: tuple[np.ndarray, np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(np.asarray(mesh[0]), dtype=torch.float32), torch.tensor(np.asarray(mesh[1]))


def ball(subdivisions: int, radius: float = 0.7) -> tuple[torch.Tensor, torch.Tensor]:
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius)
    return tensors((mesh.vertices, mesh.faces))


def square(low: float, high: float, depth: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Faces the front."""
    corners = [[low, depth, low], [high, depth, low], [high, depth, high], [low, depth, high]]
    return torch.tensor(corners), torch.tensor([[0, 1, 2], [0, 2, 3]])


def silhouette(vertices: torch.Tensor, faces: torch.Tensor, cameras: Cameras, size: int) -> torch.Tensor:
    seen = rasterise(vertices, faces, cameras, size)
    return antialias(seen.mask[..., None].to(vertices.dtype), seen, vertices, faces, cameras)[..., 0]


def ball_area(radius: float, camera: Cameras, size: int) -> float:
    """Pixels that a ball ahead covers: a disc whose rim is seen at the angle asin(radius / distance)."""
    tangent = radius / math.sqrt(float(camera.radius[0]) ** 2 - radius**2)
    pixels = size / 2 / math.tan(float(camera.field_of_view[0]) / 2)
    return math.pi * (tangent * pixels) ** 2


SOLIDS = {
    "ball": ball(4),
    "box": tensors(solids.box((-0.6, -0.5, -0.7), (0.5, 0.6, 0.4))),
    "torus": tensors(solids.torus()),
    "triangle": (torch.tensor([[-0.8, 0, -0.7], [0.9, 0.3, -0.5], [0.1, 0, 0.8]]), torch.tensor([[0, 1, 2]])),
}


@pytest.mark.parametrize("name", SOLIDS)
def test_a_pixel_holds_the_share_that_is_covered(name):
    vertices, faces = SOLIDS[name]
    cameras = Cameras.at([0.3, 2.1, 4.4], [0.3, 0.0, 0.9])
    size, finer = 48, 10
    smooth = silhouette(vertices, faces, cameras, size)
    hard = rasterise(vertices, faces, cameras, size).mask.float()
    fine = rasterise(vertices, faces, cameras, size * finer).mask.float()
    covered = torch.nn.functional.avg_pool2d(fine, finer)
    outline = (covered > 0) & (covered < 1)
    error = (smooth - covered).abs()
    assert error[~outline].max() < 0.13  # a corner that reaches in without its edges crossing between centres
    assert error[outline].mean() < 0.06
    assert error[outline].mean() < 0.25 * (hard - covered).abs()[outline].mean()
    torch.testing.assert_close(smooth.sum((1, 2)), covered.sum((1, 2)), rtol=8e-3, atol=0)


@pytest.mark.parametrize(("subdivisions", "share"), [(3, 0.995), (5, 1.0)])
def test_the_area_and_its_derivative_are_those_of_the_disc(subdivisions, share):
    """Also where triangles are far smaller than pixels: 20,480 on a disc of some 40 pixels. A polyhedron of 1,280 faces
    covers a little less than the disc."""
    vertices, faces = ball(subdivisions, radius=1.0)
    areas, slopes, step = [], [], 1e-4
    for i in range(8):
        camera = Cameras.at([0.1 + 0.7 * i], 0.06 * i)
        radius = torch.tensor(0.45 + 0.02 * i, requires_grad=True)
        area = silhouette(vertices * radius, faces, camera, 64).sum()
        area.backward()
        less, exact, more = (ball_area(float(radius.detach()) + by, camera, 64) for by in (-step, 0.0, step))
        areas.append(float(area.detach()) / exact)
        slopes.append(float(radius.grad) / ((more - less) / (2 * step)))
    assert np.allclose(areas, share, atol=0.005)
    assert np.allclose(slopes, share, atol=0.08)
    assert math.isclose(np.mean(slopes), share, abs_tol=0.025)


def test_derivatives_of_color_at_an_outline_inside_the_picture():
    """A square moves sideways before a wall whose brightness grows to the right: what it uncovers on one side less what
    it covers on the other."""
    front, front_faces = square(-0.31, 0.42, 0.0)
    wall, wall_faces = square(-3.0, 3.0, 0.5)
    shift = torch.tensor(0.013, requires_grad=True)
    vertices = torch.cat([front + shift * torch.tensor([1.0, 0, 0]), wall])
    faces = torch.cat([front_faces, wall_faces + 4])
    brightness = torch.cat([torch.full((4, 1), 0.5), (0.5 + wall[:, :1] / 6)])
    camera = Cameras.at([0.0], 0.0, 2.0)
    seen = rasterise(vertices, faces, camera, 128)
    image = antialias(interpolate(seen, faces, brightness), seen, vertices, faces, camera)
    image.sum().backward()
    pixels = 64 / math.tan(float(camera.field_of_view[0]) / 2)
    left, right = (value * 2.5 / 2.0 for value in (-0.31 + 0.013, 0.42 + 0.013))  # where its edges meet the wall
    height = 0.73 / 2.0 * pixels
    expected = height * (pixels / 2.0) * ((0.5 + left / 6) - (0.5 + right / 6))
    assert math.isclose(float(shift.grad), expected, rel_tol=0.03)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**31), count=st.integers(1, 40), scale=st.sampled_from([0.05, 0.3, 1.5]))
def test_no_color_leaves_the_images_range(seed, count, scale):
    random = torch.Generator().manual_seed(seed)
    centres = torch.rand(count, 1, 3, generator=random) * 2 - 1
    vertices = (centres + scale * torch.randn(count, 3, 3, generator=random)).reshape(-1, 3)
    faces = torch.arange(3 * count).reshape(-1, 3)
    cameras = Cameras.draw(2, random)
    seen = rasterise(vertices, faces, cameras, 16)
    blend = outline_blend(seen, vertices, Edges.of(faces), cameras.seeing(torch.zeros(2, dtype=torch.int64)))
    image = torch.rand(2, 16, 16, 3, generator=random)
    found = blend(image)
    assert found.min() >= image.min() - 1e-6
    assert found.max() <= image.max() + 1e-6
    plain = torch.full_like(image, 0.7)
    torch.testing.assert_close(blend(plain), plain)


def test_only_outlines_are_touched():
    vertices, faces = ball(4)
    camera = Cameras.at([0.2], 0.1)
    seen = rasterise(vertices, faces, camera, 64)
    image = torch.rand(1, 64, 64, 1, generator=torch.Generator().manual_seed(0))
    changed = (antialias(image, seen, vertices, faces, camera) != image)[0, ..., 0]
    row, column = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    away = torch.hypot(row - 31.5, column - 31.5) - math.sqrt(ball_area(0.7, camera, 64) / math.pi)
    assert changed.any()
    assert away[changed].abs().max() < 1.0


def test_edges_of_closed_open_and_tangled_meshes():
    vertices, faces = SOLIDS["box"]
    edges = Edges.of(faces)
    assert len(edges.ends) == 18
    assert set(edges.first_opposite.diff().tolist()) == {2}
    sheet = Edges.of(torch.tensor([[0, 1, 2], [0, 2, 3]]))
    assert sorted(sheet.first_opposite.diff().tolist()) == [1, 1, 1, 1, 2]
    pages = Edges.of(torch.tensor([[0, 1, 2], [1, 0, 3], [0, 1, 4]]))
    assert sorted(pages.first_opposite.diff().tolist()) == [1] * 6 + [3]
    assert set(pages.opposite[pages.first_opposite[0] : pages.first_opposite[1]].tolist()) == {2, 3, 4}
    packed = pack([(vertices, faces), (torch.zeros(0, 3), faces[:0]), SOLIDS["triangle"]])
    assert Edges.of(packed.faces, packed.first_face).first_edge.tolist() == [0, 18, 18, 21]


def test_seams_of_welded_meshes_are_no_outlines():
    vertices, faces = ball(3)
    split, split_faces = vertices[faces].reshape(-1, 3), torch.arange(3 * len(faces)).reshape(-1, 3)
    cameras = Cameras.ring(2, mesh=0)
    image = torch.rand(2, 32, 32, 3, generator=torch.Generator().manual_seed(4))
    expected = antialias(image, rasterise(vertices, faces, cameras, 32), vertices, faces, cameras)
    seen = rasterise(split, split_faces, cameras, 32)
    found = antialias(image, seen, split, split_faces, cameras, edges=Edges.of(welded(split, split_faces)))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert not torch.equal(antialias(image, seen, split, split_faces, cameras), expected)


def overlap(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.minimum(one, other).sum() / torch.maximum(one, other).sum())


def test_a_silhouette_is_fitted_by_gradient_descent():
    """A ball becomes a block by pictures of outlines from six sides alone, and looks like it from others too."""
    target, target_faces = tensors(solids.box((-0.55, -0.3, -0.75), (0.35, 0.45, 0.6)))
    vertices, faces = ball(3, radius=0.5)
    cameras = Cameras.at([0.0, 1.0, 2.1, 3.1, 4.2, 5.2], [0.1, 0.6, 0.2, 0.5, 0.0, 0.4])
    others = Cameras.at([0.5, 1.5, 2.6], [0.2, 0.1, 0.3])
    wanted = silhouette(target, target_faces, cameras, 48)
    edges = Edges.of(faces)
    low, high = edges.ends.long().unbind(1)
    moved = vertices.clone().requires_grad_()
    optimiser = torch.optim.Adam([moved], lr=0.03)
    overlaps = []
    for _ in range(60):
        seen = rasterise(moved, faces, cameras, 48)
        image = antialias(seen.mask[..., None].float(), seen, moved, faces, cameras, edges=edges)[..., 0]
        loss = (image - wanted).square().mean() + 0.5 * (moved[low] - moved[high]).square().sum(-1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        overlaps.append(overlap(image.detach(), wanted))
    assert overlaps[0] < 0.75
    assert overlaps[-1] > 0.97
    with torch.no_grad():
        wanted = silhouette(target, target_faces, others, 48)
        assert overlap(silhouette(vertices, faces, others, 48), wanted) < 0.75
        assert overlap(silhouette(moved, faces, others, 48), wanted) > 0.93


def test_two_meshes_of_a_batch_are_fitted_at_once():
    """Each camera's gradient reaches its own mesh."""
    vertices, faces = ball(2, radius=1.0)
    radii = torch.tensor([0.3, 0.6], requires_grad=True)
    cameras = Cameras.at([0.0, 1.0, 2.0, 3.0], mesh=[0, 1, 1, 0])
    packed = pack([(vertices * radii[0], faces), (vertices * radii[1], faces)])
    wanted = silhouette(vertices * 0.45, faces, cameras, 32)

    def loss(meshes: Packed) -> torch.Tensor:
        seen = rasterise(meshes.vertices, meshes.faces, cameras, 32, meshes.first_face)
        image = antialias(seen.mask[..., None].float(), seen, meshes.vertices, meshes.faces, cameras, meshes.first_face)
        return (image[..., 0] - wanted).square().mean()

    loss(packed).backward()
    assert radii.grad[0] < 0 < radii.grad[1]
