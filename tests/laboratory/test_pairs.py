"""Every generator against every critic under every objective: both learn, and nothing is left without a gradient."""

from __future__ import annotations

import io

import pytest
import torch
from pairs import CRITICS, GENERATORS, pair, records

from gan3d_core import generators
from gan3d_core.representations import Implicit, Surfaces, Views, Volume
from training import discriminators, objectives
from training.bridges import CONSUMED
from training.real_shapes import RealShapes
from training.train_gan import GanTrainer


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def device(request):
    return request.config.getoption("device") or "cpu"


@pytest.fixture(scope="module")
def shapes():
    return records()


def test_the_grid_has_everything_that_is_yielded_and_consumed():
    yielded = {generators.build(name, options).yields for name, options in GENERATORS.items()}
    consumed = {discriminators.build(name, options).consumes for name, options in CRITICS.items()}
    assert yielded == {Volume, Implicit, Surfaces, Views}
    assert consumed == set(CONSUMED)


@pytest.mark.parametrize("objective", objectives.OBJECTIVES)
@pytest.mark.parametrize("discriminator", CRITICS)
@pytest.mark.parametrize("architecture", GENERATORS)
def test_a_pair_trains(shapes, device, architecture, discriminator, objective):
    trainer = GanTrainer(pair(architecture, discriminator, objective=objective), device)
    data = RealShapes(shapes, trainer.generator, trainer.bridge, mirror=True)
    before = {name: value.clone() for name, value in trainer.generator.named_parameters()}
    report = trainer.train_step(data)
    assert all(torch.isfinite(torch.tensor(value)) for value in report.values())
    still = [n for n, p in trainer.generator.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert still == []
    assert all(bool(p.isfinite().all()) for p in (*trainer.generator.parameters(), *trainer.critic.parameters()))
    assert all(not torch.equal(p, before[name]) for name, p in trainer.generator.named_parameters())
    assert trainer.step == 1


@pytest.mark.parametrize("discriminator", CRITICS)
def test_views_shall_never_vanish(discriminator):
    """Before a critic of volumes too, which needs no surface and has nothing against a shape that is gone."""
    assert GanTrainer(pair("multiview", discriminator), "cpu").weights == {"hollowness": 1.0}
    assert GanTrainer(pair("multiview", discriminator, inside_weight=0.0), "cpu").weights == {}
    assert GanTrainer(pair("threedgan", "volumetric"), "cpu").weights == {}


@pytest.mark.parametrize("discriminator", CRITICS)
@pytest.mark.parametrize("architecture", GENERATORS)
def test_a_pair_trains_in_half_precision(shapes, device, architecture, discriminator):
    """Networks compute in bfloat16, the geometry between them and all weights are in single precision."""
    changes = {"autocast": True, "penalty_weight": 10.0, "r1_weight": 1.0, "r1_every": 1, "smoothness_weight": 1.0}
    trainer = GanTrainer(pair(architecture, discriminator, **changes), device)
    trainer.train_step(RealShapes(shapes, trainer.generator, trainer.bridge, mirror=True))
    for parameter in trainer.generator.parameters():
        assert parameter.dtype == parameter.grad.dtype == torch.float32
        assert bool(parameter.grad.isfinite().all())
    assert all(p.dtype == torch.float32 and bool(p.isfinite().all()) for p in trainer.critic.parameters())


def flat(value) -> list:
    """Every tensor and number of a nested state, in order."""
    if isinstance(value, dict):
        return [part for key in sorted(value, key=str) for part in flat(value[key])]
    if isinstance(value, list | tuple):
        return [part for each in value for part in flat(each)]
    return [value]


@pytest.mark.parametrize(
    ("architecture", "discriminator"),
    [
        ("threedgan", "volumetric"),
        ("implicit", "points"),
        ("patch", "graph"),
        ("mesh", "multiview"),
        ("multiview", "graph"),
    ],
)
def test_a_pair_goes_on_bit_for_bit_from_its_state(shapes, architecture, discriminator):
    changes = {"objective": "wasserstein", "penalty_weight": 10.0, "accumulate": 2, "critic_steps": 2}
    whole = GanTrainer(pair(architecture, discriminator, **changes), "cpu")
    data = RealShapes(shapes, whole.generator, whole.bridge, mirror=True)
    whole.train_step(data)
    file = io.BytesIO()
    torch.save(whole.state(), file)
    file.seek(0)
    resumed = GanTrainer(pair(architecture, discriminator, **changes), "cpu")
    resumed.restore(torch.load(file, weights_only=True))
    for trainer in (whole, resumed):
        trainer.train_step(data)
    first, second = flat(whole.state()), flat(resumed.state())
    assert len(first) == len(second) > 10
    assert all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in zip(first, second, strict=True))
