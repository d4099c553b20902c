import contextlib
import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gan3d_core.errors import RecipeError
from gan3d_core.recipe import COMPONENT_RULES, LIMITS, Recipe


def within(name, kind):
    low, high = LIMITS[name]
    return st.integers(int(low), int(high)) if kind is int else st.floats(low, high)


recipes = st.builds(
    Recipe,
    checkpoint=st.text(min_size=1),
    seed=within("seed", int),
    texture_seed=within("texture_seed", int),
    attempt=within("attempt", int),
    truncation=within("truncation", float),
    resolution=within("resolution", int),
    components=st.sampled_from(COMPONENT_RULES),
    min_component=within("min_component", float),
    smoothing=within("smoothing", int),
    flattening=within("flattening", int),
    target_faces=within("target_faces", int),
    texture_size=within("texture_size", int),
    checkpoint_hash=st.text("0123456789abcdef", max_size=16),
)


@given(recipes)
def test_json_round_trip(recipe):
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


@pytest.mark.parametrize("name", sorted(LIMITS))
def test_limits_are_inclusive_and_kept(name):
    whole = isinstance(getattr(Recipe("a"), name), int)
    for value in LIMITS[name]:
        assert getattr(Recipe("a", **{name: int(value) if whole else value}), name) == value
    low, high = LIMITS[name]
    for value in (low - 1, high + 1, float("nan"), float("inf")):
        with pytest.raises(RecipeError, match=name):
            Recipe("a", **{name: int(value) if whole and abs(value) < 1e18 else value})


@pytest.mark.parametrize("value", [None, "8", True, [8], 8.5, {}])
def test_wrong_types(value):
    with pytest.raises(RecipeError, match="smoothing"):
        Recipe("a", smoothing=value)


def test_whole_numbers_serve_as_fractions():
    recipe = Recipe("a", truncation=1)
    assert recipe.truncation == 1.0
    assert isinstance(recipe.truncation, float)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "3",
        '"a"',
        "{}",
        '{"version": 1}',
        '{"version": 4, "checkpoint": "a"}',
        '{"checkpoint": "a"}',
        '{"version": 1, "checkpoint": "a", "colour": 1}',
        '{"version": 1, "checkpoint": 5}',
        '{"version": 1, "checkpoint": ""}',
        '{"version": 1, "checkpoint": "a", "seed": NaN}',
        '{"version": 1, "checkpoint": "a", "components": "some"}',
    ],
)
def test_rubbish_is_refused(text):
    with pytest.raises(RecipeError):
        Recipe.from_json(text)


@given(st.text())
def test_any_text_is_a_recipe_or_a_recipe_error(text):
    with contextlib.suppress(RecipeError):
        assert isinstance(Recipe.from_json(text), Recipe)


def test_replace_checks_and_leaves_the_original():
    recipe = Recipe("a", seed=3)
    assert recipe.replace(seed=4).seed == 4
    assert recipe.seed == 3
    with pytest.raises(RecipeError):
        recipe.replace(resolution=7)
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.seed = 5


def test_another_seed_leaves_open_which_of_its_codes():
    recipe = Recipe("a", seed=3, attempt=2)
    assert recipe.of_seed(3) == recipe
    assert recipe.of_seed(4) == Recipe("a", seed=4)


def test_recipes_of_before_make_what_they_made():
    """The first were written when a seed had one code, the next when nothing was flattened."""
    now = Recipe("a", seed=3, attempt=2).to_dict()
    old = {key: value for key, value in now.items() if key not in ("attempt", "flattening")}
    assert Recipe.from_dict({**old, "version": 1}) == Recipe("a", seed=3, attempt=0, flattening=0)
    assert Recipe.from_dict({**old, "version": 2, "attempt": 2}) == Recipe("a", seed=3, attempt=2, flattening=0)
