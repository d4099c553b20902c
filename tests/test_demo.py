"""`make demo` in small: two seeds and a tiny picture, in a process of its own as a user starts it."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gan3d_core.recipe import Recipe

ROOT = Path(__file__).parent.parent
SEEDS = (3, 8)

OPEN_SCENE = """
import json, sys
import bpy
bpy.ops.wm.open_mainfile(filepath=sys.argv[1])
scene = bpy.context.scene
things = [thing for thing in bpy.data.collections["GAN3D"].objects if thing.type == "MESH"]
print("FOUND " + json.dumps({
    "scene": scene.name,
    "boxes": {thing.name: [list(thing.matrix_world @ __import__("mathutils").Vector(c)) for c in thing.bound_box]
              for thing in things},
    "recipes": {thing.name: json.loads(thing["gan3d_recipe"]) for thing in things},
    "sheet": [o.data.name for o in bpy.data.scenes["Contact sheet"].objects if o.type == "MESH"],
    "meshes": [thing.data.name for thing in things],
    "unpacked": [image.name for image in bpy.data.images if image.source == "FILE" and not image.packed_file],
}), flush=True)
import os; os._exit(0)
"""


def start_demo(*arguments: str, checkpoints: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "GAN3D_CHECKPOINTS": str(checkpoints)}
    command = [sys.executable, "-m", "tools.demo", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, checkpoint_dir: Path) -> tuple[Path, str]:
    """The folder of one demo and what it printed."""
    out = tmp_path_factory.mktemp("demo") / "new" / "out"
    seeds = [str(seed) for seed in SEEDS]
    options = ["--out", str(out), "--checkpoint", "test-ball", "--size", "120", "48", "--seeds", *seeds]
    done = start_demo(*options, checkpoints=checkpoint_dir)
    assert done.returncode == 0, done.stdout + done.stderr
    return out, done.stdout


@pytest.fixture(scope="module")
def scene(demo: tuple[Path, str]) -> dict:
    """What a Blender that opens the .blend finds in it."""
    command = [sys.executable, "-c", OPEN_SCENE, str(demo[0] / "chairs.blend")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    return json.loads(line.removeprefix("FOUND "))


def test_the_blend_holds_one_object_for_each_seed_with_its_recipe(demo: tuple[Path, str], scene: dict) -> None:
    written = [Recipe.from_json((demo[0] / f"chair-{seed:04d}.json").read_text()) for seed in SEEDS]
    assert [recipe.seed for recipe in written] == list(SEEDS)
    assert all(recipe.checkpoint_hash for recipe in written)
    assert sorted(map(Recipe.from_dict, scene["recipes"].values()), key=lambda recipe: recipe.seed) == written


def test_the_chairs_stand_beside_each_other_on_the_floor(scene: dict) -> None:
    boxes = sorted((np.array(corners) for corners in scene["boxes"].values()), key=lambda box: box[:, 0].min())
    assert len(boxes) == len(SEEDS)
    assert all(box[:, 2].min() == pytest.approx(0, abs=1e-6) for box in boxes)
    for left, right in itertools.pairwise(boxes):
        assert left[:, 0].max() < right[:, 0].min()


def test_the_blend_opens_on_the_chairs_and_keeps_the_picture_as_a_second_scene(scene: dict) -> None:
    assert scene["scene"] != "Contact sheet"
    assert set(scene["meshes"]) < set(scene["sheet"]), "the sheet shows the chairs' own meshes, not copies of them"
    assert scene["unpacked"] == []


def test_the_glb_files_hold_the_shapes_at_the_origin(demo: tuple[Path, str], scene: dict) -> None:
    import trimesh

    surfaces = []
    for name, recipe in scene["recipes"].items():
        mesh = trimesh.load(demo[0] / f"chair-{recipe['seed']:04d}.glb", force="mesh")
        box = np.array(scene["boxes"][name])
        width, depth, height = box.max(axis=0) - box.min(axis=0)
        # glTF is +Y up, +Z to the front.
        assert mesh.extents == pytest.approx([width, height, depth], abs=1e-5)
        assert mesh.bounds[0][1] == pytest.approx(0, abs=1e-6)
        assert mesh.bounds.mean(axis=0)[[0, 2]] == pytest.approx([0, 0], abs=1e-5)
        surfaces.append(mesh.area)
    assert len(set(np.round(surfaces, 6))) == len(SEEDS), "each seed gives another shape"


def test_the_sheet_shows_every_chair_on_a_light_backdrop(demo: tuple[Path, str]) -> None:
    from PIL import Image
    from scipy import ndimage

    pixels = np.asarray(Image.open(demo[0] / "chairs.png").convert("RGB"), np.float64)
    assert pixels.shape == (48, 120, 3)
    assert np.median(pixels) > 90
    assert pixels.max() <= 255
    # The shapes are warm, the backdrop is cool: red over blue tells them apart whatever the light.
    shapes = ndimage.binary_opening(pixels[..., 0] - pixels[..., 2] > 0, iterations=2)
    blobs, count = ndimage.label(shapes)
    assert count == len(SEEDS)
    areas = ndimage.sum_labels(shapes, blobs, range(1, count + 1))
    assert areas.min() > 0.05 * shapes.size
    edge = np.concatenate([shapes[0], shapes[-1], shapes[:, 0], shapes[:, -1]])
    assert not edge.any(), "a shape is cut off"


def test_the_timings_are_complete_and_add_up(demo: tuple[Path, str]) -> None:
    report = json.loads((demo[0] / "timings.json").read_text())
    assert set(report["stages_s"]) >= {"start Blender", "start worker", "render", "save .blend"}
    assert [shape["seed"] for shape in report["shapes"]] == list(SEEDS)
    for shape in report["shapes"]:
        assert set(shape["stages_s"]) >= {"generate", "extract", "decimate", "unwrap", "bake"}
        assert 0 < sum(shape["stages_s"].values()) <= shape["seconds"] + 0.05
    assert all((demo[0] / name).is_file() for name in report["files"])
    for word in ("start worker", "first shape", "next shape", "render"):
        assert word in demo[1]


def test_blender_does_not_chatter_in_the_terminal(demo: tuple[Path, str]) -> None:
    assert "Fra:1" not in demo[1]
    assert "Fra:1" in (demo[0] / "blender.log").read_text()


def test_a_second_run_replaces_its_own_files_and_leaves_others_alone(tmp_path: Path, checkpoint_dir: Path) -> None:
    (tmp_path / "chair-0099.glb").write_text("somebody's")
    (tmp_path / "timings.json").write_text("old")
    options = ["--out", str(tmp_path), "--checkpoint", "test-ball", "--size", "40", "16", "--seeds", "5"]
    done = start_demo(*options, checkpoints=checkpoint_dir)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "chair-0099.glb").read_text() == "somebody's"
    assert json.loads((tmp_path / "timings.json").read_text())["shapes"][0]["seed"] == 5


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--checkpoint", "no-such"], 1, "No checkpoint for 'no-such'"),
        (["--category", "teapot"], 1, "No checkpoint for 'teapot'"),
        (["--category", "nothing", "--checkpoint", "test-empty"], 1, "no surface"),
        (["--seeds", "1", "1"], 2, "name none of them twice"),
        (["--seeds", "-4"], 2, "seeds lie between"),
        (["--out", "Makefile"], 1, "cannot be made"),
    ],
)
def test_what_goes_wrong_is_said_plainly(
    arguments: list[str], status: int, words: str, tmp_path: Path, checkpoint_dir: Path
) -> None:
    given = arguments if "--out" in arguments else ["--out", str(tmp_path), *arguments]
    done = start_demo("--size", "40", "16", *given, checkpoints=checkpoint_dir)
    assert done.returncode == status, done.stdout + done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert not (tmp_path / "timings.json").exists()
