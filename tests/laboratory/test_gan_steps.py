"""A trainer's step is the plain step that the benchmark times it against."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks.gan_worker import Case, SameDraws, boxes, first_step
from benchmarks.plain_gans import PlainTrainer
from training.gan_recipe import GanRecipe
from training.real_shapes import RealShapes
from training.train_gan import GanTrainer

RESOLUTION = 16
NARROW = {
    "3dgan": ({"latent_size": 8, "channels": [16, 8]}, {"channels": [8, 16]}),
    "implicit-gan": ({"latent_size": 8, "width": 32, "layers": [4, 4]}, {"channels": [8, 8, 8, 8, 8]}),
}


def recipe(gan: str, autocast: bool) -> GanRecipe:
    """As published but narrow."""
    published = Case(gan, RESOLUTION, batch=4, plain=False).recipe()
    options, critic = NARROW[gan]
    return dataclasses.replace(
        published,
        options=options,
        discriminator_options=published.discriminator_options | critic,
        autocast=autocast,
        accuracy_gate=1.0,
    )


def steps(chosen: GanRecipe) -> tuple[list[dict[str, float]], list[dict[str, float]], GanTrainer, PlainTrainer]:
    """Three steps of both, from the same weights."""
    trainer, plain = GanTrainer(chosen, "cpu"), PlainTrainer(chosen, RESOLUTION)
    trainer.step = first_step(chosen, RESOLUTION)
    plain.load(trainer.generator.state_dict(), trainer.plain_critic.state_dict())
    data = RealShapes(boxes(chosen.resolution), trainer.generator, trainer.bridge, chosen.mirror)
    draws = SameDraws(chosen, RESOLUTION, data, trainer.bridge)
    pairs = [(trainer.train_step(data), plain.step(draws)) for _ in range(3)]
    return [a for a, _ in pairs], [b for _, b in pairs], trainer, plain


@pytest.mark.parametrize("gan", NARROW)
def test_the_losses_and_the_weights_are_those_of_the_plain_step(gan):
    ours, theirs, trainer, plain = steps(recipe(gan, autocast=False))
    for a, b in zip(ours, theirs, strict=True):
        assert {name: a[name] for name in b} == pytest.approx(b, rel=1e-3, abs=1e-4)
    assert len({round(b["critic_loss"], 4) for b in theirs}) == 3  # they learn
    for ours_now, theirs_now in zip(trainer.generator.parameters(), plain.generator.parameters(), strict=True):
        moved = (ours_now - theirs_now).abs().mean()
        assert float(moved.detach()) < 0.1 * trainer.recipe.generator_rate


@pytest.mark.parametrize("gan", NARROW)
def test_in_sixteen_bits_the_losses_are_near(gan):
    ours, theirs, *_ = steps(recipe(gan, autocast=True))
    for a, b in zip(ours, theirs, strict=True):
        assert {name: a[name] for name in b} == pytest.approx(b, rel=0.03, abs=0.03)


def test_sizes_are_the_published_ones():
    whole = Case("3dgan", 64, batch=100, plain=False).recipe()
    assert whole.options == {"latent_size": 200, "channels": [512, 256, 128, 64]}
    assert Case("3dgan", 32, batch=2, plain=False).recipe().discriminator_options["channels"] == [128, 256, 512]
    grown = Case("implicit-gan", 32, batch=2, plain=False).recipe()
    assert grown.stage(first_step(grown, 32)) == (32, 1.0)
    assert grown.stage(first_step(grown, 8)) == (8, 1.0)
