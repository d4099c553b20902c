import numpy as np
import pytest
from sdf import AnalyticField, box, chair, colour_by_place, sphere, union

from gan3d_core.errors import CancelledError, EmptyShapeError, InternalError
from gan3d_core.field import EXTENT
from gan3d_core.recipe import Recipe
from gan3d_core.surfacing import surface
from gan3d_core.surfacing.measures import topology

RECIPE = Recipe("test", resolution=40, target_faces=1500, texture_size=256)
STAGES = ["extract", "clean", "decimate", "unwrap", "bake"]


@pytest.fixture(scope="module")
def field():
    return AnalyticField(chair(), 0.9, colour_by_place)


@pytest.fixture(scope="module")
def run(field):
    calls = []
    return surface(field, RECIPE, lambda stage, fraction: calls.append((stage, fraction))), calls


def test_a_chair(run):
    shape, _ = run
    assert topology(shape.faces).closed
    assert topology(shape.faces).euler == 2
    assert shape.volume() > 0
    assert len(shape.faces) <= RECIPE.target_faces
    assert shape.base_color.shape == (256, 256, 3)
    scale = 0.9 / (2 * EXTENT)
    assert np.allclose(shape.size, np.array([1.0, 1.0, 1.8]) * scale, rtol=0.04)
    assert shape.vertices[:, 2].min() == 0
    middle = (shape.vertices.max(axis=0) + shape.vertices.min(axis=0)) / 2
    assert np.abs(middle[:2]).max() < 1e-6
    # The back of the chair is at +y, so its front looks along −y.
    top = shape.vertices[:, 2] > 0.8 * shape.size[2]
    assert shape.vertices[top, 1].min() > 0.2 * scale


def test_the_same_field_and_recipe_give_the_same_bits(field, run):
    again = surface(field, RECIPE)
    for name, array in run[0].arrays().items():
        assert np.array_equal(array, again.arrays()[name]), name


@pytest.mark.parametrize("half", [(0.2, 0.3, 0.4), (0.8, 0.5, 0.1)])
def test_scale_is_the_checkpoints_not_the_shapes(half):
    shape = surface(AnalyticField(box(half, (0.05, -0.1, 0.1)), 2.5), RECIPE.replace(smoothing=0))
    assert np.allclose(shape.size, 2 * np.array(half) * 2.5 / (2 * EXTENT), rtol=0.05)
    assert shape.vertices[:, 2].min() == 0


def test_stages_in_order_each_from_start_to_end(run):
    _, calls = run
    names = [stage for stage, _ in calls]
    assert list(dict.fromkeys(names)) == STAGES
    assert names == sorted(names, key=STAGES.index)
    for stage in STAGES:
        fractions = [fraction for name, fraction in calls if name == stage]
        assert fractions[0] == 0
        assert fractions[-1] == 1
        assert fractions == sorted(fractions)
        assert all(0 <= fraction <= 1 for fraction in fractions)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("end", [False, True])
def test_cancel_in_every_stage(field, stage, end):
    def progress(name, fraction):
        if name == stage and fraction >= end:
            raise CancelledError("Cancelled.")

    with pytest.raises(CancelledError):
        surface(field, RECIPE, progress)


def test_nothing_inside():
    with pytest.raises(EmptyShapeError):
        surface(AnalyticField(sphere(-1.0)), RECIPE)


def test_values_that_are_not_finite():
    with pytest.raises(InternalError):
        surface(AnalyticField(lambda p: p[..., 0] * np.nan), RECIPE)


def test_floaters_by_recipe():
    field = AnalyticField(union(chair(), sphere(0.08, (0.7, -0.7, 0.7))))
    assert topology(surface(field, RECIPE).faces).euler == 2
    assert topology(surface(field, RECIPE.replace(components="all")).faces).euler == 4


@pytest.mark.parametrize("resolution", [16, 17])
def test_noise_becomes_some_mesh(resolution):
    class Noise(AnalyticField):
        def values(self, count):
            return np.random.default_rng(5).standard_normal((count,) * 3).astype(np.float32)

    shape = surface(Noise(sphere(1), 1.0, colour_by_place), RECIPE.replace(resolution=resolution))
    assert len(shape.faces) > 0
    assert np.isfinite(shape.vertices).all()
