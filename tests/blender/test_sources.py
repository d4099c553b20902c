"""Blender's objects as training data: what is written is what is seen, and nothing that is open changes."""

import json
from pathlib import Path

import bpy
import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("blender")
SHAPES = Path(__file__).parent.parent / "shapes" / "files"


def link(thing, *collections):
    for collection in collections or (bpy.context.scene.collection,):
        collection.objects.link(thing)
    return thing


def cube(name="cube", size=2.0):
    mesh = bpy.data.meshes.new(name)
    corners = [(x, y, z) for x in (0, size) for y in (0, size) for z in (0, size)]
    sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    mesh.from_pydata(corners, [], sides)
    layer = mesh.uv_layers.new(name="UVMap")
    layer.uv.foreach_set("vector", np.tile([0, 0, 1, 0, 1, 1, 0, 1], 6).astype(np.float32))
    return bpy.data.objects.new(name, mesh)


def collection(name, parent=None):
    made = bpy.data.collections.new(name)
    (parent or bpy.context.scene.collection).children.link(made)
    return made


def material(name="paint", color=(0.2, 0.5, 0.1), roughness=0.3, metallic=0.7):
    made = bpy.data.materials.new(name)
    made.use_nodes = True
    node = made.node_tree.nodes["Principled BSDF"]
    node.inputs["Base Color"].default_value = (*color, 1)
    node.inputs["Roughness"].default_value = roughness
    node.inputs["Metallic"].default_value = metallic
    return made, node


def picture(name, rows):
    """An image from rows of colours, the first at the top."""
    pixels = np.ones((len(rows), len(rows[0]), 4), np.float32)
    pixels[..., :3] = np.array(rows)[::-1]
    image = bpy.data.images.new(name, len(rows[0]), len(rows))
    image.pixels.foreach_set(pixels.ravel())
    image.pack()
    return image


def wear(thing, made):
    thing.data.materials.append(made)
    return thing


def written(folder, found=None, **options):
    """Write and read back: name → arrays, materials, and the manifest's row."""
    from addon.sources import assets
    from addon.sources import folder as writing

    found = assets.of_scene(bpy.context.scene, "loose") if found is None else found
    writing.write(found, bpy.context.evaluated_depsgraph_get(), folder, 1.0, **options)
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    out = {}
    for row in rows:
        with np.load(folder / row["file"]) as data:
            arrays = {name: data[name] for name in data.files}
        out[row["object"]] = arrays, json.loads(arrays["materials"].tobytes()), row
    return out


def volume(arrays):
    a, b, c = np.moveaxis(arrays["position"][arrays["face"]].astype(float), 1, 0)
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def test_modifiers_and_transforms_are_applied(tmp_path):
    thing = link(cube())
    thing.scale = (1, 2, -0.5)
    thing.location = (5, 0, 0)
    mirror = thing.modifiers.new("array", "ARRAY")
    mirror.count, mirror.relative_offset_displace = 2, (2.0, 0, 0)
    bpy.context.view_layer.update()
    ((arrays, _, row),) = written(tmp_path).values()
    assert volume(arrays) == pytest.approx(2 * 2**3 * 2 * 0.5, rel=1e-5), "outward, though its scale mirrors it"
    assert arrays["position"].min(axis=0) == pytest.approx([5, 0, -1])
    assert arrays["position"].max(axis=0) == pytest.approx([5 + 6, 4, 0])
    assert (row["up"], row["front"], row["category"]) == ("+Z", "-Y", "loose")


def test_instances_are_made_real(tmp_path):
    inner = bpy.data.collections.new("kept outside of the scene")
    link(cube(), inner)
    empty = bpy.data.objects.new("instance", None)
    empty.instance_type, empty.instance_collection = "COLLECTION", inner
    empty.scale = (3, 3, 3)
    link(empty)
    bpy.context.view_layer.update()
    ((arrays, _, _),) = written(tmp_path).values()
    assert volume(arrays) == pytest.approx(6**3, rel=1e-5)


def test_one_shape_per_inner_collection_or_topmost_object(tmp_path):
    chairs, lamps = collection("Chairs"), collection("Lamps")
    first = collection("first", chairs)
    link(cube("seat"), first)
    link(cube("back"), first)
    parent, child = link(cube("parent"), chairs), link(cube("child"), chairs)
    child.parent = parent
    hidden = link(cube("hidden"), lamps)
    hidden.hide_render = True
    link(bpy.data.objects.new("only an empty", None), lamps)
    link(cube("lamp"), lamps)
    bpy.context.view_layer.update()
    found = written(tmp_path)
    assert {name: row["category"] for name, (_, _, row) in found.items()} == {
        "first": "Chairs",
        "parent": "Chairs",
        "lamp": "Lamps",
    }
    assert volume(found["first"][0]) == pytest.approx(16) == volume(found["parent"][0])


def test_values_of_the_principled_shader(tmp_path):
    link(wear(cube(), material()[0]))
    ((_, (paint,), _),) = written(tmp_path).values()
    # sRGB of linear 0.2, 0.5, 0.1 (IEC 61966-2-1).
    assert paint["base_color"] == pytest.approx([0.4845, 0.7354, 0.3492], abs=2e-4)
    assert (paint["roughness"], paint["metallic"]) == pytest.approx((0.3, 0.7))
    assert paint["missing"] == []


def test_images_lie_where_blender_shows_them(tmp_path):
    """Upper half red, lower half blue, moved up by half with a Mapping node: the first corner, at v = 0, is red."""
    made, node = material()
    tree = made.node_tree
    texture, mapping, uv = (tree.nodes.new(f"ShaderNode{name}") for name in ("TexImage", "Mapping", "UVMap"))
    texture.image = picture("flag", [[(1, 0, 0)] * 2, [(0, 0, 1)] * 2])
    mapping.inputs["Location"].default_value[1] = 0.5
    uv.uv_map = "UVMap"
    tree.links.new(uv.outputs["UV"], mapping.inputs["Vector"])
    tree.links.new(mapping.outputs["Vector"], texture.inputs["Vector"])
    tree.links.new(texture.outputs["Color"], node.inputs["Base Color"])
    link(wear(cube(), made))
    ((arrays, (paint,), _),) = written(tmp_path).values()
    assert paint["missing"] == []
    pixels = arrays[paint["base_color_image"]]
    assert pixels.tolist() == [[[255, 0, 0]] * 2, [[0, 0, 255]] * 2]
    assert sorted({round(float(v), 3) for v in arrays["uv"][..., 1].ravel()}) == [0.5, 1.5]


def test_colour_attributes(tmp_path):
    made, node = material()
    colors = made.node_tree.nodes.new("ShaderNodeVertexColor")
    colors.layer_name = "Col"
    made.node_tree.links.new(colors.outputs["Color"], node.inputs["Base Color"])
    thing = wear(cube(), made)
    layer = thing.data.color_attributes.new("Col", "BYTE_COLOR", "CORNER")
    layer.data.foreach_set("color_srgb", np.tile([0.2, 0.4, 0.6, 1], 24).astype(np.float32))
    link(thing)
    ((arrays, (paint,), _),) = written(tmp_path).values()
    assert paint["missing"] == []
    assert np.abs(arrays["corner_rgb"].reshape(-1, 3) - np.array([51, 102, 153])).max() <= 1


def noise(tree, node):
    tree.links.new(tree.nodes.new("ShaderNodeTexNoise").outputs["Color"], node.inputs["Base Color"])


def lost_image(tree, node):
    texture = tree.nodes.new("ShaderNodeTexImage")
    texture.image = bpy.data.images.new("lost", 4, 4)
    texture.image.source, texture.image.filepath = "FILE", "//nowhere/lost.png"
    tree.links.new(texture.outputs["Color"], node.inputs["Base Color"])


def no_surface(tree, node):
    tree.nodes.remove(node)


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [(noise, "computed"), (lost_image, "lost is missing"), (no_surface, "nothing is linked")],
)
def test_colours_that_cannot_be_known_are_said_to_be(tmp_path, break_it, reason):
    made, node = material()
    break_it(made.node_tree, node)
    link(wear(cube(), made))
    ((_, (paint,), _),) = written(tmp_path).values()
    assert reason in paint["missing"][0]
    assert "base_color_image" not in paint


def test_the_same_objects_give_the_same_bytes(tmp_path):
    link(wear(cube(), material()[0]))
    for name in ("a", "b"):
        written(tmp_path / name)
    one, other = (sorted((tmp_path / name).rglob("*.*")) for name in ("a", "b"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]


def test_the_operator_writes_what_is_selected_and_changes_nothing(tmp_path):
    chairs = collection("Chairs")
    for name in ("one", "two", "three"):
        link(wear(cube(name), material(name)[0]), chairs)
    for name in ("one", "two"):
        bpy.data.objects[name].select_set(True)
    before = sorted(thing.name_full for kind in ("objects", "meshes", "materials") for thing in getattr(bpy.data, kind))
    assert bpy.ops.gan3d.export_for_training(directory=str(tmp_path)) == {"FINISHED"}
    rows = [json.loads(line) for line in (tmp_path / "manifest.jsonl").read_text().splitlines()]
    assert [(row["object"], row["category"]) for row in rows] == [("one", "Chairs"), ("two", "Chairs")]
    # A second call adds to the folder, and replaces what has the same name.
    bpy.ops.object.select_all(action="DESELECT")
    for name in ("two", "three"):
        bpy.data.objects[name].select_set(True)
    assert bpy.ops.gan3d.export_for_training(directory=str(tmp_path)) == {"FINISHED"}
    rows = [json.loads(line) for line in (tmp_path / "manifest.jsonl").read_text().splitlines()]
    assert sorted(row["object"] for row in rows) == ["one", "three", "two"]
    after = sorted(thing.name_full for kind in ("objects", "meshes", "materials") for thing in getattr(bpy.data, kind))
    assert before == after


def test_the_operator_says_what_is_wrong(tmp_path):
    with pytest.raises(RuntimeError, match="Select the objects"):
        bpy.ops.gan3d.export_for_training(directory=str(tmp_path))
    lamp = link(bpy.data.objects.new("sun", bpy.data.lights.new("sun", "SUN")))
    lamp.select_set(True)
    with pytest.raises(RuntimeError, match="has a surface"):
        bpy.ops.gan3d.export_for_training(directory=str(tmp_path))
    link(cube()).select_set(True)
    with pytest.raises(RuntimeError, match="No folder is chosen"):
        bpy.ops.gan3d.export_for_training(directory="")
    (tmp_path / "manifest.jsonl").write_text("mine\n")
    with pytest.raises(RuntimeError, match="no manifest of shapes"):
        bpy.ops.gan3d.export_for_training(directory=str(tmp_path))
    assert (tmp_path / "manifest.jsonl").read_text() == "mine\n"


def test_a_real_file_from_the_command_line(tmp_path, capfd):
    """Two chairs of the test shapes, one with textures, one of them an asset in no scene."""
    from addon.sources.__main__ import main

    bpy.ops.wm.obj_import(filepath=str(SHAPES / "chair" / "deckChair" / "deckChair.obj"))
    deck = bpy.context.selected_objects[0]
    deck.asset_mark()
    deck.asset_data.author, deck.asset_data.license = "BigMouse", "CC0"
    deck.use_fake_user = True
    count = len(deck.data.polygons)
    bpy.context.scene.collection.objects.unlink(deck)
    link(cube("no asset"))
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "library.blend"))
    assert main([str(tmp_path / "library.blend"), str(tmp_path / "out")]) == 0, capfd.readouterr().err
    (row,) = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    assert (row["author"], row["licence"]) == ("BigMouse", "CC0")
    with np.load(tmp_path / "out" / row["file"]) as data:
        assert len(data["face"]) >= count
        images = [data[name] for name in data.files if name.startswith("image")]
    assert len(images) == 2
    assert all(image.std() > 10 for image in images)
    (tmp_path / "broken.blend").write_bytes(b"no blend")
    assert main([str(tmp_path / "broken.blend"), str(tmp_path / "other")]) == 1
    assert "broken.blend cannot be opened" in capfd.readouterr().err
    assert not (tmp_path / "other").exists()
