import dataclasses
import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st

from gan3d_core.errors import MeshFileError
from gan3d_core.shape import Shape

SIZE = 64


def cuboid() -> Shape:
    """0.4 × 0.6 × 1.0 m; each face is one cell of a 4 × 2 grid in the texture, with its own materials."""
    corners = np.array([[x, y, z] for x in (-0.2, 0.2) for y in (-0.3, 0.3) for z in (0, 1)], np.float32)
    quads = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]  # −x +x −y +y −z +z
    square = np.array([[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]])
    faces, uvs = [], []
    color = np.zeros((SIZE, SIZE, 3), np.uint8)
    roughness, metallic = np.zeros((SIZE, SIZE), np.uint8), np.zeros((SIZE, SIZE), np.uint8)
    for number, quad in enumerate(quads):
        column, row = number % 4, number // 4
        cell = (slice(row * SIZE // 2, (row + 1) * SIZE // 2), slice(column * SIZE // 4, (column + 1) * SIZE // 4))
        color[cell], roughness[cell], metallic[cell] = COLORS[number], 40 * number + 20, 250 - 40 * number
        place = (square + np.array([column, row])) / [4, 2]
        for pick in ([0, 1, 2], [0, 2, 3]):
            faces.append(np.array(quad)[pick])
            uvs.append(place[pick])
    return Shape(corners, np.array(faces, np.int32), np.array(uvs, np.float32), color, roughness, metallic)


COLORS = [(250, 10, 10), (10, 250, 10), (10, 10, 250), (250, 250, 10), (10, 250, 250), (250, 10, 250)]
NORMALS = [(-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1)]


def test_volume_and_size():
    shape = cuboid()
    assert np.isclose(shape.volume(), 0.24)
    assert np.allclose(shape.size, [0.4, 0.6, 1.0])
    inside_out = dataclasses.replace(shape, faces=np.ascontiguousarray(shape.faces[:, ::-1]))
    assert np.isclose(inside_out.volume(), -0.24)


def test_npz_round_trip(tmp_path):
    shape = cuboid()
    shape.write_npz(tmp_path / "shape.npz")
    again = Shape.read_npz(tmp_path / "shape.npz")
    for name, array in shape.arrays().items():
        assert np.array_equal(array, again.arrays()[name])
        assert array.dtype == again.arrays()[name].dtype
    assert [path.name for path in tmp_path.iterdir()] == ["shape.npz"]


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"rubbish" * 99, b"\x93NUMPY\x01\x00", b"\x80\x04N."])
def test_npz_that_is_rubbish(tmp_path, data):
    (tmp_path / "rubbish.npz").write_bytes(data)
    with pytest.raises(MeshFileError, match=r"rubbish\.npz"):
        Shape.read_npz(tmp_path / "rubbish.npz")


def test_npz_that_is_missing_or_something_else(tmp_path):
    with pytest.raises(MeshFileError):
        Shape.read_npz(tmp_path / "missing.npz")
    with pytest.raises(MeshFileError):
        Shape.read_npz(tmp_path)
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(MeshFileError):
        Shape.read_npz(tmp_path / "other.npz")
    np.savez(tmp_path / "object.npz", **{**cuboid().arrays(), "faces": np.array([None, 1], object)})
    with pytest.raises(MeshFileError):
        Shape.read_npz(tmp_path / "object.npz")
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(MeshFileError):
        Shape.read_npz(tmp_path / "array.npy")


@given(share=st.floats(0, 1, exclude_max=True))
def test_npz_cut_anywhere(tmp_path_factory, share):
    folder = tmp_path_factory.mktemp("cut")
    cuboid().write_npz(folder / "shape.npz")
    data = (folder / "shape.npz").read_bytes()
    (folder / "shape.npz").write_bytes(data[: int(share * len(data))])
    with pytest.raises(MeshFileError):
        Shape.read_npz(folder / "shape.npz")


@given(place=st.integers(0, 2**20), value=st.integers(0, 255))
def test_npz_with_one_byte_changed_reads_or_raises_ours(tmp_path_factory, place, value):
    folder = tmp_path_factory.mktemp("byte")
    cuboid().write_npz(folder / "shape.npz")
    data = bytearray((folder / "shape.npz").read_bytes())
    data[place % len(data)] = value
    (folder / "shape.npz").write_bytes(data)
    try:
        shape = Shape.read_npz(folder / "shape.npz")
    except MeshFileError:
        return
    assert np.isfinite(shape.vertices).all()


BROKEN = {
    "float64 vertices": {"vertices": np.zeros((8, 3))},
    "flat vertices": {"vertices": np.zeros((8, 2), np.float32)},
    "one-dimensional vertices": {"vertices": np.zeros(24, np.float32)},
    "vertex not finite": {"vertices": np.full((8, 3), np.nan, np.float32)},
    "list": {"faces": [[0, 1, 2]]},
    "no faces": {"faces": np.zeros((0, 3), np.int32), "uvs": np.zeros((0, 3, 2), np.float32)},
    "face too high": {"faces": np.full((12, 3), 8, np.int32)},
    "face negative": {"faces": np.full((12, 3), -1, np.int32)},
    "too few uvs": {"uvs": np.zeros((11, 3, 2), np.float32)},
    "uv not finite": {"uvs": np.full((12, 3, 2), np.inf, np.float32)},
    "grey colour": {"base_color": np.zeros((64, 64), np.uint8)},
    "float colour": {"base_color": np.zeros((64, 64, 3), np.float32)},
    "four channels": {"base_color": np.zeros((64, 64, 4), np.uint8)},
    "images of two sizes": {"roughness": np.zeros((32, 64), np.uint8)},
    "empty images": {
        "base_color": np.zeros((0, 0, 3), np.uint8),
        "roughness": np.zeros((0, 0), np.uint8),
        "metallic": np.zeros((0, 0), np.uint8),
    },
}


@pytest.mark.parametrize("changes", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_no_shape(changes):
    with pytest.raises(MeshFileError):
        dataclasses.replace(cuboid(), **changes)


def test_glb_round_trip(tmp_path):
    shape = cuboid()
    shape.write_glb(tmp_path / "shape.glb")
    mesh = trimesh.load(tmp_path / "shape.glb", process=False).to_geometry()
    assert len(mesh.faces) == len(shape.faces)
    # glTF: +Y up, +Z front. Ours: +Z up, −Y front.
    expected = shape.vertices[shape.faces] @ np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float32)
    assert np.allclose(mesh.vertices[mesh.faces], expected, atol=1e-6)
    assert np.isclose(mesh.volume, shape.volume())
    assert np.allclose(mesh.visual.uv[mesh.faces], shape.uvs, atol=1e-6)
    material = mesh.visual.material
    assert np.array_equal(np.asarray(material.baseColorTexture.convert("RGB"))[::-1], shape.base_color)
    packed = np.asarray(material.metallicRoughnessTexture.convert("RGB"))[::-1]
    assert np.array_equal(packed[..., 1], shape.roughness)
    assert np.array_equal(packed[..., 2], shape.metallic)


def test_glb_shares_vertices_within_a_chart(tmp_path):
    cuboid().write_glb(tmp_path / "shape.glb")
    assert len(trimesh.load(tmp_path / "shape.glb", process=False).to_geometry().vertices) == 6 * 4


BLENDER = """
    import json, sys
    import bpy, numpy as np
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.import_scene.gltf(filepath=sys.argv[1])
    mesh_object, = [o for o in bpy.data.objects if o.type == "MESH"]
    mesh, matrix = mesh_object.data, mesh_object.matrix_world
    tree = mesh.materials[0].node_tree
    shader, = [n for n in tree.nodes if n.type == "BSDF_PRINCIPLED"]

    def source(name):
        link = shader.inputs[name].links[0]
        channel = link.from_socket.name
        node = link.from_node
        while node.type != "TEX_IMAGE":
            link = [i for i in node.inputs if i.links][0].links[0]
            node = link.from_node
        return node.image, channel

    images = {name: source(name) for name in ("Base Color", "Roughness", "Metallic")}
    pixels = {i.name: np.array(i.pixels[:]).reshape(i.size[1], i.size[0], -1) for i, _ in images.values()}
    result = {"space": images["Base Color"][0].colorspace_settings.name,
              "data_space": images["Roughness"][0].colorspace_settings.name, "faces": []}
    layer = mesh.uv_layers.active.data
    for polygon in mesh.polygons:
        u, v = np.mean([layer[i].uv[:] for i in polygon.loop_indices], axis=0)
        entry = {"normal": list((matrix.to_3x3() @ polygon.normal)[:])}
        for name, (image, channel) in images.items():
            grid = pixels[image.name]
            texel = grid[int(v * grid.shape[0]), int(u * grid.shape[1])]
            entry[name] = texel[:3].tolist() if name == "Base Color" else float(texel[{"Green": 1, "Blue": 2}[channel]])
        result["faces"].append(entry)
    points = np.array([(matrix @ v.co)[:] for v in mesh.vertices])
    result["low"], result["high"] = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    print("RESULT" + json.dumps(result), flush=True)
"""


def test_blender_sees_the_same_shape(tmp_path):
    """Each side of the cuboid has its colour, roughness and metallic on the side that faces that way."""
    shape = cuboid()
    shape.write_glb(tmp_path / "shape.glb")
    script = tmp_path / "read.py"
    script.write_text(textwrap.dedent(BLENDER))
    run = subprocess.run([sys.executable, str(script), str(tmp_path / "shape.glb")], capture_output=True, text=True)
    assert "RESULT" in run.stdout, run.stdout + run.stderr
    result = json.loads(run.stdout.split("RESULT")[1].splitlines()[0])
    assert result["space"] == "sRGB"
    assert result["data_space"] == "Non-Color"
    assert np.allclose(result["low"], shape.vertices.min(axis=0), atol=1e-6)
    assert np.allclose(result["high"], shape.vertices.max(axis=0), atol=1e-6)
    assert len(result["faces"]) == 12
    for face in result["faces"]:
        side = int(np.argmax(np.array(NORMALS) @ face["normal"]))
        assert np.allclose(face["normal"], NORMALS[side], atol=1e-5)
        assert np.allclose(face["Base Color"], np.array(COLORS[side]) / 255, atol=1e-3)
        assert np.isclose(face["Roughness"], (40 * side + 20) / 255, atol=1e-3)
        assert np.isclose(face["Metallic"], (250 - 40 * side) / 255, atol=1e-3)
