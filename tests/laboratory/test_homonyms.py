"""Two folders of one name, with shapes of one category and file name: neither replaces the other, and it is said."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import trimesh
from store_process import PICTURES, arrays_of, entry_of

from training.data import store
from training.data.homonyms import homonyms, sentence
from training.data.layouts import discover
from training.data.record import RecordSettings
from training.data.writer import Writer
from training.prepare import prepare


def box(path: Path, width: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(trimesh.creation.box((width, 1.0, 1.0)).export(file_type="off"))
    return path


def test_both_are_kept_named_and_may_change(tmp_path, capsys):
    settings = RecordSettings(grids=(64,), views=0, surface_points=256, near_samples=64, volume_samples=64)
    box(tmp_path / "hers" / "chairs" / "chair" / "1.off", 0.5)
    box(tmp_path / "his" / "chairs" / "chair" / "1.off", 0.9)
    data = tmp_path / "data"
    prepare(tmp_path / "hers" / "chairs", data, processes=1, settings=settings)
    assert "both are kept" not in capsys.readouterr().err
    entries = prepare(tmp_path / "his" / "chairs", data, processes=1, settings=settings)
    report = capsys.readouterr().err
    assert report.index("both are kept (chair/1.off)") < report.index("Preparing"), "before the long work starts"
    (row,) = map(json.loads, (data / "findings.jsonl").read_text().splitlines()[-1:])
    assert (row["file"], row["finding"], row["source"]) == ("chair/1.off", "same_name", "chairs")
    assert [(entry.name, entry.source) for entry in entries] == [("chair/1.off", "chairs")] * 2
    assert len({entry.origin for entry in entries}) == len({entry.sha256 for entry in entries}) == 2
    assert {entry.split for entry in entries} == {store.split_of("chair/chair/1.off")}
    widths = [np.ptp(store.Dataset(data).array(index, "surface")[:, 0]) for index in range(2)]
    assert sorted(widths) == pytest.approx([0.9, 1.62], abs=0.01)
    # A file that was changed where it is still replaces what it was, and the other folder's stays.
    box(tmp_path / "his" / "chairs" / "chair" / "1.off", 0.7)
    prepare(tmp_path / "his" / "chairs", data, processes=1, settings=settings)
    widths = [np.ptp(store.Dataset(data).array(index, "surface")[:, 0]) for index in range(2)]
    assert sorted(widths) == pytest.approx([0.9, 1.26], abs=0.01)


def test_what_counts_as_the_same_name(tmp_path):
    (file,) = discover(box(tmp_path / "mine" / "chairs" / "chair" / "1.off", 0.5).parents[1]).files
    (same,) = discover(box(tmp_path / "yours" / "chairs" / "chair" / "1.off", 0.5).parents[1]).files
    (other,) = discover(box(tmp_path / "theirs" / "chairs" / "chair" / "1.off", 0.6).parents[1]).files
    (elsewhere,) = discover(box(tmp_path / "theirs" / "seats" / "chair" / "1.off", 0.6).parents[1]).files
    sha256 = hashlib.sha256(Path(file.path).read_bytes()).hexdigest()
    entry = dataclasses.replace(entry_of(0), name="chair/1.off", origin=file.origin, sha256=sha256)
    assert homonyms([file, same, elsewhere], [entry]) == [], "its own, equal bytes, another folder's name"
    assert [row["file"] for row in homonyms([other], [entry])] == ["chair/1.off"]
    assert homonyms([other], [dataclasses.replace(entry, origin="")]) == [], "records of before say no folder"
    assert homonyms([dataclasses.replace(other, path=str(tmp_path / "gone.off"))], [entry])
    assert sentence([]) == ""
    assert "2 more" in sentence([{"file": f"chair/{number}.off", "source": "chairs"} for number in range(5)])


def test_a_record_without_an_origin_is_replaced_as_before(tmp_path):
    store.create(tmp_path, {})
    writer = Writer(tmp_path, PICTURES)
    old = entry_of(0)
    for number, entry in enumerate(
        [
            dataclasses.replace(old, written=1.0),
            dataclasses.replace(old, id="a" * 20, origin="a" * 12, written=2.0),
            dataclasses.replace(old, id="b" * 20, origin="b" * 12, written=3.0),
            dataclasses.replace(old, id="c" * 20, origin="b" * 12, written=4.0),
        ]
    ):
        writer.append(dataclasses.replace(entry, labels={"number": number}), arrays_of(number))
    writer.close()
    assert [entry.labels["number"] for entry in store.write_manifest(tmp_path)] == [1, 3]
