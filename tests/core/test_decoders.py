"""The decoders: what each yields becomes a field that is a distance near its surface, and a closed mesh."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from sdf import grid, sphere

from gan3d_core import generators
from gan3d_core.checkpoints import CheckpointConfig, write_config
from gan3d_core.errors import CheckpointError
from gan3d_core.generators.chart_field import ChartField, turned_outward
from gan3d_core.generators.implicit import ImplicitField
from gan3d_core.generators.mesh_field import MeshField
from gan3d_core.generators.template import spheres
from gan3d_core.pipeline import Pipeline
from gan3d_core.recipe import Recipe
from gan3d_core.surfacing.measures import topology

DECODERS = {
    "implicit": {"latent_size": 8, "width": 16, "layers": [2, 2], "start_radius": 0.6},
    "patch": {"latent_size": 8, "charts": 6, "widths": [16], "points": 6},
    "patch-sphere": {"latent_size": 8, "charts": 1, "widths": [16], "template": "sphere", "points": 2},
    "mesh": {"latent_size": 8, "channels": [16, 8], "coarsest": 1},
    "multiview": {"latent_size": 8, "channels": [8, 4]},
    "multiview-14": {"latent_size": 8, "channels": [8, 4], "views": 14},
}


def build(name: str, seed: int = 0):
    torch.manual_seed(seed)
    return generators.build(name.split("-")[0], DECODERS[name]).eval()


def codes(count: int, size: int = 8) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((count, size)).astype(np.float32)


@pytest.mark.parametrize("name", DECODERS)
def test_a_checkpoint_becomes_a_closed_outward_mesh(tmp_path: Path, name: str) -> None:
    generator = build(name)
    folder = tmp_path / "decoder"
    folder.mkdir()
    safetensors.torch.save_file(generator.state_dict(), folder / "weights.safetensors")
    config = CheckpointConfig("Decoder", "solid", name.split("-")[0], DECODERS[name], 8, "normal", 1.0, "")
    write_config(folder, config)
    recipe = Recipe("decoder", seed=3, resolution=24, target_faces=400, texture_size=64)
    shape = Pipeline("cpu", [tmp_path]).generate(recipe).shape
    assert topology(shape.faces).closed
    assert shape.volume() > 0.01
    assert (shape.size < 1.2).all()


@pytest.mark.parametrize("name", DECODERS)
def test_a_code_makes_one_field_alone_or_among_others(name: str) -> None:
    generator, z = build(name), codes(2)
    together = [field.values(16) for field in generator.fields(z, 0.7)]
    alone = generator.fields(z[1:], 0.7)[0]
    assert np.abs(together[1] - alone.values(16)).max() < 1e-4
    assert np.abs(together[0] - together[1]).max() > 1e-3
    assert alone.size_m == 0.7
    assert np.isfinite(together).all()
    assert min(values.min() for values in together) < 0 < min(values.max() for values in together)
    assert alone.materials(np.zeros((2, 3), np.float32)) is None


@pytest.mark.parametrize("name", DECODERS)
def test_gradients_reach_every_weight_from_what_is_yielded(name: str) -> None:
    generator = build(name)
    shapes = generator.represent(torch.from_numpy(codes(2)))
    assert isinstance(shapes, generator.yields)
    assert len(shapes) == 2
    if name == "implicit":
        total = shapes.distance(torch.rand(2, 50, 3) * 2 - 1).square().sum()
    else:
        parts = (getattr(shapes, key) for key in ("vertices", "height", "normal", "clearance") if hasattr(shapes, key))
        total = sum((part * torch.linspace(1, 2, part.shape[-1])).sum() for part in parts)
    total.backward()
    assert all(bool(p.grad.abs().sum() > 0) for p in generator.parameters())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("threedgan", {"start": 0.0}),
        ("implicit", {"width": 0}),
        ("implicit", {"layers": [4]}),
        ("implicit", {"frequencies": -1}),
        ("patch", {"template": "torus"}),
        ("patch", {"template": "sphere", "charts": 2}),
        ("patch", {"points": 1}),
        ("mesh", {"channels": []}),
        ("mesh", {"start_radius": 1.0}),
        ("multiview", {"views": 7}),
        ("multiview", {"channels": []}),
    ],
)
def test_unsound_options_are_refused(name: str, options: dict) -> None:
    with pytest.raises(CheckpointError, match="not valid"):
        generators.build(name, options)


# ── volumetric ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("start", [0.03, 0.5, 0.8])
def test_a_fresh_volume_is_as_full_as_it_shall_be(start: float) -> None:
    fresh = []
    for options in ({}, {"start": start}):
        torch.manual_seed(0)
        fresh.append(generators.build("threedgan", {"latent_size": 8, "channels": [16, 8], **options}))
    z = torch.from_numpy(codes(16))
    with torch.no_grad():
        published, begun = (generator(z) for generator in fresh)
        occupancy = fresh[1].represent(z).occupancy
    # Of every cell's odds, log p / (1 − p), the same is added; and what a code changes stays what it was.
    assert torch.allclose(begun - published, torch.full_like(begun, np.log(start / (1 - start))), atol=1e-5)
    assert float(occupancy.median()) == pytest.approx(start, rel=0.1)


# ── implicit ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_implicit_generator_without_hidden_influence_is_its_sphere() -> None:
    generator = build("implicit")
    with torch.no_grad():
        generator.layers2[-1].weight.zero_()
        generator.layers2[-1].bias.zero_()
    points = torch.rand(1, 500, 3) * 2 - 1
    exact = points.norm(dim=-1) - 0.6
    found = generator(torch.zeros(1, 8), points)
    assert torch.allclose(found, 0.1 * torch.tanh(exact / 0.1), atol=1e-6)


@pytest.mark.parametrize("frequencies", [0, 1, 3])
def test_the_split_first_layer_is_the_whole_one(frequencies: int) -> None:
    """[p, z] and [features, p, z] through ordinary layers, as DeepSDF is written; p with its waves."""
    options = {"latent_size": 5, "width": 12, "layers": [4, 4], "scale": 1.0, "frequencies": frequencies}
    generator = generators.build("implicit", options)
    z, points = torch.randn(3, 5), torch.rand(3, 7, 3) * 2 - 1
    angles = [torch.pi * 2**octave * points[..., axis] for axis in range(3) for octave in range(frequencies)]
    waves = [wave(angle)[..., None] for wave in (torch.sin, torch.cos) for angle in angles]
    given = torch.cat([points, *waves, z[:, None].expand(-1, 7, -1)], -1)
    features = torch.relu(generator.layers1(given))
    expected = torch.tanh(generator.layers2(torch.cat([features, given], -1)))[..., 0]
    assert torch.allclose(generator(z, points), expected, atol=1e-6)
    assert sum(isinstance(m, torch.nn.Linear) for m in generator.modules()) == 8


def test_the_published_implicit_generator_has_the_papers_layers() -> None:
    weights = generators.build("implicit", {}).state_dict()
    assert [tuple(weights[f"layers1.{i}.weight"].shape) for i in (0, 2, 4, 6)] == [(256, 131), *[(256, 256)] * 3]
    assert [tuple(weights[f"layers2.{i}.weight"].shape) for i in (0, 2, 4, 6)] == [
        (256, 387), (256, 256), (256, 256), (1, 256),
    ]  # fmt: skip


def test_outside_the_sphere_it_was_trained_in_everything_is_outside() -> None:
    generator = generators.build("implicit", {"latent_size": 8, "width": 16, "layers": [2, 2], "sphere": 0.5})
    with torch.no_grad():
        generator.layers2[-1].bias.fill_(-5.0)
    values = generator.fields(codes(1), 1.0)[0].values(16)
    assert np.array_equal(values < 0, np.linalg.norm(grid(16), axis=-1) <= 0.5)


def test_a_symmetric_implicit_shape_is_its_mirror_image() -> None:
    options = {"latent_size": 8, "width": 16, "layers": [2, 2], "start_radius": 0.6, "frequencies": 2}
    torch.manual_seed(0)
    crooked = generators.build("implicit", options).fields(codes(1), 1.0)[0].values(16)
    torch.manual_seed(0)
    even = generators.build("implicit", {**options, "symmetric": True}).fields(codes(1), 1.0)[0].values(16)
    assert np.array_equal(even, even[::-1])
    assert np.array_equal(even[8:], crooked[8:])
    assert np.abs(crooked - crooked[::-1]).max() > 1e-3


def test_coarse_to_fine_finds_what_a_full_grid_finds() -> None:
    generator = build("implicit", 2)
    field = generator.fields(codes(1), 1.0)[0]
    assert isinstance(field, ImplicitField)
    fast = field.values(2 * ImplicitField.COARSEST)
    full = field._evaluate(grid(len(fast)).reshape(-1, 3)).reshape(fast.shape)
    assert np.array_equal(fast < 0, full < 0)
    near = np.abs(full) < 0.01
    assert np.array_equal(fast[near], full[near])
    assert (fast != full).mean() > 0.5  # most of it was never evaluated


# ── meshes and charts as fields ───────────────────────────────────────────────────────────────────────────────────


def ball(radius: float, centre=(0.0, 0.0, 0.0), levels: int = 4) -> tuple[np.ndarray, np.ndarray]:
    level = spheres(levels)[-1]
    return level.vertices * np.float32(radius) + np.array(centre, np.float32), level.faces


def test_templates_are_spheres_and_know_their_edges() -> None:
    levels = spheres(3)
    for index, level in enumerate(levels):
        assert len(level.vertices) == 10 * 4**index + 2
        assert topology(level.faces) == type(topology(level.faces))(closed=True, euler=2)
        assert np.allclose(np.linalg.norm(level.vertices, axis=1), 1, atol=1e-6)
        a, b, c = (level.vertices[level.faces[:, i]] for i in range(3))
        assert (np.einsum("ij,ij->i", np.cross(b - a, c - a), a + b + c) > 0).all()
        pairs = {(int(i), int(j)) for face in level.faces for i, j in zip(face, np.roll(face, 1), strict=True)}
        listed = {(i, int(j)) for i, row in enumerate(level.neighbours) for j in row if i != j}
        assert listed == pairs
    before, after = levels[1:3]
    assert np.array_equal(after.vertices[: len(before.vertices)], before.vertices)
    middles = before.vertices[after.parents].mean(axis=1)
    middles /= np.linalg.norm(middles, axis=1, keepdims=True)
    assert np.allclose(after.vertices[len(before.vertices) :], middles, atol=1e-6)


def test_a_meshs_field_is_its_signed_distance() -> None:
    values = MeshField(*ball(0.7), 1.0).values(32)
    exact = sphere(0.7)(grid(32))
    assert np.abs(values - exact)[np.abs(exact) < 0.15].max() < 4e-3  # the icosphere's own flatness is 2e-3
    assert np.array_equal(values < 0, exact < 0) or np.abs(exact[(values < 0) != (exact < 0)]).max() < 3e-3


def test_parts_that_cross_unite() -> None:
    (first, faces), (second, _) = ball(0.4, (-0.25, 0, 0)), ball(0.4, (0.25, 0, 0))
    both = MeshField(np.concatenate([first, second]), np.concatenate([faces, faces + len(first)]), 1.0)
    exact = np.minimum(sphere(0.4, (-0.25, 0, 0))(grid(32)), sphere(0.4, (0.25, 0, 0))(grid(32)))
    values = both.values(32)
    sure = np.abs(exact) > 5e-3
    assert np.array_equal((values < 0)[sure], (exact < 0)[sure])
    outside = (exact > 0) & (exact < 0.15)
    assert np.abs(values - exact)[outside].max() < 4e-3


def test_a_mesh_turned_inside_out_has_no_inside() -> None:
    vertices, faces = ball(0.7, levels=2)
    assert MeshField(vertices, faces[:, ::-1], 1.0).values(16).min() >= 0


def test_charts_that_begin_as_a_sphere_are_one() -> None:
    generator = generators.build("patch", {"latent_size": 8, "charts": 25, "widths": [8], "start_radius": 0.6})
    with torch.no_grad():
        for weights in (generator.weights[-1], generator.biases[-1]):
            weights.zero_()
    values = generator.fields(codes(1), 1.0)[0].values(32)
    exact = sphere(0.6)(grid(32))
    # Squares on a sphere leave gaps and overlap, so inside is right but for the ramp at the surface.
    assert ((values < 0) == (exact < 0))[np.abs(exact) > 1.5 * 2 / 32].all()
    assert np.abs(values - exact)[np.abs(exact) < 0.03].mean() < 0.4 * 2 / 32


def test_charts_that_face_inward_are_turned() -> None:
    vertices, faces = ball(0.6, levels=3)
    chart = (vertices[faces].mean(axis=1) @ [1, 2, 3] > 0).astype(int)  # two halves
    wrong = np.where(chart[:, None] == 1, faces[:, ::-1], faces)
    assert np.array_equal(turned_outward(vertices, wrong, chart), faces)
    values = ChartField(vertices, wrong, chart, 1.0).values(24)
    exact = sphere(0.6)(grid(24))
    near = np.abs(exact) < 0.15
    assert np.abs(values - exact)[near].max() < 0.25 * 2 / 24
