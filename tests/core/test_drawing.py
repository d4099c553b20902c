"""Which of a seed's codes is taken: the first whole shape, or the least broken."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gan3d_core import drawing, latent
from gan3d_core.checkpoints import CheckpointConfig, find
from gan3d_core.errors import CheckpointError
from gan3d_core.field import EXTENT, lattice
from gan3d_core.pipeline import Pipeline
from gan3d_core.recipe import Recipe

CONFIG = CheckpointConfig("Test", "chair", "textured", {}, 3, "normal", 1.0, "", draws=4)


def ball(centre: float, radius: float) -> np.ndarray:
    points = lattice(drawing.LOOKED_AT)
    return (np.linalg.norm(points - [centre, 0, 0], axis=1) - radius).reshape((drawing.LOOKED_AT,) * 3)


def with_bit(radius: float) -> np.ndarray:
    """A ball of radius 0.4 with a smaller one that does not touch it; none of radius 0."""
    return np.minimum(ball(-0.4, 0.4), ball(0.5, radius)) if radius else ball(-0.4, 0.4)


def pole(half: float = EXTENT) -> np.ndarray:
    """Through the larger ball: so high is a shape."""
    x, y, z = np.abs(lattice(drawing.LOOKED_AT) - [-0.4, 0, 0]).T
    return np.maximum(np.maximum(x, y) - 0.06, z - half).reshape((drawing.LOOKED_AT,) * 3)


@dataclasses.dataclass
class Known:
    values_of: np.ndarray
    size_m: float = 1.0
    asked: int = 0

    def values(self, resolution: int) -> np.ndarray:
        self.asked += 1
        assert resolution == drawing.LOOKED_AT
        return self.values_of


class Bits:
    """A generator whose attempts have loose bits of these radii; an attempt's code begins with its number."""

    def __init__(self, radii):
        self.made = [Known(np.minimum(with_bit(radius), pole())) for radius in radii]

    def fields(self, codes, size_m):
        return [self.made[int(code[0])] for code in codes]


def code_of(attempt: int) -> np.ndarray:
    return np.array([attempt, 0, 0], np.float32)


@pytest.mark.parametrize("radius", [0.1, 0.2, 0.35])
def test_the_loose_share_is_that_of_the_volumes(radius):
    share = radius**3 / (radius**3 + 0.4**3)
    assert drawing.loose_share(with_bit(radius)) == pytest.approx(share, abs=0.01)


def test_one_part_has_no_loose_share_and_nothing_is_all_loose():
    assert drawing.loose_share(ball(0.0, 0.5)) == 0.0
    assert drawing.loose_share(np.ones((8, 8, 8))) == 1.0
    corners = np.ones((4, 4, 4))
    corners[0, 0, 0] = corners[1, 1, 1] = -1.0  # they touch at a corner
    assert drawing.loose_share(corners) == 0.0
    corners[1, 1, 1], corners[2, 2, 2] = 1.0, -1.0
    assert drawing.loose_share(corners) == 0.5


@pytest.mark.parametrize(("half", "missing"), [(0.9, 0.0), (0.84, 0.0), (0.6, 1 / 3), (0.45, 0.5)])
def test_what_is_missing_is_seen_by_the_longest_side(half, missing):
    values = np.minimum(ball(-0.4, 0.4), pole(half))
    for turned in (values, values.transpose(2, 0, 1), values.transpose(1, 2, 0)):
        assert drawing.missing_share(turned) == pytest.approx(missing, abs=0.02)
    assert drawing.missing_share(np.ones((8, 8, 8))) == 1.0


def test_a_part_of_a_shape_is_not_taken_for_one():
    generator = Bits([0, 0, 0, 0])
    for one, half in zip(generator.made, (0.5, 0.6, 0.9, 0.9), strict=True):
        one.values_of = np.minimum(ball(-0.4, 0.4), pole(half))
    assert drawing.choose(generator, CONFIG, code_of).attempt == 2


@pytest.mark.parametrize(
    ("radii", "taken"),
    [((0, 0, 0, 0), 0), ((0.3, 0.2, 0, 0), 2), ((0.3, 0.2, 0.1, 0.2), 2), ((0.2, 0.2, 0.2, 0.2), 0)],
)
def test_the_first_whole_one_is_taken_or_else_the_least_broken(radii, taken):
    generator = Bits(radii)
    told = []
    drawn = drawing.choose(generator, CONFIG, code_of, told.append)
    assert (drawn.attempt, drawn.field) == (taken, generator.made[taken])
    assert np.array_equal(drawn.code, code_of(taken))
    needed = radii.index(0) + 1 if 0 in radii else len(radii)
    assert [one.asked for one in generator.made] == [1] * needed + [0] * (len(radii) - needed)
    assert told == sorted(told)
    assert all(0 < share <= 1 for share in told)


@pytest.mark.parametrize(
    ("radii", "before", "taken"),
    [
        ((0, 0, 0, 0), (0.2, 0.1, 0, 0), 2),
        ((0, 0, 0, 0), (0.2, 0.1, 0.3, 0.1), 1),
        ((0.3, 0, 0, 0.2), (0, 0.4, 0.3, 0), 2),
    ],
)
def test_what_needed_no_mending_comes_first_and_what_is_still_broken_last(radii, before, taken):
    generator = Bits(radii)
    for one, loose in zip(generator.made, before, strict=True):
        one.loose_before, one.doubt = loose, 0.0
    assert drawing.choose(generator, CONFIG, code_of).attempt == taken


@pytest.mark.parametrize(
    ("radii", "doubts", "taken", "asked"),
    [
        ((0, 0, 0, 0), (1.0, 2.0, 0, 0), 2, (0, 0, 1, 0)),  # what the judge lets pass, and no other is looked at
        ((0, 0, 0, 0), (3.0, 1.0, 2.0, 4.0), 1, (0, 1, 0, 0)),  # the least doubtful
        ((0, 0.2, 0, 0), (3.0, 1.0, 2.0, 4.0), 2, (0, 1, 1, 0)),  # of those that are whole
        ((0.2, 0.3, 0, 0.3), (0, 0, 1.0, 0), 2, (1, 1, 1, 1)),  # a doubt is less than a fault
        ((0.2, 0.1, 0.2, 0.3), (0, 2.0, 1.0, 0), 1, (1, 1, 1, 1)),  # and the least fault is taken
    ],
)
def test_what_a_judge_lets_pass_comes_first(radii, doubts, taken, asked):
    generator = Bits(radii)
    for one, doubt in zip(generator.made, doubts, strict=True):
        one.loose_before, one.doubt = 0.0, doubt
    drawn = drawing.choose(generator, CONFIG, code_of)
    assert (drawn.attempt, drawn.field) == (taken, generator.made[taken])
    assert tuple(one.asked for one in generator.made) == asked


def test_a_checkpoint_that_draws_once_is_not_looked_at():
    generator = Bits([0.3])
    assert drawing.choose(generator, dataclasses.replace(CONFIG, draws=1), code_of).attempt == 0
    assert generator.made[0].asked == 0


def test_many_seeds_at_once_are_the_same_as_one_by_one():
    class ByFirst(Bits):
        def fields(self, codes, size_m):
            return [self.made[int(code[0] > 0)] for code in codes]

    found = drawing.codes(ByFirst([0.3, 0]), CONFIG, range(20), 1.0)
    first = np.stack([latent.draw(seed, 3, "normal", 1.0) for seed in range(20)])
    kept = first[:, 0] > 0
    assert 3 < kept.sum() < 17
    assert np.array_equal(found[kept], first[kept])
    assert (found[:, 0] > 0).sum() > kept.sum()


@given(st.integers(0, 2**31 - 1), st.integers(1, 2**64 - 1))
def test_attempts_have_codes_of_their_own(seed, attempt):
    assert not np.array_equal(latent.draw(seed, 8, "normal"), latent.draw(seed, 8, "normal", attempt=attempt))


@pytest.fixture
def choosy(checkpoint_dir, tmp_path):
    """A folder with a checkpoint that draws up to four times."""
    found = find("test-ball", [checkpoint_dir])
    shutil.copytree(found.path, tmp_path / "test-choosy")
    config = json.loads((tmp_path / "test-choosy" / "config.json").read_text())
    (tmp_path / "test-choosy" / "config.json").write_text(json.dumps({**config, "draws": 4}))
    return tmp_path


def test_the_pipeline_says_which_it_took_and_takes_it_again(choosy, monkeypatch):
    shares = iter([0.5, 0.0])
    monkeypatch.setattr(drawing, "loose_share", lambda _: next(shares))
    monkeypatch.setattr(drawing, "missing_share", lambda _: 0.0)  # this checkpoint has a ball of half the size
    recipe = Recipe("test-choosy", seed=3, resolution=16, target_faces=200, texture_size=64)
    result = Pipeline("cpu", [choosy]).generate(recipe)
    assert result.recipe.attempt == 1
    again = Pipeline("cpu", [choosy]).generate(result.recipe)  # nothing is chosen anew: no share is left
    first = Pipeline("cpu", [choosy]).generate(recipe.replace(attempt=0))
    assert np.array_equal(again.shape.vertices, result.shape.vertices)
    assert not np.array_equal(first.shape.vertices, result.shape.vertices)


@pytest.mark.parametrize("draws", [0, -1, 65])
def test_a_number_of_draws_that_no_recipe_could_name_is_refused(choosy, draws):
    path = choosy / "test-choosy" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "draws": draws}))
    with pytest.raises(CheckpointError, match="out of range"):
        find("test-choosy", [choosy])
