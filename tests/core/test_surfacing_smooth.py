import numpy as np
import pytest
from sdf import LEG, box, chair, grid, sphere

from gan3d_core.surfacing.extract import extract
from gan3d_core.surfacing.measures import face_vectors, signed_volumes
from gan3d_core.surfacing.smooth import smooth


def blocks(distance, resolution):
    """Fully on-off voxels, the worst stair steps there are."""
    return np.where(distance(grid(resolution)) < 0, -1, 1).astype(np.float32)


def volume(vertices, faces):
    return signed_volumes(vertices, faces).sum()


@pytest.mark.parametrize("iterations", [1, 8, 50])
@pytest.mark.parametrize("resolution", [32, 64])
def test_does_not_shrink(iterations, resolution):
    vertices, faces = extract(sphere(0.7)(grid(resolution)).astype(np.float32))
    change = volume(smooth(vertices, faces, iterations), faces) / volume(vertices, faces) - 1
    # The filter's largest gain is 1.00085 per iteration, of lengths; plain averaging loses a fifth in 50 at 32³.
    assert -0.001 < change < 0.001 + 3 * 0.00085 / 8 * iterations


def test_takes_voxel_steps_away():
    resolution, radius = 48, 0.7
    vertices, faces = extract(blocks(sphere(radius), resolution))
    smoothed = smooth(vertices, faces, 8)

    def roughness(points):
        """Mean angle between face normals and the sphere's, in degrees."""
        normals = face_vectors(points, faces)
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        outward = points[faces].mean(axis=1)
        outward /= np.linalg.norm(outward, axis=1, keepdims=True)
        return np.degrees(np.arccos(np.einsum("ij,ij->i", normals, outward).clip(-1, 1))).mean()

    assert roughness(vertices) > 15
    assert roughness(smoothed) < 0.5 * roughness(vertices)
    assert abs(volume(smoothed, faces) / volume(vertices, faces) - 1) < 0.01


def test_thin_legs_stay():
    vertices, faces = extract(chair()(grid(64)).astype(np.float32))
    smoothed = smooth(vertices, faces, 8)
    # A leg 3 voxels thick, well away from its foot and the seat: its cross-section keeps its area.
    leg = box((0.1, 0.1, 0.25), (0.44, -0.44, -0.45))(vertices) < 0
    before, after = vertices[leg], smoothed[leg]
    for axis in (0, 1):
        assert np.ptp(after[:, axis]) > 0.9 * 2 * LEG
        assert np.ptp(after[:, axis]) < 1.1 * 2 * LEG
        assert abs(after[:, axis].mean() - before[:, axis].mean()) < 1e-3
    assert abs(volume(smoothed, faces) / volume(vertices, faces) - 1) < 0.02


def test_feet_keep_their_height():
    vertices, faces = extract(chair()(grid(64)).astype(np.float32))
    smoothed = smooth(vertices, faces, 8)
    assert abs(np.ptp(smoothed[:, 2]) / np.ptp(vertices[:, 2]) - 1) < 0.02


def test_no_iterations_change_nothing():
    vertices, faces = extract(sphere(0.5)(grid(16)).astype(np.float32))
    assert np.array_equal(smooth(vertices, faces, 0), vertices)


def test_moves_with_the_mesh():
    vertices, faces = extract(chair()(grid(32)).astype(np.float32))
    moved = smooth(vertices @ np.diag([2.0, 2.0, 2.0]) + [1, 2, 3], faces, 8)
    assert np.allclose(moved, smooth(vertices, faces, 8) * 2 + [1, 2, 3], atol=1e-12)
