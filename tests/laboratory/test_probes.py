"""Shape arithmetic, and the linear classifier of critics' features."""

from __future__ import annotations

import dataclasses
import itertools
import json
import types

import numpy as np
import pytest
import torch
from pairs import RESOLUTION, pair
from PIL import Image
from solids import sphere_distance, torus_distance
from torch import nn

from gan3d_core.errors import RecipeError, TrainingError
from gan3d_core.field import lattice
from training import explore, probe
from training.probes.features import critic_features
from training.probes.svm import LinearSVM, objective
from training.real_shapes import Records
from training.run_folder import RunFolder
from training.train_gan import GanTrainer


def test_arithmetic_undoes_itself_and_stays_where_codes_are():
    a, b, c = np.random.default_rng(0).standard_normal((3, 5, 64)).astype(np.float32)
    np.testing.assert_allclose(explore.arithmetic(a, b, b, "normal"), a, atol=1e-5)
    np.testing.assert_allclose(explore.arithmetic(a, a, c, "normal"), c, atol=1e-5)
    found = explore.arithmetic(a, b, c, "normal")
    longest = np.linalg.norm([a, b, c], axis=-1).max(0)
    assert (np.linalg.norm(found, axis=-1) <= longest * (1 + 1e-5)).all()
    direction = (a - b + c) / np.linalg.norm(a - b + c, axis=-1, keepdims=True)
    np.testing.assert_allclose(found / np.linalg.norm(found, axis=-1, keepdims=True), direction, atol=1e-5)
    u, v, w = np.random.default_rng(1).random((3, 5, 64))
    np.testing.assert_allclose(explore.arithmetic(u, v, w, "uniform"), (u - v + w).clip(0, 1), atol=1e-6)


def test_sheets_of_sums_and_walks(checkpoint_dir, tmp_path, capsys):
    ball = str(checkpoint_dir / "test-ball")
    sums = ["arithmetic", ball, str(tmp_path / "sum.png")]
    assert explore.main([*sums, "--a", "1", "2", "--b", "3", "4", "--c", "3", "4"]) == 0
    assert explore.main(["walk", ball, str(tmp_path / "walk.png"), "--seeds", "1", "2", "--steps", "3"]) == 0
    with Image.open(tmp_path / "sum.png") as image:
        sheet = np.asarray(image.convert("RGB"))
    height, width = sheet.shape[0] // 3, sheet.shape[1] // 4  # two pairs of seeds and their means; a, b, c, a − b + c
    cells = [[sheet[r * height : r * height + width, k * width : (k + 1) * width] for k in range(4)] for r in range(3)]
    for row in cells:
        np.testing.assert_array_equal(row[0], row[3])  # b = c, so a − b + c is a
        assert (row[0] != row[1]).any()
    assert explore.main([*sums, "--a", "1", "2", "--b", "3", "--c", "4"]) == 1
    assert "different numbers of seeds" in capsys.readouterr().err
    with pytest.raises(RecipeError, match="two seeds"):
        explore.draw_walk(None, [1], tmp_path / "no.png")


def test_a_sheet_of_samples_is_what_an_artist_gets(checkpoint_dir, tmp_path, capsys):
    ball = str(checkpoint_dir / "test-ball")
    assert explore.main(["samples", ball, str(tmp_path / "a.png"), "--first", "3", "--count", "9"]) == 0
    assert "9 of 9 are of one part" in capsys.readouterr().out
    assert explore.main(["samples", ball, str(tmp_path / "b.png"), "--first", "11", "--count", "1"]) == 0
    with Image.open(tmp_path / "a.png") as many, Image.open(tmp_path / "b.png") as one:
        sheet, last = np.asarray(many.convert("RGB")), np.asarray(one.convert("RGB"))
    height, width = last.shape[:2]
    assert sheet.shape[:2] == (2 * height, 8 * width)
    np.testing.assert_array_equal(sheet[height:, :width], last)
    assert explore.main(["samples", ball, str(tmp_path / "c.png"), "--count", "0"]) == 1
    assert not (tmp_path / "c.png").exists()


def test_a_machine_separates_what_can_be_separated():
    random = np.random.default_rng(0)
    centres = 6 * random.standard_normal((4, 10))
    labels = np.arange(200) % 4
    features = centres[labels] + random.standard_normal((200, 10))
    machine = LinearSVM.fit(features[:100], labels[:100])
    assert (machine.classify(features[100:]) == labels[100:]).all()


def test_a_machine_is_at_the_optimum():
    """By brute force on a tiny case; in more dimensions than samples, by the gradient, which vanishes there only."""
    features = np.array([[1.0], [2.0], [-0.5], [0.2]])
    labels = np.array([1, 1, 0, 0])
    machine = LinearSVM.fit(features, labels, cost=2.0)
    given, signs = np.column_stack([features, np.ones(4)]), np.array([1.0, 1, -1, -1])
    found = np.array([machine.weights[1, 0], machine.bias[1]])
    least = objective(found, given, signs, 2.0)[0]
    grid = np.linspace(-3, 3, 121)
    values = {(w, b): objective(np.array([w, b]), given, signs, 2.0)[0] for w, b in itertools.product(grid, grid)}
    best = min(values, key=values.__getitem__)
    assert least <= values[best]
    np.testing.assert_allclose(found, best, atol=0.05)
    np.testing.assert_allclose(machine.weights[0], -machine.weights[1], atol=1e-6)  # two classes mirror each other

    wide, kinds = np.random.default_rng(1).standard_normal((12, 50)), np.arange(12) % 3
    machine = LinearSVM.fit(wide, kinds, cost=0.5)
    for kind in range(3):
        plane = np.append(machine.weights[kind], machine.bias[kind])
        slope = objective(plane, np.column_stack([wide, np.ones(12)]), np.where(kinds == kind, 1.0, -1.0), 0.5)[1]
        assert np.abs(slope).max() < 1e-4


def test_the_objective_has_its_gradient():
    random = np.random.default_rng(2)
    features, signs, plane = (
        random.standard_normal((6, 3)),
        np.array([1.0, -1, 1, 1, -1, -1]),
        random.standard_normal(3),
    )
    _, slope = objective(plane, features, signs, 0.7)
    for axis in range(3):
        step = 1e-6 * np.eye(3)[axis]
        ends = [objective(plane + sign * step, features, signs, 0.7)[0] for sign in (1, -1)]
        assert slope[axis] == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5)


def test_one_class_is_no_task():
    with pytest.raises(TrainingError, match="two or more categories"):
        LinearSVM.fit(np.ones((3, 2)), np.zeros(3, int))


def test_features_are_pooled_to_eight_cells_of_each_of_the_last_layers():
    class Critic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.feature_layers = [nn.Identity() for _ in range(4)]

        def forward(self, x: torch.Tensor, given: torch.Tensor | None = None) -> torch.Tensor:
            for index, layer in enumerate(self.feature_layers):
                layer(x[:, :, :: 2**index, :: 2**index, :: 2**index] if index < 3 else x.flatten(1)[:, :5])
            return x.flatten(1).sum(1)

    x = torch.randn(2, 3, 16, 16, 16)
    found = critic_features(Critic(), x)
    assert found.shape == (2, 3 * 8 + 3 * 8 + 5)  # the first of the four layers is left out
    octants = x[:, :, ::2, ::2, ::2].reshape(2, 3, 2, 4, 2, 4, 2, 4).amax((3, 5, 7))
    assert torch.equal(found[:, :24], octants.flatten(1))
    assert torch.equal(found[:, 48:], x.flatten(1)[:, :5])


def test_a_critics_features_tell_balls_from_rings(tmp_path, monkeypatch, capsys):
    """The command on a run that was never told the categories; its figures are those of the held-out shapes."""
    random = np.random.default_rng(0)
    points = lattice(RESOLUTION)
    radii = random.uniform(0.4, 0.7, 24)
    grids = [sphere_distance(points, r) if i % 2 == 0 else torus_distance(points, r, 0.2) for i, r in enumerate(radii)]
    shape = (RESOLUTION,) * 3
    none = np.zeros((24, 0, 6), np.float16)
    known = Records(np.stack(grids).reshape(24, *shape).astype(np.float16), none, none[..., :4], np.arange(24) % 2)
    entries = [
        types.SimpleNamespace(category=("ball", "ring")[i % 2], split="train" if i < 16 else "test") for i in range(24)
    ]
    monkeypatch.setattr(probe, "Dataset", lambda _: types.SimpleNamespace(entries=entries))
    monkeypatch.setattr(Records, "needed", lambda *_: known)
    recipe = pair("threedgan", "volumetric")
    trainer = GanTrainer(recipe, "cpu")
    folder = RunFolder(tmp_path / "run", dataclasses.asdict(recipe))
    folder.save(trainer.state())
    folder.close()
    assert probe.main([str(tmp_path / "run"), "dataset"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["accuracy"] == 1.0
    assert figures["commonest"] == 0.5
    assert figures["by_category"] == {"ball": 1.0, "ring": 1.0}
    assert "16 training shapes, 8 held-out shapes" in figures["protocol"]
    for entry in entries:
        entry.split = "train"
    assert probe.main([str(tmp_path / "run"), "dataset"]) == 1
    assert "There are no held-out shapes of ball, ring." in capsys.readouterr().err
    assert probe.main([str(tmp_path), "dataset"]) == 1
    assert "holds no run" in capsys.readouterr().err
