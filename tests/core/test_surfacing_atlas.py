import subprocess
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from sdf import chair, grid, torus

from gan3d_core.errors import CancelledError
from gan3d_core.surfacing import atlas as atlas_module
from gan3d_core.surfacing.atlas import GUTTER, Atlas, flipped_share, overlap_share, signed_areas, unwrap
from gan3d_core.surfacing.bake import rasterise
from gan3d_core.surfacing.box_atlas import box_atlas
from gan3d_core.surfacing.extract import extract
from gan3d_core.surfacing.measures import face_vectors
from gan3d_core.surfacing.packing import pack
from gan3d_core.surfacing.simplify import simplify
from gan3d_core.surfacing.smooth import smooth

SIZE = 1024


def mesh(distance, faces=3000):
    vertices, triangles = extract(distance(grid(48)).astype(np.float32))
    return simplify(smooth(vertices, triangles, 8), triangles, faces)


MESHES = {"chair": mesh(chair()), "torus": mesh(torus(0.6, 0.25))}


@pytest.fixture(scope="module", params=[(m, w) for m in MESHES for w in ("xatlas", "box")], ids="-".join)
def case(request):
    name, way = request.param
    vertices, faces = MESHES[name]
    if way == "xatlas":
        return vertices, faces, unwrap(vertices, faces)
    return vertices, faces, Atlas(*box_atlas(vertices, faces, 1.2 * GUTTER, SIZE))


def test_coordinates_lie_in_the_square(case):
    _, faces, atlas = case
    assert atlas.uvs.shape == (len(faces), 3, 2)
    assert atlas.uvs.min() >= 0
    assert atlas.uvs.max() <= 1


def test_no_triangle_is_turned_over_and_none_overlap(case):
    _, _, atlas = case
    assert flipped_share(atlas.uvs) <= 0.002
    assert overlap_share(atlas.uvs, SIZE) <= 0.002


def test_density_is_even(case):
    vertices, faces, atlas = case
    world = np.linalg.norm(face_vectors(vertices, faces), axis=1) / 2
    density = np.sqrt(np.abs(signed_areas(atlas.uvs)) / world)
    order = np.argsort(density)
    share = np.cumsum(world[order]) / world.sum()
    low, high = density[order][np.searchsorted(share, [0.05, 0.95])]
    assert high / low < 2  # nine tenths of the surface


def test_the_square_is_used(case):
    _, _, atlas = case
    assert np.abs(signed_areas(atlas.uvs)).sum() > 0.2


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
    for chart in np.unique(atlas.charts):
        others = (owner >= 0) & (owner != chart)
        mine = owner == chart
        if mine.any() and others.any():
            assert ndimage.distance_transform_edt(~others)[mine].min() >= 9


def test_charts_are_connected_in_the_square(case):
    """Corners of one chart at one vertex share one coordinate, so there is no seam within a chart."""
    _, faces, atlas = case
    keys = np.stack([atlas.charts.repeat(3), faces.reshape(-1)], axis=1)
    _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    corners = atlas.uvs.reshape(-1, 2)
    apart = np.linalg.norm(corners - corners[first][inverse.reshape(-1)], axis=1) > 1e-6
    assert apart.mean() < 0.02  # xatlas may cut a chart open along an edge


def test_the_same_mesh_gives_the_same_atlas():
    first, second = (unwrap(*MESHES["chair"]) for _ in range(2))
    assert np.array_equal(first.uvs, second.uvs)
    assert np.array_equal(first.charts, second.charts)


def test_time_limit_falls_back_to_boxes():
    vertices, faces = MESHES["torus"]
    atlas = unwrap(vertices, faces, time_limit=0.0)
    uvs, _ = box_atlas(vertices, faces, 1.2 * GUTTER, SIZE)
    assert np.array_equal(atlas.uvs, uvs)


@pytest.mark.parametrize("program", ["raise SystemExit(3)", "print('rubbish')", ""])
def test_a_child_that_fails_falls_back_to_boxes(program, monkeypatch, tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text(program)
    real = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda command, **kw: real([*command[:-1], str(broken)], **kw))
    vertices, faces = MESHES["torus"]
    atlas = unwrap(vertices, faces)
    assert np.array_equal(atlas.uvs, box_atlas(vertices, faces, 1.2 * GUTTER, SIZE)[0])


def test_a_child_that_cannot_start_falls_back_to_boxes(monkeypatch, tmp_path):
    vertices, faces = MESHES["torus"]
    monkeypatch.setattr(atlas_module.sys, "executable", str(tmp_path / "no-python"))
    atlas = unwrap(vertices, faces)
    assert np.array_equal(atlas.uvs, box_atlas(vertices, faces, 1.2 * GUTTER, SIZE)[0])


def test_cancelling_ends_the_child(monkeypatch):
    children = []
    real = subprocess.Popen

    def start(*arguments, **keywords):
        children.append(real(*arguments, **keywords))
        return children[-1]

    monkeypatch.setattr(atlas_module.subprocess, "Popen", start)

    def cancel(fraction):
        raise CancelledError("Cancelled.")

    with pytest.raises(CancelledError):
        unwrap(*MESHES["chair"], cancel)
    assert [child.returncode is not None for child in children] == [True]


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


def test_a_child_that_starts_slowly_gets_the_whole_mesh(monkeypatch, tmp_path):
    """More than a pipe holds, to a child that reads only after the first wait for it is over."""
    vertices, faces = mesh(torus(0.6, 0.25), 100_000)
    assert faces.nbytes // 2 > 1 << 16
    program = Path(atlas_module.__file__).with_name("unwrap_process.py")
    slow = tmp_path / "slow.py"
    slow.write_text(f"import runpy, time\ntime.sleep(0.6)\nrunpy.run_path({str(program)!r}, run_name='__main__')\n")
    expected = unwrap(vertices, faces)
    real = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda command, **kw: real([*command[:-1], str(slow)], **kw))
    assert np.array_equal(unwrap(vertices, faces, time_limit=60).uvs, expected.uvs)
    assert not np.array_equal(box_atlas(vertices, faces, 1.2 * GUTTER, SIZE)[0], expected.uvs)
