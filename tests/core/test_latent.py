import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gan3d_core.checkpoints import CheckpointConfig
from gan3d_core.errors import RecipeError
from gan3d_core.latent import draw, of_recipe
from gan3d_core.recipe import Recipe

SEEDS = st.integers(0, 2**31 - 1)
MEAN = {"uniform": 0.5, "normal": 0.0}


@given(SEEDS, st.integers(1, 300), st.sampled_from(sorted(MEAN)))
def test_one_seed_one_code(seed, size, prior):
    code = draw(seed, size, prior)
    assert code.shape == (size,)
    assert code.dtype == np.float32
    assert np.array_equal(code, draw(seed, size, prior))


def test_known_codes_on_every_machine():
    """Written down once: a change would break every saved recipe."""
    assert np.array_equal(draw(0, 3, "uniform"), np.array(KNOWN["uniform"], np.float32))
    assert np.array_equal(draw(0, 3, "normal"), np.array(KNOWN["normal"], np.float32))


@given(SEEDS, st.floats(0, 1), st.sampled_from(sorted(MEAN)))
def test_truncation_scales_the_distance_from_the_mean(seed, truncation, prior):
    whole, part = draw(seed, 50, prior), draw(seed, 50, prior, truncation)
    assert np.allclose(part - MEAN[prior], truncation * (whole - MEAN[prior]), atol=1e-6)


@given(SEEDS, SEEDS)
def test_other_seeds_other_codes(a, b):
    assert (a == b) == np.array_equal(draw(a, 20, "normal"), draw(b, 20, "normal"))


def test_priors_have_their_moments():
    uniform, normal = draw(1, 200_000, "uniform"), draw(1, 200_000, "normal")
    assert uniform.min() >= 0
    assert uniform.max() <= 1
    assert abs(uniform.mean() - 0.5) < 0.003
    assert abs(uniform.var() - 1 / 12) < 0.001
    assert abs(normal.mean()) < 0.01
    assert abs(normal.std() - 1) < 0.01


def config(**options) -> CheckpointConfig:
    return CheckpointConfig("Test", "chair", "textured", options, 12, "normal", 1.0, "")


@given(SEEDS, SEEDS, st.floats(0, 1))
def test_a_texture_seed_changes_the_texture_part_alone(seed, texture, truncation):
    recipe = Recipe("test", seed=seed, texture_seed=texture, truncation=truncation)
    code = of_recipe(recipe, config(texture_latent=4))
    assert np.array_equal(code[:8], draw(seed, 12, "normal", recipe.truncation)[:8])
    assert np.array_equal(code[8:], draw(texture, 12, "normal", recipe.truncation)[8:])
    own = of_recipe(recipe.replace(texture_seed=-1), config(texture_latent=4))
    assert np.array_equal(own, draw(seed, 12, "normal", recipe.truncation))
    assert np.array_equal(own, of_recipe(recipe.replace(texture_seed=-1), config()))


def test_a_checkpoint_without_textures_refuses_their_seeds():
    with pytest.raises(RecipeError, match="draws shape and texture together"):
        of_recipe(Recipe("test", texture_seed=3), config())


def test_unknown_prior():
    with pytest.raises(RecipeError, match="cauchy"):
        draw(0, 4, "cauchy")


KNOWN = {
    "uniform": [0.0115467543, 0.241549194, 0.111425854],
    "normal": [0.15929547, -1.77418852, 1.32651186],
}
