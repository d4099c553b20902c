"""Signed distances of analytic solids, of broken copies, and of sheets without thickness."""

from __future__ import annotations

import numpy as np
import pytest
import solids
import trimesh

from gan3d_core.drawing import loose_share
from gan3d_core.field import cell_centres
from training.data.distance import SignedDistance
from training.data.orientation import turn_outward
from training.data.thin import THIN_VOXELS

VOXEL = 2 / 64
PLATE = solids.plate_bounds(1.6 * VOXEL)


def grid_points(resolution: int = 64) -> np.ndarray:
    axis = cell_centres(resolution)
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)


def grid_of(mesh: tuple[np.ndarray, np.ndarray], resolution: int = 64) -> np.ndarray:
    vertices, faces = mesh
    faces, _ = turn_outward(vertices, faces)
    return SignedDistance(vertices, faces).grid(resolution)


@pytest.mark.parametrize(
    ("mesh", "distance"),
    [
        (solids.sphere(), solids.sphere_distance),
        (solids.torus(), solids.torus_distance),
        (
            solids.join(  # walls inside a box, and a post that stands in its floor and runs out of it
                solids.box((-0.6, -0.5, -0.4), (0.6, 0.5, 0.4)),
                solids.box((-0.55, -0.02, -0.35), (0.55, 0.02, 0.35)),
                solids.box((-0.02, -0.45, -0.35), (0.02, 0.45, 0.35)),
                solids.box((-0.1, -0.1, -0.8), (0.1, 0.1, 0.0)),
            ),
            lambda p: np.minimum(
                solids.box_distance(p, (-0.6, -0.5, -0.4), (0.6, 0.5, 0.4)),
                solids.box_distance(p, (-0.1, -0.1, -0.8), (0.1, 0.1, 0.0)),
            ),
        ),
        (solids.finely(solids.box(*PLATE)), lambda p: solids.box_distance(p, *PLATE)),
    ],
    ids=["sphere", "torus", "box with walls and a post", "thin sheet"],
)
@pytest.mark.parametrize("resolution", [32, 64])
def test_within_a_quarter_voxel_near_the_surface(mesh, distance, resolution):
    found, expected = grid_of(mesh, resolution), distance(grid_points(resolution))
    near = np.abs(expected) < 2.5 * VOXEL
    # Inside, the least of the parts' distances is not the union's where two parts meet: there only the sign is known.
    points = grid_points(resolution)
    joint = (np.abs(points[..., :2]) < 0.2).all(-1) & (np.abs(points[..., 2] + 0.4) < 0.2) & (expected < 0)
    near &= ~joint
    assert np.abs(found - expected)[near].max() < 0.25 * VOXEL
    assert ((found < 0) == (expected < 0))[np.abs(expected) > 0.02 * VOXEL].all()


@pytest.mark.parametrize("how", ["deleted", "flipped", "duplicated"])
@pytest.mark.parametrize(
    ("mesh", "distance"),
    [
        (solids.sphere(), solids.sphere_distance),
        (solids.torus(), solids.torus_distance),
        (solids.walled_box(), lambda p: solids.box_distance(p, *solids.BOX)),
        (solids.finely(solids.box(*PLATE)), lambda p: solids.box_distance(p, *PLATE)),
    ],
    ids=["sphere", "torus", "box with walls", "thin sheet"],
)
def test_signs_survive_broken_faces(mesh, distance, how):
    vertices, faces = mesh
    found = grid_of((vertices, solids.broken(vertices, faces, how, 0.05, seed=3)))
    expected = distance(grid_points())
    outside_band = np.abs(expected) > 0.5 * VOXEL
    wrong = ((found < 0) != (expected < 0)) & outside_band
    assert wrong.sum() / outside_band.sum() < 0.005


def test_a_part_that_is_inside_out_is_turned():
    vertices, faces = solids.join(
        solids.box((-0.6, -0.6, -0.1), (0.6, 0.6, 0.1)), solids.box((-0.1, -0.1, -0.8), (0.1, 0.1, 0.05))
    )
    faces[12:] = faces[12:, ::-1]
    turned, _ = turn_outward(vertices, faces)
    a, b, c = (vertices[turned[12:, i]].astype(np.float64) for i in range(3))
    volume = np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6
    assert volume == pytest.approx(0.2 * 0.2 * 0.85, rel=1e-5)


@pytest.mark.parametrize("height", [0.0, 0.3 * VOXEL, 0.5 * VOXEL], ids=["on", "off", "between"])
def test_a_sheet_without_thickness_survives(height):
    """A single layer of faces becomes a plate of the stated thickness, wherever it lies in its cells."""
    corners = [[-0.7, -0.7, height], [0.7, -0.7, height], [0.7, 0.7, height], [-0.7, 0.7, height]]
    vertices = np.array(corners, np.float32)
    distance = SignedDistance(vertices, np.array([[0, 1, 2], [0, 2, 3]]))
    assert distance.thin_share > 0.99
    grid = distance.grid(64)
    inside = grid[20:44, 20:44] < 0
    assert inside.any(axis=2).all(), "a hole in the sheet"
    # Away from the rim the distance is that of a plate, up to the spacing of its samples.
    points = grid_points()[20:44, 20:44]
    expected = np.abs(points[..., 2] - height) - THIN_VOXELS / 2 * VOXEL
    near = np.abs(expected) < 1.0 * VOXEL
    assert np.abs(grid[20:44, 20:44] - expected)[near].max() < 0.25 * VOXEL


@pytest.mark.parametrize("voxels", [0.3, 0.7, 1.1, 1.25])
def test_a_sheet_gets_what_it_lacks_of_the_least_thickness_and_no_more(voxels):
    low, high = solids.plate_bounds(voxels * VOXEL)
    found = SignedDistance(*solids.finely(solids.box(low, high))).grid(64)
    lacking = 0.5 * (THIN_VOXELS - voxels) * VOXEL
    # Moved outward all around: the distance is less by that, and by no more, at the rim too.
    exact = solids.box_distance(grid_points(), low, high)
    near = np.abs(exact) < 1.5 * VOXEL
    assert (exact - found)[near].max() < lacking + 0.07 * VOXEL
    flat = near & (np.abs(grid_points()[..., :2]) < 0.5).all(-1) & (np.abs(exact) > 0.5 * voxels * VOXEL)
    assert (exact - found)[flat] == pytest.approx(lacking, abs=0.07 * VOXEL)
    # The finest grid of cells shows it without a hole, whatever it was.
    assert (found < 0)[12:52, 15:49].any(axis=2).all()


@pytest.mark.parametrize("longest", [9.0, 0.3, 0.09])
def test_a_wedge_is_thickened_where_it_is_thin(longest):
    """However large its faces are: from 0.4 to 3.2 voxels, each place gets what it lacks there."""
    low, high = (-0.7, -0.6, -1.0), (0.7, 0.6, 1.0)
    vertices, faces = solids.finely(solids.box(low, high), longest)

    def half(x: np.ndarray) -> np.ndarray:
        return (1.8 + 1.4 * x / 0.7) * VOXEL / 2

    vertices = vertices * np.stack([*np.ones((2, len(vertices))), half(vertices[:, 0])], axis=-1)
    grid = grid_of((vertices.astype(np.float32), faces))
    at = grid_points()
    exact = np.abs(at[..., 2]) - half(at[..., 0])  # its slope is 1 in 45: less than 0.1 % from the distance
    near = (np.abs(at[..., :2]) < 0.5).all(-1) & (np.abs(exact) < 1.5 * VOXEL) & (exact > 0.1 * VOXEL)
    lacking = np.maximum(0.5 * THIN_VOXELS * VOXEL - half(at[..., 0]), 0.0)
    assert (exact - grid)[near] == pytest.approx(lacking[near], abs=0.1 * VOXEL)


def test_a_thin_rod_is_as_thick_as_the_least_thickness():
    """A leg of half a voxel's diameter: round, and not by so much thicker as it was to be in all."""
    rod = trimesh.creation.cylinder(0.25 * VOXEL, 1.4, sections=24)
    points = grid_points()
    away = np.linalg.norm(points[..., :2], axis=-1) - 0.5 * THIN_VOXELS * VOXEL
    middle = (np.abs(points[..., 2]) < 0.6) & (np.abs(away) < 1.5 * VOXEL)
    found = SignedDistance(np.asarray(rod.vertices, np.float32), np.asarray(rod.faces)).grid(64)
    assert np.abs(found - away)[middle & (away > 0)].max() < 0.15 * VOXEL
    assert (found < 0)[:, :, 14:50].any(axis=(0, 1)).all()


@pytest.mark.parametrize("voxels", [0.2, 0.5, 0.89, 1.1, 1.3])
@pytest.mark.parametrize("aside", [(0.0, 0.0), (0.5, 0.0), (0.5, 0.5), (0.2, 0.4)])
def test_a_pole_is_seen_wherever_it_stands(voxels, aside):
    """As a lamp's, from a plate to a shade. Worst is in the middle between four columns of cells: (0, 0)."""
    x, y = np.array(aside) * VOXEL
    rod = trimesh.creation.cylinder(radius=voxels * VOXEL / 2, height=1.4, sections=24)
    rod.apply_translation([x, y, 0.0])
    ends = [solids.box((x - 0.2, y - 0.2, z - 0.1), (x + 0.2, y + 0.2, z + 0.1)) for z in (-0.75, 0.75)]
    grid = grid_of(solids.join((rod.vertices, rod.faces), *ends))
    assert loose_share(grid) == 0.0
    inside = (grid < 0).any((0, 1))
    assert inside[np.abs(cell_centres(64)) < 0.8].all(), "no gap anywhere along it"


def test_a_thick_solid_is_not_thickened():
    vertices, faces = solids.box((-0.5, -0.5, -2 * VOXEL), (0.5, 0.5, 2 * VOXEL))
    assert SignedDistance(vertices, faces).thin_share == 0.0
