import numpy as np
import pytest
from scipy import ndimage
from sdf import AnalyticField, chair, colour_by_place, grid, sphere

from gan3d_core.errors import CancelledError, InternalError
from gan3d_core.field import Materials
from gan3d_core.surfacing.atlas import unwrap
from gan3d_core.surfacing.bake import PLAIN_BASE_COLOR, bake, rasterise
from gan3d_core.surfacing.extract import extract
from gan3d_core.surfacing.simplify import simplify

SIZE = 512


@pytest.fixture(scope="module")
def laid_out():
    vertices, faces = simplify(*extract(chair()(grid(48)).astype(np.float32)), 2000)
    return vertices, faces, unwrap(vertices, faces).uvs


def sample(image, uv):
    """Bilinear lookup as a renderer does it: row 0 at v = 0, texel centres at half numbers."""
    place = np.stack([uv[:, 1], uv[:, 0]]) * image.shape[0] - 0.5
    planes = image.reshape(*image.shape[:2], -1).astype(np.float64)
    return np.stack(
        [ndimage.map_coordinates(planes[..., c], place, order=1, mode="nearest") for c in range(planes.shape[2])], 1
    )


def test_baked_colours_equal_the_field(laid_out):
    vertices, faces, uvs = laid_out
    images = bake(AnalyticField(chair(), 1.0, colour_by_place), vertices, faces, uvs, SIZE)
    generator = np.random.default_rng(0)
    weights = np.concatenate([np.full((len(faces), 3), 1 / 3), generator.dirichlet([1, 1, 1], 20000)])
    face = np.concatenate([np.arange(len(faces)), generator.integers(0, len(faces), 20000)])
    points = np.einsum("nk,nkd->nd", weights, vertices[faces[face]])
    uv = np.einsum("nk,nkd->nd", weights, uvs[face])
    exact = colour_by_place(points)
    # Half a step of 8 bits, and a gutter's texel taken for a neighbour: a texel is about 0.01 units wide here.
    for image, value in (
        (images.base_color, exact.base_color),
        (images.roughness, exact.roughness),
        (images.metallic, exact.metallic),
    ):
        error = np.abs(sample(image, uv) / 255 - value.reshape(len(uv), -1))
        assert error.mean() < 0.0025
        assert error.max() < 0.02


def test_everything_outside_the_charts_repeats_the_nearest_texel(laid_out):
    vertices, faces, uvs = laid_out

    def red(p):
        return Materials(
            np.tile(np.float32([1, 0, 0.2]), (len(p), 1)), np.full(len(p), 0.4, np.float32), np.ones(len(p), np.float32)
        )

    images = bake(AnalyticField(chair(), 1.0, red), vertices, faces, uvs, SIZE)
    assert (images.base_color == [255, 0, 51]).all()
    assert (images.roughness == 102).all()
    assert (images.metallic == 255).all()


def test_values_out_of_range_are_clipped(laid_out):
    vertices, faces, uvs = laid_out
    wild = lambda p: Materials(3 * p, 3 * p[:, 0], -3 * p[:, 0])  # noqa: E731
    images = bake(AnalyticField(chair(), 1.0, wild), vertices, faces, uvs, 128)
    assert set(np.unique(images.base_color)) >= {0, 255}


def test_a_field_without_materials_is_plain(laid_out):
    images = bake(AnalyticField(chair()), *laid_out, SIZE)
    assert (images.base_color == PLAIN_BASE_COLOR).all()
    assert (images.roughness == 153).all()
    assert (images.metallic == 0).all()
    assert images.base_color.shape == (64, 64, 3)


def test_materials_that_are_not_finite(laid_out):
    nan = lambda p: Materials(np.full((len(p), 3), np.nan, np.float32), p[:, 0], p[:, 0])  # noqa: E731
    with pytest.raises(InternalError, match="not finite"):
        bake(AnalyticField(chair(), 1.0, nan), *laid_out, 64)


def test_rasterise_finds_each_texel_centre_once_with_its_weights():
    # A square of two triangles covers exactly the texels whose centres lie in it.
    uvs = np.array([[[0.1, 0.2], [0.7, 0.2], [0.7, 0.9]], [[0.1, 0.2], [0.7, 0.9], [0.1, 0.9]]])
    size = 57
    texels, points = [], []
    for _, texel, face, weights in rasterise(uvs, size, portion=100):
        texels.append(texel)
        points.append(np.einsum("nk,nkd->nd", weights, uvs[face]))
    texels, points = np.concatenate(texels), np.concatenate(points)
    centres = (np.stack([texels % size, texels // size], axis=1) + 0.5) / size
    assert np.allclose(points, centres, atol=1e-12)
    inside = [
        (u, v)
        for v in range(size)
        for u in range(size)
        if 0.1 <= (u + 0.5) / size <= 0.7 and 0.2 <= (v + 0.5) / size <= 0.9
    ]
    assert set(texels.tolist()) == {v * size + u for u, v in inside}


def test_rasterise_does_not_depend_on_the_portion():
    uvs = np.random.default_rng(1).random((50, 3, 2))
    whole = [np.concatenate(part) for part in list(zip(*rasterise(uvs, 64), strict=True))[1:]]
    small = [np.concatenate(part) for part in list(zip(*rasterise(uvs, 64, portion=10), strict=True))[1:]]
    for a, b in zip(whole, small, strict=True):
        assert np.array_equal(a, b)


def test_cancelling(laid_out):
    def cancel(fraction):
        if fraction > 0.4:
            raise CancelledError("Cancelled.")

    with pytest.raises(CancelledError):
        bake(AnalyticField(sphere(1), 1.0, colour_by_place), *laid_out, SIZE, cancel)
