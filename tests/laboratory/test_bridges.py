"""The bridges against a ball, of which everything is known: what is shown of it, generated in each way or recorded, and
how that changes with its radius."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from solids import torus_distance

from gan3d_core import generators
from gan3d_core.errors import TrainingError
from gan3d_core.field import lattice
from gan3d_core.generators.template import spheres
from gan3d_core.representations import DISTANCE_BAND, Implicit, Surfaces, Views, Volume
from training.bridges import Bridge, Sampler, Setting, to_graph, to_images, to_meshes, to_points, to_volume
from training.bridges.recorded import Lattice, Scans, read, resample
from training.bridges.shape_terms import hollowness, roughness
from training.bridges.surface import sample
from training.observe import observe
from training.rendering.cameras import FIELD_OF_VIEW, RADIUS

R = 24
CELL = 2 / R
SIZE = 32


def distance(radius: torch.Tensor, resolution: int = R) -> torch.Tensor:
    """(1, R, R, R) of a ball."""
    points = torch.from_numpy(lattice(resolution))
    return (points.norm(dim=1) - radius).reshape(1, resolution, resolution, resolution)


def volume(radius: torch.Tensor) -> Volume:
    return Volume((0.5 - distance(radius) / (2 * CELL)).clamp(0, 1))


def implicit(radius: torch.Tensor) -> Implicit:
    return Implicit(
        lambda p: DISTANCE_BAND * torch.tanh((p.norm(dim=-1) - radius) / DISTANCE_BAND), 1, torch.device("cpu")
    )


def surfaces(radius: torch.Tensor) -> Surfaces:
    level = spheres(4)[-1]
    return Surfaces(radius * torch.from_numpy(level.vertices)[None], torch.from_numpy(level.faces))


@functools.cache
def observed_ball() -> Views:
    return observe(distance(torch.tensor(0.6), 48)[0], 14, 48)


def views(radius: torch.Tensor) -> Views:
    """What cameras see of the ball of radius 0.6, grown with the radius: heights and clearances by the chain rule."""
    seen = observed_ball()
    growth = radius - 0.6
    facing = torch.einsum("ncksv,ck->ncsv", seen.normal, seen.axes[:, 2]).clamp(min=0.2)
    return Views(seen.height + growth / facing, seen.normal, seen.clearance - growth, seen.axes, seen.reach)


def lattice_of(radius: torch.Tensor) -> Lattice:
    return Lattice(distance(radius))


def scans(radius: torch.Tensor) -> Scans:
    normal = torch.nn.functional.normalize(torch.randn(1, 4096, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    return Scans(torch.cat([radius * normal, normal], -1), distance(radius))


GENERATED: dict[str, Callable] = {"volume": volume, "implicit": implicit, "surfaces": surfaces, "views": views}
RECORDED: dict[str, Callable] = {"lattice": lattice_of, "scans": scans}
EVERY = GENERATED | RECORDED


def setting(points: int = 2048, cameras: int = 3) -> Setting:
    queries = torch.rand((1, points, 3), generator=torch.Generator().manual_seed(1)) * 2 - 1
    known = queries.norm(dim=-1, keepdim=True) - 0.6
    return Setting.draw(1, points, cameras, torch.Generator().manual_seed(2), torch.cat([queries, known], -1))


BALL = torch.tensor(0.6)


@pytest.mark.parametrize("kind", EVERY)
def test_the_surface_of_a_ball(kind):
    ((vertices, faces),) = to_meshes(EVERY[kind](BALL), R)
    a, b, c = vertices[faces].unbind(1)
    enclosed = float((a * torch.linalg.cross(b, c)).sum() / 6)
    assert enclosed == pytest.approx(4 / 3 * math.pi * 0.6**3, rel=0.03)
    assert (vertices.norm(dim=1) - 0.6).abs().max() < 0.25 * CELL
    found = sample([(vertices, faces)], setting().rolls)
    assert float(found.area[0]) == pytest.approx(4 * math.pi * 0.6**2, rel=0.03)
    assert (found.normals[0] * torch.nn.functional.normalize(found.points[0], dim=1)).sum(1).min() > 0.9
    # Spread by area: the mean of any coordinate's square is a third of the radius's.
    assert torch.allclose(found.points[0].square().mean(0), torch.full((3,), 0.12), rtol=0.03)


@pytest.mark.parametrize("kind", EVERY)
def test_the_volume_of_a_ball(kind):
    seen = to_volume(EVERY[kind](BALL), R, setting())[0, 0]
    exact = distance(BALL)[0]
    sure = exact.abs() > 0.4 * CELL
    if kind in ("volume", "surfaces", "scans"):  # occupancies
        assert ((seen > 0.5) == (exact < 0))[sure].all()
        assert float(seen.sum()) * CELL**3 == pytest.approx(4 / 3 * math.pi * 0.6**3, rel=0.03)
    else:  # distances
        assert ((seen < 0) == (exact < 0))[sure].all()
        near = exact.abs() < 0.03
        assert (seen * DISTANCE_BAND - exact)[near].abs().max() < 0.012
        assert seen.abs().max() <= 1


@pytest.mark.parametrize("kind", EVERY)
def test_points_and_graphs_of_a_ball(kind):
    shapes, at = EVERY[kind](BALL), setting()
    points = to_points(shapes, at, "surface", R)
    nodes = to_graph(shapes, at, R)
    assert points.shape[0] == nodes.shape[0] == 1
    assert torch.equal(nodes[..., :3], points)
    assert (points.norm(dim=-1) - 0.6).abs().max() < 0.25 * CELL
    assert torch.allclose(nodes[..., 3:].norm(dim=-1), torch.ones(()), atol=1e-4)
    pairs = to_points(shapes, at, "pairs", R)[0]
    assert torch.equal(pairs[:, :3], at.queries[0, :, :3])
    exact = pairs[:, :3].norm(dim=1) - 0.6
    inside = pairs[:, 3] > 0.5 if kind in ("volume", "surfaces", "scans") else pairs[:, 3] < 0
    assert (inside == (exact < 0))[exact.abs() > 0.5 * CELL].all()


@pytest.mark.parametrize("kind", EVERY)
def test_pictures_of_a_ball(kind):
    at = setting()
    images = to_images(EVERY[kind](BALL), at, SIZE, R)[0]
    assert images.shape == (3, 5, SIZE, SIZE)
    covered, near, normal = (images[:, 0] + 1) / 2, images[:, 1], images[:, 2:]
    # The outline is where rays touch the ball.
    outline = math.tan(math.asin(0.6 / RADIUS)) / math.tan(FIELD_OF_VIEW / 2) * SIZE / 2
    area = covered.sum((1, 2))
    assert torch.allclose(area, torch.full_like(area, math.pi * outline**2), rtol=0.05)
    middle = slice(SIZE // 2 - 1, SIZE // 2 + 1)
    assert torch.allclose(near[:, middle, middle], torch.tensor(0.6 / math.sqrt(3)), atol=0.02)
    towards = torch.stack(
        [
            at.azimuth[0].sin() * at.elevation[0].cos(),
            -at.azimuth[0].cos() * at.elevation[0].cos(),
            at.elevation[0].sin(),
        ],
        1,
    )
    assert ((normal[:, :, middle, middle].mean((2, 3)) * towards).sum(1) > 0.97).all()
    background = covered == 0
    assert (near[background] == 0).all()


@pytest.mark.parametrize("real", RECORDED)
@pytest.mark.parametrize("show", [to_meshes, to_graph, to_images])
def test_what_is_recorded_looks_like_what_is_generated(real, show):
    """Same numbers of samples, same spread: of the same ball real and generated differ by less than a cell."""
    at = setting()
    fakes = {"lattice": "implicit", "scans": "surfaces"}
    if show is to_images:
        one, other = (to_images(EVERY[kind](BALL), at, SIZE, R) for kind in (real, fakes[real]))
        assert (one - other).abs().mean() < 0.02
    elif show is to_graph:
        one, other = (to_graph(EVERY[kind](BALL), at, R)[0, :, :3] for kind in (real, fakes[real]))
        gaps = [torch.cdist(a, b).amin(1).mean() for a, b in ((one, other), (other, one))]
        assert max(gaps) < 0.5 * CELL
        assert abs(float(gaps[0] - gaps[1])) < 0.1 * CELL
    else:
        one, other = (sample(to_meshes(EVERY[kind](BALL), R), at.rolls) for kind in (real, fakes[real]))
        assert float(one.area[0]) == pytest.approx(float(other.area[0]), rel=0.02)


def measures(at: Setting) -> dict[str, Callable]:
    """Figures of what is shown that grow with the ball."""
    return {
        "volume": lambda shapes: to_volume(shapes, R, at).mean(),
        "points": lambda shapes: to_points(shapes, at, "surface", R).norm(dim=-1).mean(),
        "pairs": lambda shapes: to_points(shapes, at, "pairs", R)[..., 3].mean(),
        "images": lambda shapes: to_images(shapes, at, SIZE, R)[:, :, :2].mean(),
        "graph": lambda shapes: to_graph(shapes, at, R)[..., :3].square().sum(-1).mean(),
    }


@pytest.mark.parametrize(("kind", "shown"), list(itertools.product(GENERATED, measures(setting(8, 1)))))
def test_gradients_agree_with_finite_differences(kind, shown):
    """How what is shown changes with the radius: by automatic differentiation, and by making two other balls."""
    measure = measures(setting(1024, 2))[shown]
    radius = torch.tensor(0.62, requires_grad=True)
    measure(GENERATED[kind](radius)).backward()
    step = 0.005
    with torch.no_grad():
        larger, smaller = (measure(GENERATED[kind](torch.tensor(0.62 + s))) for s in (step, -step))
    assert float(radius.grad) == pytest.approx(float(larger - smaller) / (2 * step), rel=0.08)


# ── the parts ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_reading_and_resampling_keep_places():
    points = torch.from_numpy(lattice(8))[None]
    slope = torch.tensor([1.0, 10.0, 100.0])
    grid = (torch.from_numpy(lattice(16)) @ slope).reshape(1, 16, 16, 16)
    assert torch.allclose(read(grid, points)[0], points[0] @ slope, atol=1e-3)
    assert torch.allclose(resample(grid, 8).reshape(-1), points[0] @ slope, atol=1e-3)
    assert resample(grid, 16) is grid


def test_samples_lie_on_their_mesh_in_proportion_to_area():
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [3, 0, 1], [0, 1, 1]])
    faces = torch.tensor([[0, 1, 2], [3, 4, 5]])
    found = sample([(vertices, faces)], torch.rand((1, 4000, 3), generator=torch.Generator().manual_seed(0)))
    upper = found.points[0, :, 2] > 0.5
    assert float(upper.float().mean()) == pytest.approx(0.75, abs=1e-3)
    assert float(found.area[0]) == pytest.approx(2.0)
    x, y = found.points[0, ~upper, 0], found.points[0, ~upper, 1]
    assert bool(((x >= 0) & (y >= 0) & (x + y <= 1 + 1e-6)).all())
    assert float(x.mean()) == pytest.approx(1 / 3, abs=0.02)


def test_a_field_without_an_inside_still_has_a_surface_and_is_told_so():
    lifted = Implicit(lambda p: p.norm(dim=-1) + 0.2, 1, torch.device("cpu"))
    ((vertices, faces),) = to_meshes(lifted, R)
    assert len(faces) > 20
    assert vertices.norm(dim=1).std() < CELL
    assert float(hollowness(lifted, R)) > 2
    assert float(hollowness(implicit(BALL), R)) == 0
    assert float(hollowness(Volume(torch.zeros(1, 4, 4, 4)), R)) == pytest.approx(0.75)


def test_views_that_carve_everything_away_come_back():
    """Whatever the critic says: the term alone leads to shapes that have an inside, each of them."""
    torch.manual_seed(0)
    generator = generators.build("multiview", {"latent_size": 4, "channels": [8, 4]})
    codes = torch.randn(3, 4)
    with torch.no_grad():
        generator.layers[-1].bias[4] += 2.5
    assert bool((to_volume(generator.represent(codes), R, setting()) > 0).all())
    optimiser = torch.optim.Adam(generator.parameters(), 1e-2)
    for _ in range(60):
        term = hollowness(generator.represent(codes), R)
        optimiser.zero_grad()
        term.backward()
        optimiser.step()
    assert bool((to_volume(generator.represent(codes), R, setting()).flatten(1).amin(1) < -0.4).all())


def test_roughness_counts_bumps_and_not_size():
    smooth = surfaces(BALL)
    generator = torch.Generator().manual_seed(0)
    bumpy = Surfaces(smooth.vertices + 0.02 * torch.randn(smooth.vertices.shape, generator=generator), smooth.faces)
    assert float(roughness(bumpy, R)) > 20 * float(roughness(smooth, R))
    flat = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [0.5, 1, 0]]])
    # Each corner's neighbours' middle is across from it, at 3/2 of its distance from the triangle's middle.
    expected = 3 * ((1.5 * (flat - flat.mean(1, keepdim=True))) ** 2).sum(-1).mean()
    assert float(roughness(Surfaces(flat, torch.tensor([[0, 1, 2]])), R)) == pytest.approx(float(expected), rel=1e-5)


def test_observed_maps_of_a_torus_fuse_to_it():
    """A hole, and parts that hide each other from some cameras."""
    points = lattice(40)
    grid = torch.from_numpy(torus_distance(points).astype(np.float32)).reshape(40, 40, 40)
    seen = observe(grid, 26, 64)
    fused = to_volume(seen, 40, setting(1, 0))[0, 0]
    wrong = (fused < 0) != (grid < 0)
    assert float(wrong.float().mean()) < 2e-3
    assert grid[wrong].abs().max() < 0.05


def test_a_hollow_is_filled():
    shell = (distance(torch.tensor(0.6))[0] + 0.15).abs() - 0.15  # between 0.3 and 0.6
    fused = to_volume(observe(shell, 6, 48), R, setting(1, 0))[0, 0]
    assert shell[R // 2, R // 2, R // 2] > 0 > fused[R // 2, R // 2, R // 2]


def test_settings_are_drawn_once_and_can_be_shared_out():
    bridge = Bridge("images", R, points=5, views=2)
    one, other = (bridge.setting(4, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one.rolls, other.rolls)
    assert torch.equal(one[1:3].azimuth, one.azimuth[1:3])
    assert len(one[1:3]) == 2
    assert one.azimuth.shape == (4, 2)
    assert Bridge("points", R, sees="pairs", points=7).queries == 7
    assert Bridge("points", R).queries == Bridge("volume", R).queries == 0


def test_bridges_that_lead_nowhere():
    with pytest.raises(TrainingError, match="No bridge leads to 'sound'"):
        Bridge("sound", R)
    with pytest.raises(TrainingError, match="cannot see 'colours'"):
        Bridge("points", R, sees="colours")
    with pytest.raises(TrainingError, match="must be positive"):
        Bridge("points", 0)
    for show in (to_meshes, lambda shapes, r: to_volume(shapes, r, setting(1, 0))):
        with pytest.raises(TrainingError, match="no bridge from str"):
            show("a chair", R)
    with pytest.raises(TrainingError, match="has no surface"):
        sample([(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64))], setting(4, 0).rolls)


def test_a_sampler_evaluates_fields_within_its_forward_pass():
    """As DistributedDataParallel needs it: weights that a lazily read field uses are used before it returns."""

    class Balls(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.radius = torch.nn.Parameter(torch.tensor(0.6))

        def represent(self, codes):
            return implicit(self.radius)

    sampler = Sampler(Balls(), Bridge("points", R, points=64), ["hollowness"])
    seen = sampler(torch.zeros(1, 1), setting(64, 0))
    assert set(seen.terms) == {"hollowness"}
    seen.samples.norm(dim=-1).mean().backward()
    assert float(sampler.generator.radius.grad) == pytest.approx(1, rel=0.05)
