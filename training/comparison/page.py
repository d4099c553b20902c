"""The report of a comparison: `comparison.json`, `.md` and `.html`, and a sheet of samples for each group."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gan3d_core.files import write_text

from ..inspection.document import document, section
from ..inspection.markup import Markup, data_uri, element, table
from ..progress import clock
from ..rendering.preview import BACKGROUND, contact_sheet
from . import judging
from .plan import Plan
from .table import HEAD, Result, budget_text, markdown, table_rows

REFERENCES = "references.png"


def write(plan: Plan, results: Mapping[str, Sequence[Result]], figures: Mapping[str, Any], out: Path) -> None:
    """Write everything anew from what there is so far."""
    write_text(out / "comparison.json", json.dumps(figures, indent=2) + "\n")
    write_text(out / "comparison.md", markdown(figures))
    parts = [section("Plan", element("p", plan.about), element("p", budget_text(figures)))]
    for group in plan.groups:
        strips = [_strip(results.get(entry.run, ())) for entry in group.entries] + [_read(out / REFERENCES)]
        names = [*(entry.name for entry in group.entries), "held-out shapes"]
        contact_sheet(strips, out / f"{group.name}.png", columns=1, captions=names)
        parts.append(_group(group.name, figures, out / f"{group.name}.png"))
    parts.append(_settings(figures))
    parts.append(section("Protocol", element("p", figures["protocol"] + ".")))
    facts = [
        ("entries", str(sum(len(group.entries) for group in plan.groups))),
        ("runs done", str(sum(len(each) for each in results.values()))),
        ("training for each", clock(60 * figures["minutes"])),
        ("training seeds", str(figures["seeds"])),
    ]
    page = document(f"Comparison {plan.name}", facts, parts, "python -m training.compare")
    write_text(out / "comparison.html", page)


def _group(name: str, figures: Mapping[str, Any], sheet: Path) -> Markup:
    group = figures["groups"][name]
    rows: list[list[object]] = [list(row) for row in table_rows(group, figures["floor_training_set"])]
    troubles = [
        element("li", element("p", element("strong", f"{entry} "), trouble), class_="bad")
        for entry, line in group["entries"].items()
        for trouble in line["troubles"]
    ]
    return section(
        name.capitalize(),
        element("div", table(list(HEAD), rows, tuple(range(1, len(HEAD)))), class_="wide"),
        troubles and element("ul", troubles, class_="findings"),
        element("h3", f"The first {judging.SHOWN} codes of the first training seed, nothing left out"),
        element("div", element("img", src=data_uri(_read(sheet)), alt=f"Samples of {name}"), class_="large"),
        lead=group["about"],
    )


def _settings(figures: Mapping[str, Any]) -> Markup:
    rows: list[list[object]] = [
        [f"{group}: {name}", element("code", line["recipe"]), [element("code", one + " ") for one in line["set"]]]
        for group, of_it in figures["groups"].items()
        for name, line in of_it["entries"].items()
    ]
    lead = "Each entry is a recipe with these settings in place of its own, in order."
    return section("Entries", table(["Entry", "Recipe", "Settings"], rows), lead=lead)


def _strip(results: Sequence[Result]) -> np.ndarray:
    """The samples of the first seed's run; blank where there are none."""
    path = results[0].outcome.folder / judging.ROW if results else None
    if path is not None and path.exists():
        return _read(path)
    return np.full((judging.PIXELS, judging.SHOWN * judging.PIXELS, 3), (BACKGROUND * 255).astype(np.uint8))


def _read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
