"""The whole of `training.evaluate` on boxes: generators as good as the data, that copy it, and that collapse."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from box_dataset import BOXES, QUARTERS, SMALL, Box, draw, write_boxes
from PIL import Image

from gan3d_core import checkpoints, generators
from gan3d_core.errors import CheckpointError, DatasetError, EmptyShapeError, OutputError
from gan3d_core.field import lattice
from training import evaluate
from training.data import store
from training.evaluation import painted, report, table
from training.evaluation.judge import other_surfaces
from training.evaluation.painted import PaintedMesh, from_field, from_record
from training.evaluation.renders import Views, portrait, render
from training.rendering.grid_mesh import grid_mesh


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    return write_boxes(tmp_path_factory.mktemp("data") / "boxes")


def test_surfaces_for_pictures_face_outward_and_are_lit_from_the_front():
    """An inside-out surface has the volume's negative, and its front lies in its own shadow."""
    radius = 0.5
    vertices, faces = grid_mesh((np.linalg.norm(lattice(32), axis=1) - radius).reshape(32, 32, 32))
    a, b, c = vertices[faces].transpose(1, 0, 2)
    assert np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6 == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.02)
    grey = PaintedMesh(vertices, faces, np.full((len(vertices), 3), 0.5, np.float32))
    image = portrait(grey).astype(int)
    middle = len(image) // 2
    assert image[middle, middle].min() > 100
    assert image[middle - 20, middle].min() > image[middle + 20, middle].max(), "the lamp is above"


COUNT = 8
"""Samples in the one set that is judged."""


class Standin:
    """A generator by name: what it makes of a code."""

    latent_size = 4

    def __init__(self, name: str) -> None:
        self.name = name
        self.made = 0

    def fields(self, codes: np.ndarray, size_m: float) -> list[Box]:
        return [self.make(code) for code in codes]

    def make(self, code: np.ndarray) -> Box:
        random = np.random.default_rng(np.abs(code * 1e6).astype(np.int64))
        if self.name == "copies":
            return BOXES["train"][random.integers(len(BOXES["train"]))]
        if self.name == "collapsed":
            return Box(0.45, 0.45, np.array([0.9, 0.1, 0.1]))
        self.made += 1
        if self.name == "empty" or (self.name == "islands" and self.made > COUNT):
            return Box(-3.0, 1.0, None)
        fresh = draw(random)
        return fresh if self.name in ("fresh", "islands") else dataclasses.replace(fresh, colour=None)


def standin(name: str, category: str = "chair") -> checkpoints.Checkpoint:
    config = checkpoints.CheckpointConfig(name, category, "standin", {}, 4, "normal", 1.0, "0" * 64)
    return checkpoints.Checkpoint(name, Path(name), config)


NAMES = ["fresh", "copies", "collapsed", "colourless"]


@pytest.fixture(scope="module", autouse=True)
def _small():
    """Stand-ins for generators, the mean colours of a picture's quarters as features, coarse shapes, short films."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(generators, "load", lambda checkpoint, device: Standin(checkpoint.id))
        monkeypatch.setattr(evaluate, "load_features", lambda inception, device: QUARTERS)
        for name, value in SMALL:
            monkeypatch.setattr(painted, name, value)
        monkeypatch.setattr(report, "WALKS", 2)
        monkeypatch.setattr(report, "STEPS", 4)
        yield


def judge(names: list[str], dataset: Path, out: Path) -> list[dict]:
    return evaluate.evaluate([standin(name) for name in names], dataset, out, sets=1, count=COUNT, views=Views(2, 32))


@pytest.fixture(scope="module")
def compared(dataset, tmp_path_factory) -> tuple[Path, dict[str, dict]]:
    out = tmp_path_factory.mktemp("out") / "new" / "folder"
    return out, dict(zip(NAMES, judge(NAMES, dataset, out), strict=True))


def figure(figures: dict, *path: str) -> float:
    for key in path:
        figures = figures[key]
    return figures["mean"]


def test_generators_are_told_apart(compared):
    _, figures = compared
    near = {name: figure(figures[name], "memorising", "samples", "share_near") for name in NAMES}
    assert near["copies"] == 1.0
    assert max(near["fresh"], near["collapsed"], near["colourless"]) < 0.5
    assert figure(figures["copies"], "memorising", "samples", "copying_z") < -3
    assert abs(figure(figures["fresh"], "memorising", "samples", "copying_z")) < 3
    assert figure(figures["collapsed"], "memorising", "samples", "share_repeated") == 1.0
    assert figure(figures["collapsed"], "samples", "coverage") == 1 / 8
    assert figure(figures["collapsed"], "path_length", "samples", "relative") == 0.0
    assert figure(figures["fresh"], "path_length", "samples", "relative") > 1.0
    for look in ("plain", "coloured"):
        kernel = {n: figure(figures[n], "renders", look, "samples", "kernel") for n in ("fresh", "collapsed")}
        assert kernel["collapsed"] > abs(kernel["fresh"])
        # One chair again and again is inside the real manifold, and covers little of it.
        assert figure(figures["collapsed"], "renders", look, "samples", "recall") < 0.5
        # Training shapes are what the copies are, and get the floor's figures within what eight shapes allow.
        copies, floor = (
            figure(figures["copies"], "renders", look, key, "kernel") for key in ("samples", "floor_training_set")
        )
        assert abs(copies - floor) < kernel["collapsed"]


def test_what_lies_between_samples_has_figures_of_its_own(compared, dataset, tmp_path):
    _, figures = compared
    for name in ("copies", "fresh", "colourless"):
        assert figure(figures[name], "between", "samples", "whole") == 1.0
        assert figure(figures[name], "between", "samples", "precision") > 0.5
    (islands,) = judge(["islands"], dataset, tmp_path)
    assert figure(islands, "pieces", "samples", "whole") == 1.0
    assert figure(islands, "between", "samples", "whole") == 0.0
    assert figure(islands, "between", "samples", "precision") == 0.0


def test_a_generator_without_colours_is_judged_in_grey_only(compared):
    _, figures = compared
    assert "coloured" not in figures["colourless"]["renders"]
    # The floors are the same for all that are compared.
    for key in ("floor_training_set", "category", "protocol"):
        assert figures["colourless"][key] == figures["fresh"][key]
    plain = [figures[name]["renders"]["plain"]["floor_training_set"] for name in NAMES]
    assert all(one == plain[0] for one in plain)


def test_the_report_holds_everything(compared):
    out, figures = compared
    for path in [out / "comparison.html", *(out / name / "report.html" for name in NAMES)]:
        page = path.read_text("utf-8")
        sources = re.findall(r'src="([^"]*)"', page)
        assert len(sources) >= 5
        assert all(source.startswith("data:image/") for source in sources)
        assert not re.search(r"https?:|<script|<link", page)
        assert page.count("<td") == page.count("</td>") > 20
    page = (out / "comparison.html").read_text("utf-8")
    for name in NAMES:
        assert f'href="{name}/report.html"' in page
        assert (out / name / "report.html").exists()
    nna = table.SECTIONS["Geometry, as point clouds"][0]
    assert nna.text(nna.of(figures["copies"])) in page
    assert json.loads((out / "comparison.json").read_text()) == list(figures.values())
    assert json.loads((out / "copies" / "metrics.json").read_text()) == figures["copies"]
    # Every copy stands beside a training shape at no distance.
    assert Image.open(out / "copies" / "nearest.png").width == 8 * Image.open(out / "copies" / "film.webp").width // 2


def test_the_film_goes_there_and_back(compared):
    film = Image.open(compared[0] / "fresh" / "film.webp")
    assert film.n_frames == 2 * 4 - 2
    frames = []
    for index in range(film.n_frames):
        film.seek(index)
        frames.append(np.asarray(film.convert("RGB")).astype(int))
    assert np.abs(frames[1] - frames[5]).mean() < 2  # compressed anew
    assert np.abs(frames[0] - frames[3]).mean() > 2


def test_tables_leave_out_what_was_not_measured(compared):
    figures = compared[1]
    titles = [title for title, _ in table.rows([figures["colourless"]])]
    assert "Renders, in their colours" not in titles
    both = dict(table.rows([figures["colourless"], figures["fresh"]]))
    assert {line[1] for line in both["Renders, in their colours"]} == {"–"}
    assert all(len(line) == 5 for lines in both.values() for line in lines)


def test_a_shape_is_the_same_from_a_record_and_from_a_field(dataset):
    """Which of the two a picture came from cannot be seen."""
    data = store.Dataset(dataset, "train")
    index = next(i for i, entry in enumerate(data.entries) if entry.name == "train/3.obj")
    pictures = [
        render(mesh, Views(3, 48).cameras, 48, "coloured").astype(int)
        for mesh in (from_record(data, index), from_field(BOXES["train"][3]))
    ]
    difference = np.abs(pictures[0] - pictures[1])
    assert np.percentile(difference, 99) <= 2
    plain = render(from_field(BOXES["train"][3]), Views(3, 48).cameras, 48, "plain")
    assert np.abs(plain - pictures[1]).mean() > 2
    empty = render(None, Views(3, 48).cameras, 48, "plain")
    assert empty.shape == (3, 48, 48, 3)
    assert len(np.unique(empty.reshape(-1, 3), axis=0)) == 1


def test_bad_requests(dataset, tmp_path, capsys):
    with pytest.raises(CheckpointError, match="different categories"):
        evaluate.evaluate([standin("fresh"), standin("copies", "lamp")], dataset, tmp_path)
    with pytest.raises(CheckpointError, match="one name"):
        judge(["fresh", "fresh"], dataset, tmp_path)
    with pytest.raises(EmptyShapeError, match="Only 0 of 8"):
        judge(["empty"], dataset, tmp_path)
    with pytest.raises(DatasetError, match="no shapes of category 'lamp'"):
        evaluate.evaluate([standin("fresh", "lamp")], dataset, tmp_path)
    with pytest.raises(DatasetError, match="held-out shapes"):
        evaluate.evaluate([standin("fresh")], dataset, tmp_path, count=3)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made a folder"):
        judge(["fresh"], dataset, tmp_path / "file" / "out")
    assert evaluate.main(["nothing", str(dataset), str(tmp_path)]) == 1
    assert "nothing" in capsys.readouterr().err
    for wrong in (["--count", "2"], ["--truncation", "1.5"], ["--views", "0"], ["--size", "8"]):
        with pytest.raises(SystemExit):
            evaluate.main(["chair-textured", str(dataset), str(tmp_path), *wrong])


@pytest.mark.parametrize("texture_latent", [0, 2])
def test_other_surfaces_are_the_neighbours(texture_latent):
    """Every row keeps its shape's part of the code; the rest goes round."""
    asked: list[np.ndarray] = []

    class Recorder(Standin):
        def make(self, code: np.ndarray) -> Box:
            asked.append(code)
            return Box(1.0, 1.0, None)

    codes = np.arange(12, dtype=np.float32).reshape(3, 4)
    judged = SimpleNamespace(
        checkpoint=SimpleNamespace(config=SimpleNamespace(texture_latent=texture_latent, size_m=1.0)),
        samples=SimpleNamespace(codes=codes),
        generator=Recorder("any"),
    )
    rows = other_surfaces(judged, 2, 4)  # type: ignore[arg-type]
    assert [len(row) for row in rows] == ([4, 4] if texture_latent else [])
    expected = [[*codes[row, :2], *codes[(row + i) % 3, 2:]] for row in (0, 1) for i in range(4)]
    assert np.array_equal(np.array(asked).reshape(-1, 4), expected if texture_latent else np.zeros((0, 4)))
