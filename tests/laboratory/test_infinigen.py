"""Shapes from a generator in a process of its own: a folder is filled, whatever goes wrong with single shapes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from infinigen_stand_in import StandIn

from gan3d_core.errors import DatasetError, OutputError, WorkerStartError
from training.data.readers import read
from training.data.source import SourceFile
from training.infinigen import catalogue, generate, process


@pytest.fixture
def stand_in(tmp_path) -> StandIn:
    return StandIn(tmp_path)


def test_as_many_as_asked_for_each_made_once_and_readable(stand_in):
    assert stand_in.fill(5, first=40) == 5
    assert [row["seed"] for row in stand_in.rows()] == [40, 41, 42, 43, 44] == stand_in.asked()
    assert stand_in.starts() == 1
    for row in stand_in.rows():
        assert row["kind"] == catalogue.kind_of("chair", row["seed"]).name
        assert row["params"] == {"width": row["seed"] / 7}
        file = SourceFile(str(stand_in.folder / row["file"]), row["file"], "chair", "", "", "+Z", "+X", 1.0, row)
        mesh = read(file)
        assert np.ptp(mesh.vertices, axis=0) == pytest.approx([1, 1, 1])
        assert mesh.vertices.min(axis=0) == pytest.approx([-0.5, -0.5, 0], abs=1e-4)
        assert len(mesh.faces) == 4  # stored with 16 or 32 bits by turns
    # The same command again makes nothing; a larger count only what is missing.
    assert stand_in.fill(5, first=40) == 0
    assert stand_in.fill(7, first=40) == 2
    assert stand_in.asked() == [40, 41, 42, 43, 44, 45, 46]


def test_what_goes_wrong_is_skipped_with_its_reason_and_never_tried_again(stand_in):
    stand_in.does = {1: "fail", 2: "die", 4: "rubbish", 5: "broken", 6: "holes", 7: "unsized"}
    assert stand_in.fill(4) == 4
    assert [row["seed"] for row in stand_in.rows()] == [0, 3, 8, 9]
    reasons = {row["seed"]: row["reason"] for row in stand_in.rows(generate.SKIPPED)}
    assert set(reasons) == {1, 2, 4, 5, 6, 7}
    assert reasons[1] == "ValueError: no legs"
    assert reasons[2] == "the generator ended (exit code 11): Segmentation fault in the cushion"
    assert "answer" in reasons[4]
    assert "cannot be read" in reasons[5]
    assert "do not exist" in reasons[6]
    assert "size_m" in reasons[7]
    assert {path.name for path in (stand_in.folder / "chair").iterdir()} == {
        f"{seed:06}.npz" for seed in (0, 3, 8, 9)
    }, "what cannot be used leaves no file"
    assert stand_in.starts() == 3, "a new process after a death and after rubbish, and for nothing else"
    stand_in.does = {}
    assert stand_in.fill(5) == 1
    assert stand_in.asked()[-1] == 10


def test_a_shape_that_takes_too_long_is_given_up(stand_in):
    stand_in.does = {0: "hang"}
    begin = time.monotonic()
    made = generate.generate(
        stand_in.folder,
        "lamp",
        1,
        0,
        lambda: process.GeneratorProcess(
            [sys.executable, str(stand_in.program), str(stand_in.log), json.dumps(stand_in.does)], limit_s=1.5
        ),
    )
    assert made == 1
    assert time.monotonic() - begin < 300, "the stand-in sleeps for ten minutes"
    assert [(row["seed"], row["reason"]) for row in stand_in.rows(generate.SKIPPED)] == [
        (0, "it took longer than 1.5 s")
    ]


def test_a_generator_that_makes_nothing_is_found_out(stand_in):
    stand_in.does = dict.fromkeys(range(1, 100), "fail")
    with pytest.raises(DatasetError, match="ValueError: no legs"):
        stand_in.fill(50)
    assert stand_in.asked() == list(range(generate.HOPELESS + 1))
    assert len(stand_in.rows()) == 1


def test_after_a_crash_it_goes_on_from_what_is_whole(stand_in):
    stand_in.fill(4)
    metadata = stand_in.folder / generate.METADATA
    metadata.write_text(metadata.read_text() + '{"file": "chair/0000')  # cut off by a power failure
    (stand_in.folder / "chair" / "000001.npz").unlink()
    assert stand_in.fill(4) == 1
    assert sorted(row["seed"] for row in stand_in.rows()) == [0, 1, 2, 3]
    # A line in the middle is nobody's crash.
    metadata.write_text("chairs\n" + metadata.read_text())
    with pytest.raises(DatasetError, match="Line 1"):
        stand_in.fill(9)


def test_categories_share_a_folder_and_several_processes_a_category(stand_in):
    stand_in.does = {3: "fail", 5: "die"}
    assert stand_in.fill(9, processes=3) == 9
    assert stand_in.fill(3, category="sofa") == 3
    chairs = [row["seed"] for row in stand_in.rows() if row["category"] == "chair"]
    assert len(chairs) == len(set(chairs)) == 9, "exactly as many as asked for"
    assert not {3, 5} & set(chairs)
    assert sorted(row["seed"] for row in stand_in.rows() if row["category"] == "sofa") == [0, 1, 2]


def test_two_programs_do_not_fill_one_folder(stand_in):
    stand_in.folder.mkdir()
    holder = (
        "import sys, time; from pathlib import Path; from training.data.locks import Locks;"
        "l = Locks(Path(sys.argv[1])); assert l.take('generate'); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(stand_in.folder / ".lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parent.parent.parent,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == b"held"
        with pytest.raises(DatasetError, match="Another program"):
            stand_in.fill(1)
        assert not stand_in.log.exists()
        other.communicate()
    assert stand_in.fill(1) == 1


def test_an_interrupt_keeps_what_is_finished_and_leaves_no_process(stand_in, monkeypatch):
    made = []
    note = generate._Run._note

    def interrupted(self, seed, future):
        made.append(note(self, seed, future))
        if len(made) == 2:
            raise KeyboardInterrupt
        return made[-1]

    started = []
    monkeypatch.setattr(generate._Run, "_note", interrupted)
    with pytest.raises(KeyboardInterrupt):
        generate.generate(
            stand_in.folder, "chair", 50, 0, lambda: started.append(stand_in.start()) or started[-1], processes=2
        )
    assert len(stand_in.rows()) == 2
    assert all(entry._process.poll() is not None for entry in started)
    monkeypatch.undo()
    stand_in.fill(3)
    assert len({row["seed"] for row in stand_in.rows()}) == 3


def test_folders_and_programs_that_cannot_be_used(stand_in, tmp_path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(OutputError):
        generate.generate(file, "chair", 1, 0, stand_in.start)
    for words in (["/nonexistent/python"], [sys.executable, "-c", "print('hello')"], [sys.executable, "-c", "pass"]):
        with pytest.raises(WorkerStartError):
            generate.generate(tmp_path / "none", "chair", 1, 0, lambda words=words: process.GeneratorProcess(words, 5))
    assert generate.read_rows(tmp_path / "none" / generate.SKIPPED) == [], "no seed is to blame for that"


def test_skipping_does_not_lead_into_the_seeds_of_evaluation(stand_in):
    stand_in.does = {99_998: "fail"}
    with pytest.raises(DatasetError, match="kept for evaluation"):
        stand_in.fill(2, first=99_998)
    assert stand_in.asked() == [99_998, 99_999]
    assert stand_in.fill(1, first=100_000, evaluation=True) == 1


def test_light_materials_are_asked_for_and_never_mixed_with_others(stand_in):
    assert stand_in.fill(2, light=True) == 2
    assert [row["light_materials"] for row in stand_in.rows()] == [True, True]
    with pytest.raises(DatasetError, match="without Infinigen's black materials"):
        stand_in.fill(3)
    assert stand_in.fill(1, category="sofa") == 1, "each category for itself"
    assert "light_materials" not in stand_in.rows()[-1]
    with pytest.raises(DatasetError, match="with Infinigen's black materials"):
        stand_in.fill(2, category="sofa", light=True)
    assert stand_in.fill(3, light=True) == 1
    assert [line.split()[-1] for line in stand_in.log.read_text().splitlines() if line != "start"] == [
        "True", "True", "False", "True",
    ]  # fmt: skip
