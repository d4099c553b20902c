"""Shapes of one name from two folders of one name: both are kept, and said so before the long work starts.

A dataset may be filled from several folders, and people's folders are often called the same. A changed file replaces
its earlier self; somebody else's `chairs/chair/1.obj` must not.
"""

from __future__ import annotations

import collections
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .source import SourceFile
from .store import Entry


def homonyms(files: Sequence[SourceFile], entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Rows of `findings.jsonl` for files whose name a dataset has from another folder, with other content.

    Args:
        files: those about to be prepared.
        entries: those that the dataset has.
    """
    there = collections.defaultdict(list)
    for entry in entries:
        if entry.origin and not entry.parent:
            there[entry.category, entry.source, entry.name].append(entry)
    rows = []
    for file in files:
        others = [entry for entry in there[file.category, file.source, file.name] if entry.origin != file.origin]
        if others and _sha256(file) not in {entry.sha256 for entry in others}:
            rows.append({"file": file.name, "finding": "same_name", "source": file.source})
    return rows


def sentence(rows: Sequence[dict[str, Any]]) -> str:
    """What to say of them; empty if there is nothing."""
    if not rows:
        return ""
    source = rows[0]["source"]
    first = ", ".join(row["file"] for row in rows[:3])
    more = f" and {len(rows) - 3} more" if len(rows) > 3 else ""
    return (
        f"{len(rows)} of the files are called like shapes that the dataset has from another folder {source!r}, and are "
        f"others: both are kept ({first}{more}). If it is the same folder in a new place, make a new dataset instead."
    )


def _sha256(file: SourceFile) -> str:
    try:
        return hashlib.sha256(Path(file.path).read_bytes()).hexdigest()
    except OSError:  # it cannot be prepared either, which is reported then
        return ""
