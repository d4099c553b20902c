"""The third phase of the textured recipe: drawn codes before a critic of cells."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from small import LATENT_VOLUME, TEXTURED, Balls

from gan3d_core import generators
from gan3d_core.errors import TrainingError
from gan3d_core.generators.coded import Codes
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


def test_how_mottled_a_surface_is_shows_within_its_cells():
    """Lightness that varies normally by a standard deviation: the median of what a batch says of points is that."""
    balls = Balls([0.6, 0.6], count=16_000)
    random = np.random.default_rng(0)
    lighter = random.normal(size=16_000) * 12
    balls.arrays["material"][:] = 128
    balls.arrays["material"][1, :, :3] = np.rint(128 + lighter)[:, None]
    data = AutoencoderData(balls, 8, 8000)  # type: ignore[arg-type]
    plain, mottled = data.batch(np.array([0, 1]), random).mottling
    assert (plain == 0).all()
    assert float(mottled.median()) == pytest.approx(12 / 255, rel=0.1), "a mean of few points takes a little of it"


def test_surfaces_are_lent_by_those_that_have_one():
    """Every geometry is drawn; no texture of a shape without one ever is, and the others keep theirs in half of the
    pairs."""
    codes = torch.arange(4.0)[:, None]
    mean = Codes(codes.expand(4, 8).contiguous(), codes.expand(4, 4).contiguous())
    silent = Codes(torch.full((4, 8), -60.0), torch.full((4, 4), -60.0))
    lends = torch.tensor([False, True, True, True])
    trainer = CodesTrainer(dataclasses.replace(CODES, batch=4000), "textured", TEXTURED, mean, silent, lends)
    real = trainer._real()[0] * trainer.scale + trainer.centre
    shape, surface = real[:, 0].round().int(), real[:, -1].round().int()
    assert set(shape.tolist()) == {0, 1, 2, 3}
    assert set(surface.tolist()) == {1, 2, 3}
    own = (shape == surface)[shape > 0].float().mean()
    assert float(own) == pytest.approx(0.5 + 0.5 / 3, abs=0.04)
    assert np.isclose(float((surface[shape == 0] == 2).float().mean()), 1 / 3, atol=0.06)


def test_a_dataset_may_grow_under_a_run():
    """Codes keep the scale that the networks know; what comes out of it is still the codes."""
    silent = Codes(torch.full((6, 8), -60.0), torch.full((6, 4), -60.0))
    mean = Codes(torch.arange(6.0)[:, None].expand(6, 8).clone(), torch.arange(6.0)[:, None].expand(6, 4).clone())
    few = CodesTrainer(CODES, "textured", TEXTURED, mean[:3], silent[:3])
    more = CodesTrainer(CODES, "textured", TEXTURED, mean, silent)
    assert not torch.allclose(few.scale, more.scale)
    more.restore(few.state())
    assert torch.equal(few.scale, more.scale)
    assert torch.allclose(more.codes * more.scale + more.centre, torch.cat([mean.geometry, mean.texture], 1), atol=1e-5)


def test_cells_have_one_scale():
    """So a cell in which there never is anything stays near nothing, where a scale of its own would blow up noise."""
    size = 2 * 8 * 8 * 4
    mean = Codes(torch.zeros(6, size), torch.randn(6, 4, generator=torch.Generator().manual_seed(0)))
    mean.geometry[:, 5] = torch.arange(6.0)
    silent = Codes(torch.full((6, size), -60.0), torch.full((6, 4), -60.0))
    recipe = dataclasses.replace(CODES, drawer_widths=(8,), critic_widths=(8,))
    trainer = CodesTrainer(recipe, "latent_volume", LATENT_VOLUME, mean, silent)
    own = trainer.scale[:size]
    assert (own == own[0]).all()
    assert float(own[0]) == pytest.approx(float(torch.arange(6.0).std()) / size**0.5, rel=1e-4), "RMS over all cells"
    assert (trainer.codes[:, :size] != 0).sum() == 6


def test_a_critic_sees_the_same_noise_on_both_sides():
    mean = Codes(torch.randn(4, 8), torch.randn(4, 4))
    unsure = Codes(torch.full((4, 8), 2 * np.log(0.5)), torch.full((4, 4), 2 * np.log(0.5)))

    def spread(**changes: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Of real and drawn codes about what they are without noise, in the codes' own units."""
        recipe = dataclasses.replace(CODES, batch=8000, posterior_noise=0.0, **changes)
        trainer = CodesTrainer(recipe, "textured", TEXTURED, mean, unsure)
        state = trainer.noise.get_state()
        codes, trainer.spread = trainer.spread, torch.zeros_like(trainer.spread)
        still = []
        for draw in (trainer._real, lambda: (trainer._fake(trainer.conditions[:1].expand(8000, -1)),)):
            trainer.noise.set_state(state)
            still.append(draw()[0])
        trainer.spread = codes
        noisy = []
        for draw in (trainer._real, lambda: (trainer._fake(trainer.conditions[:1].expand(8000, -1)),)):
            trainer.noise.set_state(state)
            noisy.append(draw()[0])
        real, fake = ((a - b) * trainer.scale for a, b in zip(noisy, still, strict=True))
        return real.std(0), fake.std(0)

    with torch.no_grad():
        for side in spread(instance_noise=0.4):
            assert torch.allclose(side, torch.full_like(side, 0.2), rtol=0.05)
        for side in spread():
            assert (side == 0).all()


def test_codes_are_drawn_along_their_principal_directions():
    """Directions are orthonormal, the codes' own, ordered by how much they differ; real codes and noise are seen along
    them, and what is drawn along them is the generator's own code."""
    size = 2 * 8 * 8 * 4
    random = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn((size, 3), generator=random))[0].T
    along = torch.randn((40, 3), generator=random) * torch.tensor([5.0, 2.0, 1.0])
    mean = Codes(3.0 + along @ basis, torch.randn((40, 4), generator=random))
    unsure = Codes(torch.full((40, size), 2 * np.log(0.5)), torch.full((40, 4), -60.0))
    recipe = dataclasses.replace(CODES, components=3, posterior_noise=0.0, rounds=0)
    trainer = CodesTrainer(recipe, "latent_volume", LATENT_VOLUME, mean, unsure)
    drawer = trainer.mapping.principal
    assert drawer is not None
    assert torch.allclose(drawer.directions @ drawer.directions.T, torch.eye(3), atol=1e-5)
    seen = trainer.codes[:, :3]
    assert torch.allclose(torch.cov(seen.T) - torch.diag(seen.var(0)), torch.zeros(3, 3), atol=1e-4), "uncorrelated"
    assert (seen.std(0).diff() < 0).all()
    assert float(seen[:, 0].std()) == pytest.approx(1, rel=0.02)
    nothing = seen[:, :0]
    back = drawer.across(seen, nothing) * trainer.scale[:size] + trainer.centre[:size]
    assert torch.allclose(back, mean.geometry, atol=1e-3), "three directions hold them"
    # 0.5 in every entry is 0.5 along any direction, after the scales: one of the cells, one of the first direction.
    channel = torch.linalg.vector_norm(drawer.directions * (0.5 / trainer.scale[:size]), dim=1)
    assert torch.allclose(trainer.spread[:, :3], (channel / drawer.scale).expand(40, -1), rtol=1e-4)
    trainer.train_step()
    z = torch.randn((2, 12), generator=random)
    options = {**LATENT_VOLUME, "components": 3, "mapping_width": 16, "mapping_layers": 2}
    generator = generators.build("latent_volume", options)
    generator.geometry_mapping, generator.texture_mapping = (
        trainer.finished_mappings().geometry,
        trainer.finished_mappings().texture,
    )
    with torch.no_grad():
        drawn = trainer.average(z, z[:, :0])
        codes = generator.map(z)
        expected = drawer.across(drawn[:, :3], nothing[:2]) * trainer.scale[:size] + trainer.centre[:size]
        assert torch.allclose(codes.geometry, expected, atol=1e-4)
        assert torch.allclose(codes.texture, drawn[:, 3:] * trainer.scale[size:] + trainer.centre[size:], atol=1e-4)
