"""The add-on with the real worker: the same data as the core's own pipeline, and Blender's command line."""

import json
import subprocess
from pathlib import Path

import bpy
import numpy as np
import pytest
from conftest import ROOT

from gan3d_core.shape import Shape

PIPELINE = """
import sys; sys.path.insert(0, sys.argv[1])
from gan3d_core.pipeline import Pipeline
from gan3d_core.recipe import Recipe
Pipeline("cpu", [sys.argv[2]]).generate(Recipe.from_json(sys.argv[3])).shape.write_npz(sys.argv[4])
"""


@pytest.fixture
def real(blender, worker_python, chair_checkpoints):
    preferences = bpy.context.preferences.addons["addon"].preferences
    preferences.python, preferences.device = worker_python, "cpu"
    preferences.checkpoint_dir = str(chair_checkpoints)
    settings = bpy.context.scene.gan3d
    settings.category, settings.random_seed = "stool", False
    settings.resolution, settings.target_faces, settings.texture_size = 32, 1000, 64


def test_operator_and_pipeline_give_the_same_shape(real, worker_python, chair_checkpoints, tmp_path: Path):
    bpy.context.scene.gan3d.seed = 12
    assert bpy.ops.gan3d.generate() == {"FINISHED"}, "without a window it returns when it is done"
    thing = bpy.context.view_layer.objects.active
    out = tmp_path / "shape.npz"
    arguments = [str(ROOT), str(chair_checkpoints), thing["gan3d_recipe"], str(out)]
    subprocess.run([worker_python, "-c", PIPELINE, *arguments], check=True)
    shape = Shape.read_npz(out)
    mesh = thing.data
    vertices = np.empty((len(mesh.vertices), 3), np.float32)
    mesh.vertices.foreach_get("co", vertices.ravel())
    corners = np.empty(len(mesh.loops), np.int32)
    mesh.loops.foreach_get("vertex_index", corners)
    uvs = np.empty((len(mesh.loops), 2), np.float32)
    mesh.uv_layers[0].uv.foreach_get("vector", uvs.ravel())
    assert vertices.tobytes() == shape.vertices.tobytes()
    assert (corners.reshape(-1, 3) == shape.faces).all()
    assert uvs.tobytes() == shape.uvs.tobytes()
    assert not mesh.validate()
    assert json.loads(thing["gan3d_recipe"])["checkpoint_hash"]


def test_regenerate_gives_the_same_mesh_again(real):
    bpy.ops.gan3d.generate()
    thing = bpy.context.view_layer.objects.active
    before = [tuple(vertex.co) for vertex in thing.data.vertices]
    thing.data.vertices[0].co.x += 1
    bpy.ops.gan3d.regenerate()
    assert [tuple(vertex.co) for vertex in thing.data.vertices] == before


def test_weights_that_have_changed_are_an_error_in_words(real):
    from addon import scene

    bpy.ops.gan3d.generate()
    thing = bpy.context.view_layer.objects.active
    thing[scene.RECIPE_KEY] = scene.recipe_of(thing).replace(checkpoint_hash="f" * 16).to_json()
    with pytest.raises(RuntimeError, match="ball"):
        bpy.ops.gan3d.regenerate()


def test_the_worker_says_what_it_is(real):
    from conftest import pump_until

    from addon import session

    bpy.ops.gan3d.test_worker()
    pump_until(lambda: session.get().client.state != "starting")
    info = session.get().client.info
    assert info.device == "cpu"
    assert info.torch
    bpy.ops.gan3d.stop_worker()
    assert session.get().client is None


def test_command_line_writes_what_it_was_asked_for(blender, worker_python, chair_checkpoints, tmp_path: Path, capfd):
    from addon import headless

    bpy.ops.preferences.addon_enable(module="io_scene_gltf2")
    small = ["--resolution", "32", "--target-faces", "800", "--texture-size", "64", "--device", "cpu"]
    where = ["--out", str(tmp_path / "out"), "--blend", str(tmp_path / "stools.blend")]
    found = ["--python", worker_python, "--checkpoints", str(chair_checkpoints)]
    arguments = ["generate", "--category", "stool", "--count", "2", "--seed", "5", *small, *where, *found]
    assert headless.main(arguments) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "ball-5.glb",
        "ball-5.json",
        "ball-6.glb",
        "ball-6.json",
    }
    recipe = json.loads((tmp_path / "out" / "ball-6.json").read_text())
    assert (recipe["seed"], recipe["resolution"]) == (6, 32)
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "stools.blend"))
    assert sorted(thing.name for thing in bpy.data.objects) == ["Stool 0005", "Stool 0006"]
    sizes = {thing.name: thing.dimensions[:] for thing in bpy.data.objects}
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.import_scene.gltf(filepath=str(tmp_path / "out" / "ball-5.glb"))
    (thing,) = [each for each in bpy.data.objects if each.type == "MESH"]
    assert thing.dimensions[:] == pytest.approx(sizes["Stool 0005"], abs=1e-4)
    assert sum(corner[0] for corner in thing.bound_box) == pytest.approx(0, abs=1e-3), "it stands at the origin"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["generate", "--category", "dragon"], 1, "No checkpoint for the category 'dragon'"),
        (["generate", "--checkpoint", "none-such"], 1, "none-such"),
        (["generate", "--category", "stool", "--resolution", "9000"], 1, "resolution must lie between"),
        (["generate", "--category", "stool", "--python", "/nowhere/python"], 1, "/nowhere/python"),
        (["generate", "--colour", "red"], 2, "unrecognized arguments"),
        ([], 2, "COMMAND"),
    ],
)
def test_command_line_refuses_in_words(blender, chair_checkpoints, tmp_path, capsys, arguments, code, words):
    from addon import headless

    if arguments:
        arguments = [*arguments, "--checkpoints", str(chair_checkpoints), "--out", str(tmp_path)]
    assert headless.main(arguments) == code
    assert words in capsys.readouterr().err
