"""From what a person asks for to recipes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gan3d_core.errors import CheckpointError, RecipeError
from gan3d_core.recipe import Recipe
from gan3d_core.request import MAX_COUNT, SEEDS, recipes_for, seeds_for


@given(st.integers(1, MAX_COUNT), st.integers(0, SEEDS - 1), st.booleans())
def test_seeds_are_different_and_in_range(count, seed, random):
    seeds = seeds_for(count, seed, random=random)
    assert len(set(seeds)) == len(seeds) == count
    assert all(0 <= each < SEEDS for each in seeds)
    if not random:
        assert seeds[0] == seed
        assert all((b - a) % SEEDS == 1 for a, b in itertools.pairwise(seeds))


@pytest.mark.parametrize(("count", "seed"), [(0, 0), (MAX_COUNT + 1, 0), (True, 0), (1, -1), (1, SEEDS), (1, 0.5)])
def test_a_count_or_seed_out_of_range_is_refused(count, seed):
    with pytest.raises(RecipeError):
        seeds_for(count, seed)


def test_defaults_are_the_checkpoints_own(tmp_path, checkpoint_writer):
    import json

    folder = checkpoint_writer(tmp_path / "mine", category="lamp")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "truncation": 0.3, "resolution": 48}))
    recipes = recipes_for(category="lamp", checkpoint_dirs=[tmp_path], count=3, seed=5, smoothing=2, target_faces=None)
    plain = Recipe("mine", truncation=0.3, resolution=48, smoothing=2)
    assert recipes == [plain.replace(seed=seed) for seed in (5, 6, 7)]
    assert recipes_for(checkpoint="mine", checkpoint_dirs=[tmp_path], truncation=1.0)[0].truncation == 1.0
    by_path = recipes_for(checkpoint=str(folder))
    assert by_path[0].checkpoint == str(folder.resolve())


def test_a_base_recipe_is_kept_but_for_what_is_said(checkpoint_dir):
    base = Recipe("gone", seed=7, truncation=0.1, smoothing=3, checkpoint_hash="0123456789abcdef")
    assert recipes_for(base=base) == [base]
    assert recipes_for(base=base, count=2, resolution=32) == [base.replace(seed=s, resolution=32) for s in (7, 8)]
    (moved,) = recipes_for(base=base, checkpoint="test-ball", checkpoint_dirs=[checkpoint_dir], seed=0)
    assert moved == base.replace(checkpoint="test-ball", checkpoint_hash="", seed=0)


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({}, RecipeError),
        ({"category": "spoon"}, CheckpointError),
        ({"checkpoint": "spoon"}, CheckpointError),
        ({"checkpoint": "test-ball", "colour": 1}, RecipeError),
        ({"checkpoint": "test-ball", "truncation": 2.0}, RecipeError),
        ({"checkpoint": "test-ball", "components": "some"}, RecipeError),
    ],
)
def test_what_cannot_be_made_is_refused(checkpoint_dir, asked, error):
    with pytest.raises(error):
        recipes_for(checkpoint_dirs=[checkpoint_dir], **asked)
