import numpy as np
import pytest
from scipy.spatial import cKDTree
from sdf import LEG, box, chair, grid, sphere, torus, union

from gan3d_core.surfacing.extract import extract
from gan3d_core.surfacing.measures import face_vectors, signed_volumes, topology
from gan3d_core.surfacing.simplify import simplify
from gan3d_core.surfacing.smooth import smooth

CASES = {"chair": chair(), "torus": torus(0.6, 0.2), "two": union(sphere(0.3, (-0.5, 0, 0)), sphere(0.3, (0.5, 0, 0)))}


@pytest.fixture(scope="module", params=CASES)
def dense(request):
    vertices, faces = extract(CASES[request.param](grid(64)).astype(np.float32))
    return smooth(vertices, faces, 8), faces


@pytest.mark.parametrize("target", [500, 2000, 5000])
def test_parts_and_shape_survive(dense, target):
    vertices, faces = dense
    reduced, triangles = simplify(vertices, faces, target)
    assert len(triangles) <= target
    assert topology(triangles) == topology(faces)
    assert len(np.unique(triangles)) == len(reduced)
    assert abs(signed_volumes(reduced, triangles).sum() / signed_volumes(vertices, faces).sum() - 1) < (
        0.01 if target > 500 else 0.02
    )
    # Both ways, so nothing grew and nothing vanished: within two voxels of the dense mesh's vertices, spread evenly.
    generator = np.random.default_rng(0)
    areas = np.linalg.norm(face_vectors(reduced, triangles), axis=1)
    face = generator.choice(len(triangles), 100_000, p=areas / areas.sum())
    points = np.einsum("nk,nkd->nd", generator.dirichlet([1, 1, 1], 100_000), reduced[triangles[face]])
    assert cKDTree(vertices).query(points)[0].max() < 2 * 2 / 64
    assert cKDTree(points).query(vertices)[0].max() < 2 * 2 / 64


def test_faces_are_not_turned_over(dense):
    vertices, faces = dense
    reduced, triangles = simplify(vertices, faces, 2000)
    before = face_vectors(vertices, faces)
    near = cKDTree(vertices[faces].mean(axis=1)).query(reduced[triangles].mean(axis=1))[1]
    after = face_vectors(reduced, triangles)
    turned = np.einsum("ij,ij->i", before[near], after) < 0
    assert np.linalg.norm(after[turned], axis=1).sum() <= 0.002 * np.linalg.norm(after, axis=1).sum()


def test_thin_legs_reach_the_floor_with_their_thickness():
    vertices, faces = extract(chair()(grid(64)).astype(np.float32))
    reduced, _triangles = simplify(smooth(vertices, faces, 8), faces, 1000)
    for x in (-0.44, 0.44):
        for y in (-0.44, 0.44):
            leg = reduced[box((0.12, 0.12, 0.5), (x, y, -0.55))(reduced) < 0]
            assert leg[:, 2].min() < -0.88
            assert np.ptp(leg[:, 0]) > 1.8 * LEG
            assert np.ptp(leg[:, 1]) > 1.8 * LEG


def test_few_faces_stay_as_they_are(dense):
    vertices, faces = dense
    same, triangles = simplify(vertices, faces, len(faces))
    assert same is vertices
    assert triangles is faces


def test_too_low_a_target_keeps_every_part():
    many = union(*(sphere(0.12, (x, y, z)) for x in (-0.6, 0, 0.6) for y in (-0.6, 0, 0.6) for z in (-0.6, 0, 0.6)))
    vertices, faces = extract(many(grid(48)).astype(np.float32))
    _reduced, triangles = simplify(vertices, faces, 100)  # fewer than four per part
    assert topology(triangles) == topology(faces)
    assert len(triangles) < len(faces)
