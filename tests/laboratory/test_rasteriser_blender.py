"""One mesh, one camera, two renderers: Blender's Cycles and ours."""

from __future__ import annotations

import math
from pathlib import Path

import bpy
import mathutils
import numpy as np
import pytest
import torch

from training.rendering.antialias import antialias
from training.rendering.cameras import FAR, NEAR, Cameras
from training.rendering.rasterise import interpolate, rasterise
from training.rendering.shading import face_normals

CHAIR = Path(__file__).parents[1] / "shapes" / "furniture" / "chair" / "000001.npz"
SIZE = 96
VIEWS = Cameras.at([0.4, 2.3, 5.1], [0.35, 0.1, -0.3], [3.1, 2.0, 4.0], [0.857, 1.1, 0.5])


@pytest.fixture(scope="module")
def chair() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Vertices, faces and vertex colours."""
    data = np.load(CHAIR)
    vertices = torch.tensor(data["position"].astype(np.float32))
    middle = (vertices.amax(0) + vertices.amin(0)) / 2
    vertices = (vertices - middle) * (1.8 / (vertices.amax(0) - vertices.amin(0)).amax())
    return vertices, torch.tensor(data["face"].astype(np.int64)), torch.tensor(data["rgb"] / 255.0, dtype=torch.float32)


@pytest.fixture(scope="module")
def scene(chair) -> bpy.types.Scene:
    """The chair in Blender, emitting the attribute `shown`, seen by an empty world."""
    vertices, faces, _ = chair
    bpy.ops.wm.read_factory_settings(use_empty=True)
    mesh = bpy.data.meshes.new("chair")
    mesh.from_pydata(vertices.tolist(), [], faces.tolist())
    scene = bpy.context.scene
    scene.collection.objects.link(bpy.data.objects.new("chair", mesh))
    camera = bpy.data.cameras.new("camera")
    scene.camera = bpy.data.objects.new("camera", camera)
    scene.collection.objects.link(scene.camera)
    camera.sensor_fit, camera.lens_unit = "VERTICAL", "FOV"
    camera.clip_start, camera.clip_end = NEAR, FAR
    render = scene.render
    render.engine = "CYCLES"
    render.resolution_x = render.resolution_y = SIZE
    render.film_transparent = True
    render.image_settings.file_format = "OPEN_EXR"
    render.image_settings.color_mode = "RGBA"
    render.image_settings.color_depth = "32"
    scene.cycles.use_denoising = False
    scene.cycles.use_adaptive_sampling = False
    scene.cycles.max_bounces = 0
    yield scene
    bpy.ops.wm.read_factory_settings(use_empty=True)


def cycles(scene: bpy.types.Scene, what: str, view: int, path: Path, samples: int) -> torch.Tensor:
    """(SIZE, SIZE, 4) of what the chair emits: one sample goes through pixels' centres, more cover pixels."""
    mesh = bpy.data.objects["chair"].data
    material = bpy.data.materials.new(what)
    material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    emission, output = tree.nodes.new("ShaderNodeEmission"), tree.nodes.new("ShaderNodeOutputMaterial")
    tree.links.new(emission.outputs[0], output.inputs[0])
    node, socket = {
        "color": ("ShaderNodeAttribute", "Color"),
        "depth": ("ShaderNodeCameraData", "View Z Depth"),
        "normal": ("ShaderNodeNewGeometry", "True Normal"),
    }[what]
    source = tree.nodes.new(node)
    if what == "color":
        source.attribute_name = "shown"
    offset = tree.nodes.new("ShaderNodeVectorMath")  # no light is negative: normals are sent halved and shifted
    offset.operation = "MULTIPLY_ADD"
    scale, shift = (0.5, 0.5) if what == "normal" else (1.0, 0.0)
    offset.inputs[1].default_value, offset.inputs[2].default_value = (scale,) * 3, (shift,) * 3
    tree.links.new(source.outputs[socket], offset.inputs[0])
    tree.links.new(offset.outputs[0], emission.inputs[0])
    mesh.materials.clear()
    mesh.materials.append(material)
    scene.camera.matrix_world = mathutils.Matrix(VIEWS.view[view].tolist()).inverted()
    scene.camera.data.angle = float(VIEWS.field_of_view[view])
    scene.cycles.samples = samples
    scene.cycles.pixel_filter_type = "BOX"
    scene.cycles.filter_width = 0.01 if samples == 1 else 1.0
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(str(path))
    pixels = np.empty(SIZE * SIZE * 4, np.float32)
    image.pixels.foreach_get(pixels)
    bpy.data.images.remove(image)
    return torch.tensor(pixels.reshape(SIZE, SIZE, 4)[::-1].copy())  # Blender's row 0 is at the bottom


@pytest.mark.parametrize("view", range(len(VIEWS)))
def test_blender_sees_the_same(chair, scene, view, tmp_path):
    """Through the pixels' centres: which see the chair, and its depth, normal and colour there. Then, with each pixel's
    area averaged, the outlines and the picture."""
    vertices, faces, color = chair
    mesh = bpy.data.objects["chair"].data
    if "shown" not in mesh.color_attributes:
        shown = mesh.color_attributes.new("shown", "FLOAT_COLOR", "POINT")
        shown.data.foreach_set("color", torch.cat([color, torch.ones(len(color), 1)], dim=1).numpy().ravel())
    camera = VIEWS[view : view + 1]
    seen = rasterise(vertices, faces, camera, SIZE)
    image = interpolate(seen, faces, color)
    normal = seen.spread(face_normals(seen, vertices, faces, camera))
    ours = {"depth": seen.depth[..., None].expand(-1, -1, -1, 3), "normal": normal, "color": image}
    for what, expected in ours.items():
        theirs = cycles(scene, what, view, tmp_path / f"{what}.exr", samples=1)
        mask = theirs[..., 3] > 0.5
        assert (mask != seen.mask[0]).sum() <= 2  # a centre that lies on an outline may go either way
        both = mask & seen.mask[0]
        assert both.float().mean() > 0.08
        found = theirs[..., :3] * 2 - 1 if what == "normal" else theirs[..., :3]
        error = (found - expected[0])[both].abs().amax(-1)
        # Where parts cross each other or a centre lies on an edge, rounding decides which face is seen.
        assert (error > 1e-3).float().mean() < 0.005, what

    theirs = cycles(scene, "color", view, tmp_path / "covered.exr", samples=64)
    joined = torch.cat([image, seen.mask[..., None].float()], dim=-1)
    smooth = antialias(joined, seen, vertices, faces, camera)[0]
    outline = (theirs[..., 3] > 0.01) & (theirs[..., 3] < 0.99)
    error = (smooth - theirs).abs()
    hard = (seen.mask[0].float() - theirs[..., 3]).abs()[outline].mean()
    assert error[..., 3][outline].mean() < 0.03 < 0.2 * hard
    assert error[..., 3][~outline].max() < 0.02
    covered = torch.minimum(smooth, theirs)[..., 3].sum() / torch.maximum(smooth, theirs)[..., 3].sum()
    assert covered > 0.99
    assert error[..., :3].mean() < 2e-3
    assert math.isclose(float(smooth[..., 3].sum()), float(theirs[..., 3].sum()), rel_tol=2e-3)
