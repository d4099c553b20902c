"""From files to a dataset: real chairs, bad files, going on after a stop."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gan3d_core.errors import DatasetError, MeshFileError
from gan3d_core.field import EXTENT
from training.data import jobs, record, shards, source, store
from training.data.layouts import discover
from training.data.normalise import rotation, to_cube
from training.data.readers import read
from training.data.views import DEPTH_STEP, stored_cameras
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
    from training.data.distance import FINEST
    from training.data.thin import THIN_VOXELS

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
    dataset = tmp_path / "dataset"
    shutil.copytree(furniture, dataset)
    before = {path: path.read_bytes() for path in store.shard_paths(dataset)}
    entries = prepare(SHAPES / "furniture", dataset, processes=1)
    assert {path: path.read_bytes() for path in store.shard_paths(dataset)} == before
    # A torn record is made again, and nothing else; a lost manifest comes back.
    (shard,) = before
    shard.write_bytes(before[shard][:-100_000])
    (dataset / "manifest.jsonl").unlink()
    again = prepare(SHAPES / "furniture", dataset, processes=1)
    last = max(entries, key=lambda entry: entry.written)
    assert [entry.id for entry in again] == [entry.id for entry in entries]
    assert [entry for entry in again if entry.id != last.id] == [entry for entry in entries if entry.id != last.id]
    assert store.Dataset(dataset).damaged() == []


def test_two_commands_on_one_dataset_share_the_work(furniture, tmp_path):
    """Started at once on one folder, both end well, and every shape is there once."""
    command = [sys.executable, "-m", "training.prepare", str(SHAPES / "furniture"), str(tmp_path / "d"), "--views", "0"]
    runs = [
        subprocess.Popen([*command, "--processes", "1"], cwd=SHAPES.parent.parent, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    reports = [run.communicate()[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], reports
    rows = [row for path in store.shard_paths(tmp_path / "d") for row in shards.scan(path)]
    assert len(rows) == 3, "no shape was made twice"
    names = [entry.name for entry in store.Dataset(furniture).entries]
    assert [entry.name for entry in store.Dataset(tmp_path / "d").entries] == names


def test_a_process_that_dies_costs_one_file(tmp_path, monkeypatch):
    """The crew's process is killed with a file in hand: that file is reported and the others are made."""
    files = discover(SHAPES / "furniture", None, None, None).files
    settings = record.RecordSettings(grids=(32,), views=0)
    store.create(tmp_path / "d", settings.to_json())
    give = jobs._Worker.give

    def give_and_kill(worker: jobs._Worker, file: source.SourceFile) -> None:
        give(worker, file)
        if file is files[1]:
            worker.process.kill()

    monkeypatch.setattr(jobs._Worker, "give", give_and_kill)
    results = {result.name: result for result in jobs.run(files, tmp_path / "d", settings, 1)}
    assert [results[file.name].status for file in files] == ["made", "skipped", "made"]
    assert "SIGKILL" in results[files[1].name].reason


def test_the_normalisation_can_be_undone(furniture):
    (file,) = [f for f in discover(SHAPES / "furniture", None, None, None).files if "000001" in f.name]
    entry = next(entry for entry in store.Dataset(furniture).entries if "000001" in entry.name)
    mesh, _, _ = record.normalised(file)
    back = np.c_[mesh.vertices, np.ones(len(mesh.vertices))] @ np.array(entry.to_source).T
    assert np.abs(back[:, :3] - read(file).vertices).max() < 1e-6


def test_pictures_show_the_shape_that_the_grid_describes(furniture):
    """Where a view's ray meets the surface, the grid is near zero; silhouettes, depths and normals agree."""
    data = store.Dataset(furniture)
    for index in range(len(data)):
        grid = data.array(index, "sdf64").astype(np.float32)
        cameras = stored_cameras(data.array(index, "cameras"))
        depth = data.array(index, "depth") * DEPTH_STEP
        rgba = data.array(index, "rgba")
        origin, direction = (tensor.numpy() for tensor in cameras.rays(depth.shape[1]))
        seen = depth > 0
        points = (origin[:, None, None] + depth[..., None] * direction)[seen]
        cell = ((points + 1) * 32).astype(int).clip(0, 63)
        slack = np.sqrt(3) / 64 + 0.5 * source_thickness() + 2e-3
        assert np.abs(grid[cell[:, 0], cell[:, 1], cell[:, 2]]).max() < slack
        assert 0.02 < seen.mean() < 0.6
        assert ((rgba[..., 3] > 127) == seen).mean() > 0.99
        assert (rgba[..., :3] <= rgba[..., 3:]).all(), "premultiplied"
        normal = (data.array(index, "normal").astype(np.float32) - 128)[seen] / 127
        assert np.linalg.norm(normal, axis=1) == pytest.approx(1, abs=0.02)
        assert ((normal * direction[seen]).sum(1) < 0.02).all(), "towards the viewer"


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
