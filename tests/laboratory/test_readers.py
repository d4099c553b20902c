"""One chair in every format is one chair: the same surface, the same colours, whatever wrote the file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from gan3d_core.errors import MeshFileError
from training.data.layouts import discover
from training.data.normalise import rotation, to_cube
from training.data.readers import read
from training.data.source import SourceFile, SourceMesh

SHAPES = Path(__file__).parent.parent / "shapes"
CHAIR = SHAPES / "files" / "chair" / "foldingChair" / "foldingChair.obj"
DECK = SHAPES / "files" / "chair" / "deckChair"


def source(path: Path, **known) -> SourceFile:
    known = {"up": "+Y", "front": "+Z", "metres": 1.0, "labels": {}} | known
    return SourceFile(str(path), path.name, "chair", "unknown", "unknown", **known)


def surface(mesh: SourceMesh, count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Points of the surface, evenly by area, and their colours."""
    corners = mesh.vertices[mesh.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    random = np.random.default_rng(0)
    face = random.choice(len(area), count, p=area / area.sum())
    weights = random.dirichlet([1, 1, 1], count)
    return np.einsum("nc,nck->nk", weights, corners[face]), mesh.materials_at(face, weights)[0]


def area_of(mesh: SourceMesh) -> float:
    return float(trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).area)


@pytest.fixture(scope="module")
def chair() -> SourceMesh:
    return read(source(CHAIR))


@pytest.mark.parametrize("suffix", [".obj", ".glb", ".gltf", ".ply", ".stl", ".off"])
def test_every_mesh_format_holds_the_same_chair(suffix, chair, tmp_path):
    parts = trimesh.load_scene(CHAIR, process=False)
    whole = parts if suffix in (".glb", ".gltf", ".obj") else parts.to_mesh()
    path = tmp_path / f"chair{suffix}"
    if suffix == ".gltf":
        for name, data in trimesh.exchange.gltf.export_gltf(parts).items():
            (tmp_path / (path.name if name == "model.gltf" else name)).write_bytes(data)
    else:
        whole.export(path)
    mesh = read(source(path))
    assert len(mesh.faces) == len(chair.faces)
    assert area_of(mesh) == pytest.approx(area_of(chair), rel=1e-4)
    # Same triangles in the same places, in whatever order.
    ours, theirs = (np.sort(m.vertices[m.faces].mean(axis=1).round(3), axis=0) for m in (mesh, chair))
    assert np.abs(ours - theirs).max() < 2e-3 * np.ptp(chair.vertices, axis=0).max()
    assert mesh.colored == (suffix not in (".stl", ".off")), "an STL file says nothing about colour"


def test_collada_from_blender_comes_upright_in_metres_with_its_images():
    """The same chair from Blender's exporter, which writes +Z up: it must stand as the OBJ file does."""
    found = read(source(SHAPES / "formats" / "deckChair.dae"))
    wanted = read(source(DECK / "deckChair.obj"))
    assert found.missing_textures == []
    assert found.colored
    sizes = [np.ptp(mesh.vertices[mesh.faces].reshape(-1, 3), axis=0) for mesh in (found, wanted)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.03), "Blender took the OBJ's centimetres for metres"
    colors = [surface(mesh)[1].mean(axis=0) for mesh in (found, wanted)]
    assert colors[0] == pytest.approx(colors[1], abs=0.04)


def test_collada_polygons_transforms_and_units(tmp_path):
    """A square of two metres, given in inches, as one polygon below two nested nodes, the outer one mirrored."""
    inch = 0.0254
    half = 1 / inch
    (
        tmp_path / "square.dae"
    ).write_text(f"""<COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1">
      <asset><unit meter="{inch}" name="inch"/><up_axis>Y_UP</up_axis></asset>
      <library_geometries><geometry id="g"><mesh>
        <source id="p"><float_array id="a" count="12">{-half} 0 {-half} {half} 0 {-half} {half} 0 {half}
        {-half} 0 {half}</float_array><technique_common>
        <accessor source="#a" count="4" stride="3"/></technique_common></source>
        <vertices id="v"><input semantic="POSITION" source="#p"/></vertices>
        <polylist count="1"><input semantic="VERTEX" source="#v" offset="0"/><vcount>4</vcount><p>0 1 2 3</p></polylist>
      </mesh></geometry></library_geometries>
      <library_visual_scenes><visual_scene id="s"><node><scale>-1 1 1</scale><node>
        <rotate>1 0 0 90</rotate><translate>0 {half} 0</translate><instance_geometry url="#g"/></node></node>
      </visual_scene></library_visual_scenes><scene><instance_visual_scene url="#s"/></scene></COLLADA>""")
    mesh = read(source(tmp_path / "square.dae"))
    assert mesh.faces.shape == (2, 3)
    assert area_of(mesh) == pytest.approx(4.0)
    # Turned about x, its +y has become +z.
    assert mesh.vertices[:, 2] == pytest.approx(np.ones(4))
    a, b, c = mesh.vertices[mesh.faces[0]]
    assert np.cross(b - a, c - a)[2] < 0, "the square looked down, then forward; mirrored it looks the same way"
    assert mesh.colorless


@pytest.mark.parametrize(
    ("text", "faces"),
    [
        ("OFF\n4 2 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n3 0 1 2\n3 0 2 3\n", 2),
        ("OFF4 2 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n3 0 1 2\n3 0 2 3\n", 2),  # as in ModelNet
        ("OFF 4 1 0\n# a comment\n0 0 0\n1 0 0\n\n1 1 0 # another\n0 1 0\n4 0 1 2 3\n", 2),
        ("OFF\n4 3 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n2 0 1\n3 0 1 2\n3 0 2 3\n", 2),  # an edge is no face
    ],
)
def test_off_headers_and_polygons(tmp_path, text, faces):
    (tmp_path / "a.off").write_text(text)
    mesh = read(source(tmp_path / "a.off"))
    assert len(mesh.faces) == faces
    assert area_of(mesh) == pytest.approx(1.0)
    assert mesh.colorless


def test_off_colours(tmp_path):
    (tmp_path / "v.off").write_text("COFF\n3 1 0\n0 0 0 255 0 0 255\n1 0 0 255 0 0 255\n0 1 0 255 0 0 255\n3 0 1 2\n")
    (tmp_path / "f.off").write_text("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2 1.0 0.0 0.0\n")
    for name in ("v.off", "f.off"):
        mesh = read(source(tmp_path / name))
        assert mesh.colored
        assert np.allclose(surface(mesh)[1], [1, 0, 0])


def test_colours_of_gltf_are_linear_and_its_images_have_roughness_and_metallic(tmp_path):
    square = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]], process=False)
    both = Image.new("RGB", (4, 4), (0, 51, 204))  # green is roughness, blue metallic
    material = trimesh.visual.material.PBRMaterial(
        baseColorFactor=[0.5, 0.5, 0.5, 1.0], metallicRoughnessTexture=both, metallicFactor=0.5, roughnessFactor=1.0
    )
    square.visual = trimesh.visual.TextureVisuals(uv=np.zeros((4, 2)), material=material)
    square.export(tmp_path / "a.glb")
    color, roughness, metallic = read(source(tmp_path / "a.glb")).materials_at(np.array([0]), np.full((1, 3), 1 / 3))
    assert color[0] == pytest.approx([0.735] * 3, abs=4e-3), "sRGB of a linear half"
    assert (roughness[0], metallic[0]) == pytest.approx((0.2, 0.4), abs=4e-3)


def test_colours_of_vertices(tmp_path):
    ball = trimesh.creation.icosphere(subdivisions=2)
    ball.visual.vertex_colors = np.where(ball.vertices[:, 2:] > 0, [[255, 0, 0, 255]], [[0, 0, 255, 255]])
    ball.export(tmp_path / "ball.ply")
    points, colors = surface(read(source(tmp_path / "ball.ply")))
    assert np.allclose(colors[points[:, 2] > 0.4], [1, 0, 0])
    assert np.allclose(colors[points[:, 2] < -0.4], [0, 0, 1])


@pytest.mark.parametrize(
    "written",
    [
        "map_Kd blueWHITE_stripes.JPG",
        "map_Kd C:\\Users\\me\\BlueWhite_Stripes.jpg",
        "map_Kd -s 1 1 1 BlueWhite_Stripes.jpg",
        "map_Kd BlueWhite_Stripes.jpg# exported",
        "map_Kd ../images/BlueWhite_Stripes.jpg",
    ],
)
def test_images_are_found_under_the_names_that_exporters_give_them(tmp_path, written):
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("deckChair.obj", "BEuropean_Beech.jpg"):
        shutil.copy(DECK / name, folder)
    place = tmp_path / "images" if "images" in written else folder
    place.mkdir(exist_ok=True)
    shutil.copy(DECK / "BlueWhite_Stripes.jpg", place)
    library = (DECK / "deckChair.mtl").read_text().replace("map_Kd BlueWhite_Stripes.jpg", written)
    assert written in library
    (folder / "deckChair.mtl").write_text(library)
    mesh = read(source(folder / "deckChair.obj"))
    assert mesh.missing_textures == []
    wanted = surface(read(source(DECK / "deckChair.obj")))[1].mean(axis=0)
    assert surface(mesh)[1].mean(axis=0) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("broken", ["missing", "no image", "no library"])
def test_a_texture_that_is_not_there_is_named(tmp_path, broken):
    for path in DECK.iterdir():
        shutil.copy(path, tmp_path)
    lost = tmp_path / ("deckChair.mtl" if broken == "no library" else "BEuropean_Beech.jpg")
    lost.write_bytes(b"not an image") if broken == "no image" else lost.unlink()
    for images in (True, False):
        mesh = read(source(tmp_path / "deckChair.obj"), images=images)
        assert mesh.missing_textures == [lost.name]
        assert not mesh.colored


@pytest.mark.parametrize("edit", ["far away", "too short"])
def test_an_archive_whose_arrays_disagree_is_refused(tmp_path, edit):
    path = SHAPES / "furniture" / "chair" / "000001.npz"
    with np.load(path) as data:
        arrays = {name: data[name] for name in data.files}
    if edit == "far away":
        arrays["face"] = arrays["face"].copy()
        arrays["face"][0] = 65535
    else:
        arrays["rgb"] = arrays["rgb"][:10]
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(MeshFileError):
        read(source(tmp_path / "a.npz"))


def test_a_manifest_states_axes_and_unit_of_single_files(tmp_path):
    shutil.copy(CHAIR, tmp_path / "a.obj")
    row = {
        "path": "a.obj",
        "category": "chair",
        "license": "CC0",
        "up": "+Z",
        "front": "-X",
        "metres_per_unit": 2.0,
        "style": 7,
    }
    (tmp_path / "manifest.jsonl").write_text(json.dumps(row) + "\n")
    (file,) = discover(tmp_path).files
    assert (file.up, file.front, file.metres, file.licence, file.labels) == ("+Z", "-X", 2.0, "CC0", {"style": 7})
    (given,) = discover(tmp_path, up="+Y", front="+Z", metres=0.5).files
    assert (given.up, given.front, given.metres) == ("+Y", "+Z", 0.5), "what the command line says comes first"
    mesh = read(file)
    turned, _, _ = to_cube(mesh.vertices, mesh.faces, rotation(file.up, file.front))
    assert np.abs(turned).max() == pytest.approx(0.9, abs=1e-6)
