"""Dual marching cubes: topology, accuracy, gradients, triangles, and what it refuses."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from skimage.measure import marching_cubes
from solids import sphere_distance, torus_distance

from gan3d_core.errors import TrainingError
from gan3d_core.surfacing.measures import topology
from training import isosurface as module
from training.isosurface import REACH, isosurface, scattered_isosurface

SOLIDS = {
    "sphere": (sphere_distance, 2, 4 * math.pi * 0.7**2, 4 / 3 * math.pi * 0.7**3),
    "torus": (torus_distance, 0, 4 * math.pi**2 * 0.6 * 0.22, 2 * math.pi**2 * 0.6 * 0.22**2),
}


def corners(size: int, half: float = 1.0) -> np.ndarray:
    axis = np.linspace(-half, half, size)
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)


def noise(size: int, seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(size, size, size, *shape, generator=torch.Generator().manual_seed(seed))


def volume(vertices: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    a, b, c = vertices[faces].unbind(1)
    return (a * torch.linalg.cross(b, c, dim=-1)).sum() / 6


def area(vertices: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    a, b, c = vertices[faces].unbind(1)
    return torch.linalg.cross(b - a, c - a, dim=-1).norm(dim=-1).sum() / 2


def smallest_angles(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(F,) degrees."""
    points = vertices[faces]
    sides = np.roll(points, -1, 1) - points
    sides /= np.maximum(np.linalg.norm(sides, axis=-1, keepdims=True), 1e-30)
    return np.degrees(np.arccos(-(sides * np.roll(sides, 1, 1)).sum(-1).clip(-1, 1))).min(1)


def fans_are_single(faces: np.ndarray) -> bool:
    """Whether the faces around every vertex form one ring."""
    around: dict[int, list[tuple[int, int]]] = {}
    for a, b, c in faces.tolist():
        for vertex, edge in ((a, (b, c)), (b, (c, a)), (c, (a, b))):
            around.setdefault(vertex, []).append(edge)
    for edges in around.values():
        following = dict(edges)
        here, steps = edges[0][1], 1
        while here != edges[0][0] and steps <= len(edges):
            here, steps = following[here], steps + 1
        if len(following) != len(edges) or steps != len(edges):
            return False
    return True


def is_closed_manifold(faces: torch.Tensor) -> bool:
    directed = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    once = len(directed.unique(dim=0)) == len(directed)
    return once and topology(faces.numpy()).closed and fans_are_single(faces.numpy())


@pytest.mark.parametrize("name", SOLIDS)
def test_area_and_volume_converge_quadratically_to_the_analytic(name):
    distance, euler, exact_area, exact_volume = SOLIDS[name]
    errors = []
    for size in (17, 33, 65):
        vertices, faces = isosurface(torch.from_numpy(distance(corners(size))))
        assert topology(faces.numpy()).euler == euler
        assert is_closed_manifold(faces)
        errors.append(
            [1 - float(area(vertices, faces)) / exact_area, 1 - float(volume(vertices, faces)) / exact_volume]
        )
    errors = np.abs(errors)
    assert (errors[2] < [0.004, 0.01]).all()
    assert (errors[1:] < errors[:-1] / 3).all()  # halving the spacing divides them by about four


def test_the_lattice_may_be_that_of_cell_centres():
    half = 1 - 1 / 32
    vertices, _ = isosurface(torch.from_numpy(sphere_distance(corners(32, half))), half=half)
    assert abs(float(vertices.norm(dim=1).mean()) - 0.7) < 0.002
    assert vertices.mean(0).abs().max() < 1e-6


@pytest.mark.parametrize("seed", range(8))
def test_noise_gives_a_closed_manifold_that_faces_outwards(seed):
    """White noise holds every sign pattern, also next to each other and at the border."""
    vertices, faces = isosurface(noise(12, seed), noise(12, seed + 100, 3))
    assert is_closed_manifold(faces)
    assert volume(vertices, faces) > 0
    assert vertices.abs().max() <= 1


def test_every_pair_of_cells_across_an_ambiguous_face_is_manifold():
    """All 2 · 16 · 16 of them, side by side on one lattice, from both sides."""
    values = torch.ones(24 * 5 + 2, 24 * 4 + 2, 4)
    middle = torch.tensor([[-1.0, 1.0], [1.0, -1.0]])
    ends = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=4))).view(16, 2, 2)
    for place, (near, far) in enumerate(itertools.product(range(16), repeat=2)):
        x, y = 1 + place // 16 * 7, 1 + place % 16 * 6
        values[x + 1 : x + 4, y + 1 : y + 3, 1:3] = torch.stack([ends[near], middle, ends[far]])
    cube = torch.ones(122, 122, 122)
    cube[:, :98, 1:5] = values
    for axes in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        assert is_closed_manifold(isosurface(cube.permute(axes))[1])
    # The same pairs dug out of solid material.
    cube = torch.ones(124, 124, 124)
    cube[1:123, 1:99, 1:7] = -1
    cube[1:123, 1:99, 2:6] = -values
    assert is_closed_manifold(isosurface(cube)[1])


def test_vertices_lie_in_cells_that_the_surface_crosses():
    values = noise(10, 3)
    vertices, _ = isosurface(values)
    values[[0, -1]] = values[:, [0, -1]] = values[:, :, [0, -1]] = 1
    cell = ((vertices + 1) / 2 * 9).floor().long()
    spread = torch.stack([values[tuple((cell + torch.tensor(c)).T)] for c in itertools.product([0, 1], repeat=3)])
    assert (spread.amin(0) < 0).all()
    assert (spread.amax(0) >= 0).all()


@pytest.mark.parametrize("name", SOLIDS)
def test_triangles_are_better_than_those_of_plain_marching_cubes(name):
    values = SOLIDS[name][0](corners(33)).astype(np.float32)
    ours = smallest_angles(*(t.numpy() for t in isosurface(torch.from_numpy(values))))
    theirs = smallest_angles(*marching_cubes(values, 0.0)[:2])
    assert ours.mean() > 40
    assert theirs.mean() < 34
    assert np.mean(ours < 20) < 0.02
    assert np.mean(theirs < 20) > 0.1


def test_surface_through_corners_keeps_its_area():
    """A plane of lattice corners with value exactly 0 makes neither empty faces nor undefined gradients."""
    points = torch.from_numpy(corners(9))
    values = (points.abs().amax(-1) - 0.5).requires_grad_()
    vertices, faces = isosurface(values)
    a, b, c = vertices[faces].unbind(1)
    assert torch.linalg.cross(b - a, c - a, dim=-1).norm(dim=-1).min() > 0
    assert is_closed_manifold(faces)
    vertices.sum().backward()
    assert values.grad.isfinite().all()


def test_gradients_agree_with_finite_differences():
    points = torch.from_numpy(corners(6))
    values = points.norm(dim=-1) - 0.63 + 0.02 * noise(6, 1).double()
    offsets = noise(6, 2, 3).double()
    weight = torch.linspace(-1, 1, 3, dtype=torch.double)

    def measure(values, offsets):
        vertices, faces = isosurface(values, offsets)
        return volume(vertices, faces), (vertices.sin() @ weight).sum()

    values.requires_grad_()
    offsets.requires_grad_()
    assert torch.autograd.gradcheck(measure, (values, offsets), eps=1e-7, atol=1e-6, fast_mode=True)


def test_gradient_of_the_volume_is_the_area():
    """Subtracting d from a distance field moves the surface out by d: dV/dd is the area."""
    shift = torch.zeros((), dtype=torch.double, requires_grad=True)
    vertices, faces = isosurface(torch.from_numpy(sphere_distance(corners(33))) - shift)
    volume(vertices, faces).backward()
    assert abs(float(shift.grad) / (4 * math.pi * 0.49) - 1) < 0.01


def test_a_field_is_fitted_through_its_surface():
    """A ball moves and grows until its mesh has the mean vertex and the area that are wanted."""
    points = torch.from_numpy(corners(13))
    centre = torch.tensor([-0.3, 0.1, 0.2], dtype=torch.double, requires_grad=True)
    radius = torch.tensor(0.3, dtype=torch.double, requires_grad=True)
    target = torch.tensor([0.2, 0.0, -0.1], dtype=torch.double)
    optimiser = torch.optim.Adam([centre, radius], 0.05)
    for _ in range(60):
        optimiser.zero_grad()
        vertices, faces = isosurface((points - centre).norm(dim=-1) - radius)
        wide = (area(vertices, faces) / (4 * math.pi)).sqrt()
        ((vertices.mean(0) - target).square().sum() + (wide - 0.5) ** 2).backward()
        optimiser.step()
    assert topology(faces.numpy()).euler == 2
    assert torch.allclose(centre.detach(), target, atol=0.02)
    assert abs(float(radius.detach()) - 0.5) < 0.02


def test_offsets_move_the_corners_and_no_further_than_they_may():
    size, spacing = 9, 2 / 8
    values = torch.from_numpy(sphere_distance(corners(size)))
    straight, faces = isosurface(values)
    zero, _ = isosurface(values, torch.zeros(size, size, size, 3))
    assert torch.allclose(zero, straight)
    for amount, reach in ((0.3, math.tanh(0.3)), (1e6, 1.0), (-1e6, -1.0)):
        moved, same = isosurface(values, torch.full((size, size, size, 3), amount, dtype=torch.double))
        assert torch.allclose(moved - straight, torch.full_like(moved, reach * REACH * spacing), atol=1e-12)
        assert same.shape == faces.shape


def test_nothing_inside_and_nothing_outside():
    values = torch.ones(5, 5, 5, requires_grad=True)
    vertices, faces = isosurface(values)
    assert vertices.shape == faces.shape == (0, 3)
    vertices.sum().backward()
    vertices, faces = isosurface(-torch.ones(5, 5, 5))
    assert is_closed_manifold(faces)
    assert 0 < volume(vertices, faces) < 8
    assert topology(faces.numpy()).euler == 2


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_refused(bad):
    values, offsets = torch.from_numpy(sphere_distance(corners(5))), torch.zeros(5, 5, 5, 3)
    for tensor in (values, offsets):
        keep = tensor[2, 2, 2].clone()
        tensor[2, 2, 2] = bad
        with pytest.raises(TrainingError, match="not finite"):
            isosurface(values, offsets)
        tensor[2, 2, 2] = keep
    isosurface(values, offsets)


@pytest.mark.parametrize("shape", [(2, 2, 2), (4, 4, 5), (1, 4, 4, 4), (0,)])
def test_wrong_shapes_are_refused(shape):
    with pytest.raises(TrainingError):
        isosurface(torch.ones(shape))
    with pytest.raises(TrainingError):
        isosurface(torch.ones(4, 4, 4), torch.ones(*shape, 3))


@pytest.mark.parametrize("name", SOLIDS)
def test_a_band_of_known_corners_gives_the_same_surface(name):
    size = 24
    values = torch.from_numpy(SOLIDS[name][0](corners(size)))
    offsets = noise(size, 4, 3).double()
    known = (values.abs() < 3 * 2 / (size - 1)).nonzero()
    known = known[torch.randperm(len(known), generator=torch.Generator().manual_seed(0))]
    assert len(known) < 0.5 * size**3
    band = values[tuple(known.T)].requires_grad_()
    vertices, faces = scattered_isosurface(known, band, size, offsets[tuple(known.T)])
    expected, same = isosurface(values, offsets)
    assert torch.allclose(vertices, expected)
    assert torch.equal(faces, same)
    volume(vertices, faces).backward()
    assert band.grad.abs().sum() > 0


def test_scattered_corners_that_are_wrong_are_refused():
    known = torch.tensor([[0, 0, 0], [1, 1, 1]])
    values = torch.ones(2)
    for bad in (known.float(), known[:1], known.repeat(2, 1)[:2].flip(1) + 9, known * 0, known - 1):
        with pytest.raises(TrainingError):
            scattered_isosurface(bad, values, 8)
    assert scattered_isosurface(known, values, 8)[1].shape == (0, 3)
    assert scattered_isosurface(known[:0], values[:0], 8)[1].shape == (0, 3)


def test_tables_are_kept_by_device():
    isosurface(torch.ones(3, 3, 3))
    before = module._table.cache_info().misses
    isosurface(-torch.ones(4, 4, 4))
    assert module._table.cache_info().misses == before
