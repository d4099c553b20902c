"""From files to a dataset: real chairs, bad files, going on after a stop."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from gan3d_core.errors import DatasetError, MeshFileError
from gan3d_core.field import EXTENT
from training.data import record, source, store
from training.data.normalise import rotation, to_cube
from training.data.layouts import discover
from training.data.readers import read
from training.prepare import main, prepare

SHAPES = Path(__file__).parent.parent / "shapes"


@pytest.fixture(scope="module")
def furniture(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "furniture"
    prepare(SHAPES / "furniture", folder, processes=1)
    return folder


def test_records_agree_with_themselves(furniture):
    """The grid, the samples and the surface points of a record are of one shape."""
    data = store.Dataset(furniture)
    assert len(data) == 3
    for index in range(len(data)):
        grid = data.array(index, "sdf64").astype(np.float32)
        surface = data.array(index, "surface").astype(np.float32)
        near = data.array(index, "near").astype(np.float32)
        assert np.abs(surface[:, :3]).max() == pytest.approx(EXTENT, abs=2e-3)

        def at(points: np.ndarray, grid=grid) -> np.ndarray:
            cell = ((points + 1) * 32).astype(int).clip(0, 63)
            return grid[cell[:, 0], cell[:, 1], cell[:, 2]]

        # A cell's centre is at most half a diagonal away, and distance is 1-Lipschitz; thin parts are thicker by half.
        slack = np.sqrt(3) / 64 + 0.5 * source_thickness()
        assert np.abs(at(surface[:, :3])).max() < slack + 1e-3
        assert np.abs(at(near[:, :3]) - near[:, 3]).max() < slack + 2e-3
        # Normals look out: a step along them leaves the shape.
        out = at(surface[:, :3] + 3 / 32 * surface[:, 3:])
        back = at(surface[:, :3] - 0.5 / 32 * surface[:, 3:])
        assert np.mean(out > back) > 0.97
        assert np.linalg.norm(surface[:, 3:], axis=1) == pytest.approx(1, abs=5e-3)


def source_thickness() -> float:
    from training.data.distance import FINEST, THIN_VOXELS

    return THIN_VOXELS * 2 / FINEST


def test_axes_and_size_are_those_of_the_source(furniture):
    """A chair's back is at +Y, it is widest at the floor or the seat, and its size is in metres."""
    data = store.Dataset(furniture)
    names = [Path(entry.name).stem for entry in data.entries]
    chair = names.index("000001")
    grid = data.array(chair, "sdf64") < 0
    upper = np.argwhere(grid[:, :, 44:])
    assert upper[:, 1].mean() > 36, "the back of the chair should be behind its middle"
    assert data.entries[chair].size_m == pytest.approx(data.entries[chair].labels["size_m"], rel=1e-3)
    material = data.array(chair, "material")
    assert material[:, :3].std() > 5, "the chair has colours"


def test_going_on_makes_nothing_twice(furniture, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in (furniture / "records").iterdir()}
    assert len(before) == 3
    entries = prepare(SHAPES / "furniture", furniture, processes=1)
    assert {path: path.stat().st_mtime_ns for path in (furniture / "records").iterdir()} == before
    # A broken record is made again; a lost manifest comes back.
    broken = next(iter(before))
    broken.write_bytes(broken.read_bytes()[:1000])
    (furniture / "manifest.jsonl").unlink()
    assert prepare(SHAPES / "furniture", furniture, processes=1) == entries
    assert store.read_entry(furniture, broken.stem) is not None


def test_splits_do_not_move(furniture):
    names = [f"chair/{i:06}.npz" for i in range(4000)]
    shares = [sum(store.split_of(name) == split for name in names) / len(names) for split in store.SPLITS]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.02)
    assert {entry.name: entry.split for entry in store.read_manifest(furniture)} == {
        entry.name: store.split_of(f"{entry.category}/{entry.name}") for entry in store.read_manifest(furniture)
    }


def test_open_textured_meshes_and_a_report_of_what_was_skipped(tmp_path):
    folder = tmp_path / "files"
    shutil.copytree(SHAPES / "files", folder)
    (folder / "chair" / "empty.obj").write_text("")
    (folder / "chair" / "points.ply").write_text(
        "ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
        "0 0 0\n1 1 1\n"
    )
    (folder / "chair" / "notes.stl").write_text("this is no mesh\n" * 20)
    (folder / "chair" / "flat.off").write_text("OFF\n3 1 0\n0 0 0\n1 0 0\n2 0 0\n3 0 1 2\n")
    dataset = tmp_path / "dataset"
    entries = prepare(folder, dataset, processes=2)
    skipped = {row["file"]: row["reason"] for row in map(json.loads, (dataset / "skipped.jsonl").open())}
    assert set(skipped) == {"chair/empty.obj", "chair/points.ply", "chair/notes.stl", "chair/flat.off"}
    assert "empty" in skipped["chair/empty.obj"]
    assert "point cloud" in skipped["chair/points.ply"]

    by_name = {Path(entry.name).stem: entry for entry in entries}
    assert set(by_name) == {"deckChair", "foldingChair", "technicalTable1"}
    assert not by_name["technicalTable1"].colored, "its texture is missing"
    assert by_name["deckChair"].colored
    assert by_name["deckChair"].thin_share > 0.05, "its cloth has no thickness"
    # The cloth is there at 64³: the largest connected part of the chair is nearly all of it.
    from scipy import ndimage

    data = store.Dataset(dataset, category="chair")
    solid = data.array([e.name for e in data.entries].index(by_name["deckChair"].name), "sdf64") < 0
    labels, count = ndimage.label(solid, np.ones((3, 3, 3)))
    assert np.bincount(labels.reshape(-1))[1:].max() > 0.95 * solid.sum()
    assert count >= 1
    assert (dataset / "sheet-chair.png").stat().st_size > 1000


def test_strict_stops(tmp_path, capsys):
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "bad.obj").write_text("v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    assert main([str(folder), str(tmp_path / "a"), "--strict", "--processes", "1"]) == 1
    assert "bad.obj cannot be used" in capsys.readouterr().err
    assert main([str(folder), str(tmp_path / "b"), "--processes", "1"]) == 1
    assert "None of the 1 files could be used" in capsys.readouterr().err


def glb_without_mesh() -> bytes:
    body = json.dumps({"asset": {"version": "2.0"}, "scenes": [{"nodes": []}], "scene": 0}).encode()
    body += b" " * (-len(body) % 4)
    return struct.pack("<III", 0x46546C67, 2, 20 + len(body)) + struct.pack("<II", len(body), 0x4E4F534A) + body


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("empty.obj", b""),
        ("nan.obj", b"v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"),
        ("inf.off", b"OFF\n3 1 0\n0 0 inf\n1 0 0\n0 1 0\n3 0 1 2\n"),
        ("points.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\n"),
        ("rubbish.glb", b"\x00\x01\x02 not a glb" * 50),
        ("nothing.glb", glb_without_mesh()),
        ("truncated.ply", b"ply\nformat binary_little_endian 1.0\nelement vertex 900\nproperty float x\n"),
        ("text.npz", b"PK\x03\x04 no zip"),
        ("dot.obj", b"v 1 1 1\nv 1 1 1\nv 1 1 1\nf 1 2 3\n"),
    ],
)
def test_bad_files_are_refused_with_a_reason(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    (file,) = discover(tmp_path).files
    with pytest.raises(MeshFileError) as caught:
        record.make_record(file, "x")
    assert caught.value.message.endswith(".")
    assert caught.value.hint


def test_too_many_faces(monkeypatch, tmp_path):
    monkeypatch.setattr(source, "MAX_FACES", 1)
    (tmp_path / "two.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 2 3\nf 1 2 4\n")
    with pytest.raises(MeshFileError, match="2 faces"):
        read(discover(tmp_path).files[0])


@pytest.mark.parametrize(
    ("line", "message"),
    [("{", "Line 1"), ('{"a": 1}', "Line 1"), ('{"path": "../x.obj"}', "outside"), ("", "no shapes")],
)
def test_bad_manifests(tmp_path, line, message):
    (tmp_path / "manifest.jsonl").write_text(line + "\n")
    with pytest.raises(DatasetError, match=message):
        discover(tmp_path)


def test_wrong_folders_and_axes(tmp_path):
    with pytest.raises(DatasetError, match="no folder"):
        prepare(tmp_path / "nowhere", tmp_path / "d")
    with pytest.raises(DatasetError, match="no shapes of category 'lamp'"):
        prepare(SHAPES / "files", tmp_path / "d", category="lamp")
    with pytest.raises(DatasetError, match="parallel"):
        prepare(SHAPES / "files", tmp_path / "d", up="+Y", front="-Y")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(DatasetError, match="not empty"):
        prepare(SHAPES / "furniture", tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"
    with pytest.raises(DatasetError, match="no GAN3D dataset"):
        store.Dataset(tmp_path / "mine")
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("up", ["+X", "-X", "+Y", "-Y", "+Z", "-Z"])
def test_rotation_brings_up_to_z_and_front_to_minus_y(up):
    from training.data.normalise import AXES

    for front in AXES:
        if front[1] == up[1]:
            continue
        turn = rotation(up, front)
        assert np.allclose(turn @ AXES[up], [0, 0, 1])
        assert np.allclose(turn @ AXES[front], [0, -1, 0])
        assert np.linalg.det(turn) == pytest.approx(1)


def test_to_cube_ignores_unused_vertices():
    vertices = np.array([[0, 0, 0], [2, 0, 0], [0, 1, 0], [99, 99, 99]], float)
    scaled, longest, centre = to_cube(vertices, np.array([[0, 1, 2]]), np.eye(3))
    assert longest == 2
    assert np.allclose(centre, [1, 0.5, 0])
    assert np.allclose(np.ptp(scaled[:3], axis=0), [2 * EXTENT, EXTENT, 0])
