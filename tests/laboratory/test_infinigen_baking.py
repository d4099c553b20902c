"""What the generator bakes in Blender: true colours of metals, mixes and glass, on a surface that keeps its form.

Infinigen itself is not installed here: a module of factories takes its place inside the real generator, in the Blender
that the tests have.
"""

from __future__ import annotations

import sys

import numpy as np
import pytest
import trimesh

from training.data.readers import read
from training.data.source import SourceFile
from training.infinigen import environment, process

FACTORIES = """
import bpy

def spawn(factory, seed, light):
    print("words that belong to nobody")
    if factory == "raise":
        raise RuntimeError("a factory's own trouble")
    if factory == "horseshoe":
        return horseshoe(), {}
    bpy.ops.mesh.primitive_cube_add(size=1, location=(0.25, 0, 0.5), scale=(1, 0.5, 1))
    cube = bpy.context.object
    bpy.ops.object.light_add(type="POINT", location=(0, 0, 0.5))
    bpy.context.object.parent = cube
    for name in ("metal", "mixed", "stripes", "glass", "filled"):
        cube.data.materials.append(globals()[name]())
    for polygon, index in zip(cube.data.polygons, (0, 1, 2, 3, 4, 1)):
        polygon.material_index = index
    if factory == "dense":
        for _ in range(6):
            cube.modifiers.new("s", "SUBSURF").levels = 1
            cube.modifiers[-1].subdivision_type = "SIMPLE"
    return cube, {"width": 1.0}

def horseshoe():
    # Two of its faces are one concave polygon each, which most planes across x meet four times.
    outline = [(0, 0), (1, 0), (1, 1), (0.7, 1), (0.7, 0.3), (0.3, 0.3), (0.3, 1), (0, 1)]
    below, above = list(range(8)), list(range(8, 16))
    sides = [(i, (i + 1) % 8, (i + 1) % 8 + 8, i + 8) for i in range(8)]
    mesh = bpy.data.meshes.new("horseshoe")
    mesh.from_pydata([(x, y, z) for z in (0, 0.1) for x, y in outline], [], [below[::-1], above, *sides])
    mesh.materials.append(metal())
    made = bpy.data.objects.new("horseshoe", mesh)
    bpy.context.scene.collection.objects.link(made)
    return made

def tree():
    material = bpy.data.materials.new("m")
    material.use_nodes = True
    return material, material.node_tree

def metal():
    material, nodes = tree()
    shader = nodes.nodes["Principled BSDF"]
    shader.inputs["Base Color"].default_value = (0.8, 0.1, 0.05, 1)
    shader.inputs["Metallic"].default_value = 1.0
    shader.inputs["Roughness"].default_value = 0.25
    return material

def mixed():
    # Half a rough white plastic and half a black metal, the first inside of a group.
    material, nodes = tree()
    group = bpy.data.node_groups.new("g", "ShaderNodeTree")
    group.interface.new_socket("Shader", in_out="OUTPUT", socket_type="NodeSocketShader")
    out, diffuse = group.nodes.new("NodeGroupOutput"), group.nodes.new("ShaderNodeBsdfDiffuse")
    diffuse.inputs["Color"].default_value = (1, 1, 1, 1)
    diffuse.inputs["Roughness"].default_value = 1.0
    group.links.new(diffuse.outputs[0], out.inputs[0])
    call, mix = nodes.nodes.new("ShaderNodeGroup"), nodes.nodes.new("ShaderNodeMixShader")
    call.node_tree = group
    glossy = nodes.nodes.new("ShaderNodeBsdfGlossy")
    glossy.inputs["Color"].default_value = (0, 0, 0, 1)
    glossy.inputs["Roughness"].default_value = 0.5
    nodes.links.new(call.outputs[0], mix.inputs[1])
    nodes.links.new(glossy.outputs[0], mix.inputs[2])
    nodes.links.new(mix.outputs[0], nodes.nodes["Material Output"].inputs["Surface"])
    return material

def stripes():
    # Five centimetres of black, five of white, on a face of two triangles; by texture coordinates nobody has made.
    material, nodes = tree()
    attribute, split = nodes.nodes.new("ShaderNodeAttribute"), nodes.nodes.new("ShaderNodeSeparateXYZ")
    attribute.attribute_name = "UVMap"
    wave = nodes.nodes.new("ShaderNodeMath")
    wave.operation = "PINGPONG"
    wave.inputs[1].default_value = 0.05
    step = nodes.nodes.new("ShaderNodeMath")
    step.operation = "GREATER_THAN"
    step.inputs[1].default_value = 0.025
    nodes.links.new(attribute.outputs["Vector"], split.inputs[0])
    nodes.links.new(split.outputs[1], wave.inputs[0])
    nodes.links.new(wave.outputs[0], step.inputs[0])
    nodes.links.new(step.outputs[0], nodes.nodes["Principled BSDF"].inputs["Base Color"])
    return material

def glass():
    # Two lobes of one surface, added: white, and not twice white.
    material, nodes = tree()
    add = nodes.nodes.new("ShaderNodeAddShader")
    for index, kind in enumerate(("ShaderNodeBsdfRefraction", "ShaderNodeBsdfGlass")):
        lobe = nodes.nodes.new(kind)
        lobe.inputs["Color"].default_value = (0.5, 0.5, 0.5, 1)
        lobe.inputs["Roughness"].default_value = 0.0
        nodes.links.new(lobe.outputs[0], add.inputs[index])
    nodes.links.new(add.outputs[0], nodes.nodes["Material Output"].inputs["Surface"])
    return material

def filled():
    # Glass that is clear at its surface and coloured within; a quarter of it is no glass.
    material, nodes = tree()
    surface, volume = nodes.nodes["Principled BSDF"], nodes.nodes.new("ShaderNodeVolumeAbsorption")
    surface.inputs["Base Color"].default_value = (0.8, 0.8, 0.8, 1)
    surface.inputs["Transmission Weight"].default_value = 0.75
    volume.inputs["Color"].default_value = (1.0, 0.5, 0.0, 1)
    nodes.links.new(volume.outputs[0], nodes.nodes["Material Output"].inputs["Volume"])
    return material
"""


@pytest.fixture(scope="module")
def blender(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inside")
    (folder / "factories.py").write_text(FACTORIES)
    words = [sys.executable, "-E", str(environment.GENERATOR), str(folder / "factories.py")]
    running = process.GeneratorProcess(words, limit_s=300)
    yield running, folder
    running.close()


def baked(blender, factory: str, seed: int):
    running, folder = blender
    path = folder / f"{factory}.npz"
    row = running.make({"factory": factory, "seed": seed, "path": str(path)})
    file = SourceFile(str(path), path.name, "chair", "", "", "+Z", "+X", 1.0, row)
    return row, read(file)


def test_true_colours_of_metals_mixes_and_glass(blender):
    row, mesh = baked(blender, "cube", 1)
    solid = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    assert solid.is_watertight
    assert solid.volume == pytest.approx(0.5, rel=1e-3)
    assert solid.bounds == pytest.approx(np.array([[-0.25, -0.25, 0.0], [0.75, 0.25, 1.0]]), abs=1e-4)
    assert row["params"] == {"width": 1.0}
    assert len(mesh.vertices) <= 60_000
    assert solid.edges_unique_length.max() <= 0.03

    def at(inside: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        assert inside.sum() > 100
        assert mesh.vertex_color is not None
        assert mesh.vertex_roughness is not None
        assert mesh.vertex_metallic is not None
        return mesh.vertex_color[inside], mesh.vertex_roughness[inside], mesh.vertex_metallic[inside]

    x, y, z = mesh.vertices.T
    clear = (x > -0.24) & (x < 0.74)
    # Blender's cube has its faces in the order −X, +Y, +X, −Y, −Z, +Z.
    color, rough, metal = at((x < -0.2499) & (np.abs(y) < 0.24) & (z > 0.01) & (z < 0.99))
    wanted = 1.055 * np.array([0.8, 0.1, 0.05]) ** (1 / 2.4) - 0.055
    assert color == pytest.approx(np.broadcast_to(wanted, color.shape), abs=0.003), "metals keep their base colour"
    assert rough == pytest.approx(0.25, abs=0.003)
    assert metal == pytest.approx(1.0, abs=0.003)

    color, rough, metal = at(clear & (y > 0.2499) & (z > 0.01) & (z < 0.99))
    assert color == pytest.approx(1.055 * 0.5 ** (1 / 2.4) - 0.055, abs=0.003), "half white, half black, in light"
    assert rough == pytest.approx(0.75, abs=0.003)
    assert metal == pytest.approx(0.5, abs=0.003)

    color, rough, _ = at(clear & (y < -0.2499) & (z > 0.01) & (z < 0.99))
    assert color == pytest.approx(1.055 * 0.5 ** (1 / 2.4) - 0.055, abs=0.003)
    assert rough == pytest.approx(0.0, abs=0.003)

    color, _, _ = at(clear & (np.abs(y) < 0.24) & (z < 0.0001))
    wanted = 1.055 * (0.8 * (0.25 + 0.75 * np.array([1.0, 0.5, 0.0]))) ** (1 / 2.4) - 0.055
    assert color == pytest.approx(np.broadcast_to(wanted, color.shape), abs=0.003), "what glass is filled with shows"
    assert row["glass_share"] == pytest.approx((1.0 + 0.5) / 4, abs=0.02)

    color, _, _ = at((x > 0.7499) & (np.abs(y) < 0.24) & (z > 0.01) & (z < 0.99))
    assert ((color < 0.01) | (color > 0.99)).all()
    assert color[:, 0].mean() == pytest.approx(0.5, abs=0.1), "stripes of five centimetres, on what were two triangles"
    assert 0.5 / 4 - 0.02 < row["metal_share"] < (0.5 + 1.5) / 4 + 0.02, "what is half a metal may count or not"


def test_a_dense_surface_is_thinned_without_losing_its_form(blender):
    row, mesh = baked(blender, "dense", 2)
    solid = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    assert row["factory_vertices"] == 24_578
    assert solid.is_watertight
    assert solid.volume == pytest.approx(0.5, rel=2e-3)


def test_a_concave_face_is_cut_where_it_is_and_nowhere_else(blender):
    _, mesh = baked(blender, "horseshoe", 5)
    solid = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    assert solid.is_watertight
    assert solid.volume == pytest.approx(0.072, rel=1e-3)
    assert solid.area == pytest.approx(2 * 0.72 + 5.4 * 0.1, rel=1e-3)
    assert solid.edges_unique_length.max() <= 0.03
    x, y, z = mesh.vertices.T
    assert not ((x > 0.31) & (x < 0.69) & (y > 0.31)).any(), "nothing bridges the gap"
    assert ((z > 0.0999) & (y < 0.29)).sum() > 500


def test_a_factory_that_fails_says_why_and_the_next_shape_is_made(blender):
    running, folder = blender
    with pytest.raises(process.ShapeSkippedError, match="RuntimeError: a factory's own trouble"):
        running.make({"factory": "raise", "seed": 3, "path": str(folder / "none.npz")})
    assert not (folder / "none.npz").exists()
    first, _ = baked(blender, "cube", 4)
    again, _ = baked(blender, "cube", 4)
    first.pop("seconds")
    again.pop("seconds")
    assert first == again
