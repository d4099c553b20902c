"""What critics of points, graphs, pictures and growing volumes must and must not tell apart, and how a run grows."""

from __future__ import annotations

import pytest
import torch
from pairs import pair, records
from torch import nn

from gan3d_core.errors import TrainingError
from training import discriminators
from training.discriminators.graph import EdgeConvolution, neighbours
from training.real_shapes import RealShapes
from training.train_gan import GanTrainer


def build(name: str, **options):
    torch.manual_seed(0)
    return discriminators.build(name, options)


@pytest.mark.parametrize(("name", "size"), [("points", 3), ("graph", 6)])
def test_the_order_of_points_does_not_count(name, size):
    critic = build(name, channels=[8, 16])
    points = torch.rand(3, 40, size)
    assert torch.allclose(critic(points), critic(points[:, torch.randperm(40)]), atol=1e-5)
    assert not torch.allclose(critic(points), critic(points.flip(0)), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "shape"),
    [
        ("points", {"channels": [8]}, (4, 30, 3)),
        ("points", {"channels": [8], "sees": "pairs"}, (4, 30, 4)),
        ("graph", {"channels": [8]}, (4, 30, 6)),
        ("growing", {"channels": [4, 8]}, (4, 1, 8, 8, 8)),
    ],
)
def test_samples_do_not_touch_each_other_unless_they_shall(name, options, shape):
    samples = torch.rand(shape)
    alone = build(name, **options)
    assert torch.allclose(alone(samples)[:1], alone(samples[:1]), atol=1e-5)
    told = build(name, **options, minibatch_std=True)
    one = samples[:1].expand(shape)
    assert not torch.allclose(told(samples)[:1], told(torch.cat([samples[:1], one[1:]]))[:1], atol=1e-5)


def test_neighbours_are_those_of_brute_force():
    places = torch.rand(2, 30, 3)
    found = neighbours(places, 5)
    for shape, rows in zip(places, found, strict=True):
        for index, row in enumerate(rows):
            away = (shape - shape[index]).norm(dim=1)
            assert set(row.tolist()) == set(away.argsort()[1:6].tolist())
    assert neighbours(places[:, :4], 9).shape == (2, 4, 3)


def test_an_edge_convolution_is_the_maximum_over_its_edges():
    layer = EdgeConvolution(6, 5)
    nodes = torch.rand(2, 12, 6)
    joined = neighbours(nodes[..., :3], 4)
    found = layer(nodes, joined)
    for index in (0, 7):
        around = nodes[1][joined[1, index]]
        edges = layer.own(nodes[1, index]) + layer.difference(around - nodes[1, index])
        assert torch.allclose(found[1, index], nn.functional.leaky_relu(edges, 0.2).amax(0), atol=1e-6)


def test_a_shape_is_judged_by_the_mean_over_its_pictures():
    critic = build("multiview", channels=[4, 8], width=8)
    assert critic.image_size == 8
    images, cameras = torch.rand(2, 3, 5, 8, 8), torch.rand(2, 3, 3)
    each = critic.images(images.flatten(0, 1), cameras.flatten(0, 1)).reshape(2, 3)
    assert torch.allclose(critic(images, cameras), each.mean(1))
    assert not torch.allclose(critic(images, cameras), critic(images, cameras.flip(0)))


def test_a_growing_critic_fades_from_what_it_was():
    """At share 0 a finer volume is judged as its coarser self, at 1 by the new level alone."""
    critic = build("growing", channels=[4, 8, 8])
    fine = torch.rand(2, 1, 16, 16, 16)
    coarse = nn.functional.avg_pool3d(fine, 2)
    critic.fade = 0.0
    assert torch.allclose(critic(fine), critic(coarse), atol=1e-6)
    critic.fade = 1.0
    new = critic(fine)
    assert not torch.allclose(new, critic(coarse), atol=1e-6)
    critic.fade = 0.5
    assert not torch.allclose(critic(fine), new, atol=1e-6)
    with pytest.raises(ValueError, match="it must have 8, 16 cells"):
        critic(torch.rand(2, 1, 32, 32, 32))


GROWING = {"growing": [8, 16], "growing_steps": [2], "fade_steps": 2}


def test_a_run_grows_as_its_recipe_says():
    recipe = pair("implicit", "volumetric", **GROWING)
    assert [recipe.stage(step) for step in range(5)] == [(8, 1.0), (8, 1.0), (16, 0.5), (16, 1.0), (16, 1.0)]
    assert pair("implicit", "volumetric").stage(3) == (16, 1.0)


def test_rates_fall_to_nothing_in_the_last_steps():
    recipe = pair("threedgan", "volumetric", steps=6, decay_steps=4, generator_rate=0.01, critic_rate=0.02)
    assert [recipe.share_of_rates(step) for step in range(8)] == [1.0, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    short = pair("threedgan", "volumetric", steps=2, decay_steps=4)
    assert [short.share_of_rates(step) for step in range(3)] == [1.0, 0.5, 0.0]
    trainer, again = (GanTrainer(recipe, "cpu") for _ in range(2))
    data = RealShapes(records(), trainer.generator, trainer.bridge, mirror=False)
    rates, moved = [], []
    for _ in range(7):
        before = torch.nn.utils.parameters_to_vector(trainer.generator.parameters()).detach().clone()
        trainer.train_step(data)
        rates.append([o.param_groups[0]["lr"] for o in (trainer.generator_optimiser, trainer.critic_optimiser)])
        after = torch.nn.utils.parameters_to_vector(trainer.generator.parameters()).detach()
        moved.append(float((after - before).abs().max()))
    shares = [1.0, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0]
    assert rates == [[pytest.approx(0.01 * share), pytest.approx(0.02 * share)] for share in shares]
    assert moved[0] > moved[5] > moved[6] == 0.0
    # A run whose length is a time falls as a run of the recipe's steps would at that share of it.
    again.keep_pace(0.75)
    again._grow()
    assert again.generator_optimiser.param_groups[0]["lr"] == pytest.approx(0.005)


@pytest.mark.parametrize("architecture", ["implicit", "threedgan", "patch", "multiview"])
def test_every_generator_can_be_grown(architecture):
    critic = {"discriminator": "growing", "discriminator_options": {"channels": [4, 4, 8]}}
    penalty = {"penalty_weight": 10.0, "objective": "wasserstein"}
    trainer = GanTrainer(pair(architecture, "volumetric", **GROWING, **critic, **penalty), "cpu")
    data = RealShapes(records(), trainer.generator, trainer.bridge, mirror=False)
    seen = []
    trainer.critic.register_forward_pre_hook(lambda module, given: seen.append(given[0].shape[-1]))
    for _ in range(3):
        trainer.train_step(data)
    assert seen[0] == 8
    assert seen[-1] == 16
    assert trainer.critic.fade == 0.5


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"growing": [8, 12], "growing_steps": [1]}, "does not lead to 16"),
        ({"growing": [4, 8], "growing_steps": [1]}, "does not lead to 16"),
        ({"growing": [8, 16]}, "growing_steps needs one number"),
        ({"growing": [8, 16], "growing_steps": [0]}, "growing_steps needs one number"),
        ({"batch": 3, "accumulate": 2}, "in 2 equal parts"),
        ({"optimiser": "sgd"}, "no optimiser 'sgd'"),
        ({"prior": "cauchy"}, "no prior 'cauchy'"),
        ({"penalty_norm": 0.0}, "no norm to ask for"),
        ({"decay_steps": -1}, "in the last -1 steps"),
    ],
)
def test_unsound_recipes_are_refused(changes, reason):
    with pytest.raises(TrainingError, match=reason):
        pair("implicit", "volumetric", **changes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"growing": [8, 16], "growing_steps": [1]}, "does not grow"),
        ({"discriminator": "image", "discriminator_options": {"image_channels": 3}}, "pictures of textured shapes"),
        ({"discriminator_options": {"channels": [4, 4, 8], "normalisation": "none"}}, "works at 32³"),
        ({"discriminator_options": {"channels": [4, 8]}, "penalty_weight": 1.0}, "batch norm mixes samples"),
        ({"architecture": "textured", "options": {}}, "no shapes to show"),
    ],
)
def test_networks_that_do_not_fit_are_refused(changes, reason):
    with pytest.raises(TrainingError, match=reason):
        GanTrainer(pair("implicit", "volumetric", **changes), "cpu")


def test_a_batch_in_parts_descends_the_mean_of_their_losses(monkeypatch):
    trainer = GanTrainer(pair("implicit", "points", batch=4, accumulate=2), "cpu")
    data = RealShapes(records(), trainer.generator, trainer.bridge, mirror=False)
    parameters = list(trainer.generator.parameters())
    alone = []
    plain = GanTrainer._generator_loss

    def recorded(self, *arguments):
        loss = plain(self, *arguments)
        alone.append(torch.autograd.grad(loss, parameters, retain_graph=True))
        return loss

    monkeypatch.setattr(GanTrainer, "_generator_loss", recorded)
    trainer.train_step(data)
    assert len(alone) == 2
    for parameter, first, second in zip(parameters, *alone, strict=True):
        assert torch.allclose(parameter.grad, (first + second) / 2, rtol=1e-4, atol=1e-8)
        assert not torch.equal(first, second)
