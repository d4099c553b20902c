"""From a recipe to a shape: determinism, stages, cancel, memory, and every way a recipe can be wrong."""

from __future__ import annotations

import gc
import json
import weakref

import numpy as np
import pytest

from gan3d_core import generators
from gan3d_core.checkpoints import find
from gan3d_core.devices import choose_device
from gan3d_core.errors import (
    CancelledError,
    CheckpointError,
    DeviceError,
    EmptyShapeError,
    InternalError,
    OutOfMemoryError,
    RecipeError,
)
from gan3d_core.pipeline import MAX_MODELS, Pipeline
from gan3d_core.progress import STAGES
from gan3d_core.recipe import Recipe

BALL = Recipe("test-ball", resolution=16, target_faces=200, texture_size=64)


@pytest.fixture
def pipeline(checkpoint_dir):
    return Pipeline("cpu", [checkpoint_dir])


def same(a, b) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a.arrays().values(), b.arrays().values(), strict=True))


def test_a_recipe_makes_the_same_shape_again_and_another_seed_another(pipeline, checkpoint_dir):
    result = pipeline.generate(BALL)
    again = Pipeline("cpu", [checkpoint_dir]).generate(Recipe.from_json(result.recipe.to_json()))
    assert same(result.shape, again.shape)
    assert result.recipe == BALL.replace(attempt=0, checkpoint_hash=find("test-ball", [checkpoint_dir]).hash)
    assert not same(result.shape, pipeline.generate(BALL.replace(seed=1)).shape)


def test_truncation_zero_is_one_shape_for_every_seed(pipeline):
    mean = [pipeline.generate(BALL.replace(seed=seed, truncation=0.0)).shape for seed in (1, 2)]
    assert same(*mean)


def test_every_stage_is_reported_in_order_and_timed(pipeline):
    calls: list[tuple[str, float]] = []
    result = pipeline.generate(BALL, lambda stage, fraction: calls.append((stage, fraction)))
    assert tuple(dict.fromkeys(stage for stage, _ in calls)) == STAGES
    assert [STAGES.index(stage) for stage, _ in calls] == sorted(STAGES.index(stage) for stage, _ in calls)
    for stage in STAGES:
        fractions = [fraction for name, fraction in calls if name == stage]
        assert fractions == sorted(fractions)
        assert 0 <= fractions[0] <= fractions[-1] <= 1
    assert tuple(result.timings) == STAGES
    assert all(seconds >= 0 for seconds in result.timings.values())


@pytest.mark.parametrize("stage", STAGES)
def test_cancel_passes_at_each_stage_and_leaves_the_pipeline_usable(pipeline, stage):
    def progress(name, fraction):
        if name == stage:
            raise CancelledError("Enough.")

    with pytest.raises(CancelledError, match="Enough"):
        pipeline.generate(BALL, progress)
    assert len(pipeline.generate(BALL).shape.faces) > 0


def test_a_generator_is_loaded_once_and_released_for_good(pipeline, monkeypatch):
    loaded = []
    load = generators.load

    def counting(checkpoint, device):
        generator = load(checkpoint, device)
        loaded.append(weakref.ref(generator))
        return generator

    monkeypatch.setattr(generators, "load", counting)
    pipeline.generate(BALL)
    pipeline.generate(BALL.replace(seed=3))
    assert len(loaded) == pipeline.loaded == 1
    pipeline.release()
    gc.collect()
    assert loaded[0]() is None
    assert pipeline.loaded == 0
    pipeline.generate(BALL)
    assert len(loaded) == 2


def test_only_a_few_generators_are_kept(tmp_path, checkpoint_writer):
    for number in range(MAX_MODELS + 1):
        checkpoint_writer(tmp_path / f"c{number}", seed=number)
    pipeline = Pipeline("cpu", [tmp_path])
    for number in range(MAX_MODELS + 1):
        pipeline.generate(BALL.replace(checkpoint=f"c{number}"))
    assert pipeline.loaded == MAX_MODELS


def test_a_checkpoint_that_was_replaced_is_loaded_anew(tmp_path, checkpoint_writer):
    import shutil

    pipeline = Pipeline("cpu", [tmp_path])
    checkpoint_writer(tmp_path / "c", seed=1)
    first = pipeline.generate(BALL.replace(checkpoint="c"))
    shutil.rmtree(tmp_path / "c")
    checkpoint_writer(tmp_path / "c", seed=2)
    second = pipeline.generate(BALL.replace(checkpoint="c"))
    assert first.recipe.checkpoint_hash != second.recipe.checkpoint_hash
    assert not same(first.shape, second.shape)
    with pytest.raises(RecipeError, match=first.recipe.checkpoint_hash):
        pipeline.generate(first.recipe)


def test_a_field_without_a_surface_is_an_empty_shape(pipeline):
    with pytest.raises(EmptyShapeError):
        pipeline.generate(BALL.replace(checkpoint="test-empty"))


def truncate(folder):
    data = (folder / "weights.safetensors").read_bytes()
    (folder / "weights.safetensors").write_bytes(data[: len(data) // 2])


def flip(folder):
    data = bytearray((folder / "weights.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(data)


def configure(**changes):
    def change(folder):
        data = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**data, **changes}))

    return change


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        flip,
        configure(version=99),
        configure(architecture="holodeck"),
        configure(options={"latent_size": 16, "channels": [8, 8, 8]}),
        configure(options={"latent_size": 16, "channels": []}),
        configure(options={"size": 3}),
        configure(latent_size=17),
        lambda folder: (folder / "weights.safetensors").unlink(),
    ],
)
def test_a_damaged_checkpoint_is_a_checkpoint_error(tmp_path, checkpoint_writer, damage):
    damage(checkpoint_writer(tmp_path / "c"))
    with pytest.raises(CheckpointError, match=r"'c'|architecture"):
        Pipeline("cpu", [tmp_path]).generate(BALL.replace(checkpoint="c"))


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (MemoryError("Unable to allocate 9 TiB"), OutOfMemoryError),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), OutOfMemoryError),
        (RuntimeError("a bug"), InternalError),
        (KeyError("a bug"), InternalError),
    ],
)
def test_whatever_is_raised_becomes_typed(pipeline, monkeypatch, raised, expected):
    def surface(field, recipe, progress):
        raise raised

    monkeypatch.setattr("gan3d_core.surfacing.surface", surface)
    with pytest.raises(expected) as caught:
        pipeline.generate(BALL)
    assert str(raised) in str(caught.value)


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "mps:1", "cuda:x", "cpu:0", ""])
def test_a_device_that_does_not_exist_is_named(device, checkpoint_dir):
    with pytest.raises(DeviceError) as caught:
        Pipeline(device, [checkpoint_dir]).generate(BALL)
    assert device in caught.value.message


def test_auto_is_a_device_that_exists():
    assert choose_device(choose_device("auto")) == choose_device("auto")
