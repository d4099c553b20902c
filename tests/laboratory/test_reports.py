"""What was said of a file stays until that file is looked at again, whoever else writes into the dataset."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import trimesh
from report_process import FILES, file_of

from gan3d_core.errors import DatasetError
from training import prepare
from training.data import jobs, reports, store
from training.data.record import RecordSettings

TINY = RecordSettings(grids=(16,), views=0, surface_points=64, near_samples=64, volume_samples=64)
HERE = Path(__file__).parent


def said(dataset: Path, report: str = reports.SKIPPED) -> set[tuple[str, str]]:
    """Folder and file of each line."""
    return {(row["source"], row["file"]) for row in reports.read(dataset / report)}


def test_folders_that_fill_one_dataset_keep_their_reports(tmp_path):
    dataset = tmp_path / "dataset"
    for name in ("first", "second"):
        folder = tmp_path / name / "chair"
        folder.mkdir(parents=True)
        (folder / "sound.off").write_text(trimesh.creation.box((1.0, 1.0, len(name))).export(file_type="off"))
        (folder / "empty.off").write_text("")
        prepare.prepare(tmp_path / name, dataset, processes=1, settings=TINY)
    both = {("first", "chair/empty.off"), ("second", "chair/empty.off")}
    assert said(dataset) == both
    assert said(dataset, reports.FINDINGS) >= both
    assert (dataset / "sheet-chair.png").is_file(), "there is no grid of 64³ to draw it from"


def test_a_line_goes_when_its_file_has_been_used_and_no_sooner(tmp_path, monkeypatch):
    dataset = tmp_path / "d"
    store.create(dataset, {})
    files = [file_of(tmp_path, f"{number}.off") for number in range(3)]

    def run(outcomes: list[jobs.Result], strict: bool = False) -> dict[str, str]:
        monkeypatch.setattr(jobs, "run", lambda *_: (result for result in outcomes))
        try:
            prepare._run("Preparing", files, dataset, TINY, 1, strict)
        finally:
            found = {row["file"]: row["reason"] for row in reports.read(dataset / reports.SKIPPED)}
        return found

    skipped = [jobs.Result(file.name, "skipped", "It is a twin.") for file in files]
    assert run(skipped) == dict.fromkeys(("0.off", "1.off", "2.off"), "It is a twin.")
    assert set(run([jobs.Result("0.off", "made")])) == {"1.off", "2.off"}, "the others were not reached"
    with pytest.raises(DatasetError, match=r"1\.off cannot be used: It is thin"):
        run([jobs.Result("1.off", "skipped", "It is thin.")], strict=True)
    assert run([jobs.Result("2.off", "kept")]) == {"1.off": "It is thin."}


def test_lines_without_an_origin_are_about_any_file_of_their_name(tmp_path):
    store.create(tmp_path / "d", {})
    lines = [{"file": "a.off", "reason": "old"}, {"file": "b.off", "reason": "old"}, ["no line"], {"reason": "none"}]
    path = tmp_path / "d" / reports.SKIPPED
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"file": "c')
    reports.note(tmp_path / "d", reports.SKIPPED, [file_of(tmp_path, "a.off")], [])
    assert reports.read(path) == [{"file": "b.off", "reason": "old"}]
    assert reports.read(tmp_path / "nowhere") == []


def test_processes_that_report_at_once_lose_nothing(tmp_path):
    store.create(tmp_path / "d", {})
    command = [sys.executable, str(HERE / "report_process.py"), str(tmp_path / "d")]
    root = HERE.parent.parent
    running = [
        subprocess.Popen([*command, str(tmp_path / f"source{n}")], cwd=root, env={"PYTHONPATH": str(root)})
        for n in range(3)
    ]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert said(tmp_path / "d") == {(f"source{n}", f"{number}.off") for n in range(3) for number in range(FILES)}


def test_what_cannot_be_written_is_said_and_keeps_what_was_there(tmp_path):
    store.create(tmp_path / "d", {})
    for name, write in (
        (reports.SKIPPED, lambda: reports.note(tmp_path / "d", reports.SKIPPED, [], [])),
        ("manifest.jsonl", lambda: store.write_manifest(tmp_path / "d")),
    ):
        (tmp_path / "d" / name).mkdir()
        with pytest.raises(DatasetError, match=rf"{name} cannot be written"):
            write()
        assert not [path for path in (tmp_path / "d").iterdir() if path.name.startswith(f".{Path(name).stem}-")]
