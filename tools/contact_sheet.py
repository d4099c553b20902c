"""A rendered picture of shapes side by side, as a product page shows them. Needs no display and no GPU.

    python -m tools.contact_sheet out/chairs.blend out/chairs.png

Cycles renders it on the processor: it is the one engine of Blender that runs wherever Blender runs. The picture is a
scene of its own with copies that share the shapes' meshes, so the shapes themselves stay as and where they are.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix, Vector

SCENE = "Contact sheet"
TURN = math.radians(38)
"""How far each shape is turned about the vertical: front and side are both seen."""
ELEVATION = math.radians(13)
"""How far the camera looks down."""
LENS_MM = 85.0
"""A portrait lens: shapes at the ends of a row are hardly stretched."""
GAP_M = 0.18
"""Free floor between two neighbours, in metres."""
MARGIN = 1.16
"""The picture's width over that of the row."""
SAMPLES = 16
FLOOR_COLOUR = (0.60, 0.62, 0.65, 1.0)


def build(objects: Sequence[bpy.types.Object], width: int = 1280, height: int = 480) -> bpy.types.Scene:
    """Make the scene of the picture: copies in a row, backdrop, lights, camera.

    Args:
        objects: meshes in metres, standing on z = 0 of their own axes, front towards −Y.
        width, height: of the picture, in pixels.
    """
    scene = bpy.data.scenes.new(SCENE)
    row = _stand_in_row(scene, objects)
    _add_backdrop(scene, row)
    _add_lights(scene, row)
    _add_camera(scene, row, width / height)
    _set_engine(scene, width, height)
    return scene


def render(scene: bpy.types.Scene, path: Path) -> None:
    """Render the scene to a PNG file."""
    scene.render.image_settings.file_format = "PNG"
    scene.render.image_settings.color_mode = "RGB"
    scene.render.filepath = str(path.resolve())
    bpy.ops.render.render(write_still=True, scene=scene.name)


def _stand_in_row(scene: bpy.types.Scene, objects: Sequence[bpy.types.Object]) -> np.ndarray:
    """Link turned copies into the scene, from left to right; returns the row's bounds, (2, 3) in metres."""
    # A chair's right side catches the light and its left falls into shade when it is turned to its right.
    turn = Matrix.Rotation(-TURN, 4, "Z")
    x = 0.0
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for thing in objects:
        copy = bpy.data.objects.new(f"{thing.name} (sheet)", thing.data)
        scene.collection.objects.link(copy)
        positions = np.empty(len(thing.data.vertices) * 3, np.float32)
        thing.data.vertices.foreach_get("co", positions)
        turned = positions.reshape(-1, 3) @ np.array(turn)[:3, :3].T
        bottom, top = turned.min(axis=0), turned.max(axis=0)
        centre = (bottom + top) / 2
        offset = np.array([x - bottom[0], -centre[1], -bottom[2]])
        copy.matrix_world = Matrix.Translation(Vector(offset.tolist())) @ turn
        x += float(top[0] - bottom[0]) + GAP_M
        low, high = np.minimum(low, bottom + offset), np.maximum(high, top + offset)
    return np.stack([low, high])


def _add_backdrop(scene: bpy.types.Scene, row: np.ndarray) -> None:
    """A floor that bends up into a wall far behind the row, so that there is no horizon."""
    radius, reach = 2.5, 40.0
    wall = row[1, 1] + 5.0
    steps = 24
    profile = [(-reach, 0.0)]
    for step in range(steps + 1):
        angle = step / steps * math.pi / 2
        profile.append((wall + radius * math.sin(angle), radius - radius * math.cos(angle)))
    profile.append((wall + radius, reach))
    middle = float(row[:, 0].mean())
    vertices = [(middle + side * reach, y, z) for y, z in profile for side in (-1, 1)]
    faces = [(2 * i, 2 * i + 1, 2 * i + 3, 2 * i + 2) for i in range(len(profile) - 1)]
    mesh = bpy.data.meshes.new("Backdrop")
    mesh.from_pydata(vertices, [], faces)
    mesh.shade_smooth()
    material = bpy.data.materials.new("Backdrop")
    material.use_nodes = True
    shader = material.node_tree.nodes["Principled BSDF"]
    shader.inputs["Base Color"].default_value = FLOOR_COLOUR
    shader.inputs["Roughness"].default_value = 0.9
    shader.inputs["Specular IOR Level"].default_value = 0.15
    mesh.materials.append(material)
    scene.collection.objects.link(bpy.data.objects.new("Backdrop", mesh))


def _add_lights(scene: bpy.types.Scene, row: np.ndarray) -> None:
    """A large soft key from the upper left, a narrow rim from behind, and an even sky as fill."""
    centre = Vector(row.mean(axis=0).tolist())
    span = float(row[1, 0] - row[0, 0])
    reach = max(span, 1.5)
    placements = {
        # name: (direction from the row, distance, width and height of the panel, radiance in W/m² on the row)
        "Key": ((-0.75, -0.75, 0.95), 1.15 * reach, (0.45 * reach, 0.45 * reach), 5.2),
        "Rim": ((0.55, 0.75, 0.75), 0.95 * reach, (0.9 * reach, 0.35 * reach), 2.2),
    }
    for name, (direction, distance, size, strength) in placements.items():
        light = bpy.data.lights.new(name, "AREA")
        assert isinstance(light, bpy.types.AreaLight)
        light.shape = "RECTANGLE"
        light.size, light.size_y = size
        light.energy = strength * math.pi * distance**2
        lamp = bpy.data.objects.new(name, light)
        towards = Vector(direction).normalized()
        lamp.location = centre + towards * distance
        lamp.rotation_euler = towards.to_track_quat("Z", "Y").to_euler()
        scene.collection.objects.link(lamp)
    world = bpy.data.worlds.new("Studio")
    world.use_nodes = True
    background = world.node_tree.nodes["Background"]
    background.inputs["Color"].default_value = (0.95, 0.97, 1.0, 1.0)
    background.inputs["Strength"].default_value = 0.36
    scene.world = world


def _add_camera(scene: bpy.types.Scene, row: np.ndarray, aspect: float) -> None:
    """In front of the row, slightly above, as near as the whole row allows."""
    lens = bpy.data.cameras.new("Camera")
    lens.lens = LENS_MM
    lens.sensor_fit = "HORIZONTAL"
    camera = bpy.data.objects.new("Camera", lens)
    scene.collection.objects.link(camera)
    scene.camera = camera
    width, depth, height = (row[1] - row[0]).tolist()
    # Seen from above, a row shows its height and some of its depth.
    tall = height * math.cos(ELEVATION) + depth * math.sin(ELEVATION)
    framed = MARGIN * max(width, aspect * tall * 1.08)
    distance = framed * LENS_MM / lens.sensor_width + depth / 2
    centre = Vector(row.mean(axis=0).tolist())
    towards = Vector((0.0, -math.cos(ELEVATION), math.sin(ELEVATION)))
    camera.location = centre + towards * distance
    camera.rotation_euler = towards.to_track_quat("Z", "Y").to_euler()


def _set_engine(scene: bpy.types.Scene, width: int, height: int) -> None:
    render = scene.render
    render.engine = "CYCLES"  # type: ignore[assignment]  # its stub knows the engines of C only
    render.resolution_x, render.resolution_y, render.resolution_percentage = width, height, 100
    cycles = scene.cycles
    cycles.device = "CPU"
    cycles.samples = SAMPLES
    cycles.use_adaptive_sampling = True
    cycles.adaptive_threshold = 0.05
    cycles.use_denoising = True
    cycles.denoiser = "OPENIMAGEDENOISE"
    cycles.max_bounces = 2
    cycles.seed = 0
    scene.view_settings.view_transform = "AgX"
    scene.view_settings.look = "AgX - Medium High Contrast"
    scene.view_settings.exposure = 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.contact_sheet", description=__doc__.splitlines()[0])
    parser.add_argument("blend", type=Path, help="a .blend file; the meshes of its collection GAN3D are shown")
    parser.add_argument("picture", type=Path, help="the PNG file to write")
    parser.add_argument("--size", type=int, nargs=2, default=(1280, 480), metavar=("WIDTH", "HEIGHT"))
    options = parser.parse_args(arguments)
    if not options.blend.is_file():
        parser.error(f"there is no file {options.blend}")
    bpy.ops.wm.open_mainfile(filepath=str(options.blend.resolve()))
    collection = bpy.data.collections.get("GAN3D")
    objects: list[bpy.types.Object] = (
        [thing for thing in collection.objects if thing.type == "MESH"] if collection else []
    )
    if not objects:
        parser.error(f"{options.blend} holds no mesh in a collection named GAN3D")
    render(build(objects, *options.size), options.picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
