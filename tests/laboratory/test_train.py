"""Training runs: every objective steps, a stopped run goes on bit for bit, and bad settings are refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import LATENT_VOLUME, TEXTURED

from gan3d_core import checkpoints, generators, latent
from gan3d_core.errors import DatasetError, TrainingError
from training import export, objectives
from training.autoencoder_data import AutoencoderData
from training.configuration import RECIPES, fill, override, read_toml
from training.data.record import RecordSettings
from training.data.store import Dataset
from training.prepare import prepare
from training.real_shapes import RealShapes, Records
from training.train import KINDS, main
from training.train_autoencoder import AutoencoderRecipe, AutoencoderTrainer, train_autoencoder
from training.train_codes import CodesRecipe, train_codes
from training.train_gan import GanRecipe, GanTrainer, train_gan
from training.train_judge import JudgeRecipe, train_judge
from training.train_rendered import RenderedRecipe, RenderedTrainer, train_rendered

SHAPES = Path(__file__).parent.parent / "shapes"

GAN = GanRecipe(
    kind="gan",
    category="chair",
    architecture="threedgan",
    options={"latent_size": 8, "channels": [8, 8, 8]},
    discriminator="volumetric",
    discriminator_options={"channels": [8, 8, 8], "normalisation": "none"},
    resolution=32,
    steps=4,
    batch=2,
    r1_weight=1.0,
    r1_every=2,
    accuracy_gate=1.0,
    snapshot_every=2,
    sheet_every=4,
    threads=1,
)
AUTOENCODER = AutoencoderRecipe(
    kind="autoencoder",
    category="chair",
    options=TEXTURED,
    steps=4,
    batch=2,
    points=256,
    surface_points=64,
    encoder_width=8,
    snapshot_every=2,
    sheet_every=4,
    threads=1,
)
RENDERED = RenderedRecipe(
    kind="rendered",
    category="chair",
    options=AUTOENCODER.options,
    steps=4,
    batch=2,
    image_size=16,
    coarse=32,
    fine=64,
    image_channels=[8, 8, 8],
    volume_channels=[4, 4, 4],
    r1_every=2,
    snapshot_every=2,
    sheet_every=4,
    threads=1,
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    """The three furniture chairs; by their hashes all are in the training split."""
    folder = tmp_path_factory.mktemp("data") / "furniture"
    prepare(SHAPES / "furniture", folder, processes=1, settings=RecordSettings(views=2, image_size=32))
    return folder


def shapes_for(trainer: GanTrainer, dataset: Path, mirror: bool = False) -> RealShapes:
    records = Records.of(Dataset(dataset, "train", "chair"), trainer.recipe.resolution, False, False, ["chair"])
    return RealShapes(records, trainer.generator, trainer.bridge, mirror)


def flat(state: dict) -> list:
    """Every tensor and number of a nested state, in order."""
    out: list = []
    for _, value in sorted(state.items(), key=lambda item: str(item[0])):
        if isinstance(value, dict):
            out += flat(value)
        elif isinstance(value, (list, tuple)):
            out += flat(dict(enumerate(value)))
        else:
            out.append(value)
    return out


def assert_equal_states(a: dict, b: dict) -> None:
    first, second = flat(a), flat(b)
    assert len(first) == len(second) > 10
    for x, y in zip(first, second, strict=True):
        assert torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y


@pytest.mark.parametrize(
    ("recipe", "train"),
    [(GAN, train_gan), (AUTOENCODER, train_autoencoder), (RENDERED, train_rendered)],
    ids=["gan", "autoencoder", "rendered"],
)
def test_a_stopped_run_goes_on_bit_for_bit(dataset, tmp_path, recipe, train):
    whole = train(recipe, dataset, tmp_path / "whole", "cpu")
    train(dataclasses.replace(recipe, steps=2), dataset, tmp_path / "halves", "cpu")
    # The learning rate of the autoencoder depends on the number of steps, so its first half must know it.
    if recipe is AUTOENCODER:
        trainer = AutoencoderTrainer(recipe, "cpu")
        from training.run_folder import RunFolder

        data = AutoencoderData(Dataset(dataset, "train", "chair"), recipe.points, recipe.surface_points)
        for _ in range(2):
            trainer.train_step(data)
        RunFolder(tmp_path / "halves", dataclasses.asdict(recipe)).save(trainer.state())
    halves = train(recipe, dataset, tmp_path / "halves", "cpu")
    assert_equal_states(whole.state(), halves.state())
    assert list(tmp_path.glob("whole/*-0000004.png"))
    rows = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert all({"step", "time"} <= set(row) for row in rows)


@pytest.mark.parametrize("objective", objectives.OBJECTIVES)
@pytest.mark.parametrize("normalisation", ["batch", "none", "spectral"])
def test_every_objective_moves_both_networks(dataset, objective, normalisation):
    options = {"channels": [8, 8, 8], "normalisation": normalisation}
    trainer = GanTrainer(dataclasses.replace(GAN, objective=objective, discriminator_options=options), "cpu")
    data = shapes_for(trainer, dataset, mirror=True)
    before = [p.detach().clone() for p in (*trainer.generator.parameters(), *trainer.critic.parameters())]
    report = trainer.train_step(data)
    after = [*trainer.generator.parameters(), *trainer.critic.parameters()]
    moved = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert np.mean(moved) > 0.8
    assert {"critic_loss", "generator_loss"} <= set(report)


def test_the_divergence_grows_from_nothing(dataset):
    data = AutoencoderData(Dataset(dataset, "train", "chair"), AUTOENCODER.points, AUTOENCODER.surface_points)
    weights = []
    for changes in (
        {"divergence_weight": 0.0},
        {"divergence_weight": 1.0, "easy_steps": 10},
        {"divergence_weight": 1.0},
    ):
        trainer = AutoencoderTrainer(dataclasses.replace(AUTOENCODER, **changes), "cpu")
        after = []
        for _ in range(2):
            trainer.train_step(data)
            after.append(torch.cat([parameter.detach().flatten() for parameter in trainer.parameters]).clone())
        weights.append(after)
    without, growing, full = weights
    assert torch.equal(without[0], growing[0])
    assert not torch.equal(without[1], growing[1])
    assert not torch.equal(without[0], full[0])


def test_the_gate_holds_a_critic_that_is_too_good(dataset):
    """The 80 % rule: above the bound the critic's weights stay as they are."""
    trainer = GanTrainer(dataclasses.replace(GAN, accuracy_gate=-1.0, r1_weight=0.0), "cpu")
    before = [p.detach().clone() for p in trainer.critic.parameters()]
    trainer.train_step(shapes_for(trainer, dataset))
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.critic.parameters(), strict=True))


def test_volumes_keep_where_the_surface_lies(dataset):
    """The ramp's half-way level is the zero of the distance, and mirrored volumes mirror."""
    trainer = GanTrainer(GAN, "cpu")
    volumes = shapes_for(trainer, dataset).occupancy
    distance = Dataset(dataset, "train", "chair").stack("sdf32").astype(np.float32)
    sure = np.abs(distance) > 4e-4
    assert ((volumes > 127.5) == (distance < 0))[sure].all()
    count = len(volumes)
    drawn = shapes_for(trainer, dataset, mirror=True).draw(count, np.random.default_rng(0)).shapes.occupancy
    found = np.rint(drawn.numpy() * 255)
    matches = [np.array_equal(one, v) or np.array_equal(one, v[::-1]) for one in found for v in volumes]
    assert sum(matches) == count


CELLS: dict[str, Any] = {
    "penalty_weight": 0.0, "r1_weight": 1.0, "r1_every": 2, "objective": "non-saturating", "drawer_widths": (8,),
    "critic_widths": (8,),
}  # fmt: skip


@pytest.mark.parametrize(
    ("architecture", "options", "changes"), [("textured", TEXTURED, {}), ("latent_volume", LATENT_VOLUME, CELLS)]
)
def test_from_an_autoencoder_to_a_checkpoint_that_generates(
    dataset, tmp_path, monkeypatch, architecture, options, changes
):
    """Autoencode, train codes and a judge of what they draw, export in 16 bit, load strictly: the field is that of the
    run, one that was stopped and gone on with."""
    autoencoder = dataclasses.replace(AUTOENCODER, architecture=architecture, options=options)
    train_autoencoder(autoencoder, dataset, tmp_path / "planes", "cpu")
    codes = CodesRecipe(
        kind="codes", category="chair", autoencoder=str(tmp_path / "planes"), steps=4, batch=8, critic_width=16,
        mapping_width=16, mapping_layers=2, snapshot_every=2, sheet_every=4, threads=1, rounds=1, **changes,
    )  # fmt: skip
    train_codes(dataclasses.replace(codes, steps=2), dataset, tmp_path / "codes", "cpu")
    trained = train_codes(codes, dataset, tmp_path / "codes", "cpu")
    whole = train_codes(codes, dataset, tmp_path / "whole", "cpu")
    assert all(torch.equal(a, b) for a, b in zip(trained.parameters(), whole.parameters(), strict=True))
    judging = JudgeRecipe(
        "judge", "chair", codes=str(tmp_path / "codes"), shapes=4, held_out=0.5, steps=3, batch=4, threads=1
    )
    monkeypatch.setattr("gan3d_core.generators.coded.loose_share", lambda _: 0.0)  # four steps make crumbs
    train_judge(dataclasses.replace(judging, steps=1), dataset, tmp_path / "judge", "cpu")
    trained = train_judge(judging, dataset, tmp_path / "judge", "cpu")
    (tmp_path / "card.md").write_text("# A test\n")
    arguments = [
        str(tmp_path / "judge"),
        str(tmp_path / "shipped"),
        "--label",
        "Test",
        "--card",
        str(tmp_path / "card.md"),
    ]
    assert export.main(arguments) == 0
    checkpoint = checkpoints.read(tmp_path / "shipped")
    loaded = generators.load(checkpoint)
    assert checkpoint.config.textured
    assert checkpoint.config.architecture == architecture
    z = np.stack([latent.draw(5, 12, checkpoint.config.prior)])
    (a,), (b,) = trained.fields(z, 1.0), loaded.fields(z, 1.0)
    assert np.abs(a.values(32) - b.values(32)).max() < 2e-3
    assert a.size_m == pytest.approx(b.size_m, rel=1e-2)
    many = np.stack([latent.draw(seed, 12, checkpoint.config.prior) for seed in range(8)])
    doubts = np.array([[field.doubt for field in one.fields(many, 1.0)] for one in (trained, loaded)])
    assert doubts[0] == pytest.approx(doubts[1], abs=0.02)
    assert np.ptp(doubts[0]) > 0
    # Symmetric: the field at −x is the field at x.
    assert np.array_equal(b.values(32), b.values(32)[::-1])
    points = np.random.default_rng(0).uniform(-0.8, 0.8, (50, 3)).astype(np.float32)
    materials = b.materials(points)
    assert materials.base_color.shape == (50, 3)
    assert ((materials.base_color >= 0) & (materials.base_color <= 1)).all()


def test_a_gan_run_exports(dataset, tmp_path):
    train_gan(GAN, dataset, tmp_path / "run", "cpu")
    (tmp_path / "card.md").write_text("# A test\n")
    arguments = [str(tmp_path / "run"), str(tmp_path / "c"), "--label", "Test", "--card", str(tmp_path / "card.md")]
    assert export.main(arguments) == 0
    loaded = generators.load(checkpoints.read(tmp_path / "c"))
    assert sum(p.numel() for p in loaded.parameters()) > 1000


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_recipes_are_valid(path, capsys):
    """Each parses strictly, builds its networks, and a dry run writes nothing."""
    data = read_toml(path.stem)
    cls, _ = KINDS[data["kind"]]
    recipe = fill(cls, data)
    if cls is GanRecipe:
        GanTrainer(recipe, "cpu")
    if cls is AutoencoderRecipe:
        AutoencoderTrainer(recipe, "cpu")
    if cls is RenderedRecipe:
        RenderedTrainer(recipe, "cpu", begin=False)
    assert main([path.stem, "nowhere", "nowhere", "--dry-run", "--device", "cpu"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == data["kind"]


def test_the_published_generator_has_the_papers_size():
    """Wu et al. 2016 and its reimplementations: about 17.6 M and 11.0 M parameters."""
    trainer = GanTrainer(fill(GanRecipe, read_toml("3dgan")), "cpu")
    assert sum(p.numel() for p in trainer.generator.parameters()) == pytest.approx(17.6e6, rel=0.01)
    assert sum(p.numel() for p in trainer.critic.parameters()) == pytest.approx(11.0e6, rel=0.01)


def test_bad_settings(dataset, tmp_path):
    with pytest.raises(TrainingError, match="no recipe"):
        read_toml("nonsense")
    with pytest.raises(TrainingError, match="unknown fields: colour"):
        fill(GanRecipe, {**dataclasses.asdict(GAN), "colour": 1})
    with pytest.raises(TrainingError, match="lacks 'category'"):
        fill(GanRecipe, {"kind": "gan"})
    with pytest.raises(TrainingError, match="steps must be of type int"):
        fill(GanRecipe, {**dataclasses.asdict(GAN), "steps": "many"})
    with pytest.raises(TrainingError, match="no accuracy to gate"):
        GanTrainer(dataclasses.replace(GAN, objective="wasserstein", accuracy_gate=0.8), "cpu")
    with pytest.raises(TrainingError, match="works at 64"):
        GanTrainer(dataclasses.replace(GAN, options={"latent_size": 8, "channels": [8, 8, 8, 8]}), "cpu")
    with pytest.raises(TrainingError, match="no discriminator"):
        GanTrainer(dataclasses.replace(GAN, discriminator="oracle"), "cpu")
    with pytest.raises(DatasetError, match="no GAN3D dataset"):
        train_gan(GAN, tmp_path / "nowhere", tmp_path / "run", "cpu")
    with pytest.raises(DatasetError, match="no shapes of category 'lamp'"):
        train_gan(dataclasses.replace(GAN, category="lamp"), dataset, tmp_path / "run2", "cpu")
    train_gan(dataclasses.replace(GAN, steps=1), dataset, tmp_path / "run3", "cpu")
    with pytest.raises(TrainingError, match="is a run of kind 'gan'"):
        train_judge(JudgeRecipe("judge", "chair", codes=str(tmp_path / "run3")), dataset, tmp_path / "run7", "cpu")
    with pytest.raises(TrainingError, match="another recipe \\(batch differ\\)"):
        train_gan(dataclasses.replace(GAN, batch=3), dataset, tmp_path / "run3", "cpu")
    # A run from before there was a field, which is as it was then; and one that says otherwise.
    written = tmp_path / "run3" / "recipe.json"
    before = json.loads(written.read_text())
    del before["decay_steps"]
    written.write_text(json.dumps(before))
    assert train_gan(dataclasses.replace(GAN, steps=2), dataset, tmp_path / "run3", "cpu").step == 2
    with pytest.raises(TrainingError, match="another recipe \\(decay_steps differ\\)"):
        train_gan(dataclasses.replace(GAN, steps=3, decay_steps=1), dataset, tmp_path / "run3", "cpu")
    (tmp_path / "run3" / "snapshot.pt").write_bytes(b"rubbish")
    with pytest.raises(TrainingError, match="cannot be read"):
        train_gan(GAN, dataset, tmp_path / "run3", "cpu")
    train_autoencoder(dataclasses.replace(AUTOENCODER, steps=1), dataset, tmp_path / "planes", "cpu")
    codes = CodesRecipe("codes", "chair", autoencoder=str(tmp_path / "planes"), batch=8)
    with pytest.raises(TrainingError, match="labelled 'kind=Throne'"):
        train_codes(dataclasses.replace(codes, only="kind=Throne"), dataset, tmp_path / "run5", "cpu")
    with pytest.raises(TrainingError, match="is no label"):
        train_codes(dataclasses.replace(codes, only="kind"), dataset, tmp_path / "run6", "cpu")
    with pytest.raises(TrainingError, match="holds no autoencoder run"):
        train_codes(CodesRecipe("codes", "chair", autoencoder=str(tmp_path)), dataset, tmp_path / "run4", "cpu")


def test_overrides():
    data = override({"options": {"a": 1}}, ["steps=5", "options.a=[1, 2]", "objective=hinge", "rate=1e-3"])
    assert data == {"options": {"a": [1, 2]}, "steps": 5, "objective": "hinge", "rate": 1e-3}
    with pytest.raises(TrainingError, match="no override"):
        override({}, ["steps"])


def test_settings_may_be_given_one_by_one(capsys):
    together = ["chair-3dgan-cpu", "data", "run", "--dry-run", "--set", "steps=7", "batch=8"]
    assert main(together) == 0
    said = capsys.readouterr().out
    assert main([*together[:4], "--set", "steps=7", "--set", "batch=8"]) == 0
    assert capsys.readouterr().out == said
    assert json.loads(said)["steps"] == 7


def test_not_a_number_stops_the_run(dataset):
    trainer = GanTrainer(GAN, "cpu")
    with torch.no_grad():
        next(trainer.critic.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match="not a number"):
        trainer.train_step(shapes_for(trainer, dataset))
