import numpy as np
import pytest
from sdf import grid, sphere

from gan3d_core.field import cell_centres
from gan3d_core.generators.volume_field import VolumeField
from gan3d_core.surfacing.extract import extract


@pytest.mark.parametrize("resolution", [16, 17, 64])
def test_cell_centres(resolution):
    centres = cell_centres(resolution)
    assert centres.dtype == np.float32
    assert np.allclose(np.diff(centres), 2 / resolution, atol=1e-6)
    assert np.allclose(centres, -centres[::-1], atol=1e-7)
    assert np.isclose(centres[0], -1 + 1 / resolution)


@pytest.mark.parametrize("resolution", [20, 24, 32, 47, 64])
def test_resampling_moves_nothing(resolution):
    centre, radius = (0.15, -0.1, 0.05), 0.55
    own = 32
    field = VolumeField(sphere(radius, centre)(grid(own)), 1.0)
    values = field.values(resolution)
    assert values.shape == (resolution,) * 3
    assert values.dtype == np.float32
    exact = sphere(radius, centre)(grid(resolution))
    near = (np.abs(exact) < 0.15) & (np.abs(grid(resolution)).max(axis=-1) < 1 - 2 / own)
    assert np.abs(values - exact)[near].max() < 0.02 * 2 / own
    distances = np.linalg.norm(extract(values)[0] - centre, axis=1)
    assert np.abs(distances - radius).max() < 0.1 * 2 / own


def test_axes_keep_their_order():
    half = grid(16)
    field = VolumeField(half[..., 0] + 10 * half[..., 1] + 100 * half[..., 2], 1.0)
    values = field.values(32)
    expected = grid(32) @ np.array([1, 10, 100], np.float32)
    inner = (slice(8, -8),) * 3
    assert np.allclose(values[inner], expected[inner], atol=0.05)


def test_own_resolution_is_untouched_and_without_materials():
    values = np.random.default_rng(0).standard_normal((12, 12, 12)).astype(np.float32)
    field = VolumeField(values, 0.8)
    assert np.array_equal(field.values(12), values)
    assert field.materials(np.zeros((3, 3), np.float32)) is None
    assert field.size_m == 0.8
