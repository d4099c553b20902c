"""Attributes: drawn as they are spread, read from labels, and heard by what is trained on them."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
import torch
from small import LATENT_VOLUME, TEXTURED

from gan3d_core.errors import TrainingError
from gan3d_core.generators.attributes import Attributes
from gan3d_core.generators.coded import Codes
from gan3d_core.generators.latent_volume import LatentVolumeGenerator
from training.attributes import read_labels
from training.discriminators.codes import ApartCritic
from training.train_codes import CodesRecipe, CodesTrainer

CODES = CodesRecipe("codes", "chair", batch=8, mapping_width=16, critic_width=16, critic_steps=3, learning_rate=4e-3)
NAMES = ("kind", "arms")


def entry(**labels):
    return SimpleNamespace(labels=labels)


def chairs(count: int = 400) -> list:
    """Of ten chairs one is a stool, which has no arms to speak of; of the others a quarter has arms."""
    return [
        entry(kind="chair", params={"arms": number % 4 == 0}) if number % 10 else entry(kind="stool")
        for number in range(count)
    ]


def followed(entries: list) -> tuple[Attributes, torch.Tensor]:
    labels = read_labels(entries, NAMES)
    assert labels is not None
    attributes = Attributes(labels.attributes)
    attributes.follow(labels.conditions)
    return attributes, labels.conditions


def test_labels_are_values():
    entries = [entry(kind="b", params={"arms": True}), entry(kind="a", params={"arms": False}), entry(params=None)]
    labels = read_labels(entries, NAMES)
    assert labels is not None
    assert labels.attributes == [("kind", ["a", "b"]), ("arms", ["no", "yes"])]
    assert labels.conditions.tolist() == [[0, 1, 0, 1], [1, 0, 1, 0], [0, 0, 0, 0]]
    assert labels.kinds().tolist() == [2, 1, 0]
    assert read_labels(entries, ()) is None


def test_values_that_come_later_are_nothing_to_a_run():
    known = read_labels([entry(kind="a"), entry(kind="b")], ("kind",))
    assert known is not None
    more = read_labels([entry(kind="0"), entry(kind="b")], ("kind",), known.attributes)
    assert more is not None
    assert more.attributes == known.attributes
    assert more.conditions.tolist() == [[0, 0], [0, 1]]


def test_labels_that_cannot_be_told():
    with pytest.raises(TrainingError, match="No shape has a label 'colour'"):
        read_labels(chairs(), ("colour",))
    with pytest.raises(TrainingError, match="99 different words"):
        read_labels([entry(name=str(number)) for number in range(99)], ("name",))
    with pytest.raises(TrainingError, match="has numbers"):
        read_labels([entry(name=1), entry(name="a")], ("name",))
    for wrong in ([("a", ["x"]), ("a", ["y"])], [("a", ["x", "x"])], [("a", [])]):
        with pytest.raises(ValueError, match="must differ"):
            Attributes(wrong)


@torch.no_grad()
def test_conditions_are_drawn_as_they_are_spread():
    attributes, real = followed(chairs())
    count = 40_000
    drawn = attributes(torch.randn((count, attributes.size), generator=torch.Generator().manual_seed(0)))
    stool, arms = drawn[:, 1] > 0.5, drawn[:, 3] > 0.5
    assert float(stool.float().mean()) == pytest.approx(0.1, abs=0.006), "four standard errors"
    share = float(real[real[:, 0] > 0, 3].mean())
    assert float(arms[~stool].float().mean()) == pytest.approx(share, abs=0.01)
    assert float(drawn[stool & (drawn[:, 1] > 0.999), 2:4].abs().max()) < 1e-3, "nobody asks whether a stool has arms"
    for part in (slice(0, 2), slice(2, 4)):
        sums = drawn[:, part].sum(1)
        sums = sums if part.start == 0 else sums[drawn[:, 0] > 0.999]
        assert torch.allclose(sums, torch.ones_like(sums), atol=2e-3)
    decided = ((drawn[:, :2] > 0.99).any(1)).float().mean()
    assert float(decided) > 0.95


@torch.no_grad()
def test_walks_through_conditions_have_no_jump():
    attributes, _ = followed(chairs())
    ends = torch.randn((2, 64, attributes.size), generator=torch.Generator().manual_seed(0))
    steps = 4001
    walk = torch.stack([attributes(torch.lerp(ends[0], ends[1], float(t))) for t in torch.linspace(0, 1, steps)])
    assert float(walk.diff(dim=0).abs().max()) < 0.1
    assert bool((walk[:, :, 0].round().diff(dim=0) != 0).any()), "some walks pass from one kind to another"


def test_without_attributes_there_is_nothing_to_keep():
    silent = Attributes(())
    assert silent.state_dict() == {}
    assert silent(torch.zeros(3, 0)).shape == (3, 0)


def taught(architecture: str, options: dict, steps: int, **recipe) -> tuple[CodesTrainer, torch.Tensor]:
    """Trained on codes that are +1 throughout with arms and −1 without."""
    entries = [entry(kind="chair", arms=bool(number % 2)) for number in range(64)]
    labels = read_labels(entries, NAMES)
    size = LatentVolumeGenerator(**options).geometry_code if architecture == "latent_volume" else 8
    random = torch.Generator().manual_seed(0)
    sign = torch.tensor([1.0 if number % 2 else -1.0 for number in range(64)])[:, None]
    noise = 0.05 * torch.randn((64, size), generator=random)
    mean = Codes(sign + noise, torch.randn((64, 4), generator=random))
    silent = Codes(torch.full((64, size), -60.0), torch.full((64, 4), -60.0))
    settings = dataclasses.replace(CODES, attributes=NAMES, posterior_noise=0.0, batch=64, **recipe)
    trainer = CodesTrainer(settings, architecture, options, mean, silent, labels=labels)
    for _ in range(steps):
        trainer.train_step()
    return trainer, sign


@pytest.mark.parametrize("architecture", ["textured", "latent_volume"])
def test_a_generator_does_what_it_is_told(architecture):
    options = TEXTURED if architecture == "textured" else LATENT_VOLUME
    more = {} if architecture == "textured" else {"components": 4}
    trainer, sign = taught(architecture, options, 250, **more)
    noise = torch.randn((64, trainer.mapping.latent_size), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        made = trainer.mapping(noise, trainer.conditions)[:, : trainer.cut]
        drawer = trainer.mapping.principal
        made = drawer.across(made, trainer.conditions) if drawer else made
    assert float((torch.sign(made.mean(1)) == sign[:, 0]).float().mean()) > 0.95


def test_a_run_keeps_what_its_attributes_are():
    """Restored without shapes, as for an export; and its generator's z has a part for them."""
    trainer, _ = taught("textured", TEXTURED, 10)
    state = trainer.state()
    again = CodesTrainer(trainer.recipe, "textured", TEXTURED, attributes=state["attributes"])
    again.restore(state)
    assert again.options == trainer.options
    z = torch.randn((5, trainer.telling.size), generator=torch.Generator().manual_seed(2))
    assert torch.equal(again.telling(z), trainer.telling(z))
    assert float(again.telling(z)[:, 2].std()) > 0.1
    noise = torch.randn((5, trainer.mapping.latent_size), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        assert torch.equal(again.average(noise, again.telling(z)), trainer.average(noise, trainer.telling(z)))


def test_surfaces_are_lent_within_a_kind():
    entries = [entry(kind="stool" if number < 2 else "chair") for number in range(6)] + [entry()]
    labels = read_labels(entries, ("kind",))
    codes = torch.arange(7.0)[:, None]
    mean = Codes(codes.expand(7, 8).contiguous(), codes.expand(7, 4).contiguous())
    silent = Codes(torch.full((7, 8), -60.0), torch.full((7, 4), -60.0))
    recipe = dataclasses.replace(CODES, batch=4000, texture_shuffle=1.0)
    lends = torch.tensor([True, True, True, True, False, True, False])
    trainer = CodesTrainer(recipe, "textured", TEXTURED, mean, silent, lends, labels)
    shape, surface = trainer._pairs()
    assert set(surface[shape < 2].tolist()) == {0, 1}
    assert set(surface[(shape >= 2) & (shape < 6)].tolist()) == {2, 3, 5}
    assert set(surface[shape == 6].tolist()) == {0, 1, 2, 3, 5}, "of no kind: any will do"
    assert float((surface[shape == 3] == 5).float().mean()) == pytest.approx(1 / 3, abs=0.08)


def test_what_follows_from_attributes_is_taken_off_and_put_back():
    """Codes are a sum of what conditions say and of two directions; both are found, and what is trained draws the
    generator's own codes."""
    entries = [entry(kind="ab"[number % 2], arms=number % 3 == 0) for number in range(120)]
    labels = read_labels(entries, NAMES)
    size = 2 * 8 * 8 * 4
    random = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn((size, 2), generator=random))[0].T
    rest = torch.randn((120, 2), generator=random) * torch.tensor([3.0, 1.0])
    told = labels.conditions
    rest = rest - told @ torch.linalg.lstsq(told, rest).solution
    mean = Codes(
        told @ torch.randn((4, size), generator=random) + rest @ basis, torch.randn((120, 4), generator=random)
    )
    silent = Codes(torch.full((120, size), -60.0), torch.full((120, 4), -60.0))
    recipe = dataclasses.replace(CODES, attributes=NAMES, components=2, posterior_noise=0.0)
    trainer = CodesTrainer(recipe, "latent_volume", LATENT_VOLUME, mean, silent, labels=labels)
    drawer = trainer.mapping.principal
    back = drawer.across(trainer.codes[:, :2], told) * trainer.scale[:size] + trainer.centre[:size]
    error = (back - mean.geometry).square().mean() / mean.geometry.var()
    assert float(error) < 1e-4, "two directions hold the rest"
    assert float((told.T @ trainer.codes[:, :2]).abs().max()) < 0.3, "of which conditions say nothing more"
    trainer.train_step()
    options = {**LATENT_VOLUME, "components": 2, "mapping_width": 16, "attributes": labels.attributes}
    generator = LatentVolumeGenerator(**options)
    finished = trainer.finished_mappings()
    generator.geometry_mapping, generator.texture_mapping = finished.geometry, finished.texture
    generator.attributes.load_state_dict(trainer.telling.state_dict())
    assert generator.latent_size == 12 + 4
    z = torch.randn((3, 16), generator=random)
    with torch.no_grad():
        codes, conditions = generator.map(z), generator.attributes(z[:, 8:12])
        drawn = trainer.average(torch.cat([z[:, :8], z[:, 12:]], 1), conditions)
        expected = drawer.across(drawn[:, :2], conditions) * trainer.scale[:size] + trainer.centre[:size]
        assert torch.allclose(codes.geometry, expected, atol=1e-4)
        assert torch.allclose(codes.texture, drawn[:, 2:] * trainer.scale[size:] + trainer.centre[size:], atol=1e-4)


def test_a_critic_of_surfaces_does_not_see_the_whole_shape():
    torch.manual_seed(0)
    critic = ApartCritic(40, 4, 3, 16)
    codes = torch.randn(8, 47, requires_grad=True)
    assert critic(codes).shape == (8,)
    surface = torch.cat([codes[:, 40:], codes[:, : ApartCritic.SEEN]], 1)
    (of_surface,) = torch.autograd.grad(critic.surface(surface).sum(), codes)
    assert bool((of_surface[:, ApartCritic.SEEN : 40] == 0).all())
    (of_all,) = torch.autograd.grad(critic(codes).sum(), codes)
    assert bool((of_all != 0).all())
    moved = codes.detach().clone()
    moved[:, 40:44] += 1.0
    shape = torch.cat([moved[:, :40], moved[:, 44:]], 1)
    with torch.no_grad():
        assert torch.equal(critic.shape(shape), critic.shape(torch.cat([codes[:, :40], codes[:, 44:]], 1)))
        assert not torch.allclose(critic(moved), critic(codes), atol=1e-4)
