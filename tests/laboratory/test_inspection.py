"""The page about a dataset: near-duplicates are found and only those, its figures are right, and it stands alone."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from pathlib import Path

import numpy as np
import pytest
import solids
import trimesh
from hypothesis import given
from hypothesis import strategies as st
from pages import read_page

from gan3d_core.field import lattice
from training.data import store
from training.data.writer import Writer
from training.inspection.charts import histogram, number, ticks
from training.inspection.colours import every_shape, palette, saturation
from training.inspection.duplicates import SYMMETRIES, near_duplicates
from training.inspection.findings import findings
from training.inspection.labels import summarise
from training.inspection.markup import element
from training.inspection.measures import measure
from training.prepare import main

Boxes = list[tuple[tuple[float, ...], tuple[float, ...]]]

# A seat with a back, two legs of three and one arm: no symmetry maps it onto itself.
SEAT: Boxes = [
    ((-0.5, -0.5, -0.1), (0.5, 0.5, 0.0)),
    ((-0.5, 0.4, 0.0), (0.5, 0.5, 0.9)),
    ((-0.5, -0.5, -0.9), (-0.38, -0.38, -0.1)),
    ((0.38, -0.5, -0.9), (0.5, -0.38, -0.1)),
    ((-0.06, 0.38, -0.9), (0.06, 0.5, -0.1)),
    ((0.38, -0.4, 0.0), (0.5, 0.4, 0.3)),
]
BAR: Boxes = [((-0.4, -0.48, -0.6), (0.4, -0.4, -0.5))]
STOOL: Boxes = [((-0.4, -0.4, 0.7), (0.4, 0.4, 0.9)), ((-0.1, -0.1, -0.9), (0.1, 0.1, 0.7))]
WOOD, BLUE, MAGENTA = (120, 80, 40), (30, 60, 200), (255, 0, 255)


@functools.cache
def grid(boxes: tuple, resolution: int) -> np.ndarray:
    points = lattice(resolution)
    distance = np.min([solids.box_distance(points, low, high) for low, high in boxes], axis=0)
    return distance.reshape((resolution,) * 3).astype(np.float16)


def arrays_of(boxes: Boxes, colour: tuple[int, int, int], seed: int, metal: int = 0) -> dict[str, np.ndarray]:
    meshes = [trimesh.Trimesh(*solids.box(low, high), process=False) for low, high in boxes]
    mesh = trimesh.util.concatenate(meshes)
    points, face = trimesh.sample.sample_surface(mesh, 4096, seed=seed)
    surface = np.concatenate([points, mesh.face_normals[face]], axis=1).astype(np.float16)
    material = np.tile(np.array([*colour, 150, metal], np.uint8), (len(points), 1))
    return {"sdf32": grid(tuple(boxes), 32), "sdf64": grid(tuple(boxes), 64), "surface": surface, "material": material}


def entry_of(identity: str, name: str, split: str, **more) -> store.Entry:
    fields = {"category": "chair", "licence": "CC0-1.0", "author": "Ann", "size_m": 0.9, "faces": 72}
    fields |= {"watertight": True, "thin_share": 0.0, "colored": True, "labels": {}}
    return store.Entry(id=identity, name=name, split=split, **(fields | more))


def moved(boxes: Boxes, symmetry: int) -> Boxes:
    out = []
    for box in boxes:
        ends = SYMMETRIES[symmetry].of_points(np.array(box))
        out.append((tuple(ends.min(axis=0)), tuple(ends.max(axis=0))))
    return out


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("inspect") / "set & <b>others"
    store.create(folder, {"grids": [32, 64]})
    labels = {"width": 0.5, "params": {"legs": "three", "arm": True}, "center": [1, 2]}
    shapes = [
        (SEAT, WOOD, entry_of("a", "seat.obj", "train", labels=labels)),
        (moved(SEAT, 6), WOOD, entry_of("b", "turned.obj", "test", size_m=0.8, labels=labels | {"width": 0.7})),
        (SEAT, BLUE, entry_of("c", "blue.obj", "train", author='<script>alert("x")</script>')),
        (SEAT, BLUE, entry_of("d", "seat.obj#1", "train", parent="seat.obj")),
        (SEAT + BAR, WOOD, entry_of("e", "barred.obj", "validation", thin_share=0.4, labels={"width": 0.9})),
        (STOOL, MAGENTA, entry_of("f", "stool.obj", "train", size_m=90.0, watertight=False)),
        (STOOL, (0, 0, 0), entry_of("g", "plain.obj", "train", category="<i>stool</i>", colored=False)),
        (STOOL, (0, 0, 0), entry_of("h", "metal.obj", "test", category="<i>stool</i>", licence="unknown")),
    ]
    writer = Writer(folder)
    for seed, (boxes, colour, entry) in enumerate(shapes):
        writer.append(entry, arrays_of(boxes, colour, seed, metal=255 if entry.id == "h" else 0))
    writer.close()
    store.write_manifest(folder)
    rows = [
        {"file": "bad/one.obj", "reason": "bad/one.obj is empty."},
        {"file": "two.obj", "reason": "two.obj is empty."},
    ]
    (folder / "skipped.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_near_duplicates_are_found_and_only_those(folder):
    data = store.Dataset(folder)
    pairs = near_duplicates(data)
    found = {frozenset((data.entries[p.first].id, data.entries[p.second].id)): p for p in pairs}
    # Not e (a bar more), not a–d (the one is made of the other), not f–g (other categories).
    wanted = {"ab", "ac", "bc", "bd", "cd", "gh"}
    assert {"".join(sorted(key)) for key in found} == wanted
    assert pairs[0].crosses(data)
    crossing = [pair.crosses(data) for pair in pairs]
    assert crossing == sorted(crossing, reverse=True)
    turned = found[frozenset("ab")]
    onto_first = SYMMETRIES.index(turned.symmetry)
    first, second = (moved(SEAT, 6), SEAT) if data.entries[turned.first].id == "b" else (SEAT, moved(SEAT, 6))
    assert sorted(np.round(moved(second, onto_first), 6).tolist()) == sorted(np.round(first, 6).tolist())
    assert str(found[frozenset("ac")].symmetry) == ""
    assert all(pair.distance < 0.004 for pair in pairs), "they are the same but for their samples"
    assert found[frozenset("ac")].colour_difference > 0.1
    assert turned.colour_difference < 0.01


@pytest.mark.parametrize("symmetry", SYMMETRIES, ids=str)
def test_symmetries_do_the_same_to_grids_and_points(symmetry):
    grid = np.zeros((8, 8, 8))
    grid[6, 1, 5] = 1
    centre = (np.array([[6, 1, 5]]) + 0.5) / 4 - 1
    (cell,) = np.argwhere(symmetry.of_grid(grid))
    assert np.allclose(symmetry.of_points(centre), (cell + 0.5) / 4 - 1)


def test_findings_name_what_is_wrong(folder):
    data = store.Dataset(folder)
    index = {entry.id: i for i, entry in enumerate(data.entries)}
    found = findings(data, measure(data), near_duplicates(data), [{"file": "x", "reason": "y"}])
    text = " ".join(finding.text for finding in found)
    for words, shapes in (
        ("magenta", "f"),
        ("colours to be trusted", "g"),
        ("black metal", "h"),
        ("larger or smaller", "f"),
        ("thickened", "e"),
    ):
        (finding,) = [finding for finding in found if words in finding.text]
        assert finding.shapes == tuple(index[one] for one in shapes)
    assert "no shape for validation" in text
    assert "1 file could not be used" in text
    levels = [("bad", "warn", "note").index(finding.level) for finding in found]
    assert levels == sorted(levels)


def test_the_page_stands_alone_and_says_what_is_there(folder, capsys):
    assert main(["inspect", str(folder), "--pictures", "2"]) == 0
    assert "bad: " in capsys.readouterr().err
    page = (folder / "inspection.html").read_text("utf-8")
    text = read_page(page).text
    for words in (
        "Dataset set & <b>others",
        "<i>stool</i>",
        '<script>alert("x")</script>',
        "Across splits",
        "CC0-1.0",
        "The file is empty.",
        "bad/one.obj",
        "params.legs",
        "8 shapes",
        "5 train",
        "1 validation",
        "2 test",
        "2 files skipped",
    ):
        assert words in text


def test_the_command_reports_what_is_wrong(tmp_path, folder, capsys):
    assert main(["inspect", str(tmp_path)]) == 1
    assert "no GAN3D dataset" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(["inspect", str(folder), "--pictures", "1", "--output", str(tmp_path / "file" / "page.html")]) == 1
    assert "cannot be written" in capsys.readouterr().err
    assert main(["inspect", str(folder), "--category", "lamp"]) == 1
    assert "no shapes of category 'lamp'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["inspect", str(folder), "--pictures", "0"])


numbers = st.floats(-1e6, 1e6, allow_nan=False)


@given(st.lists(numbers, min_size=1, max_size=50), st.integers(1, 40))
def test_histograms_count_everything(values, bins):
    chart = histogram(np.array(values), bins=bins)
    shares = [float(share) for share in re.findall(r": ([\d.]+) %", chart)]
    assert sum(shares) == pytest.approx(100, abs=0.06 * len(shares))
    assert 1 <= len(shares) <= bins
    heights = [float(height) for height in re.findall(r' height="([\d.]+)"', chart)]
    assert np.argmax(heights) in np.flatnonzero(np.array(shares) > max(shares) - 0.11)


@given(numbers, st.floats(1e-3, 1e6), st.integers(2, 8))
def test_ticks_are_round_and_inside(low, span, count):
    marks = ticks(low, low + span, count)
    assert len(marks) <= count + 1
    assert (marks >= low - 1e-6 * span).all()
    assert (marks <= low + span * (1 + 1e-6)).all()
    steps = np.diff(marks)
    if len(steps):
        assert np.allclose(steps, steps[0], rtol=1e-3)
        digits = steps[0] / 10 ** np.floor(np.log10(steps[0] * 1.0001))
        assert np.isclose(digits, [1, 2, 5, 10], rtol=1e-2).any()


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.5, "0.5"), (12345, "12,345"), (-0.0421, "-0.0421"), (2e7, "2e+07"), (100.0, "100")]
)
def test_numbers_read_well(value, text):
    assert number(value) == text


def test_elements_escape_what_is_not_markup():
    made = element("p", "<b>", element("i", "&"), ["x", None], class_='"a"', data_x=None)
    assert made == '<p class="&quot;a&quot;">&lt;b&gt;<i>&amp;</i>x</p>'


def test_palettes_find_the_colours_that_are_there():
    wood, blue = np.array(WOOD) / 255, np.array(BLUE) / 255
    points = np.concatenate([np.tile(wood, (750, 1)), np.tile(blue, (250, 1))])
    found = palette(points)
    assert sum(share for _, share in found) == pytest.approx(1)
    assert len(found) == 2
    for colour, share in ((wood, 0.75), (blue, 0.25)):
        assert any(np.allclose(c, colour, atol=0.01) and s == pytest.approx(share) for c, s in found)
    image = every_shape(points.reshape(10, 100, 3), height=20)
    assert image.shape == (20, 10, 3)
    assert {tuple(pixel) for pixel in image.reshape(-1, 3).tolist()} == {WOOD, BLUE}
    assert np.allclose(saturation(np.array([[0, 0, 0], [1, 1, 1], [1, 0, 0], [0.5, 0.25, 0.25]])), [0, 0, 1, 0.5])


def test_labels_have_ranges_values_and_constants():
    every = [{"a": i, "b": {"c": "x" if i % 3 else "y", "d": True}, "e": [1]} for i in range(9)] + [{"a": 0.5}]
    labels = {label.name: label for label in summarise(every)}
    assert set(labels) == {"a", "b.c", "b.d"}
    assert (labels["a"].kind, labels["a"].present, labels["a"].values.max()) == ("number", 10, 8)
    assert labels["b.c"].counts == (("x", 6), ("y", 3))
    assert (labels["b.d"].kind, labels["b.d"].counts) == ("constant", (("True", 9),))
    assert dataclasses.replace(labels["a"], values=None).name == "a"
