"""What was said of source files, a JSON object a line: `skipped.jsonl` and `findings.jsonl`.

Several folders may fill one dataset, one after the other or at once. So a line stays until its own file is looked at
again, whatever is prepared meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .locks import Locks
from .source import SourceFile
from .store import LOCKS, write_lines

SKIPPED = "skipped.jsonl"
FINDINGS = "findings.jsonl"


def note(dataset: Path, report: str, looked: Iterable[SourceFile], rows: Sequence[dict[str, Any]]) -> None:
    """Exchange what a report says of some files. Processes that do it at once wait for each other.

    Args:
        dataset: the folder that `store.create` made.
        report: `SKIPPED` or `FINDINGS`.
        looked: the files that can be judged now.
        rows: what is said of them; each names its `file`, and gets that file's `source` and `origin`.

    Raises:
        DatasetError: the disk is full or fails.
    """
    files = {file.name: file for file in looked}
    fresh = [{**row, "source": files[row["file"]].source, "origin": files[row["file"]].origin} for row in rows]
    locks = Locks(dataset / LOCKS)
    try:
        with locks.held("reports"):
            there = [row for row in read(dataset / report) if not _is_about(row, files)]
            write_lines(dataset / report, "".join(json.dumps(row) + "\n" for row in [*there, *fresh]))
    finally:
        locks.close()


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a report that name a file; none where there is no report. What is no such line is left out."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    return [row for line in lines if (row := _row(line)) is not None]


def _row(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("file"), str) else None


def _is_about(row: dict[str, Any], files: dict[str, SourceFile]) -> bool:
    """Lines of before there were origins are about any file of their name."""
    file = files.get(row["file"])
    return file is not None and row.get("origin", file.origin) == file.origin
