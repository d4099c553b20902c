"""Shape → Blender mesh and material, with the data API only (no operators, so no context is needed)."""

from __future__ import annotations

import math
from typing import Any

import bpy
import numpy as np

from gan3d_core.shape import Shape

SMOOTH_ANGLE = math.radians(40)
"""Edges sharper than this are shaded as edges."""
UV_NAME = "UVMap"


def make_mesh(shape: Shape, name: str) -> bpy.types.Mesh:
    """A mesh of the shape's triangles: positions bit for bit, corner UVs, its material, shaded smooth by angle."""
    mesh = bpy.data.meshes.new(name)
    count = len(shape.faces)
    mesh.vertices.add(len(shape.vertices))
    mesh.vertices.foreach_set("co", shape.vertices.ravel())
    mesh.loops.add(3 * count)
    mesh.loops.foreach_set("vertex_index", shape.faces.ravel())
    mesh.polygons.add(count)
    mesh.polygons.foreach_set("loop_start", np.arange(0, 3 * count, 3, dtype=np.int32))
    mesh.update(calc_edges=True)
    layer = mesh.uv_layers.new(name=UV_NAME, do_init=False)
    layer.uv.foreach_set("vector", shape.uvs.ravel())
    mesh.materials.append(make_material(shape, name))
    mesh.shade_smooth()
    mesh.set_sharp_from_angle(angle=SMOOTH_ANGLE)
    # A surface of another's making could repeat a face or an edge; Blender must never be handed such a mesh.
    mesh.validate()
    return mesh


def make_material(shape: Shape, name: str) -> bpy.types.Material:
    """One Principled BSDF. An image of one single value becomes that value: no texture is stored for nothing."""
    material = bpy.data.materials.new(name)
    if material.node_tree is None:  # from Blender 5 on every material has one
        material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    output = tree.nodes.new("ShaderNodeOutputMaterial")
    output.location = (300, 0)
    principled = tree.nodes.new("ShaderNodeBsdfPrincipled")
    tree.links.new(principled.outputs["BSDF"], output.inputs["Surface"])
    channels = {
        "Base Color": (shape.base_color, "sRGB"),
        "Metallic": (shape.metallic, "Non-Color"),
        "Roughness": (shape.roughness, "Non-Color"),
    }
    for index, (socket, (pixels, space)) in enumerate(channels.items()):
        if (pixels == pixels[0, 0]).all():
            value: Any = _constant(pixels[0, 0], space)
            principled.inputs[socket].default_value = value
            if socket == "Base Color":
                material.diffuse_color = value
            continue
        node = tree.nodes.new("ShaderNodeTexImage")
        node.location = (-400, 300 - 300 * index)
        node.label = socket
        node.image = make_image(pixels, f"{name} {socket}", space)
        tree.links.new(node.outputs["Color"], principled.inputs[socket])
        if socket == "Base Color":
            mean = np.round(pixels.reshape(-1, 3).mean(axis=0)).astype(np.uint8)
            material.diffuse_color = _linear(mean)  # what the Solid view shows
            tree.nodes.active = node
    return material


def _constant(value: np.ndarray, space: str) -> float | tuple[float, ...]:
    return _linear(value) if space == "sRGB" else float(value) / 255.0


def _linear(color: np.ndarray) -> tuple[float, ...]:
    """sRGB bytes → linear RGBA, as Blender's sockets want it (IEC 61966-2-1)."""
    scaled = np.asarray(color, np.float64) / 255.0
    linear = np.where(scaled <= 0.04045, scaled / 12.92, ((scaled + 0.055) / 1.055) ** 2.4)
    return (*linear.tolist(), 1.0)


def make_image(pixels: np.ndarray, name: str, space: str) -> bpy.types.Image:
    """A packed 8-bit image.

    Args:
        pixels: (H, W, 3) or (H, W) uint8, row 0 at the bottom.
        space: `sRGB` or `Non-Color`.
    """
    height, width = pixels.shape[:2]
    image = bpy.data.images.new(name, width, height, alpha=False)
    image.colorspace_settings.name = space
    full = np.ones((height, width, 4), np.float32)
    np.multiply(pixels.reshape(height, width, -1), np.float32(1 / 255), out=full[..., :3])
    image.pixels.foreach_set(full.ravel())
    image.pack()
    return image


def remove_mesh(mesh: bpy.types.Mesh) -> None:
    """Remove a mesh of ours, its materials and their images, as far as nothing else uses them."""
    if mesh.users:
        return
    materials = [material for material in mesh.materials if material]
    bpy.data.meshes.remove(mesh)
    for material in materials:
        if material.users:
            continue
        nodes = material.node_tree.nodes if material.node_tree else ()
        images = [node.image for node in nodes if node.type == "TEX_IMAGE" and node.image]
        bpy.data.materials.remove(material)
        for image in images:
            if not image.users:
                bpy.data.images.remove(image)
