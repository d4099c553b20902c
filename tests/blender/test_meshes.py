"""Shape → Blender data: nothing is lost, nothing is added."""

from pathlib import Path

import bpy
import numpy as np
import pytest
from boxes import box

from gan3d_core.recipe import Recipe

pytestmark = pytest.mark.usefixtures("blender")


def pixels(image):
    values = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(values)
    return np.rint(values * 255).astype(np.uint8).reshape(image.size[1], image.size[0], 4)


def images(material):
    """Socket of the Principled BSDF → image linked to it."""
    (principled,) = [node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED"]
    return {
        link.to_socket.name: link.from_node.image
        for link in material.node_tree.links
        if link.to_node == principled and link.from_node.type == "TEX_IMAGE"
    }


def test_mesh_holds_the_shape_bit_for_bit():
    from addon import meshes

    shape = box(3)
    mesh = meshes.make_mesh(shape, "box")
    vertices = np.empty((len(mesh.vertices), 3), np.float32)
    mesh.vertices.foreach_get("co", vertices.ravel())
    assert vertices.tobytes() == shape.vertices.tobytes()
    corners = np.empty(len(mesh.loops), np.int32)
    mesh.loops.foreach_get("vertex_index", corners)
    assert (corners.reshape(-1, 3) == shape.faces).all()
    assert all(polygon.loop_total == 3 for polygon in mesh.polygons)
    uvs = np.empty((len(mesh.loops), 2), np.float32)
    mesh.uv_layers[0].uv.foreach_get("vector", uvs.ravel())
    assert uvs.tobytes() == shape.uvs.tobytes()
    assert not mesh.validate(verbose=True), "Blender found something to repair"
    # A closed surface, seen from outside: edges = 3/2 faces, and positive volume.
    assert 2 * len(mesh.edges) == 3 * len(mesh.polygons)
    assert shape.volume() == pytest.approx(np.prod(shape.size), rel=1e-5)


def test_a_box_has_sharp_edges_where_its_sides_meet_and_none_within_them():
    from addon import meshes

    shape = box(0)
    mesh = meshes.make_mesh(shape, "box")
    sharp = {tuple(edge.vertices) for edge in mesh.edges if edge.use_edge_sharp}
    along_axes = {
        tuple(edge.vertices)
        for edge in mesh.edges
        if (np.abs(shape.vertices[edge.vertices[0]] - shape.vertices[edge.vertices[1]]) > 1e-6).sum() == 1
    }
    assert sharp == along_axes
    assert len(sharp) == 12
    assert all(polygon.use_smooth for polygon in mesh.polygons)


def test_textures_are_exact_and_a_constant_one_is_a_value():
    from addon import meshes

    shape = box(5)
    material = meshes.make_material(shape, "box")
    found = images(material)
    assert set(found) == {"Base Color", "Roughness"}
    assert found["Base Color"].colorspace_settings.name == "sRGB"
    assert found["Roughness"].colorspace_settings.name == "Non-Color"
    assert (pixels(found["Base Color"])[..., :3] == shape.base_color).all()
    assert (pixels(found["Roughness"])[..., 0] == shape.roughness).all()
    (principled,) = [node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED"]
    assert principled.inputs["Metallic"].default_value == 0.0


def test_a_constant_colour_is_the_same_colour_in_linear_light():
    from addon import meshes

    shape = box(1)
    shape.base_color[:] = (188, 0, 255)
    material = meshes.make_material(shape, "box")
    (principled,) = [node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED"]
    # 188/255 in sRGB is half the light.
    assert principled.inputs["Base Color"].default_value[:] == pytest.approx((0.5029, 0, 1, 1), abs=1e-4)


def test_everything_survives_saving_and_loading(tmp_path: Path):
    from addon import scene

    shape = box(7)
    recipe = Recipe("ball", seed=7, truncation=0.35)
    scene.add_shape(bpy.context.scene, shape, recipe, "Box 0007")
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "box.blend"))
    bpy.ops.wm.read_homefile(use_empty=True)
    assert "Box 0007" not in bpy.data.objects
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "box.blend"))
    thing = bpy.data.objects["Box 0007"]
    assert scene.recipe_of(thing) == recipe
    found = images(thing.data.materials[0])
    assert all(image.packed_file for image in found.values())
    assert (pixels(found["Base Color"])[..., :3] == shape.base_color).all()
    assert [collection.name for collection in thing.users_collection] == ["GAN3D"]


def test_a_replaced_shape_leaves_the_object_and_takes_its_data_away():
    from addon import scene

    thing = scene.add_shape(bpy.context.scene, box(1), Recipe("ball", seed=1), "Box")
    thing.location, thing.rotation_euler, thing.scale = (3, 2, 1), (0.1, 0.2, 0.3), (1, 2, 3)
    thing.modifiers.new("Bevel", "BEVEL")
    before = [list(row) for row in thing.matrix_basis]
    scene.replace_shape(thing, box(2), Recipe("ball", seed=2))
    assert [list(row) for row in thing.matrix_basis] == before
    assert [modifier.type for modifier in thing.modifiers] == ["BEVEL"]
    assert scene.recipe_of(thing).seed == 2
    assert (len(bpy.data.meshes), len(bpy.data.materials), len(bpy.data.images)) == (1, 1, 2)


def test_data_that_others_use_is_left_alone():
    from addon import scene

    thing = scene.add_shape(bpy.context.scene, box(1), Recipe("ball"), "Box")
    twin = bpy.data.objects.new("twin", thing.data)
    mesh = thing.data
    scene.replace_shape(thing, box(2), Recipe("ball"))
    assert twin.data == mesh
    assert len(mesh.vertices) == 8
