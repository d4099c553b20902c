"""Voxel files become closed surfaces of the same solid, whatever their format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gan3d_core.errors import MeshFileError
from training.data.distance import SignedDistance, is_watertight
from training.data.layouts import discover
from training.data.normalise import to_cube
from training.data.readers import read
from training.data.source import SourceFile
from training.data.surface_nets import surface_nets


def source(path: Path) -> SourceFile:
    return SourceFile(str(path), path.name, "ball", "unknown", "unknown", "+Z", "-Y", 1.0)


def cells(size: int) -> np.ndarray:
    """(R, R, R, 3) centres of the voxels, from the middle of the grid."""
    return np.stack(np.meshgrid(*[np.arange(size) + 0.5] * 3, indexing="ij"), axis=-1) - size / 2


def bean(size: int = 32) -> np.ndarray:
    """A solid without any symmetry, so that no mixed-up axes go unnoticed."""
    x, y, z = np.moveaxis(cells(size) / size, -1, 0)
    return ((x / 0.4) ** 2 + (y / 0.2) ** 2 + (z / 0.3) ** 2 < 1) | ((x > 0.2) & (x < 0.45) & (y > 0) & (abs(z) < 0.1))


def binvox(occupied: np.ndarray, translate=(0.0, 0.0, 0.0), scale: float = 1.0) -> bytes:
    """As P. Min's program writes it: x slowest, then z, then y."""
    flat = occupied.transpose(0, 2, 1).reshape(-1).astype(np.uint8)
    ends = np.flatnonzero(np.diff(flat)) + 1
    body = bytearray()
    for run in np.split(flat, ends):
        left = len(run)
        while left:
            body += bytes([run[0], min(left, 255)])
            left -= min(left, 255)
    dim, place = (" ".join(map(str, numbers)) for numbers in (occupied.shape, translate))
    head = f"#binvox 1\ndim {dim}\ntranslate {place}\nscale {scale}\ndata\n"
    return head.encode() + bytes(body)


def write(path: Path, occupied: np.ndarray, how: str) -> Path:
    if how == "binvox":
        path.with_suffix(".binvox").write_bytes(binvox(occupied))
        return path.with_suffix(".binvox")
    if how == "mat":
        scipy.io.savemat(path.with_suffix(".mat"), {"instance": occupied.astype(np.uint8), "note": "x"})
        return path.with_suffix(".mat")
    if how.startswith("npz"):
        content = {
            "npz": {"voxels": occupied, "label": np.arange(4)},
            "npz bits": {"packed": np.packbits(occupied), "shape": np.array(occupied.shape)},
        }[how]
        np.savez_compressed(path.with_suffix(".npz"), **content)
        return path.with_suffix(".npz")
    values = {
        "npy": occupied,
        "npy chances": np.where(occupied, 0.9, 0.1).astype(np.float32)[None],
        "npy bits": np.packbits(occupied),
        "npy rows of bits": np.packbits(occupied, axis=2),
    }[how]
    np.save(path.with_suffix(".npy"), values)
    return path.with_suffix(".npy")


@pytest.mark.parametrize(
    "how", ["binvox", "mat", "npy", "npy chances", "npy bits", "npy rows of bits", "npz", "npz bits"]
)
def test_every_format_gives_the_same_solid(how, tmp_path):
    occupied = bean()
    mesh = read(source(write(tmp_path / "bean", occupied, how)))
    assert not mesh.colored
    solid = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    assert solid.is_watertight
    assert solid.volume == pytest.approx(occupied.sum() / 32**3, rel=0.02)
    middle = cells(32)[occupied].mean(axis=0) / 32 + 0.5
    assert solid.center_mass == pytest.approx(middle, abs=0.1 / 32), "its axes are mixed up, or it is shifted"


def test_binvox_restores_the_place_of_its_mesh(tmp_path):
    (tmp_path / "a.binvox").write_bytes(binvox(bean(), translate=(1.0, -2.0, 3.0), scale=8.0))
    vertices = read(source(tmp_path / "a.binvox")).vertices
    occupied = np.argwhere(bean())
    wanted = np.array([1.0, -2.0, 3.0]) + 8.0 * np.stack([occupied.min(axis=0), occupied.max(axis=0) + 1]) / 32
    assert np.stack([vertices.min(axis=0), vertices.max(axis=0)]) == pytest.approx(wanted, abs=0.5 * 8 / 32)


def test_a_ball_of_voxels_has_a_smooth_distance():
    """The error of the distance is below half a voxel everywhere, and a third of that on average."""
    size, radius = 32, 0.4
    vertices, faces = surface_nets(np.linalg.norm(cells(size) / size, axis=-1) < radius)
    cube, longest, _ = to_cube(vertices, faces, np.eye(3))
    distance = SignedDistance(cube, faces)
    points = np.random.default_rng(0).uniform(-0.9, 0.9, (3000, 3)).astype(np.float32)
    unit = 1.8 / longest  # a voxel in the cube
    error = np.abs(distance(points) - (np.linalg.norm(points, axis=1) - radius * size * unit))
    assert error.max() < 0.55 * unit
    assert error.mean() < 0.17 * unit


@pytest.mark.parametrize("shape", [(1, 1, 20), (1, 20, 20)])
def test_legs_and_boards_of_one_voxel_stay(shape):
    vertices, faces = surface_nets(np.ones(shape, bool))
    thickness = np.ptp(vertices, axis=0)[0]
    assert 0.6 < thickness < 1.2
    assert trimesh.Trimesh(vertices, faces, process=False).is_watertight


@settings(max_examples=40)
@given(arrays.arrays(bool, st.tuples(*[st.integers(1, 5)] * 3)))
def test_any_voxels_have_a_closed_surface_that_stays_where_they_are(occupied):
    vertices, faces = surface_nets(occupied)
    if not occupied.any():
        assert len(faces) == 0
        return
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    forward, count = np.unique(edges, axis=0, return_counts=True)
    there = {tuple(edge): number for edge, number in zip(forward.tolist(), count, strict=True)}
    assert all(there.get((b, a)) == number for (a, b), number in there.items()), "an edge is open or turned"
    # Oriented outward, and neither shrunk away nor blown up.
    a, b, c = np.moveaxis(vertices[faces], 1, 0)
    volume = np.einsum("ij,ij->", a, np.cross(b, c)) / 6
    assert 0.05 * occupied.sum() < volume < 1.3 * occupied.sum()
    assert np.abs(vertices - np.rint(vertices)).max() < 0.5


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.npy", np.zeros((8, 8, 8)), "No voxel"),
        ("flat.npy", np.ones((8, 8)), "shape"),
        ("batch.npy", np.ones((3, 8, 8, 8)), "shape"),
        ("distance.npy", np.linspace(-1, 1, 512).reshape(8, 8, 8), "negative"),
        ("nan.npy", np.full((4, 4, 4), np.nan), "finite"),
        ("huge.npy", np.zeros((1, 1, 1000), np.uint8), "1000"),
        ("bits.npy", np.zeros(100, np.uint8), "no cube"),
        ("words.npy", np.full((2, 2, 2), "a"), "numbers"),
        ("short.binvox", binvox(bean())[:-40], "breaks off"),
        ("other.binvox", b"#vox\ndim 2 2 2\ndata\n\x01\x08", "no binvox"),
        ("other.mat", b"\x00" * 200, "cannot be read"),
        ("weights.npz", {"w": np.ones((4, 4)), "b": np.ones(4)}, r"no mesh .* no volume of voxels, but b, w\."),
        ("two.npz", {"first": np.ones((4, 4, 4)), "second": np.ones((4, 4, 4))}, "2 volumes; one"),
    ],
)
def test_what_is_no_solid_is_refused_with_a_reason(name, content, reason, tmp_path):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, dict):
        np.savez(path, **content)
    else:
        np.save(path, content)
    with pytest.raises(MeshFileError, match=reason) as caught:
        read(source(path))
    assert name in caught.value.message


def test_a_voxel_folder_is_found(tmp_path):
    write(tmp_path / "a", bean(), "binvox")
    write(tmp_path / "b", bean(), "npy")
    files = discover(tmp_path).files
    assert [(Path(file.path).name, file.up) for file in files] == [("a.binvox", "+Y"), ("b.npy", "+Z")]
    for file in files:
        mesh = read(file)
        assert is_watertight(mesh.vertices, mesh.faces)
