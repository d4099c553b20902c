"""Infinigen's lists and draws without black, on a stand-in for its modules; afterwards all is as it was."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

NAMES = ("BrushedBlackMetal", "BlackGlass", "BlackPlywood", "BrushedMetal", "Wood")


def module(name: str, **attributes) -> ModuleType:
    made = ModuleType(name)
    vars(made).update(attributes)
    return made


@pytest.fixture
def infinigen(monkeypatch) -> SimpleNamespace:
    """The modules that `lighter` touches, and `lighter` itself."""
    draw = np.random.default_rng(0)
    classes = {name: type(name, (), {}) for name in NAMES}
    colors = module(
        "colors",
        metal_hsv=lambda: (draw.random(), 0.4, float(np.exp(draw.uniform(np.log(0.02), np.log(0.5))))),
        hsv2rgba=lambda h, s, v: np.array([v, v * (1 - s), v * (1 - s), 1.0]),
    )
    lists = module(
        "material_assignments",
        furniture_leg=[(classes["BrushedMetal"], 1.0), (classes["BrushedBlackMetal"], 3.0), (classes["Wood"], 2.0)],
        furniture_hard_surface=[(classes["Wood"], 1.0)],
        wear_tear=[object, object],
        wear_tear_prob=[0.5, 0.5],
    )

    def get_color():
        return np.array([*(draw.uniform(0, 0.6) * np.array([1.0, 0.6, 0.4])), 1.0])

    def shader_rough_plastic(nodes, scale=1.0, base_color=None, **_):
        return scale, base_color

    wood_colors = module("wood", get_color=get_color)
    tiles = module("tiled_wood", get_color=get_color)
    rough = module("plastic_rough", shader_rough_plastic=shader_rough_plastic)
    plastic = module("plastic", shader_rough_plastic=shader_rough_plastic)
    tree = {
        "infinigen": module("infinigen"),
        "infinigen.assets": module("assets", colors=colors),
        "infinigen.assets.composition": module("composition", material_assignments=lists),
        "infinigen.assets.materials": module(
            "materials", metal=module("metal", **classes), wood=module("wood", **classes)
        ),
        "infinigen.assets.materials.plastic": module("plastic", plastic=plastic, plastic_rough=rough),
        "infinigen.assets.materials.wood": module("wood", wood=wood_colors, tiled_wood=tiles),
        "infinigen.core": module("core"),
        "infinigen.core.util": module("util"),
        "infinigen.core.util.random": module(
            "random", log_uniform=lambda low, high: float(np.exp(draw.uniform(np.log(low), np.log(high))))
        ),
    }
    for name, made in tree.items():
        monkeypatch.setitem(sys.modules, name, made)
    monkeypatch.delitem(sys.modules, "training.infinigen.inside.lighter", raising=False)
    lighter = importlib.import_module("training.infinigen.inside.lighter")
    yield SimpleNamespace(
        lighter=lighter, colors=colors, lists=lists, wood=wood_colors, tiles=tiles, rough=rough, plastic=plastic,
        classes=classes,
    )  # fmt: skip
    sys.modules.pop("training.infinigen.inside.lighter")


def state(infinigen: SimpleNamespace) -> list:
    """Everything that may be replaced; functions by identity."""
    modules = (infinigen.colors, infinigen.wood, infinigen.tiles, infinigen.rough, infinigen.plastic)
    functions = [value for entry in modules for name, value in vars(entry).items() if not name.startswith("__")]
    return [*map(id, functions), *(list(infinigen.lists.furniture_leg), infinigen.lists.furniture_hard_surface)]


def test_lists_lose_the_black_ones_and_keep_the_weights_of_the_others(infinigen):
    legs, hard = infinigen.lists.furniture_leg, infinigen.lists.furniture_hard_surface
    with infinigen.lighter.lighter():
        assert infinigen.lists.furniture_leg == [legs[0], legs[2]]
        assert infinigen.lists.furniture_hard_surface is hard
        assert infinigen.lists.wear_tear_prob == [0.5, 0.5]
    assert infinigen.lists.furniture_leg is legs


def test_what_is_drawn_is_light_and_as_free_as_before(infinigen):
    with infinigen.lighter.lighter():
        metals = np.array([infinigen.colors.metal_hsv() for _ in range(500)])
        woods = np.array([infinigen.wood.get_color() for _ in range(500)])
        tiles = np.array([infinigen.tiles.get_color() for _ in range(50)])
        plastics = np.array([infinigen.rough.shader_rough_plastic(None)[1] for _ in range(500)])
        also = np.array([infinigen.plastic.shader_rough_plastic(None)[1] for _ in range(50)])
        assert infinigen.rough.shader_rough_plastic(None, 2.0, base_color="mine") == (2.0, "mine")
    assert metals[:, 2].min() >= infinigen.lighter.LEAST
    assert min(woods[:, :3].max(1).min(), tiles[:, :3].max(1).min()) >= infinigen.lighter.LEAST_WOOD
    assert min(plastics[:, :3].max(1).min(), also[:, :3].max(1).min()) >= infinigen.lighter.LEAST
    # Log-uniform from 0.02 to 0.5 is log-uniform from 0.1 to 0.5 where it is above 0.1: its median is their middle.
    middle = np.sqrt(0.1 * 0.5)
    assert np.median(metals[:, 2]) == pytest.approx(middle, rel=0.1)
    assert np.median(plastics[:, 0]) == pytest.approx(middle, rel=0.1)


def test_everything_is_put_back_after_a_failure_too(infinigen):
    before = state(infinigen)
    with infinigen.lighter.lighter():
        assert state(infinigen) != before
    assert state(infinigen) == before
    with pytest.raises(RuntimeError), infinigen.lighter.lighter():
        raise RuntimeError("no legs")
    assert state(infinigen) == before
