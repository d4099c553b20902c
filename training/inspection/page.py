"""The whole page: everything about a dataset in one file that needs no network."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from ..data import reports
from ..data.store import SPLITS, Dataset, read_settings
from .document import document, section
from .duplicates import near_duplicates
from .figures import (
    colours_section,
    labels_section,
    licences_section,
    sizes_section,
    skipped_section,
    surfaces_section,
)
from .findings import Finding, findings
from .markup import Markup, element
from .measures import measure
from .pictures import Pictures
from .sections import duplicates_section, findings_section, sheets_section, splits_section

Watch = Callable[[str], Callable[[int, int], None]]
"""From the name of a stage to what is called with steps done and steps in all."""


def inspection_page(data: Dataset, count: int = 40, watch: Watch | None = None) -> tuple[str, list[Finding]]:
    """Measure a dataset and write about it.

    Args:
        data: the whole dataset, or part of it.
        count: how many shapes of each category and split are pictured.
        watch: told of progress.

    Returns:
        the page as HTML, and its findings, worst first.

    Raises:
        DatasetError: a record cannot be read.
    """
    measures = measure(data, watch and watch("Measuring"))
    pairs = near_duplicates(data, watch and watch("Comparing"))
    skipped = _skipped(data.folder)
    found = findings(data, measures, pairs, skipped or [])
    pictures = Pictures(data)
    stages: list[Callable[[], Markup]] = [
        lambda: findings_section(found, pictures),
        lambda: splits_section(data),
        lambda: sheets_section(data, pictures, count),
        lambda: duplicates_section(data, pairs, pictures),
        lambda: sizes_section(data, measures, pictures),
        lambda: surfaces_section(data),
        lambda: colours_section(data, measures),
        lambda: labels_section(data),
        lambda: licences_section(data),
        lambda: skipped_section(skipped),
        lambda: section("Settings", element("code", json.dumps(read_settings(data.folder), sort_keys=True))),
    ]
    told = watch and watch("Drawing")
    sections = []
    for done, stage in enumerate(stages, 1):
        sections.append(stage())
        if told:
            told(done, len(stages))
    return _document(data, skipped, sections), found


def _document(data: Dataset, skipped: list[dict[str, str]] | None, sections: list[Markup]) -> str:
    facts: list[tuple[str, int]] = [("shapes", len(data))]
    facts.append(("categories", len({entry.category for entry in data.entries})))
    facts += [(split, sum(entry.split == split for entry in data.entries)) for split in SPLITS]
    facts.append(("files skipped", len(skipped or [])))
    shown = [(name, f"{count:,}") for name, count in facts]
    return document(f"Dataset {data.folder.resolve().name}", shown, sections, "python -m training.prepare inspect")


def _skipped(folder: Path) -> list[dict[str, str]] | None:
    """What preparing could not use; None where there is no report."""
    path = folder / reports.SKIPPED
    if not path.is_file():
        return None
    return [{"file": row["file"], "reason": str(row.get("reason", ""))} for row in reports.read(path)]
