"""What is wrong with the sources is said before the long work starts."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import trimesh

from gan3d_core.errors import DatasetError
from training.data.agreement import ROTATIONS, Stance, agreement, stance, turned_axes
from training.data.checks import check
from training.data.gather import gathered
from training.data.layouts import discover
from training.data.normalise import AXES, rotation, to_cube
from training.prepare import main

SHAPES = Path(__file__).parent.parent / "shapes"


def chair(seed: int) -> trimesh.Trimesh:
    """A chair of boxes with its own measures, +Z up and −Y front."""
    random = np.random.default_rng(seed)
    width, depth, seat, back = random.uniform([0.4, 0.4, 0.4, 0.35], [0.6, 0.55, 0.5, 0.6])
    leg = random.uniform(0.03, 0.06)
    boxes = [([0, 0, seat], [width, depth, seat + 0.05]), ([0, depth - 0.05, seat], [width, depth, seat + back])]
    boxes += [([x, y, 0], [x + leg, y + leg, seat]) for x in (0, width - leg) for y in (0, depth - leg)]
    return trimesh.util.concatenate([trimesh.creation.box(bounds=bounds) for bounds in boxes])


def measure(mesh: trimesh.Trimesh, turn: np.ndarray) -> Stance:
    vertices, _, _ = to_cube(np.asarray(mesh.vertices) @ turn.T, mesh.faces, np.eye(3))
    return stance(vertices, mesh.faces)


@pytest.fixture(scope="module")
def chairs() -> list[trimesh.Trimesh]:
    return [chair(seed) for seed in range(10)]


def test_chairs_that_agree_are_left_alone(chairs):
    result = agreement([measure(mesh, np.eye(3)) for mesh in chairs])
    assert result.coherent
    assert result.turned == []
    assert result.sideways == ""


def test_each_turn_of_one_chair_is_found_and_undone(chairs):
    """All 23: the rotation that is proposed brings the chair back."""
    others = [measure(mesh, np.eye(3)) for mesh in chairs[1:]]
    missed = []
    for turn in ROTATIONS[1:]:
        turned = agreement([measure(chairs[0], turn), *others]).turned
        assert all(each.index == 0 for each in turned)
        if not turned or not np.allclose(turned[0].rotation @ turn, np.eye(3)):
            missed.append(turn)
    assert missed == []


def test_a_third_turned_is_still_a_minority(chairs):
    random = np.random.default_rng(3)
    turns = [ROTATIONS[random.integers(1, 24)] if index % 3 == 0 else np.eye(3) for index in range(len(chairs))]
    result = agreement([measure(mesh, turn) for mesh, turn in zip(chairs, turns, strict=True)])
    assert {each.index for each in result.turned} == set(range(0, len(chairs), 3))


@pytest.mark.parametrize(("axis", "sideways"), [(2, "front to back"), (1, "top to bottom")])
def test_a_category_that_stands_wrong_altogether(chairs, axis, sideways):
    turn = trimesh.transformations.rotation_matrix(np.pi / 2, np.eye(3)[axis])[:3, :3]
    assert agreement([measure(mesh, turn) for mesh in chairs]).sideways == sideways


def test_too_few_or_too_different_shapes_are_not_judged(chairs):
    assert not agreement([measure(mesh, np.eye(3)) for mesh in chairs[:5]]).coherent
    random = np.random.default_rng(0)
    clouds = [trimesh.creation.box(bounds=np.sort(random.uniform(-1, 1, (2, 3)) ** 5, axis=0)) for _ in range(8)]
    rods = [trimesh.util.concatenate([mesh, chair]) for mesh, chair in zip(clouds, chairs, strict=False)]
    assert not agreement([measure(mesh, ROTATIONS[3 * index]) for index, mesh in enumerate(rods)]).coherent


def test_proposed_axes_turn_the_file_upright():
    for up, front in (("+Y", "+Z"), ("-X", "+Y")):
        for turn in ROTATIONS:
            proposed = rotation(*turned_axes(up, front, turn))
            assert np.allclose(proposed, turn @ rotation(up, front))
            assert set(turned_axes(up, front, turn)) <= set(AXES)


@pytest.fixture
def folder(tmp_path, chairs) -> Path:
    """Eight chairs of which one lies; an empty file; a table with a missing texture."""
    place = tmp_path / "shapes"
    (place / "chair").mkdir(parents=True)
    lying = rotation("+Y", "+Z").T
    for index, mesh in enumerate(chairs[:8]):
        turn = lying @ (ROTATIONS[5] if index == 2 else np.eye(3))
        trimesh.Trimesh(mesh.vertices @ turn.T, mesh.faces, process=False).export(place / "chair" / f"{index}.stl")
    (place / "chair" / "empty.obj").write_text("")
    shutil.copytree(SHAPES / "files" / "table_desk", place / "table_desk")
    return place


def test_everything_is_counted_and_named(folder):
    said = io.StringIO()
    checked = check(discover(folder).files, processes=2, stream=said)
    text = said.getvalue()
    assert "Checked 10 files: 9 can be used, 1 cannot." in text
    assert "chair/empty.obj is empty" in text
    assert "1 texture is missing" in text
    assert "technicalTable1" in text
    assert "8 files say nothing about colour" in text
    assert "1 of 8 shapes stand another way" in text
    assert "chair/2.stl" in text
    assert "Too few or too different to compare their orientation: table_desk (1)." in text
    assert len(checked.files) == 9
    assert [row["file"] for row in checked.skipped] == ["chair/empty.obj"]
    assert {row["finding"] for row in checked.findings} == {"unusable", "missing_textures", "no_colour", "turned"}


def test_turned_shapes_are_kept_turned_or_skipped(folder):
    axes = {}
    for how in ("keep", "turn", "skip"):
        files = check(discover(folder).files, turned=how, stream=io.StringIO()).files
        axes[how] = {file.name: (file.up, file.front) for file in files}
    assert axes["keep"]["chair/2.stl"] == ("+Y", "+Z")
    assert "chair/2.stl" not in axes["skip"]
    assert axes["turn"].pop("chair/2.stl") == turned_axes("+Y", "+Z", ROTATIONS[5].T)
    assert axes["turn"] == axes["skip"], "the others stay as they are"


def test_nothing_is_made_where_the_check_stops(folder, tmp_path, capsys):
    assert main([str(folder), str(tmp_path / "d"), "--strict", "--processes", "1"]) == 1
    assert "chair/empty.obj is empty. Without --strict it is skipped." in capsys.readouterr().err
    assert main([str(folder), str(tmp_path / "d"), "--up", "+Q"]) == 1
    assert "no axis" in capsys.readouterr().err
    assert main([str(folder / "chair" / "nowhere"), str(tmp_path / "d")]) == 1
    assert "no folder" in capsys.readouterr().err
    assert not (tmp_path / "d").exists()


def test_a_single_file_and_a_blend_file_are_sources_too(tmp_path, capsys):
    with gathered(SHAPES / "files" / "chair" / "deckChair" / "deckChair.obj") as checked:
        assert [file.name for file in checked.files] == ["deckChair.obj"]
    (tmp_path / "broken.blend").write_bytes(b"no blend")
    with pytest.raises(DatasetError, match=r"broken\.blend cannot be"), gathered(tmp_path / "broken.blend"):
        pass


def test_a_blend_file_is_read_by_blender_itself(tmp_path, monkeypatch):
    """Stands in for Blender: what the real one writes is tested with the add-on."""
    from training.data import blend

    def write(path: Path, target: Path) -> str:
        (target / "Chairs").mkdir(parents=True)
        shutil.copy(SHAPES / "furniture" / "chair" / "000001.npz", target / "Chairs" / "one.npz")
        row = {"file": "Chairs/one.npz", "category": "Chairs", "up": "+Z", "front": "-Y", "size_m": 1.0}
        (target / "manifest.jsonl").write_text(json.dumps(row) + "\n")
        return "1 shapes of lib.blend are written.\n  without colours: one (noise)"

    monkeypatch.setattr(blend, "export", write)
    (tmp_path / "lib.blend").write_bytes(b"BLENDER")
    with gathered(tmp_path) as checked:
        (file,) = checked.files
        assert (file.name, file.category, file.labels["blend"]) == ("lib.blend/Chairs/one.npz", "Chairs", "lib.blend")
        assert Path(file.path).exists()
    assert not Path(file.path).exists(), "the temporary folder is gone"
