"""Foreign weights: the same values as in their own terms, and nothing but weights is let in."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from gan3d_core import generators
from gan3d_core.__main__ import main
from gan3d_core.checkpoints import read
from gan3d_core.errors import CheckpointError, OutputError
from gan3d_core.field import EXTENT, lattice
from gan3d_core.importers import import_checkpoint, state
from gan3d_core.importers.shapegan import AXES, SHAPES
from gan3d_core.pipeline import Pipeline
from gan3d_core.recipe import Recipe

RADIUS = 0.6


def foreign_state() -> dict[str, torch.Tensor]:
    """Random weights of the published layout, with a bias on the last layer so that there is an inside."""
    random = torch.Generator().manual_seed(3)
    state = {}
    for name, shape in SHAPES.items():
        fan = shape[-1] if name.endswith("weight") else SHAPES[name.replace("bias", "weight")][1]
        state[name] = torch.randn(shape, generator=random) * (2 / fan) ** 0.5
        if name.endswith("bias"):
            state[name] *= 0.1
    # The points count for more than the code's 128 entries, so that the field has some shape.
    state["layers1.0.weight"][:, :3] *= 8
    return state


def theirs(state: dict[str, torch.Tensor], code: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Their network, in float64 with plain products: (P, 3) points in their axes to (P,)."""
    w = {name: tensor.double().numpy() for name, tensor in state.items()}
    given = np.concatenate([points, np.repeat(code[None], len(points), 0)], 1).astype(np.float64)
    x = given
    for layer in (0, 2, 4, 6):
        x = np.maximum(x @ w[f"layers1.{layer}.weight"].T + w[f"layers1.{layer}.bias"], 0)
    x = np.concatenate([x, given], 1)
    for layer in (0, 2, 4):
        x = np.maximum(x @ w[f"layers2.{layer}.weight"].T + w[f"layers2.{layer}.bias"], 0)
    return np.tanh(x @ w["layers2.6.weight"].T + w["layers2.6.bias"])[:, 0]


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("foreign") / "generator.to"
    torch.save(foreign_state(), path)
    return path


@pytest.fixture(scope="module")
def folder(source) -> Path:
    target = source.parent / "imported"
    assert main(["import-checkpoint", "shapegan", str(source), str(target), "--size", "1.3"]) == 0
    return target


def test_axes_are_a_rotation_from_ours_to_theirs():
    """Our up is their +Y, our front (−Y) their −Z."""
    assert torch.equal(AXES @ AXES.T, torch.eye(3))
    assert float(torch.linalg.det(AXES)) == 1
    assert (AXES @ torch.tensor([0.0, 0.0, 1.0])).tolist() == [0, 1, 0]
    assert (AXES @ torch.tensor([0.0, -1.0, 0.0])).tolist() == [0, 0, -1]


def test_the_imported_field_is_theirs_in_our_axes_and_scale(folder):
    generator = generators.load(read(folder))
    code = np.random.default_rng(0).standard_normal(128).astype(np.float32)
    (field,) = generator.fields(code[None], 1.0)
    points = lattice(16)
    found = field.values(16).reshape(-1)
    x, y, z = points.T.astype(np.float64)
    expected = EXTENT * theirs(foreign_state(), code, np.stack([-x, z, y], 1) / EXTENT)
    inside = np.linalg.norm(points, axis=1) < 1.1 * EXTENT
    np.testing.assert_allclose(found[inside], expected[inside], atol=2e-5)
    assert (found[~inside] == 1).all()
    assert 0.05 < (expected[inside] < 0).mean() < 0.95  # there is a shape to speak of
    assert (~inside).any()


def test_it_generates(folder):
    recipe = Recipe(str(folder), seed=1, resolution=32, target_faces=200, texture_size=64)
    shape = Pipeline("cpu").generate(recipe).shape
    assert len(shape.faces) > 50
    assert np.isfinite(shape.vertices).all()
    # The given size is that of ±1 in their units; the surface ends within a cell of the sphere's.
    assert shape.size.max() <= 1.3 * (1.1 + 2 / 32 / EXTENT)
    assert "SHA-256" in (folder / "card.md").read_text()


class Runs:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def without(name: str) -> dict[str, torch.Tensor]:
    state = foreign_state()
    del state[name]
    return state


def changed(name: str, tensor: object) -> dict[str, object]:
    return {**foreign_state(), name: tensor}


WRONG = {
    "missing": (lambda: without("layers2.4.bias"), "lack layers2.4.bias"),
    "more": (lambda: changed("layers3.0.weight", torch.zeros(2)), "layers3.0.weight beside"),
    "shape": (lambda: changed("layers1.0.weight", torch.zeros(256, 67)), r"is \(256, 67\), not \(256, 131\)"),
    "nan": (lambda: changed("layers1.2.bias", torch.full((256,), float("nan"))), "no finite number"),
    "infinite": (lambda: changed("layers1.2.bias", torch.full((256,), float("inf"))), "no finite number"),
    "large": (lambda: changed("layers1.2.weight", torch.full((256, 256), 3e38)), "not finite"),
    "whole": (lambda: changed("layers1.2.bias", torch.zeros(256, dtype=torch.int64)), "no finite number"),
    "text": (lambda: changed("layers1.2.bias", "zero"), "is no tensor"),
    "list": (lambda: list(foreign_state().values()), "no state dict but a list"),
    "empty": (dict, "no state dict"),
    "expanded": (lambda: changed("layers1.2.bias", torch.zeros(1).expand(1 << 40)), "unpacks to more"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_weights_are_refused_and_leave_nothing(tmp_path, case):
    make, message = WRONG[case]
    torch.save(make(), tmp_path / "weights.to")
    with pytest.raises(CheckpointError, match=message):
        import_checkpoint("shapegan", tmp_path / "weights.to", tmp_path / "out" / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["weights.to"]


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_not_run(tmp_path, zipped):
    marker, path = tmp_path / "was-run", tmp_path / "weights.to"
    torch.save(changed("layers1.2.bias", Runs(marker)), path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match="wants to run code"):
        import_checkpoint("shapegan", path, tmp_path / "new")
    plain = tmp_path / "plain.to"
    plain.write_bytes(pickle.dumps(Runs(marker), protocol=2))
    with pytest.raises(CheckpointError):
        import_checkpoint("shapegan", plain, tmp_path / "new")
    assert not marker.exists()
    pickle.loads(plain.read_bytes())
    assert marker.exists()  # it would have


def test_files_that_are_none(tmp_path, source, monkeypatch):
    most = 4 << 20
    monkeypatch.setattr(state, "MOST_BYTES", most)
    cut = tmp_path / "cut.to"
    cut.write_bytes(source.read_bytes()[:1000])
    huge = tmp_path / "huge.to"
    with huge.open("wb") as file:
        file.truncate(most + 1)
    bomb = tmp_path / "bomb.to"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("data", "w") as entry:
        entry.write(bytes(most + 1))
    assert bomb.stat().st_size < most // 100
    for path, message in (
        (cut, "cut.to"), (huge, "huge.to holds 4"), (bomb, "bomb.to holds 4"), (tmp_path, "is no file"),
        (tmp_path / "nothing.to", "cannot be read"),
    ):  # fmt: skip
        with pytest.raises(CheckpointError, match=message):
            import_checkpoint("shapegan", path, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_older_file_format_is_read(tmp_path, folder):
    """The published files are of before PyTorch 1.6, no zip archives."""
    torch.save(foreign_state(), tmp_path / "old.to", _use_new_zipfile_serialization=False)
    checkpoint = import_checkpoint("shapegan", tmp_path / "old.to", tmp_path / "old")
    assert checkpoint.hash == read(folder).hash


def test_what_is_there_is_not_replaced_and_values_are_checked(tmp_path, source, capsys):
    (tmp_path / "there").mkdir()
    with pytest.raises(OutputError, match="there already"):
        import_checkpoint("shapegan", source, tmp_path / "there")
    assert list((tmp_path / "there").iterdir()) == []
    with pytest.raises(CheckpointError, match="out of range"):
        import_checkpoint("shapegan", source, tmp_path / "new", size_m=-1.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there"]
    assert main(["import-checkpoint", "oracle", str(source), str(tmp_path / "new")]) == 1
    assert "error: There is no importer 'oracle'. Importers: shapegan." in capsys.readouterr().err
