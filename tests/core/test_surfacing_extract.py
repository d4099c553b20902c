import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sdf import box, grid, minus, sphere, torus, union

from gan3d_core.errors import EmptyShapeError, InternalError
from gan3d_core.surfacing.extract import extract
from gan3d_core.surfacing.measures import face_vectors, signed_volumes, topology


def sampled(distance, resolution):
    return distance(grid(resolution)).astype(np.float32)


@pytest.mark.parametrize("resolution", [16, 31, 32, 47, 64])
def test_sphere_has_its_radius_and_centre(resolution):
    centre, radius = np.array([0.1, -0.07, 0.043]), 0.6
    vertices, faces = extract(sampled(sphere(radius, centre), resolution))
    voxel = 2.0 / resolution
    distances = np.linalg.norm(vertices - centre, axis=1)
    # Linear interpolation of a distance along an edge errs by at most h² / 8r.
    assert np.abs(distances - radius).max() < voxel**2 / (8 * radius) + 2e-3 * voxel
    weights = np.linalg.norm(face_vectors(vertices, faces), axis=1)
    middle = np.average(vertices[faces].mean(axis=1), axis=0, weights=weights)
    assert np.abs(middle - centre).max() < 0.02 * voxel
    assert topology(faces).closed
    assert topology(faces).euler == 2


@pytest.mark.parametrize("resolution", [24, 33, 64])
def test_sphere_volume_and_outward_faces(resolution):
    vertices, faces = extract(sampled(sphere(0.7), resolution))
    exact = 4 / 3 * np.pi * 0.7**3
    assert abs(signed_volumes(vertices, faces).sum() / exact - 1) < 1.5 * (2 / resolution / 0.7) ** 2
    outward = np.einsum("ij,ij->i", face_vectors(vertices, faces), vertices[faces].mean(axis=1))
    assert (outward > 0).all()


@pytest.mark.parametrize("resolution", [32, 49, 64])
def test_torus_has_one_hole_and_its_volume(resolution):
    vertices, faces = extract(sampled(torus(0.55, 0.2), resolution))
    assert topology(faces).closed
    assert topology(faces).euler == 0
    exact = 2 * np.pi**2 * 0.55 * 0.2**2
    assert abs(signed_volumes(vertices, faces).sum() / exact - 1) < 2 * (2 / resolution / 0.2) ** 2 / 8


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("offset", [-0.313, 0.0, 0.207])
def test_plane_lies_at_its_offset(axis, offset):
    resolution = 20
    values = (grid(resolution)[..., axis] - offset).astype(np.float32)  # solid below
    vertices, faces = extract(values)
    assert abs(vertices[:, axis].max() - offset) < 1e-5 + 1e-3 * 2 / resolution
    # The solid runs into the border on five sides and is closed there, on the border of the cube.
    assert topology(faces).closed
    assert topology(faces).euler == 2
    others = [a for a in range(3) if a != axis]
    assert np.allclose(vertices.min(axis=0), -1, atol=1e-6)
    assert np.allclose(vertices[:, others].max(axis=0), 1, atol=1e-6)


def test_axes_are_not_swapped():
    half = (0.2, 0.45, 0.7)
    centre = (0.3, -0.1, 0.05)
    resolution = 40
    vertices, _ = extract(sampled(box(half, centre), resolution))
    # The flat sides of a box are met exactly by linear interpolation of its distance.
    assert np.allclose(vertices.max(axis=0), np.add(centre, half), atol=3e-3 * 2 / resolution)
    assert np.allclose(vertices.min(axis=0), np.subtract(centre, half), atol=3e-3 * 2 / resolution)


def test_full_grid_is_the_whole_cube():
    vertices, faces = extract(np.full((8, 8, 8), -0.5, np.float32))
    assert np.allclose(vertices.min(axis=0), -1)
    assert np.allclose(vertices.max(axis=0), 1)
    assert topology(faces).euler == 2


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.sampled_from(["normal", "integers", "binary"]))
def test_any_finite_grid_gives_a_closed_outward_mesh(seed, resolution, kind):
    generator = np.random.default_rng(seed)
    shape = (resolution,) * 3
    if kind == "normal":
        values = generator.standard_normal(shape)
    elif kind == "integers":  # many exact zeros
        values = generator.integers(-1, 2, shape)
    else:
        values = generator.integers(0, 2, shape) * 2 - 1
    values = values.astype(np.float32)
    if not (values < 0).any():
        values[0, 0, 0] = -1
    vertices, faces = extract(values)
    assert topology(faces).closed
    assert signed_volumes(vertices, faces).sum() > 0
    assert (np.linalg.norm(face_vectors(vertices, faces), axis=1) > 0).all()
    assert np.abs(vertices).max() <= 1 + 1e-4


def test_scale_of_the_values_does_not_matter():
    values = sampled(sphere(0.5, (0.02, 0, 0)), 24)
    vertices, faces = extract(values)
    for factor in (1e-6, 1e6):
        scaled, same = extract(values * np.float32(factor))
        assert (same == faces).all()
        assert np.allclose(scaled, vertices, atol=1e-5)


def test_hollows_and_what_floats_in_them_are_filled():
    hollow = union(minus(sphere(0.8), sphere(0.6)), sphere(0.3))
    vertices, faces = extract(sampled(hollow, 48))
    solid = extract(sampled(sphere(0.8), 48))
    assert np.array_equal(faces, solid[1])
    assert np.allclose(vertices, solid[0], atol=1e-4 * 2 / 48)


def test_a_hollow_with_a_way_out_stays():
    cup = minus(minus(sphere(0.8), sphere(0.6)), box((0.2, 0.2, 0.5), (0, 0, 0.6)))
    vertices, faces = extract(sampled(cup, 48))
    assert topology(faces).euler == 2
    assert signed_volumes(vertices, faces).sum() < 0.7 * 4 / 3 * np.pi * 0.8**3


def test_no_surface():
    with pytest.raises(EmptyShapeError):
        extract(np.ones((16, 16, 16), np.float32))
    with pytest.raises(EmptyShapeError):
        extract(np.zeros((16, 16, 16), np.float32))


@pytest.mark.parametrize("rubbish", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(rubbish):
    values = sampled(sphere(0.5), 16)
    values[3, 4, 5] = rubbish
    with pytest.raises(InternalError, match="not finite"):
        extract(values)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 5), (1, 1, 1), (0, 0, 0)])
def test_grids_that_are_no_cubes(shape):
    with pytest.raises(InternalError, match="cubic"):
        extract(np.ones(shape, np.float32))
