"""Variations of shapes: what each map keeps, what happens to distances, and where variations may lie."""

from __future__ import annotations

import dataclasses
import math
import pickle

import numpy as np
import pytest
import solids
import trimesh
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gan3d_core.errors import DatasetError
from gan3d_core.field import EXTENT, lattice
from training.data import jobs, record, store
from training.data.augmentation import (
    AugmentationRecipe,
    AxisWarp,
    Mirror,
    PaletteShift,
    Stretch,
    Taper,
    Variation,
    variations,
)
from training.data.augmentation.on_the_fly import mirrored, shifted
from training.data.augmentation.refine import split_long_edges
from training.data.layouts import discover
from training.data.oklab import from_oklab, to_oklab
from training.data.source import SourceFile, SourceMesh, SurfaceMaterial
from training.data.writer import Writer
from training.prepare import prepare

WIDE = AugmentationRecipe(mirror=0.5, stretch=1.5, warp=1.6, taper=0.3, hue=180, lightness=0.3, chroma=1)
FIRM = settings(max_examples=25)


def source_mesh(vertices: np.ndarray, faces: np.ndarray, **more) -> SourceMesh:
    return SourceMesh(vertices=np.asarray(vertices, np.float64), faces=np.asarray(faces, np.int64), **more)


def as_trimesh(mesh: SourceMesh) -> trimesh.Trimesh:
    return trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)


def table() -> SourceMesh:
    """A ring over a post, and a box beside them: three closed parts, of genus 1, 0 and 0."""
    ring = trimesh.creation.torus(0.5, 0.15, major_sections=24, minor_sections=12)
    parts = [(ring.vertices + np.array([0, 0, 0.5]), ring.faces), solids.box((-0.1, -0.1, -0.9), (0.1, 0.1, 0.2))]
    return source_mesh(*solids.join(*parts, solids.box((0.5, 0.3, -0.9), (0.9, 0.7, -0.3))))


@FIRM
@given(st.integers(0, 2**32))
def test_variations_keep_topology_orientation_and_frame(seed):
    variation = Variation("x", WIDE.draw_maps(np.random.default_rng(seed)))
    before = as_trimesh(table())
    varied, back = variation.apply(table())
    after = as_trimesh(varied)
    assert after.euler_number == before.euler_number
    assert after.body_count == before.body_count == 3
    assert after.is_watertight
    assert after.is_winding_consistent
    low, high = varied.vertices.min(axis=0), varied.vertices.max(axis=0)
    assert (high - low).max() == pytest.approx(2 * EXTENT, abs=1e-5)
    assert np.allclose(low + high, 0, atol=1e-5)
    # Outward as before, and no part grew or shrank by more than all limits together allow.
    ratio = after.volume * back[0, 0] ** 3 / before.volume
    most = 1.5**3 * 1.6**3 * 1.27**2
    assert 1 / most < ratio < most
    # What stood on the floor does, and all of it.
    floor = before.vertices[:, 2] < -0.9 + 1e-6
    assert np.ptp(varied.vertices[: len(floor)][floor, 2]) < 1e-6
    assert varied.vertices[: len(floor)][floor, 2].max() <= low[2] + 1e-6


@FIRM
@given(st.integers(0, 2**32))
def test_maps_keep_symmetry_and_upright_legs(seed):
    generator = np.random.default_rng(seed)
    points = generator.uniform(-0.9, 0.9, (200, 3))
    leg = np.concatenate([np.broadcast_to(points[0, :2], (50, 2)), np.linspace(-0.9, 0.1, 50)[:, None]], axis=1)
    for one in WIDE.draw_maps(generator):
        assert np.allclose(one(Mirror()(points)), Mirror()(one(points)), atol=1e-6)
        straight = one(leg)
        along = (straight[-1] - straight[0]) / np.linalg.norm(straight[-1] - straight[0])
        off = straight - straight[0] - np.outer((straight - straight[0]) @ along, along)
        assert np.abs(off).max() < 1e-9
        assert (np.diff(straight[:, 2]) > 0).all()
        if isinstance(one, AxisWarp):
            assert np.ptp(straight[:, :2], axis=0).max() < 1e-12
            x = np.linspace(-0.9, 0.9, 400)
            line = np.zeros((400, 3))
            line[:, one.axis] = x
            slope = np.diff(one(line)[:, one.axis]) / np.diff(x)
            assert slope.min() > 1 / 1.6 - 1e-3
            assert slope.max() < 1.6 + 1e-3


def test_exact_maps_change_volume_by_what_they_say():
    shape = as_trimesh(table())
    stretched = shape.copy()
    stretched.vertices = Stretch((1.2, 0.8, 1.4))(shape.vertices)
    assert stretched.volume == pytest.approx(shape.volume * 1.2 * 0.8 * 1.4, rel=1e-9)
    varied, back = Variation("x", (Mirror(),)).apply(table())
    assert as_trimesh(varied).volume * back[0, 0] ** 3 == pytest.approx(shape.volume, rel=1e-5)
    assert np.allclose(Taper(0, 0.0)(shape.vertices), shape.vertices)
    assert np.allclose(AxisWarp(2, (0.0, 0.0))(shape.vertices), shape.vertices, atol=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Stretch((1.0, 1.0, 1.6)),
        lambda: Stretch((1.0, 1.0, math.nan)),
        lambda: AxisWarp(2, (0.3, -0.3)),
        lambda: AxisWarp(3, ()),
        lambda: Taper(2, 0.1),
        lambda: Taper(0, 0.31),
        lambda: PaletteShift(hue=181),
        lambda: PaletteShift(lightness=math.nan),
        lambda: AugmentationRecipe(warp=0.9),
        lambda: AugmentationRecipe(mirror=1.1),
        lambda: AugmentationRecipe.read(None, ["colour=3"]),
        lambda: AugmentationRecipe.read(None, ["hue=red"]),
        lambda: AugmentationRecipe.read("/nowhere.toml"),
        lambda: variations([], 1, AugmentationRecipe(0, 1, 1, 0, 0, 0, 0)),
    ],
)
def test_what_is_out_of_range_is_refused(wrong):
    with pytest.raises(DatasetError) as caught:
        wrong()
    assert caught.value.hint


def test_recipes_come_from_files_and_the_command_line(tmp_path):
    (tmp_path / "mild.toml").write_text("hue = 0.0\nstretch = 1.05\n")
    recipe = AugmentationRecipe.read(str(tmp_path / "mild.toml"), ["mirror=0", "warp=1"])
    assert recipe == AugmentationRecipe(mirror=0, stretch=1.05, warp=1, hue=0)
    drawn = [recipe.draw_maps(np.random.default_rng(seed)) for seed in range(40)]
    kinds = {type(one) for maps in drawn for one in maps}
    assert kinds == {Taper, Stretch}
    assert all(1 / 1.05 - 1e-6 <= f <= 1.05 + 1e-6 for maps in drawn for f in maps[-1].factors)


@FIRM
@given(st.floats(0.05, 0.6), st.integers(0, 5))
def test_refined_meshes_are_the_same_surface(longest, seed):
    generator = np.random.default_rng(seed)
    vertices, faces = trimesh.creation.icosphere(subdivisions=1).vertices, trimesh.creation.icosphere(1).faces
    vertices = vertices * generator.uniform(0.4, 0.9, 3)
    matrix = generator.normal(size=(3, 2))
    mesh = source_mesh(
        vertices,
        faces,
        materials=[SurfaceMaterial(np.zeros(3)), SurfaceMaterial(np.ones(3))],
        face_material=(vertices[faces].mean(axis=1)[:, 0] > 0).astype(int),
        face_uvs=(vertices[faces] @ matrix).astype(np.float32),
        vertex_color=((vertices + 1) / 2).astype(np.float32),
    )
    fine = split_long_edges(mesh, longest)
    before, after = as_trimesh(mesh), as_trimesh(fine)
    assert after.edges_unique_length.max() <= longest + 1e-9
    assert after.is_watertight
    assert after.euler_number == 2
    assert after.volume == pytest.approx(before.volume, rel=1e-9)
    assert after.area == pytest.approx(before.area, rel=1e-9)
    # Whatever was linear over faces still is, corner by corner; each face keeps the material of the one it came of.
    assert np.allclose(fine.face_uvs, fine.vertices[fine.faces] @ matrix, atol=1e-5)
    assert np.allclose(fine.vertex_color, (fine.vertices + 1) / 2, atol=1e-5)
    share = [as_trimesh(m).area_faces[m.face_material == 1].sum() for m in (mesh, fine)]
    assert share[0] == pytest.approx(share[1], rel=1e-9)


def test_refining_stops_at_its_limit():
    mesh = source_mesh(*solids.box((-0.9, -0.9, -0.9), (0.9, 0.9, 0.9)))
    assert 12 < len(split_long_edges(mesh, 0.01, most_faces=1000).faces) <= 1000


colours = st.lists(st.tuples(*[st.floats(0, 1)] * 3), min_size=2, max_size=30).map(np.array)
shifts = st.builds(PaletteShift, st.floats(-180, 180), st.floats(-0.3, 0.3), st.floats(0, 2))


@example(np.array([(0.0, 0.0, 0.125), (0.0, 0.0625, 0.0)]), PaletteShift(lightness=-0.25))
@given(colours, shifts)
def test_palettes_keep_greys_and_the_order_of_lightness(colour, shift):
    out = shift(colour)
    assert out.min() >= 0
    assert out.max() <= 1
    before, after = to_oklab(colour)[:, 0], to_oklab(out)[:, 0]
    order = np.argsort(before, kind="stable")
    assert (np.diff(after[order]) > -4e-3).all()
    greys = np.linspace(0, 1, 12)[:, None] * np.ones(3)
    shifted_greys = shift(greys)
    assert np.ptp(shifted_greys, axis=1).max() < 2e-3
    assert np.allclose(shifted_greys[[0, -1]], greys[[0, -1]], atol=2e-3)
    assert np.allclose(PaletteShift()(colour), colour)


@given(st.floats(-180, 180), st.floats(0.35, 0.8), st.floats(0, 6.28))
def test_hues_turn_by_the_angle(angle, light, hue):
    """At a chroma that every hue has in sRGB, the turn is exact and can be undone."""
    colour = from_oklab(np.array([light, 0.04 * np.cos(hue), 0.04 * np.sin(hue)]))
    there = PaletteShift(hue=angle)(colour)
    a, b = to_oklab(there)[1:]
    turned = (np.arctan2(b, a) - hue - math.radians(angle) + np.pi) % (2 * np.pi) - np.pi
    assert abs(turned) < 2e-3
    assert np.allclose(PaletteShift(hue=-angle)(there), colour, atol=1e-3)


def test_textures_tints_and_corner_colours_are_shifted_as_they_are_seen():
    """Shifting materials and then looking them up is looking them up and then shifting."""
    generator = np.random.default_rng(0)
    vertices, faces = solids.box((-0.9, -0.5, -0.9), (0.9, 0.5, 0.9))
    shift = PaletteShift(hue=40, lightness=0.1, chroma=0.7)
    image = generator.random((8, 8, 3)).astype(np.float32)
    tint = np.array([0.9, 0.6, 0.5], np.float32)
    face, weights = np.arange(12).repeat(5), generator.dirichlet(np.ones(3), 60)
    corners = np.repeat(generator.random((12, 1, 3)), 3, axis=1).astype(np.float32)
    uvs = generator.random((12, 3, 2)).astype(np.float32)
    split = {"face_material": np.arange(12) % 2, "face_uvs": uvs}
    for more in (
        {"materials": [SurfaceMaterial(tint, image), SurfaceMaterial(tint)], **split},
        {"materials": [SurfaceMaterial(tint), SurfaceMaterial(tint[::-1].copy())], **split, "corner_color": corners},
        {"corner_color": corners},
    ):
        mesh = source_mesh(vertices, faces, **more)
        varied, _ = Variation("x", (), shift).apply(mesh)
        seen, rough, metal = mesh.materials_at(face, weights)
        found, rough_after, metal_after = varied.materials_at(face, weights)
        assert np.allclose(found, shift(seen), atol=1e-5)
        assert np.array_equal(rough, rough_after)
        assert np.array_equal(metal, metal_after)


def write_off(path, vertices, faces) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [" ".join(map(str, v)) for v in vertices.tolist()] + [f"3 {a} {b} {c}" for a, b, c in faces.tolist()]
    path.write_text(f"OFF\n{len(vertices)} {len(faces)} 0\n" + "\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def corner_piece(tmp_path_factory) -> SourceFile:
    """An L that is its own mirror image in no way."""
    folder = tmp_path_factory.mktemp("piece")
    parts = solids.box((-0.9, -0.3, -0.6), (0.9, 0.3, -0.2)), solids.box((0.4, -0.3, -0.5), (0.8, 0.1, 0.6))
    write_off(folder / "piece.off", *solids.join(*parts))
    (file,) = discover(folder, None, "+Z", "-Y").files
    return file


SMALL = record.RecordSettings(surface_points=2048, near_samples=512, volume_samples=64, views=0)


def test_distances_of_a_stretched_shape_are_measured_anew(corner_piece, tmp_path):
    """A stretched box is a box: its distances are known, and are not the stretched ones."""
    write_off(tmp_path / "box.off", *solids.box((-0.9, -0.6, -0.45), (0.9, 0.6, 0.45)))
    (plain,) = discover(tmp_path, None, "+Z", "-Y").files
    file = dataclasses.replace(plain, name="box.off#1", variation=Variation("box.off", (Stretch((0.75, 1.5, 1.0)),)))
    entry, arrays = record.make_record(file, record.identity(file, SMALL), SMALL)
    half = np.array([0.9 * 0.75, 0.6 * 1.5, 0.45])
    half *= 0.9 / half.max()
    expected = solids.box_distance(lattice(64), tuple(-half), tuple(half)).reshape((64,) * 3)
    near = np.abs(expected) < 4 / 64
    assert np.abs(arrays["sdf64"].astype(float) - expected)[near].max() < 0.25 * 2 / 64
    assert entry.size_m == pytest.approx(1.8 * plain.metres, rel=1e-6)
    assert record.identity(file, SMALL) != record.identity(plain, SMALL)
    # Its matrix takes the cube's points to where the stretched box lies in the file's units.
    corner = np.array(entry.to_source) @ [*half, 1]
    assert np.allclose(np.abs(corner[:3]), [0.675, 0.9, 0.45], atol=1e-5)


def test_a_record_mirrored_on_the_fly_is_the_mirrored_shape_s(corner_piece):
    _, arrays = record.make_record(corner_piece, "0" * 20, SMALL)
    file = dataclasses.replace(corner_piece, name="piece.off#1", variation=Variation("piece.off", (Mirror(),)))
    entry, there = record.make_record(file, "1" * 20, SMALL)
    assert entry.parent == "piece.off"
    assert "mirror" in entry.variation
    for name in ("sdf32", "sdf64"):
        here = mirrored(name, arrays[name]).astype(float)
        near = np.abs(here) < 0.1
        assert np.abs(here - there[name].astype(float))[near].max() < 2e-3
        assert np.abs(arrays[name].astype(float) - there[name].astype(float))[near].max() > 0.05
    surface = mirrored("surface", arrays["surface"]).astype(float)
    ours, theirs = trimesh.PointCloud(surface[:, :3]), there["surface"].astype(float)
    distance, match = ours.kdtree.query(theirs[:, :3])
    assert distance.max() < 0.2
    assert np.einsum("ij,ij->i", surface[match, 3:], theirs[:, 3:])[distance < 0.02].mean() > 0.9
    near = mirrored("near", arrays["near"]).astype(float)
    cell = ((near[:, :3] + 1) * 32).astype(int).clip(0, 63)
    assert np.abs(there["sdf64"].astype(float)[tuple(cell.T)] - near[:, 3]).max() < np.sqrt(3) / 64 + 2e-3
    for name, array in arrays.items():
        assert np.array_equal(mirrored(name, mirrored(name, array)), array)
    with pytest.raises(DatasetError, match="rgb"):
        mirrored("rgb", np.zeros((1, 8, 8, 3)))
    recoloured = shifted(arrays["material"], PaletteShift(lightness=0.2))
    assert np.array_equal(recoloured[:, 3:], arrays["material"][:, 3:])
    assert (recoloured[:, :3] > arrays["material"][:, :3]).all()


def run_here(files, dataset, settings, processes):
    """`jobs.run` without the start of processes, which takes longer than these boxes do."""
    writer = Writer(dataset)
    for file in files:
        yield jobs._prepare(pickle.loads(pickle.dumps(file)), writer, settings)
    writer.close()


def test_variations_lie_in_their_parent_s_split(tmp_path, monkeypatch):
    """Only training shapes are varied, and of two files with the same bytes only the one that counts."""
    monkeypatch.setattr(jobs, "run", run_here)
    by_split = {}
    for number in range(200):
        by_split.setdefault(store.split_of(f"boxes/{number}.off"), []).append(number)
    folder = tmp_path / "boxes"
    first, twin = by_split["train"][:2]
    held_out = [by_split["validation"][0], by_split["test"][0]]
    for size, number in enumerate([first, *held_out], 1):
        write_off(folder / f"{number}.off", *solids.box((-0.2 * size, -0.2, -0.5), (0.2 * size, 0.2, 0.5)))
    (folder / f"{twin}.off").write_bytes((folder / f"{first}.off").read_bytes())
    recipe = AugmentationRecipe(mirror=1, lightness=0.0)
    kwargs = {"settings": SMALL, "processes": 1, "augment": 2, "limits": recipe}
    entries = prepare(folder, tmp_path / "dataset", **kwargs)
    parents = {entry.name: entry for entry in entries if not entry.parent}
    children = [entry for entry in entries if entry.parent]
    assert len(parents) == 3
    assert len(children) == 2
    for child in children:
        assert child.split == parents[child.parent].split == "train"
        assert child.name.startswith(child.parent)
        assert child.variation["mirror"] is True
    assert len({entry.id for entry in entries}) == 5
    varied = variations([SourceFile("", f"{n}.off", "boxes", "", "", "+Z", "-Y", 1.0) for n in range(200)], 3, recipe)
    assert {file.parent for file in varied} == {f"{n}.off" for n in by_split["train"]}
    assert len({file.name for file in varied}) == len(varied) == 3 * len(by_split["train"])
    assert variations([dataclasses.replace(varied[0], name="7.off", variation=None)], 3, recipe) == [
        file for file in varied if file.parent == "7.off"
    ]
