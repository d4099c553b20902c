"""Techniques, classes and the monitor in runs of kind "gan"."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from pairs import CRITICS, GENERATORS, pair, records

from gan3d_core.errors import TrainingError
from gan3d_core.generators import build
from training import loop, report
from training.export import of_category
from training.gan_recipe import GanRecipe
from training.monitor import Limits, Monitor
from training.real_shapes import RealShapes
from training.run_folder import RunFolder
from training.train_gan import GanTrainer

TABLES: dict[str, dict[str, Any]] = {
    "label_smoothing": {"label_smoothing": 0.1},
    "feature_matching": {"feature_matching": 10.0},
    "historical_averaging": {"historical_averaging": 10.0},
    "spectral_norm": {"spectral_norm": True},
}


def start(recipe: GanRecipe, classes: int = 1) -> tuple[GanTrainer, RealShapes]:
    trainer = GanTrainer(recipe, "cpu")
    shapes = dataclasses.replace(records(), labels=np.arange(3) % classes)
    return trainer, RealShapes(shapes, trainer.generator, trainer.bridge, mirror=False)


def weights(trainer: GanTrainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in (*trainer.generator.parameters(), *trainer.critic.parameters())])


@pytest.mark.parametrize("name", TABLES)
def test_each_technique_takes_part(name):
    """Two steps end elsewhere than without it, and a run that stops between them goes on bit for bit."""
    recipe = pair("threedgan", "volumetric", techniques=TABLES[name])
    trainer, data = start(recipe)
    plain, _ = start(dataclasses.replace(recipe, techniques={}))
    trainer.train_step(data)
    other, _ = start(recipe)
    other.restore(copy.deepcopy(trainer.state()))
    for each in (trainer, other):
        each.train_step(data)
    for _ in range(2):
        plain.train_step(data)
    assert torch.equal(weights(trainer), weights(other))
    assert not torch.allclose(weights(trainer), weights(plain), atol=1e-5)


@pytest.mark.parametrize("critic", CRITICS)
def test_every_critic_offers_features_and_takes_classes(critic):
    """Features are matched, the class's vectors of both players move, and diversity is told."""
    recipe = pair("implicit", critic, category="solid,hollow", techniques={"feature_matching": 1.0}, batch=3)
    trainer, data = start(recipe, classes=2)
    before = trainer.generator.embedding.weight.detach().clone()
    told = trainer.train_step(data)
    assert told["matching"] > 0
    assert told["diversity"] >= 0
    assert not torch.equal(trainer.generator.embedding.weight, before)
    assert (trainer.critic.embedding.weight != 0).any(1).all()


def test_a_class_changes_the_shape_and_a_checkpoint_has_one():
    recipe = pair("threedgan", "volumetric", category="solid, hollow", batch=3)
    trainer, data = start(recipe, classes=2)
    trainer.train_step(data)
    category, options = of_category(trainer.architecture, recipe.category, "hollow")
    assert category == "hollow"
    shipped = build(trainer.architecture[0], options)
    shipped.load_state_dict(trainer.average.state_dict())
    codes = np.random.default_rng(0).standard_normal((1, 4)).astype(np.float32)
    own = shipped.eval().fields(codes, 1.0)[0].values(16)
    trainer.average.eval()
    assert np.array_equal(own, trainer.average.fields(codes, 1.0, labels=[1])[0].values(16))
    assert not np.array_equal(own, trainer.average.fields(codes, 1.0, labels=[0])[0].values(16))
    assert of_category(("threedgan", {"a": 1}), "solid", None) == ("solid", {"a": 1})
    with pytest.raises(TrainingError, match="no category 'lamp'"):
        of_category(trainer.architecture, recipe.category, "lamp")


def test_a_virtual_batch_trains_and_goes_on():
    options = {**GENERATORS["threedgan"], "normalisation": "virtual", "reference": 3}
    trainer, data = start(pair("threedgan", "volumetric", options=options))
    trainer.train_step(data)
    other, _ = start(trainer.recipe)
    other.restore(copy.deepcopy(trainer.state()))
    for each in (trainer, other):
        each.train_step(data)
    assert torch.equal(weights(trainer), weights(other))
    reference = trainer.generator.layers.reference
    assert reference.std() > 0.3  # drawn from the prior
    assert torch.equal(reference, other.generator.layers.reference)


def test_two_time_scales_are_two_rates():
    """With Adam the first step of every weight is its rate (Kingma and Ba 2015, section 2.1)."""
    trainer, data = start(pair("threedgan", "volumetric", generator_rate=1e-3, critic_rate=4e-3))
    before = [trainer.generator.layers[0].weight.detach().clone(), trainer.critic.last.weight.detach().clone()]
    trainer.train_step(data)
    after = [trainer.generator.layers[0].weight.detach(), trainer.critic.last.weight.detach()]
    steps = [float((b - a).abs().median()) for a, b in zip(before, after, strict=True)]
    assert steps == [pytest.approx(1e-3, rel=0.01), pytest.approx(4e-3, rel=0.01)]


def test_a_run_whose_shapes_are_all_one_is_said_to_have_collapsed(tmp_path):
    """A generator that begins as a sphere for every code, and hardly learns."""
    recipe = pair("implicit", "volumetric", generator_rate=1e-9, batch=3, steps=17, snapshot_every=50, sheet_every=50)
    trainer, data = start(recipe)
    folder = RunFolder(tmp_path / "run", dataclasses.asdict(recipe))
    watch = Monitor(Limits(grace=0, window=16, every=17, measures=1))
    loop.run(trainer, folder, recipe, "Training", lambda: trainer.train_step(data), lambda: None, watch)
    assert [finding.kind for finding in report.read_metrics(tmp_path / "run")[1]] == ["mode collapse"]
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "Mode collapse" in page
    assert "Of the generator, from gan3d_core.generators.CATALOGUE." in page  # the recipe with its docs


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(TrainingError, match="has a target"):
        GanTrainer(pair("threedgan", "volumetric", objective="hinge", techniques={"label_smoothing": 0.1}), "cpu")
    with pytest.raises(TrainingError, match="unknown fields: magic"):
        GanTrainer(pair("threedgan", "volumetric", techniques={"magic": 1}), "cpu")
    with pytest.raises(TrainingError, match=r"need options\.latent_size"):
        GanTrainer(pair("threedgan", "volumetric", category="a,b", options={"channels": [8, 4]}), "cpu")
