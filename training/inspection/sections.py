"""The parts of the page that show shapes: findings, splits, contact sheets, near-duplicates."""

from __future__ import annotations

import collections

import numpy as np

from ..data.store import SPLITS, Dataset
from .charts import meter, stacked
from .document import section
from .duplicates import Pair
from .findings import Finding
from .markup import Markup, element, table
from .pictures import Pictures, short_name

PAIRS_SHOWN = 24
EXAMPLES = 8


def findings_section(found: list[Finding], pictures: Pictures) -> Markup:
    """What to know, each with a few of the shapes it is about."""
    if not found:
        return section("Worth a look", element("p", "Nothing stood out.", class_="lead"))
    items = []
    for finding in found:
        shown = finding.shapes[:EXAMPLES]
        strip = element("div", [pictures.figure(index) for index in shown], class_="strip") if shown else None
        rest = len(finding.shapes) - len(shown)
        more = element("span", f" (the first {len(shown)} shown)", class_="quiet") if rest > 0 else None
        items.append(element("li", element("p", finding.text, more), strip, class_=finding.level))
    return section("Worth a look", element("ul", items, class_="findings"))


def splits_section(data: Dataset) -> Markup:
    """How many shapes of each category each split has, and how sound they are."""
    rows: list[list[object]] = []
    for category in _categories(data):
        entries = [entry for entry in data.entries if entry.category == category]
        counts = collections.Counter(entry.split for entry in entries)
        made = sum(1 for entry in entries if entry.parent)
        rows.append(
            [
                element("strong", category),
                stacked([(split, counts[split]) for split in SPLITS]),
                *[f"{counts[split]:,}" for split in SPLITS],
                f"{made:,}" if made else "–",
                meter(float(np.mean([entry.watertight for entry in entries]))),
                f"{np.median([entry.size_m for entry in entries]):.2f} m",
            ]
        )
    head: list[object] = ["Category", "", *[s.capitalize() for s in SPLITS], "Augmented", "Watertight", "Median size"]
    lead = "A shape's split is decided by a hash of its name, so adding shapes moves none."
    return section("Splits", table(head, rows, numeric=(2, 3, 4, 5, 7)), lead=lead)


def sheets_section(data: Dataset, pictures: Pictures, count: int) -> Markup:
    """Contact sheets: up to `count` shapes of each category and split, evenly chosen."""
    parts = []
    for category in _categories(data):
        for split in SPLITS:
            members = [i for i, e in enumerate(data.entries) if (e.category, e.split) == (category, split)]
            if not members:
                continue
            chosen = np.linspace(0, len(members) - 1, min(count, len(members))).round().astype(int)
            figures = [pictures.figure(members[i]) for i in chosen]
            some = "all" if len(members) <= count else f"{len(chosen)} of"
            title = element("h3", f"{category} · {split} ", element("span", f"{some} {len(members):,}", class_="quiet"))
            parts.append(element("div", title, element("div", figures, class_="sheet"), class_="block"))
    lead = "Drawn from the grids of distances and the surface points: what training sees, not what the files were."
    return section("Shapes", parts, lead=lead)


def duplicates_section(data: Dataset, pairs: list[Pair], pictures: Pictures) -> Markup:
    """Pairs side by side, those across splits first."""
    lead = (
        "Pairs whose surfaces differ by less than a voxel of a 64³ grid, also when one is mirrored or turned: found by "
        "a coarse grid of distances, verified by Chamfer distance. The figure is the root-mean-square distance in "
        "per cent of the longest side, above what sampling alone causes."
    )
    crossing = [pair for pair in pairs if pair.crosses(data)]
    within = [pair for pair in pairs if not pair.crosses(data)]
    if not pairs:
        return section("Near duplicates", element("p", "None found."), lead=lead)
    parts = []
    for title, some in (("Across splits", crossing), ("Within one split", within)):
        if some:
            shown = [_pair(data, pair, pictures) for pair in some[:PAIRS_SHOWN]]
            note = f"{len(some):,}" + (f", the nearest {PAIRS_SHOWN} shown" if len(some) > PAIRS_SHOWN else "")
            heading = element("h3", f"{title} ", element("span", note, class_="quiet"))
            parts.append(element("div", heading, element("div", shown, class_="pairs"), class_="block"))
    return section("Near duplicates", parts, lead=lead)


def _pair(data: Dataset, pair: Pair, pictures: Pictures) -> Markup:
    figures = []
    for index in (pair.first, pair.second):
        entry = data.entries[index]
        badge = element("span", entry.split, class_=f"badge {entry.split}")
        figures.append(pictures.figure(index, caption=[badge, " ", short_name(entry.name)]))
    how = [f"{100 * pair.distance:.2f} %"]
    if str(pair.symmetry):
        how.append(str(pair.symmetry))
    how.append("same colours" if pair.colour_difference < 0.03 else "other colours")
    note = element("p", element("strong", how[0]), " · " + " · ".join(how[1:]))
    return element("div", figures, note, class_="pair" + (" crossing" if pair.crosses(data) else ""))


def _categories(data: Dataset) -> list[str]:
    return sorted({entry.category for entry in data.entries})
