"""Trainings on a device that is not the processor: `--device cuda` takes a real one, else there is a pretended one."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from pairs import CRITICS, GENERATORS, pair, records
from pretended_device import PretendedDevice
from small import LATENT_VOLUME, TEXTURED, Balls
from torch import nn
from torch.utils._pytree import tree_map

from gan3d_core.generators import coded
from training import run_folder, train_autoencoder, train_codes, train_judge, train_refined, train_rendered
from training.data.record import RecordSettings
from training.data.store import Dataset
from training.picture_data import PictureData
from training.prepare import prepare
from training.real_shapes import RealShapes
from training.rendering import visibility
from training.train_gan import GanTrainer

SHAPES = Path(__file__).parent.parent / "shapes"
BALLS = Balls([0.4, 0.45, 0.55, 0.6])


class RealDevice:
    """What the tests ask of a `PretendedDevice`, of one that is there."""

    refusal = (RuntimeError, TypeError)
    """What it answers who asks for what it does not do."""

    def __init__(self, name: str) -> None:
        self.name, self.device = name, torch.device(name)

    def at_home(self, values: Any) -> Any:
        return tree_map(lambda one: one.cpu() if isinstance(one, torch.Tensor) else one, values)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Where it is pretended, warp is told that its tensors are on the processor, as they are, and what is loaded lies
    there."""
    if real := request.config.getoption("device"):
        yield RealDevice(real)
        return
    mode = PretendedDevice("cuda")
    launch, load = visibility.launch, run_folder.RunFolder.load

    def launched(kernel: Any, dim: tuple[int, ...], arguments: tuple[Any, ...]) -> None:
        mode.same([value for value in arguments if isinstance(value, torch.Tensor)])
        with torch._C.DisableTorchFunction():
            launch(kernel, dim, arguments)

    monkeypatch.setattr(visibility, "launch", launched)
    monkeypatch.setattr(run_folder.RunFolder, "load", lambda folder: mode.at_home(load(folder)))
    with mode:
        yield mode


def test_torchs_rules_are_kept(elsewhere):
    """Else the tests below could not fail."""
    there_is, refusal = elsewhere.device.type, elsewhere.refusal
    network = nn.Sequential(nn.Linear(3, 4), nn.LeakyReLU(), nn.Linear(4, 2)).to(elsewhere.device)
    here, there = torch.randn(5, 3), torch.randn(5, 3, device=elsewhere.device)
    index, number = torch.zeros(2, dtype=torch.int64), torch.tensor(2.0)
    assert (here.device.type, there.device.type, there.cpu().device.type) == ("cpu", there_is, "cpu")
    assert {parameter.device.type for parameter in network.parameters()} == {there_is}
    for wrong in (
        lambda: network(here),
        lambda: network(there) + here[:, :2],
        lambda: network(there).detach().numpy(),
        lambda: np.asarray(there),
        lambda: torch.randn(3, device=elsewhere.device, generator=torch.Generator()),
        lambda: here[index.to(elsewhere.device)],
        lambda: torch.cat([there, here]),
        lambda: torch.where(here > 0, there, there),
        lambda: index.to(elsewhere.device)[None] @ index.to(elsewhere.device),
    ):
        with pytest.raises(refusal):
            wrong()
    made = network(there)
    others = (made[index], made * number, made.sum(0), torch.zeros_like(made))
    assert {one.device.type for one in (made, *others)} == {there_is}
    made.square().sum().backward()
    assert network[0].weight.grad.device.type == there_is
    with pytest.raises(refusal):
        network[0].weight.grad + torch.zeros(4, 3)
    here.copy_(there)
    assert here.device.type == "cpu"
    assert here.numpy().shape == (5, 3)


# Every generator, every critic, and every bridge between what is yielded and what is consumed.
PAIRS = [
    *(("threedgan", critic) for critic in CRITICS),
    *((generator, "points") for generator in GENERATORS if generator != "threedgan"),
    ("mesh", "volumetric"), ("mesh", "graph"), ("mesh", "multiview"), ("implicit", "volumetric"),
]  # fmt: skip


@pytest.mark.parametrize(("architecture", "discriminator"), PAIRS)
def test_a_pair_trains_elsewhere(elsewhere, architecture, discriminator):
    """It sees there what it sees here."""
    changes = {"penalty_weight": 10.0, "r1_weight": 1.0, "r1_every": 1, "smoothness_weight": 1.0}
    trainer, here = (GanTrainer(pair(architecture, discriminator, **changes), d) for d in (elsewhere.name, "cpu"))
    data = RealShapes(records(), trainer.generator, trainer.bridge, mirror=True)
    report, same = trainer.train_step(data), here.train_step(data)
    assert all(np.isfinite(value) for value in report.values())
    # Points are drawn from a surface in the order of its faces, which rounding may swap.
    assert report.pop("diversity", 0.0) == pytest.approx(same.pop("diversity", 0.0), abs=0.05)
    assert report == pytest.approx(same, rel=0.01, abs=0.01)
    assert next(trainer.generator.parameters()).grad.device.type == elsewhere.device.type


def test_a_pair_goes_on_elsewhere(elsewhere):
    critic = {"discriminator": "growing", "discriminator_options": {"channels": [4, 4, 8]}}
    recipe = pair("threedgan", "volumetric", growing=[8, 16], growing_steps=[1], fade_steps=1, **critic)
    trainer, again = (GanTrainer(recipe, elsewhere.name) for _ in range(2))
    data = RealShapes(records(), trainer.generator, trainer.bridge, mirror=True)
    trainer.train_step(data)
    again.restore(elsewhere.at_home(trainer.state()))
    again.train_step(data)
    assert again.step == 2


RUN = {"snapshot_every": 2, "sheet_every": 1000, "threads": 1}
CELLS = {**LATENT_VOLUME, "palette": 2, "mottled": True}


@contextlib.contextmanager
def on_balls(*modules: ModuleType) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in modules:
            patch.setattr(module, "Dataset", lambda *_: BALLS)
            patch.setattr(module, "field_sheet", lambda *_: None)
        yield


def trained(module: ModuleType, recipe: Any, run: Path, device: str) -> Any:
    """What a kind of run makes on the device, stopped half-way and gone on with."""
    train = getattr(module, f"train_{recipe.kind}")
    train(dataclasses.replace(recipe, steps=recipe.steps // 2), run, run, device)
    return train(recipe, run, run, device)


@pytest.mark.parametrize(("architecture", "options"), [("latent_volume", CELLS), ("textured", TEXTURED)])
def test_the_phases_of_a_chair_train_elsewhere(elsewhere, tmp_path, monkeypatch, architecture, options):
    """Planes or cells, then their codes, then a judge of these; a critic of volumes; and what they draw."""
    cells = architecture == "latent_volume"
    planes = train_autoencoder.AutoencoderRecipe(
        "autoencoder", "ball", options, architecture, steps=4, batch=2, points=128, surface_points=64,
        encoder_width=8, **RUN,
    )  # fmt: skip
    codes = train_codes.CodesRecipe(
        "codes", "ball", steps=4, batch=8, critic_width=16, mapping_width=16, mapping_layers=2, rounds=1,
        r1_weight=1.0, instance_noise=0.1, attributes=["kind"], components=3 if cells else 0,
        autoencoder=str(tmp_path / "planes"), **RUN,
    )  # fmt: skip
    judge = train_judge.JudgeRecipe("judge", "ball", shapes=4, steps=2, batch=4, codes=str(tmp_path / "codes"), **RUN)
    refined = train_refined.RefinedRecipe(
        "refined", "ball", {}, str(tmp_path / "codes"), steps=2, batch=2, anchors=2, points=64, surface_points=32,
        channels=[4, 8, 8, 8], r1_every=1, **RUN,
    )  # fmt: skip
    monkeypatch.setattr(coded, "loose_share", lambda _: 0.0)  # hardly trained, no shape is of one part
    with on_balls(train_autoencoder, train_codes, train_judge, train_refined):
        trained(train_autoencoder, planes, tmp_path / "planes", elsewhere.name)
        trained(train_codes, codes, tmp_path / "codes", elsewhere.name)
        if not cells:
            trained(train_refined, refined, tmp_path / "refined", elsewhere.name)
        generator = trained(train_judge, judge, tmp_path / "judge", elsewhere.name)
    z = np.random.default_rng(0).standard_normal((2, generator.latent_size)).astype(np.float32)
    assert next(generator.parameters()).device.type == elsewhere.device.type
    for field in generator.fields(z, 1.0):
        assert np.isfinite(field.values(32)).all()
        assert field.materials(np.zeros((3, 3), np.float32)).base_color.shape == (3, 3)


def test_pictures_teach_elsewhere(elsewhere, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "furniture"
    with torch._C.DisableTorchFunction():
        prepare(SHAPES / "furniture", folder, processes=1, settings=RecordSettings(views=3, image_size=32))
    recipe = train_rendered.RenderedRecipe(
        "rendered", "chair", {**TEXTURED, "mapping_layers": 2}, steps=2, batch=2,
        image_size=16, coarse=32, fine=64, image_channels=[8, 8, 8], volume_channels=[4, 4, 4], **RUN,
    )  # fmt: skip
    data = PictureData(Dataset(folder, "train", "chair"), ["chair"], 16, 32, mirror=True)
    trainer, again = (train_rendered.RenderedTrainer(recipe, elsewhere.name) for _ in range(2))
    report = trainer.train_step(data)
    assert 0.05 < report["covered"] < 0.9
    again.restore(elsewhere.at_home(trainer.state()))
    again.train_step(data)
    assert again.step == 2
