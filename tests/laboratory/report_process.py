"""A process that reports files of a folder of its own, one by one: `python report_process.py DATASET FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from training.data import reports
from training.data.source import SourceFile

FILES = 40


def file_of(folder: Path, name: str) -> SourceFile:
    return SourceFile(str(folder / name), name, "chair", "", "", "+Y", "+Z", 1.0)


if __name__ == "__main__":
    for number in range(FILES):
        file = file_of(Path(sys.argv[2]), f"{number}.off")
        reports.note(Path(sys.argv[1]), reports.SKIPPED, [file], [{"file": file.name, "reason": "empty"}])
