"""A chair with one arm, written in the layout and the axes that each dataset documents, stands upright, facing −Y, with
its arm on the side where it was. The datasets' own files are not at hand: this holds the documents against the code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import trimesh

from training.data.layouts import discover
from training.data.normalise import EXTENT
from training.data.record import normalised

# +Z up, −Y front: a seat, a back at its rear, an arm on −X, which is the sitter's right.
PARTS = [
    ((-0.4, -0.4, 0.4), (0.4, 0.4, 0.5)),
    ((-0.4, 0.3, 0.5), (0.4, 0.4, 1.0)),
    ((-0.4, -0.3, 0.5), (-0.3, 0.3, 0.7)),
]
SIDES = np.array([0.8, 0.8, 0.6])


def chair(turn: np.ndarray) -> trimesh.Trimesh:
    mesh = trimesh.util.concatenate([trimesh.creation.box(bounds=part) for part in PARTS])
    mesh.vertices = mesh.vertices @ turn.T
    return mesh


def shapenet(folder: Path) -> None:
    """+Y up, −Z front."""
    home = folder / "03001627" / "a" / "models"
    home.mkdir(parents=True)
    to_file = np.array([[1, 0, 0], [0, 0, 1], [0, 1, 0]]) * np.array([[-1], [1], [1]])
    chair(to_file).export(home / "model_normalized.obj")


def modelnet(folder: Path) -> None:
    """+Z up; which way the front is it does not say, and −Y is taken."""
    (folder / "chair" / "train").mkdir(parents=True)
    (folder / "chair" / "train" / "chair_0001.off").write_text(chair(np.eye(3)).export(file_type="off"))


def volumes(folder: Path) -> None:
    """+Z up, 30³ voxels."""
    (folder / "chair" / "30" / "train").mkdir(parents=True)
    centres = (np.stack(np.meshgrid(*[np.arange(30)] * 3, indexing="ij"), -1) + 0.5) / 30 * 1.2 + (-0.6, -0.6, 0.1)
    inside = np.any([((centres > low) & (centres < high)).all(-1) for low, high in PARTS], axis=0)
    scipy.io.savemat(folder / "chair" / "30" / "train" / "chair_1_1.mat", {"instance": inside.astype(np.uint8)})


@pytest.mark.parametrize(("write", "voxel"), [(shapenet, 0.0), (modelnet, 0.0), (volumes, 1.2 / 30)])
def test_it_stands_upright_and_looks_to_the_front(tmp_path, write: Callable[[Path], None], voxel: float):
    write(tmp_path)
    (file,) = discover(tmp_path).files
    mesh, _, _ = normalised(file)
    unit = 2 * EXTENT / SIDES.max()
    slack = 1.2 * voxel * unit + 1e-4
    assert np.ptp(mesh.vertices, axis=0) == pytest.approx(SIDES * unit, abs=2 * slack)
    x, y, z = mesh.vertices.T / unit  # centred: the seat is below, the back behind, the arm to the left of the picture
    top = z > 0.3 - 0.05 - voxel
    assert y[top].min() > 0.3 - slack - voxel, "the back is at the rear"
    arm = (z > -0.15) & (y < 0.2)
    assert arm.any()
    assert x[arm].max() < -0.3 + slack + voxel, "and the arm is on the side where it was"
