"""Texture coordinates: no overlaps, no flips, even density, gutters, the same on every machine."""

import subprocess
import sys

import numpy as np
import pytest
from sdf import chair, grid, sphere, torus

from gan3d_core.errors import CancelledError
from gan3d_core.surfacing.atlas import flipped_share, overlap_share, signed_areas, unwrap
from gan3d_core.surfacing.bake import rasterise
from gan3d_core.surfacing.charts import STEEPEST
from gan3d_core.surfacing.extract import extract
from gan3d_core.surfacing.measures import face_vectors
from gan3d_core.surfacing.packing import pack
from gan3d_core.surfacing.simplify import simplify
from gan3d_core.surfacing.smooth import smooth

SIZE = 1024


def mesh(distance, faces=3000):
    vertices, triangles = extract(distance(grid(48)).astype(np.float32))
    return simplify(smooth(vertices, triangles, 8), triangles, faces)


def noise(resolution):
    """The worst there is: a sponge of hundreds of handles, all of it steep."""
    values = np.random.default_rng(3).standard_normal((resolution,) * 3)
    return extract(values.astype(np.float32))


MESHES = {
    "chair": mesh(chair()),
    "torus": mesh(torus(0.6, 0.25)),
    "sphere": mesh(sphere(0.8), 500),
    "noise": noise(7),
}


@pytest.fixture(scope="module", params=MESHES)
def case(request):
    vertices, faces = MESHES[request.param]
    return vertices, faces, unwrap(vertices, faces)


def test_coordinates_lie_in_the_square(case):
    _, faces, atlas = case
    assert atlas.uvs.shape == (len(faces), 3, 2)
    assert atlas.uvs.min() >= 0
    assert atlas.uvs.max() <= 1


def test_no_triangle_is_turned_over_and_none_overlap(case):
    _, _, atlas = case
    assert flipped_share(atlas.uvs) < 1e-6
    assert overlap_share(atlas.uvs, SIZE) < 1e-4
    assert overlap_share(atlas.uvs, 2 * SIZE) < 1e-3  # finer than what `unwrap` looks at


def test_density_is_even(case):
    """Every chart has the same density as a whole, and no face is stretched by more than its tilt."""
    vertices, faces, atlas = case
    world = np.linalg.norm(face_vectors(vertices, faces), axis=1) / 2
    flat = signed_areas(atlas.uvs)
    by_chart = np.bincount(atlas.charts, flat) / np.bincount(atlas.charts, world)
    assert np.allclose(by_chart, by_chart[0], rtol=1e-6)
    density = np.sqrt(flat / world)
    order = np.argsort(density)
    share = np.cumsum(world[order]) / world.sum()
    low, high = density[order][np.searchsorted(share, [0.05, 0.95])]
    assert high / low < 1.55  # nine tenths of the surface; 1.2 on generated chairs
    assert density.max() / density.min() < 1.6 / STEEPEST


def test_the_square_is_used(case):
    _, _, atlas = case
    assert signed_areas(atlas.uvs).sum() > 0.3


def test_gutters(case):
    """Between texels of two charts, and to the border, lie at least 8 texels."""
    _, _, atlas = case
    owner = np.full(SIZE * SIZE, -1)
    for _, texel, face, _ in rasterise(atlas.uvs, SIZE):
        owner[texel] = atlas.charts[face]
    owner = owner.reshape(SIZE, SIZE)
    rows, columns = np.nonzero(owner >= 0)
    assert min(rows.min(), columns.min()) >= 8
    assert max(rows.max(), columns.max()) <= SIZE - 9
    for dy in range(9):
        for dx in range(-8, 9):
            if dx * dx + dy * dy < 81:
                here = owner[: SIZE - dy, max(0, -dx) : SIZE - max(0, dx)]
                there = owner[dy:, max(0, dx) : SIZE - max(0, -dx)]
                assert not ((here >= 0) & (there >= 0) & (here != there)).any()


def test_charts_are_connected_in_the_square(case):
    """Corners of one chart at one vertex share one coordinate, so there is no seam within a chart."""
    _, faces, atlas = case
    keys = np.stack([atlas.charts.repeat(3), faces.reshape(-1)], axis=1)
    _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    corners = atlas.uvs.reshape(-1, 2)
    assert np.abs(corners - corners[first][inverse.reshape(-1)]).max() < 1e-9


def test_the_same_mesh_gives_the_same_atlas_in_every_process(tmp_path):
    vertices, faces = MESHES["chair"]
    np.savez(tmp_path / "mesh.npz", vertices=vertices, faces=faces)
    program = (
        "import sys, numpy as np; from gan3d_core.surfacing.atlas import unwrap; mesh = np.load(sys.argv[1]);"
        "np.save(sys.argv[2], unwrap(mesh['vertices'], mesh['faces']).uvs)"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path / "mesh.npz", tmp_path / "uvs.npy"], check=True)
    assert np.array_equal(np.load(tmp_path / "uvs.npy"), unwrap(vertices, faces).uvs)


def test_borders_follow_the_edges_of_a_chair():
    """A chair of boxes is cut along its edges, into not many more charts than it has sides."""
    vertices, faces = MESHES["chair"]
    atlas = unwrap(vertices, faces)
    assert atlas.charts.max() + 1 <= 40  # 26 sides of a seat, a back and four legs
    areas = np.bincount(atlas.charts, np.linalg.norm(face_vectors(vertices, faces), axis=1))
    assert np.sort(areas)[-26:].sum() > 0.97 * areas.sum()


def test_cancelling():
    def cancel(fraction):
        if fraction > 0.5:
            raise CancelledError("Cancelled.")

    with pytest.raises(CancelledError):
        unwrap(*MESHES["chair"], cancel)


@pytest.mark.parametrize("count", [1, 7, 200, 2000])
def test_packing_never_overlaps_or_leaves_the_square(count):
    generator = np.random.default_rng(count)
    sizes = generator.uniform(0.05, 3, (count, 2))
    corners = np.stack([np.zeros_like(sizes), sizes * [1, 0], sizes], axis=1) + generator.uniform(-9, 9, (count, 1, 2))
    placed = pack(corners, np.arange(count), 0.004)
    areas = signed_areas(placed)
    assert (areas > 0).all()
    assert np.allclose(areas / signed_areas(corners), (areas / signed_areas(corners))[0])
    assert placed.min() >= 0
    assert placed.max() <= 1
    assert overlap_share(placed, SIZE) == 0


def test_more_charts_than_gutters_have_room_for():
    """Gutters give way before the charts become specks."""
    count = 100
    corners = np.tile(np.array([[[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]]), (count, 1, 1))
    placed = pack(corners, np.arange(count), 0.1)
    assert overlap_share(placed, SIZE) == 0
    assert signed_areas(placed).sum() > 0.04


def test_small_charts_lie_in_the_hollow_of_a_large_one():
    """A ring's hollow is used: rectangles around the charts would not fit at this scale."""
    side = np.array([[0, 0], [1, 0], [1, 0.1], [0, 0.1]])
    ring = [side, 1 - side, side[::-1, ::-1], 1 - side[::-1, ::-1]]
    block = 0.7 * np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    quads = np.array([*ring, block])
    corners = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    charts = np.tile([0, 0, 0, 0, 1], 2)
    placed = pack(corners, charts, 0.004)
    scale = np.sqrt(signed_areas(placed)[4] / signed_areas(corners)[4])
    assert scale > 0.9
    assert (signed_areas(placed) > 0).all()
