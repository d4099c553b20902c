"""From planes to pictures to critics: the sparse surface is the dense one, and pictures and gradients are right."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from small import TEXTURED

from gan3d_core import checkpoints, generators, latent
from gan3d_core.errors import DatasetError, TrainingError
from gan3d_core.field import lattice
from gan3d_core.generators.coded import TRUNCATION, Codes, Features
from training import export
from training.data.record import RecordSettings
from training.data.store import Dataset
from training.discriminators.images import ImageDiscriminator, camera_condition
from training.isosurface import isosurface
from training.picture_data import PictureData
from training.prepare import prepare
from training.rendering.cameras import Cameras
from training.textured_surface import Resolution, coarse_distance, pictures, surfaces
from training.train_rendered import RenderedRecipe, RenderedTrainer, _outside_is_positive, train_rendered

SHAPES = Path(__file__).parent.parent / "shapes"
RECIPE = RenderedRecipe(
    kind="rendered",
    category="chair",
    options={**TEXTURED, "mapping_layers": 2},
    steps=2,
    batch=2,
    image_size=16,
    coarse=32,
    fine=64,
    image_channels=[8, 8, 8],
    volume_channels=[4, 4, 4],
    snapshot_every=2,
    sheet_every=2,
    threads=1,
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "furniture"
    prepare(SHAPES / "furniture", folder, processes=1, settings=RecordSettings(views=3, image_size=32))
    return folder


class Ball:
    """Stands in for a generator: spheres of given radii in one colour each."""

    def __init__(self, radii: torch.Tensor, colours: torch.Tensor, symmetric: bool) -> None:
        self.radii, self.colours, self.symmetric = radii, colours, symmetric

    def planes(self) -> Features:
        codes = Codes(self.radii[:, None], self.radii[:, None])
        return Features(codes, torch.zeros(len(self.radii), 3, 1, 1, 1), torch.zeros(len(self.radii), 3, 1, 1, 1))

    def distance(self, planes: Features, points: torch.Tensor) -> torch.Tensor:
        return (points.norm(dim=-1) - self.radii[:, None]).clamp(-TRUNCATION, TRUNCATION)

    def material(self, planes: Features, points: torch.Tensor) -> torch.Tensor:
        return self.colours[:, None].expand(-1, points.shape[1], -1)


def spheres(generator: Ball) -> list[tuple[torch.Tensor, torch.Tensor]]:
    planes = generator.planes()
    coarse = coarse_distance(generator, planes, 32)  # type: ignore[arg-type]
    return surfaces(generator, planes, Resolution(32, 64), coarse)  # type: ignore[arg-type]


@pytest.mark.parametrize("symmetric", [True, False])
def test_the_sparse_surface_is_the_dense_one(symmetric):
    """Every vertex and face of exact distances; a network's, which are not exact, but for a few specks."""
    points = torch.as_tensor(lattice(64)).expand(2, -1, -1)
    ball = Ball(torch.tensor([0.3, 0.85]), torch.ones(2, 5), symmetric)
    trainer = RenderedTrainer(dataclasses.replace(RECIPE, options={**RECIPE.options, "symmetric": symmetric}), "cpu")
    planes = trainer.average(trainer.shown[:2])
    for generator, these, exact in ((ball, ball.planes(), True), (trainer.average, planes, False)):
        coarse = coarse_distance(generator, these, 32)
        straight = torch.as_tensor(lattice(32)).expand(2, -1, -1)
        assert torch.allclose(coarse.flatten(1), generator.distance(these, straight), atol=1e-6)
        made = surfaces(generator, these, Resolution(32, 64), coarse)
        dense = generator.distance(these, points).unflatten(1, (64, 64, 64))
        for (vertices, faces), values in zip(made, dense, strict=True):
            expected, expected_faces = isosurface(values, half=1 - 1 / 64)
            assert len(faces) > 1000
            if exact:
                assert torch.equal(faces, expected_faces)
                assert torch.allclose(vertices, expected, atol=1e-5)
            assert len(vertices) == pytest.approx(len(expected), rel=0.005)


@pytest.mark.parametrize("symmetric", [True, False])
def test_pictures_of_spheres(symmetric):
    """Each camera sees its own sphere: the right colour, the right size, and the gradient of that size."""
    radii = torch.tensor([0.5, 0.8], requires_grad=True)
    colours = torch.tensor([[0.9, 0.1, 0.2, 0.3, 1.0], [0.1, 0.5, 0.7, 0.6, 0.0]])
    generator = Ball(radii, colours, symmetric)
    cameras = Cameras.at([0.3, 2.0, 4.0], 0.2, mesh=[0, 1, 1])
    seen = pictures(generator, generator.planes(), spheres(generator), cameras, 64)  # type: ignore[arg-type]
    assert seen.materials.shape == (3, 5, 64, 64)
    for picture, owner in zip(range(3), (0, 1, 1), strict=True):
        assert torch.allclose(seen.materials[picture, :, 32, 32], colours[owner], atol=1e-5)
        assert torch.allclose(seen.materials[picture, :, 0, 0], torch.full((5,), 0.5))
        # The outline of a sphere is a circle whose half angle has the sine r / d (in the middle of the picture).
        radius, away = float(radii[owner].detach()), float(cameras.radius[owner])
        half = math.tan(math.asin(radius / away)) / math.tan(float(cameras.field_of_view[0]) / 2)
        assert float(seen.silhouette[picture].detach().mean()) == pytest.approx(math.pi * half**2 / 4, rel=0.01)
    seen.silhouette.mean(dim=(1, 2, 3))[0].backward()
    assert radii.grad is not None
    step = 0.02
    away, tangent = float(cameras.radius[0]), math.tan(float(cameras.field_of_view[0]) / 2)

    def area(r: float) -> float:
        return math.pi / 4 * (math.tan(math.asin(r / away)) / tangent) ** 2

    assert float(radii.grad[0]) == pytest.approx((area(0.5 + step) - area(0.5 - step)) / (2 * step), rel=0.08)
    assert float(radii.grad[1]) == 0


def test_an_empty_shape_is_an_empty_picture():
    generator = Ball(torch.tensor([-1.0, 0.5]), torch.ones(2, 5), True)
    seen = pictures(generator, generator.planes(), spheres(generator), Cameras.at([0.0, 0.0], mesh=[0, 1]), 32)  # type: ignore[arg-type]
    assert float(seen.silhouette[0].max()) == 0
    assert float(seen.silhouette[1].max()) == 1


def test_the_critic_hears_the_camera():
    torch.manual_seed(0)
    critic = ImageDiscriminator(6, [8, 8, 8])
    images = torch.rand(4, 6, 16, 16)
    near = camera_condition(torch.tensor([0.0, 1e-6, 2 * math.pi, 3.0]), torch.zeros(4))
    assert torch.allclose(near[0], near[2], atol=1e-6)  # no seam
    same = critic(images[:1].expand(4, -1, -1, -1), near).detach()
    assert same[0] == pytest.approx(float(same[2]), abs=1e-5)
    assert abs(float(same[0] - same[3])) > 1e-4
    with pytest.raises(ValueError, match="two or more"):
        ImageDiscriminator(6, [8])


def test_real_pictures_are_the_stored_ones(dataset):
    """Unmirrored ones are means of stored pixels over grey; mirrored ones have the mirrored camera."""
    shapes = Dataset(dataset, "train", "chair")
    data = PictureData(shapes, ["chair"], 16, 32, mirror=False)
    batch = data.draw(6, np.random.default_rng(0))
    assert batch.pictures.materials.shape == (6, 5, 16, 16)
    assert batch.volumes.shape == (6, 1, 32, 32, 32)
    assert float(batch.volumes.abs().max()) == 1
    every = {}
    for shape in range(len(shapes)):
        rgba = shapes.view(shape, "rgba").astype(np.float32) / 255
        for camera, view in zip(shapes.view(shape, "cameras"), rgba, strict=True):
            small = view.reshape(16, 2, 16, 2, 4).mean((1, 3))
            every[round(float(camera[0]), 4)] = small[..., :3] + 0.5 * (1 - small[..., 3:])
    for index in range(6):
        expected = every[round(float(batch.cameras.azimuth[index]), 4)]
        assert np.allclose(batch.pictures.materials[index, :3].permute(1, 2, 0).numpy(), expected, atol=1e-5)
    mirrored = PictureData(shapes, ["chair"], 16, 0, mirror=True).draw(20, np.random.default_rng(0))
    flipped = 0
    for index in range(20):
        azimuth = float(mirrored.cameras.azimuth[index])
        picture = mirrored.pictures.materials[index, :3].permute(1, 2, 0).numpy()
        back = round(2 * math.pi - azimuth, 4)
        key = min(every, key=lambda a: abs(a - back))
        if abs(key - back) < 2e-4:
            assert np.allclose(picture[:, ::-1], every[key], atol=1e-5)
            flipped += 1
    assert 4 <= flipped <= 16


def test_signs_stay_right():
    """The border's rule is silent for a shape inside the cube, and loud for its negative and for nothing."""
    ball = torch.as_tensor(np.linalg.norm(lattice(16), axis=1).reshape(1, 16, 16, 16) - 0.6) / TRUNCATION
    ball = ball.clamp(-1, 1).float()
    assert float(_outside_is_positive(ball)) == 0
    assert float(_outside_is_positive(-ball)) > 1
    assert float(_outside_is_positive(torch.ones_like(ball))) > 0.5


def test_every_network_moves(dataset):
    data = PictureData(Dataset(dataset, "train", "chair"), ["chair"], 16, 32, mirror=True)
    trainer = RenderedTrainer(RECIPE, "cpu")
    networks = {"generator": trainer.generator, **{f"critic{i}": c for i, c in enumerate(trainer.critics)}}
    before = {name: [p.detach().clone() for p in network.parameters()] for name, network in networks.items()}
    report = trainer.train_step(data)
    assert 0.05 < report["covered"] < 0.9
    for name, network in networks.items():
        moved = [not torch.equal(a, b) for a, b in zip(before[name], network.parameters(), strict=True)]
        # The size is known from no picture.
        assert np.mean(moved) > 0.85, name


def test_from_pictures_to_a_checkpoint(dataset, tmp_path):
    """Train, export, load strictly; and begin another run with it."""
    trainer = train_rendered(RECIPE, dataset, tmp_path / "run", "cpu")
    (tmp_path / "card.md").write_text("# A test\n")
    arguments = [str(tmp_path / "run"), str(tmp_path / "c"), "--label", "Test", "--card", str(tmp_path / "card.md")]
    assert export.main(arguments) == 0
    loaded = generators.load(checkpoints.read(tmp_path / "c"))
    z = np.stack([latent.draw(5, 12, "normal")])
    (a,), (b,) = trainer.average.fields(z, 1.0), loaded.fields(z, 1.0)  # type: ignore[operator]
    assert np.abs(a.values(32) - b.values(32)).max() < 2e-3
    again = dataclasses.replace(RECIPE, start=str(tmp_path / "run"), options={}, steps=1)
    begun = train_rendered(again, dataset, tmp_path / "again", "cpu")
    before = trainer.average.state_dict()["geometry_synthesis.start.weight"]
    after = begun.generator.state_dict()["geometry_synthesis.start.weight"]
    assert 0 < float((before - after).abs().max()) <= 1.1 * RECIPE.generator_rate


def test_what_does_not_fit_is_refused(dataset, tmp_path):
    with pytest.raises(TrainingError, match="image_channels has 3 widths"):
        RenderedTrainer(dataclasses.replace(RECIPE, image_size=64), "cpu")
    with pytest.raises(TrainingError, match="multiple of coarse"):
        RenderedTrainer(dataclasses.replace(RECIPE, fine=40), "cpu")
    with pytest.raises(TrainingError, match="too few"):
        RenderedTrainer(dataclasses.replace(RECIPE, coarse=16, volume_channels=[4, 4]), "cpu")
    shapes = Dataset(dataset, "train", "chair")
    with pytest.raises(DatasetError, match="no multiple of 24"):
        PictureData(shapes, ["chair"], 24, 0, mirror=True)
    with pytest.raises(DatasetError, match="no shapes of lamp"):
        PictureData(shapes, ["chair", "lamp"], 16, 0, mirror=True)
    blind = tmp_path / "blind"
    prepare(SHAPES / "furniture", blind, processes=1, limit=1, settings=RecordSettings(views=0))
    with pytest.raises(DatasetError, match="holds no pictures"):
        PictureData(Dataset(blind, None, "chair"), ["chair"], 16, 0, mirror=True)
    (tmp_path / "not-a-run").mkdir()
    with pytest.raises(TrainingError, match="no run with a snapshot"):
        train_rendered(dataclasses.replace(RECIPE, start=str(tmp_path / "not-a-run")), dataset, tmp_path / "x", "cpu")
