"""Bilateral normal filtering: what is flat gets flat, edges stay, and nothing is torn."""

from __future__ import annotations

import numpy as np
import pytest
from sdf import box, chair, sphere

from gan3d_core.field import lattice
from gan3d_core.surfacing.extract import extract
from gan3d_core.surfacing.flatten import flatten
from gan3d_core.surfacing.measures import face_vectors, signed_volumes, topology

RESOLUTION = 64
HALF = np.array([0.5, 0.4, 0.3])


def volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    return float(signed_volumes(vertices, faces).sum())


def meshed(function, dents: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A surface with dents of so much depth, some five voxels wide."""
    points = lattice(RESOLUTION)
    waves = dents * np.prod(np.sin(points * np.array([19.0, 21.0, 23.0]) + [0.3, 1.1, 2.0]), axis=1)
    return extract((function(points) + waves).reshape((RESOLUTION,) * 3).astype(np.float32))


def sides(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of points on the box: which axis is across the side that each lies on, and whether it is away from the edges."""
    share = np.abs(points) / HALF
    return share.argmax(1), np.sort(share, 1)[:, 1] < 0.75


def test_a_dented_box_is_flat_again():
    vertices, faces = meshed(box(HALF), dents=0.012)
    flat = flatten(vertices, faces, 10)

    def unevenness(points: np.ndarray) -> float:
        """Root mean square distance to the box's planes."""
        side, middle = sides(points)
        off = np.abs(points[middle, side[middle]]) - HALF[side[middle]]
        return float(np.sqrt((off**2).mean()))

    def bending(points: np.ndarray) -> float:
        """Mean angle in degrees between the normals of faces and the box's own."""
        normal = face_vectors(points, faces)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        side, middle = sides(points[faces].mean(1))
        return float(np.degrees(np.arccos(np.abs(normal[middle, side[middle]]).clip(0, 1))).mean())

    assert bending(flat) < 0.5 * bending(vertices)
    assert unevenness(flat) < 0.8 * unevenness(vertices)
    assert volume(flat, faces) == pytest.approx(8 * np.prod(HALF), rel=0.02)


def test_a_sharp_edge_is_as_sharp_as_before():
    """The box as it is extracted has bevels a voxel wide; after it has been filtered they are no wider."""
    vertices, faces = meshed(box(HALF))
    flat = flatten(vertices, faces, 10)
    near_corner = np.linalg.norm(np.abs(vertices) - HALF, axis=1).argmin()
    before, after = (np.linalg.norm(np.abs(v[near_corner]) - HALF) for v in (vertices, flat))
    assert after < before + 0.2 / RESOLUTION
    assert volume(flat, faces) >= volume(vertices, faces) * 0.998


@pytest.mark.parametrize("radius", [0.25, 0.6])
def test_a_sphere_stays_one(radius):
    vertices, faces = meshed(sphere(radius))
    flat = flatten(vertices, faces, 10)
    distance = np.linalg.norm(flat, axis=1)
    assert volume(flat, faces) == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.02)
    assert np.abs(distance - radius).max() < 0.5 * 2 / RESOLUTION


def test_nothing_goes_farther_than_an_edge_or_is_torn():
    vertices, faces = meshed(chair(), dents=0.02)
    told: list[float] = []
    flat = flatten(vertices, faces, 30, told.append)
    edge = np.linalg.norm(vertices[faces] - vertices[np.roll(faces, 1, 1)], axis=2).mean()
    path = np.linalg.norm(flat - vertices, axis=1)
    assert 0.2 * edge < path.max() <= edge * (1 + 1e-9)
    assert topology(faces).closed
    assert told == sorted(told)
    assert 0 <= told[0] <= told[-1] < 1


def test_what_mirrors_itself_still_does():
    vertices, faces = meshed(chair())
    flat = flatten(vertices, faces, 10)
    turned = flatten(vertices * [-1, 1, 1], faces[:, ::-1], 10)
    assert np.allclose(turned, flat * [-1, 1, 1], atol=1e-9)


def test_no_iterations_leave_everything_where_it_is():
    vertices, faces = meshed(sphere(0.5))
    assert np.array_equal(flatten(vertices, faces, 0), vertices)
    assert len(flatten(vertices[:0], faces[:0], 10)) == 0
