"""The command line, run as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gan3d_core.__main__ import main
from gan3d_core.recipe import Recipe
from gan3d_core.shape import Shape
from gan3d_core.worker.protocol import Message, MessageReader, write_message

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["--resolution", "16", "--target-faces", "200", "--texture-size", "64", "--device", "cpu"]


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def common(checkpoint_dir, tmp_path):
    return ["--checkpoints", str(checkpoint_dir), "--out", str(tmp_path / "out"), *SMALL]


def test_generate_writes_shapes_and_recipes_that_make_them_again(common, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["generate", "--category", "chair", "--count", "2", "--seed", "5", "--format", "npz", *common]) == 0
    assert files(out) == {f"test-ball-{s}.{kind}" for s in (5, 6) for kind in ("npz", "recipe.json")}
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert all(stage in line for stage in ("load", "generate", "extract", "clean", "decimate", "unwrap", "bake"))
    recipe = Recipe.from_json((out / "test-ball-6.recipe.json").read_text())
    assert (recipe.seed, recipe.resolution, recipe.target_faces, recipe.texture_size) == (6, 16, 200, 64)
    assert len(recipe.checkpoint_hash) == 16
    before = Shape.read_npz(out / "test-ball-6.npz")
    again = ["--recipe", str(out / "test-ball-6.recipe.json"), "--format", "npz", "--out", str(tmp_path / "again")]
    assert main(["generate", *again, "--checkpoints", common[1]]) == 0
    after = Shape.read_npz(tmp_path / "again" / "test-ball-6.npz")
    for name, array in before.arrays().items():
        np.testing.assert_array_equal(after.arrays()[name], array)


def test_a_glb_holds_the_shape_in_metres_with_its_material(common, tmp_path):
    out = tmp_path / "out"
    assert main(["generate", "--checkpoint", "test-ball", "--format", "glb", "--format", "npz", *common]) == 0
    data = (out / "test-ball-0.glb").read_bytes()
    assert struct.unpack_from("<4sII", data) == (b"glTF", 2, len(data))
    length = struct.unpack_from("<I", data, 12)[0]
    gltf = json.loads(data[20 : 20 + length])
    shape = Shape.read_npz(out / "test-ball-0.npz")
    position = gltf["accessors"][gltf["meshes"][0]["primitives"][0]["attributes"]["POSITION"]]
    extent = np.subtract(position["max"], position["min"])
    np.testing.assert_allclose(extent, shape.size[[0, 2, 1]], rtol=1e-5)  # +Y is up
    assert position["min"][1] == pytest.approx(0.0, abs=1e-6)
    assert "baseColorTexture" in gltf["materials"][0]["pbrMetallicRoughness"]


def test_random_seeds_differ_and_a_checkpoint_can_be_a_folder(common, checkpoint_dir, tmp_path):
    arguments = ["generate", "--checkpoint", str(checkpoint_dir / "test-ball"), "--random", "--count", "3"]
    assert main([*arguments, "--format", "npz", *common]) == 0
    recipes = [Recipe.from_json(path.read_text()) for path in (tmp_path / "out").glob("*.recipe.json")]
    assert len({recipe.seed for recipe in recipes}) == 3
    assert {recipe.checkpoint for recipe in recipes} == {str(checkpoint_dir / "test-ball")}


def test_a_seed_without_a_surface_is_named_and_the_code_says_so(common, capsys):
    assert main(["generate", "--checkpoint", "test-empty", *common]) == 1
    assert "test-empty-0: The field has no surface" in capsys.readouterr().err


def recipe_file(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "some.json"
    path.write_text(text)
    return ["--recipe", str(path)]


@pytest.mark.parametrize(
    ("arguments", "seen"),
    [
        (lambda _: [], "Neither a category nor a checkpoint"),
        (lambda _: ["--category", "spoon"], "'spoon'"),
        (lambda _: ["--checkpoint", "nope"], "'nope'"),
        (lambda _: ["--checkpoint", "test-ball", "--count", "0"], "count"),
        (lambda _: ["--checkpoint", "test-ball", "--truncation", "7"], "truncation"),
        (lambda _: ["--checkpoint", "test-ball", "--truncation", "nan"], "truncation"),
        (lambda _: ["--checkpoint", "test-ball", "--seed", "-1"], "seed"),
        (lambda _: ["--checkpoint", "test-ball", "--device", "cuda:99"], "cuda:99"),
        (lambda tmp: ["--recipe", str(tmp / "missing.json")], "missing.json"),
        (lambda tmp: ["--recipe", str(tmp)], "cannot be read"),
        (lambda tmp: recipe_file(tmp, "{"), "JSON"),
        (lambda tmp: recipe_file(tmp, '{"version": 9, "checkpoint": "c"}'), "version 9"),
        (lambda tmp: recipe_file(tmp, Recipe("test-ball", checkpoint_hash="0" * 16).to_json()), "0000000000000000"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_code_one(common, tmp_path, capsys, arguments, seen):
    assert main(["generate", *common, *arguments(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert seen in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists() or not files(tmp_path / "out")


def test_an_output_folder_that_cannot_be_made_is_said(common, tmp_path, capsys):
    (tmp_path / "out").write_text("a file, not a folder")
    assert main(["generate", "--checkpoint", "test-ball", *common]) == 1
    assert "cannot be made" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "a file, not a folder"


@pytest.mark.parametrize("arguments", [[], ["dance"], ["generate", "--count", "two"], ["generate", "--format", "obj"]])
def test_wrong_usage_is_code_two(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_checkpoints_lists_the_good_and_says_what_is_wrong_with_the_others(tmp_path, checkpoint_writer, capsys):
    checkpoint_writer(tmp_path / "good")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "config.json").write_text("{")
    assert main(["checkpoints", "--checkpoints", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert f"{tmp_path / 'good'}" in output
    assert "BROKEN: The config.json of checkpoint 'bad'" in output


def test_doctor_names_every_package_and_device(checkpoint_dir, capsys):
    assert main(["doctor", "--checkpoints", str(checkpoint_dir)]) == 0
    output = capsys.readouterr().out
    for text in ("torch", "trimesh", "scikit-image", "devices", "cpu", "test-ball", sys.executable):
        assert text in output
    assert "missing" not in output


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "gan3d_core", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)


def test_ctrl_c_keeps_what_is_finished_and_nothing_half_written(common, tmp_path):
    out = tmp_path / "out"
    process = start("generate", "--checkpoint", "test-ball", "--count", "200", *common)
    while not (out / "test-ball-1.recipe.json").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in error
    names = files(out)
    count = len(names) // 2
    assert 2 <= count < 200
    assert names == {f"test-ball-{seed}.{kind}" for seed in range(count) for kind in ("glb", "recipe.json")}
    assert f"{count} of 200 shapes" in error


def test_worker_serves_until_its_input_ends():
    command = [sys.executable, "-m", "gan3d_core", "worker", "--device", "cpu"]
    with subprocess.Popen(command, cwd=ROOT, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        reader = MessageReader(process.stdout)
        hello = reader.read()
        write_message(process.stdin, Message("ping"))
        pong = reader.read()
        process.stdin.close()
        assert process.wait(timeout=60) == 0
    assert (hello.kind, hello.fields["device"], pong.kind) == ("hello", "cpu", "pong")


def test_a_python_without_the_packages_is_told_what_to_install(tmp_path, checkpoint_dir):
    """numpy alone, as in Blender's own Python."""
    (tmp_path / "numpy").symlink_to(Path(np.__file__).parent)
    for libraries in Path(np.__file__).parents[1].glob("numpy*libs"):
        (tmp_path / libraries.name).symlink_to(libraries)
    command = [sys.executable, "-S", "-m", "gan3d_core", "generate", "--checkpoint", "test-ball"]
    result = subprocess.run(
        [*command, "--checkpoints", str(checkpoint_dir)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 1, result.stderr
    assert "lacks torch" in result.stderr
    assert "requirements.txt" in result.stderr
    assert "Traceback" not in result.stderr
