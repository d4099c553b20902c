"""The third phase of the textured recipe: drawn codes before a critic of cells."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from small import TEXTURED, Balls

from gan3d_core.errors import TrainingError
from gan3d_core.generators.textured import Codes
from training import train_autoencoder as autoencoder_module
from training import train_codes as codes_module
from training import train_refined as refined_module
from training.autoencoder_data import AutoencoderData
from training.export import load_run
from training.train_autoencoder import AutoencoderRecipe, train_autoencoder
from training.train_codes import CodesRecipe, CodesTrainer, load_autoencoder, teachers, train_codes
from training.train_refined import RefinedRecipe, train_refined

AUTOENCODER = AutoencoderRecipe(
    "autoencoder", "ball", TEXTURED, steps=30, batch=4, points=256, surface_points=64, encoder_width=8,
    snapshot_every=30, sheet_every=1000, learning_rate=5e-3, threads=1,
)  # fmt: skip
CODES = CodesRecipe(
    "codes", "ball", steps=3, batch=8, critic_width=16, mapping_width=16, mapping_layers=2, snapshot_every=3,
    sheet_every=1000, rounds=1, threads=1,
)  # fmt: skip
REFINED = RefinedRecipe(
    "refined", "ball", {}, steps=4, batch=2, anchors=2, points=128, surface_points=32, channels=[4, 8, 8, 8],
    r1_every=2, snapshot_every=2, sheet_every=1000, threads=1,
)  # fmt: skip
BALLS = Balls([0.4, 0.45, 0.55, 0.6], half_baked=(0,))


def stand_in(patch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """Balls for a dataset, and no sheets: what is drawn on them is tested elsewhere, and drawing takes longest."""
    patch.setattr(module, "Dataset", lambda *_: BALLS)
    patch.setattr(module, "field_sheet", lambda *_: None)


@pytest.fixture(scope="module")
def codes_run(tmp_path_factory) -> Path:
    """A finished codes run on balls."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        for module in (autoencoder_module, codes_module):
            stand_in(patch, module)
        train_autoencoder(AUTOENCODER, folder, folder / "planes", "cpu")
        codes = dataclasses.replace(CODES, autoencoder=str(folder / "planes"))
        train_codes(codes, folder, folder / "codes", "cpu")
    return folder / "codes"


@pytest.fixture
def balls(monkeypatch):
    stand_in(monkeypatch, refined_module)


def states(trainer) -> list[torch.Tensor]:
    networks = (trainer.generator, trainer.average, trainer.critic)
    return [tensor for network in networks for tensor in network.state_dict().values()]


def test_a_stopped_run_goes_on_bit_for_bit_and_exports(codes_run, tmp_path, balls):
    recipe = dataclasses.replace(REFINED, start=str(codes_run))
    whole = train_refined(recipe, tmp_path, tmp_path / "whole", "cpu")
    train_refined(dataclasses.replace(recipe, steps=2), tmp_path, tmp_path / "halves", "cpu")
    halves = train_refined(recipe, tmp_path, tmp_path / "halves", "cpu")
    assert all(torch.equal(a, b) for a, b in zip(states(whole), states(halves), strict=True))
    generator, _, (architecture, options), prior = load_run(tmp_path / "whole")
    assert (architecture, prior) == ("textured", "normal")
    assert options["head_width"] == TEXTURED["head_width"]
    assert (options["rounds"], options["encoder_width"]) == (1, 8)
    encoder = load_autoencoder(codes_run.parent / "planes", "cpu").encoder_ema.geometry.state_dict()
    assert all(torch.equal(value, generator.state_dict()[f"encoder.{name}"]) for name, value in encoder.items())
    assert all(
        torch.equal(a, b)
        for a, b in zip(generator.state_dict().values(), whole.average.state_dict().values(), strict=True)
    )


def test_planes_move_and_mappings_stay(codes_run, tmp_path, balls):
    before = load_run(codes_run)[0].state_dict()
    for rate, stays in ((0.0, True), (1e-3, False)):
        recipe = dataclasses.replace(REFINED, start=str(codes_run), mapping_rate=rate, steps=1)
        after = train_refined(recipe, tmp_path, tmp_path / f"{rate}", "cpu").generator.state_dict()
        moved = {name for name in before if not torch.equal(before[name], after[name])}
        assert {name for name in moved if name.startswith(("geometry_synthesis", "distance_head", "material_head"))}
        assert any("_mapping.layers" in name for name in moved) != stays


def test_only_codes_runs_are_refined(codes_run, tmp_path, balls):
    recipe = dataclasses.replace(REFINED, start=str(codes_run.parent / "planes"))
    with pytest.raises(TrainingError, match="no generator to ship"):
        train_refined(recipe, tmp_path, tmp_path / "a", "cpu")
    train_refined(dataclasses.replace(REFINED, start=str(codes_run), steps=1), tmp_path, tmp_path / "b", "cpu")
    recipe = dataclasses.replace(REFINED, start=str(tmp_path / "b"))
    with pytest.raises(TrainingError, match="a run of kind 'refined'"):
        train_refined(recipe, tmp_path, tmp_path / "c", "cpu")


def test_who_teaches_form_and_who_surface():
    data = AutoencoderData(BALLS, 8, 8)  # type: ignore[arg-type]
    shapes, surfaces = teachers(data, "", 1.0)
    assert shapes.all()
    assert surfaces.tolist() == [False, True, True, True], "the first is half unknown"
    shapes, _ = teachers(data, "kind=big", 1.0)
    assert shapes.tolist() == [False, False, True, True]
    with pytest.raises(TrainingError, match="surface to learn from"):
        teachers(AutoencoderData(Balls([0.6, 0.6], half_baked=(0, 1)), 8, 8), "", 1.0)  # type: ignore[arg-type]


def test_surfaces_are_lent_by_those_that_have_one():
    """Every geometry is drawn; no texture of a shape without one ever is, and the others keep theirs in half of the
    pairs."""
    codes = torch.arange(4.0)[:, None]
    mean = Codes(codes.expand(4, 8).contiguous(), codes.expand(4, 4).contiguous())
    silent = Codes(torch.full((4, 8), -60.0), torch.full((4, 4), -60.0))
    lends = torch.tensor([False, True, True, True])
    trainer = CodesTrainer(dataclasses.replace(CODES, batch=4000), TEXTURED, mean, silent, lends)
    real = trainer._real() * trainer.scale + trainer.centre
    shape, surface = real[:, 0].round().int(), real[:, -1].round().int()
    assert set(shape.tolist()) == {0, 1, 2, 3}
    assert set(surface.tolist()) == {1, 2, 3}
    own = (shape == surface)[shape > 0].float().mean()
    assert float(own) == pytest.approx(0.5 + 0.5 / 3, abs=0.04)
    assert np.isclose(float((surface[shape == 0] == 2).float().mean()), 1 / 3, atol=0.06)
