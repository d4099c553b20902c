"""The parts of the page that are charts and tables: sizes, surfaces, colours, labels, licences, skipped files."""

from __future__ import annotations

import collections
from pathlib import PurePosixPath

import numpy as np

from ..data.oklab import from_oklab, luminance, to_oklab
from ..data.store import Dataset
from .charts import histogram, meter, number
from .colours import GREY, every_shape, hexadecimal, palette, saturation
from .document import section
from .labels import Label, summarise
from .markup import Markup, data_uri, element, table
from .measures import Measures
from .pictures import Pictures

ROWS_SHOWN = 300


def chart(title: str, svg: Markup, note: str = "") -> Markup:
    return element("div", element("h4", title), svg, note and element("p", note, class_="quiet"), class_="chart-box")


def sizes_section(data: Dataset, measures: Measures, pictures: Pictures) -> Markup:
    """Width, depth and height in metres, with the smallest and the largest shape of each category."""
    parts = []
    for category, members, held_out in _groups(data):
        boxes = []
        for axis, name in enumerate(("Width", "Depth", "Height")):
            values = measures.sides_m[:, axis]
            top = float(values[members].max())
            svg = histogram(values[members], 0.0, top, other=values[held_out], unit=" m", label=f"{name} of {category}")
            boxes.append(chart(name, svg, f"median {np.median(values[members]):.2f} m"))
        longest = measures.sides_m.max(axis=1)
        ends = members[np.argsort(longest[members], kind="stable")][[0, -1]]
        figures = [
            pictures.figure(int(index), f"{word}: {longest[index]:.2f} m")
            for word, index in zip(("smallest", "largest"), ends, strict=True)
        ]
        if len(members) < 2:
            figures = figures[:1]
        charts = element("div", boxes, element("div", figures, class_="strip"), class_="charts")
        parts.append(element("div", element("h3", category), charts, class_="block"))
    return section("Sizes", parts, lead="In metres. Bars: all shapes. Line: those held out from training.")


def surfaces_section(data: Dataset) -> Markup:
    """Watertightness, thin share, faces."""
    parts = []
    for category, members, held_out in _groups(data):
        thin = np.array([data.entries[i].thin_share for i in members])
        as_made = [data.entries[i] for i in members if not data.entries[i].parent]  # bent ones have more faces
        faces = np.array([entry.faces for entry in as_made], float)
        others = [data.entries[i] for i in held_out]
        sound = float(np.mean([data.entries[i].watertight for i in members]))
        touched = float(np.mean(thin > 0))
        boxes = [
            chart(
                "Thin share of the surface",
                histogram(100 * thin, 0, 100, 25, np.array([100 * e.thin_share for e in others]), unit=" %"),
                f"{100 * touched:.0f} % of shapes have a part that was thickened; median {100 * np.median(thin):.1f} %",
            ),
            chart(
                "Faces in the file",
                histogram(faces, other=np.array([float(e.faces) for e in others]), logarithmic=True),
                f"median {number(float(np.median(faces)))}" if len(faces) else "",
            ),
            chart("Watertight", meter(sound), "Open shapes are closed by their winding number."),
        ]
        parts.append(element("div", element("h3", category), element("div", boxes, class_="charts"), class_="block"))
    return section("Surfaces", parts)


def colours_section(data: Dataset, measures: Measures) -> Markup:
    """Palettes and distributions of what surfaces are made of."""
    parts = []
    for category, every, _ in _groups(data):
        members = np.array([i for i in every if data.entries[i].colored], int)
        if len(members) == 0:
            nothing = element("p", "No shape of this category has colours that can be trusted.", class_="quiet")
            parts.append(element("div", element("h3", category), nothing, class_="block"))
            continue
        colour = measures.colour[members]
        flat = colour.reshape(-1, 3)
        strip = [
            element(
                "span",
                title=f"{hexadecimal(c)} · {100 * share:.1f} %",
                style=f"background:{hexadecimal(c)};flex:{share:.4f}",
            )
            for c, share in palette(flat)
        ]
        columns = element("img", src=data_uri(every_shape(colour), lossless=True), alt="", class_="columns")
        title = element("h3", f"{category} ", element("span", f"{len(members):,} with colours", class_="quiet"))
        content = [
            element("h4", "Main colours, by share of the surface"),
            element("div", strip, class_="palette"),
            element("h4", "Every shape's colours: a column for each, light to dark, greys first and then by hue"),
            columns,
            element(
                "div",
                _distributions(flat, measures.roughness[members], measures.metallic[members]),
                class_="charts five",
            ),
        ]
        parts.append(element("div", title, content, class_="block"))
    return section("Colours", parts, lead="Base colours at evenly spread points of the surface, not lit.")


def _distributions(colour: np.ndarray, roughness: np.ndarray, metallic: np.ndarray) -> list[Markup]:
    light, saturated = luminance(colour), saturation(colour)
    lab = to_oklab(colour)
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    hue = np.degrees(np.arctan2(lab[:, 2], lab[:, 1])) % 360
    greys = [hexadecimal(np.full(3, value)) for value in np.linspace(0.08, 0.93, 32)]
    warm = [hexadecimal(np.array([0.85, 0.85 - 0.6 * s, 0.85 - 0.75 * s])) for s in np.linspace(0, 1, 32)]
    angles = np.radians(np.arange(36) * 10 + 5)
    wheel = from_oklab(np.stack([np.full(36, 0.68), 0.13 * np.cos(angles), 0.13 * np.sin(angles)], axis=1))
    metal = float((metallic > 0.5).mean())
    return [
        chart(
            "Lightness", histogram(lab[:, 0], 0, 1, colours=greys), f"in OKLab; median luminance {np.median(light):.3f}"
        ),
        chart("Saturation", histogram(saturated, 0, 1, colours=warm), f"median {np.median(saturated):.2f}, as in HSV"),
        chart(
            "Hue",
            histogram(hue[chroma >= GREY], 0, 360, 36, colours=[hexadecimal(c) for c in wheel], unit="°"),
            f"in OKLab; {100 * float((chroma < GREY).mean()):.0f} % of the surface is grey and left out",
        ),
        chart("Roughness", histogram(roughness, 0, 1), f"median {np.median(roughness):.2f}"),
        chart("Metallic", histogram(metallic, 0, 1), f"{100 * metal:.0f} % of the surface is metal"),
    ]


def labels_section(data: Dataset) -> Markup:
    """Each label's range or values."""
    labels = summarise(entry.labels for entry in data.entries)
    if not labels:
        return section("Labels", element("p", "The shapes have no labels."))
    rows = [_label_row(label, len(data)) for label in labels if label.kind != "constant"]
    constant = [label for label in labels if label.kind == "constant"]
    head: list[object] = ["Label", "Shapes", "Least", "Median", "Most", "Distribution"]
    same = element(
        "p",
        "The same everywhere: ",
        "; ".join(f"{label.name} = {label.counts[0][0]}" for label in constant) + ".",
        class_="quiet",
    )
    content = [table(head, rows, numeric=(1, 2, 3, 4)) if rows else None, same if constant else None]
    return section("Labels", element("div", content, class_="labels"))


def _label_row(label: Label, total: int) -> list[object]:
    name = element("code", label.name)
    present = "all" if label.present == total else f"{label.present:,}"
    if label.values is not None:
        low, middle, high = (number(float(v)) for v in np.percentile(label.values, [0, 50, 100]))
        return [
            name,
            present,
            low,
            middle,
            high,
            element("div", histogram(label.values, bins=40, bare=True), class_="spark"),
        ]
    top = label.counts[:6]
    if len(label.counts) > 12 and top[0][1] <= max(2, 0.02 * label.present):
        return [name, present, "", "", "", f"{len(label.counts):,} different values, such as {top[0][0]}"]
    chips = [_chip(value, count) for value, count in top]
    if len(label.counts) > len(top):
        chips.append(element("span", f"and {len(label.counts) - len(top)} more", class_="quiet"))
    return [name, present, "", "", "", element("div", chips)]


def licences_section(data: Dataset) -> Markup:
    """Who made how many shapes under which licence: what attribution is owed."""
    authors: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for entry in data.entries:
        authors[entry.licence][entry.author] += 1
    rows: list[list[object]] = []
    for licence, counts in sorted(authors.items(), key=lambda item: -item[1].total()):
        order = sorted(counts.items(), key=lambda item: (-item[1], item[0].casefold()))
        chips: list[Markup] = [_chip(name, count) for name, count in order[:ROWS_SHOWN]]
        if len(order) > ROWS_SHOWN:
            chips.append(element("span", f"and {len(order) - ROWS_SHOWN:,} more in manifest.jsonl", class_="quiet"))
        rows.append([element("strong", licence), f"{counts.total():,}", element("div", chips)])
    lead = "Where a licence asks for it, name the authors with any shapes, pictures or weights that come of theirs."
    head: list[object] = ["Licence", "Shapes", "Authors, with how many shapes are theirs"]
    return section("Licences and authors", table(head, rows, numeric=(1,)), lead=lead)


def _chip(text: str, count: int) -> Markup:
    return element("span", text, " ", element("b", f"{count:,}"), class_="chip")


def skipped_section(skipped: list[dict[str, str]] | None) -> Markup:
    """Files that could not be used, by reason."""
    if skipped is None:
        return section("Skipped files", element("p", "The dataset has no report of skipped files."))
    if not skipped:
        return section("Skipped files", element("p", "Every file that was found could be used."))
    by_reason: dict[str, list[str]] = collections.defaultdict(list)
    for row in skipped:
        # Reasons name their file; without its name, equal reasons come together.
        reason = row["reason"].replace(row["file"], "The file").replace(PurePosixPath(row["file"]).name, "The file")
        by_reason[reason].append(row["file"])
    rows: list[list[object]] = []
    for reason, files in sorted(by_reason.items(), key=lambda item: -len(item[1])):
        shown = [element("code", name) for name in files[:ROWS_SHOWN]]
        names = [part for name in shown for part in (name, " ")]
        if len(files) > ROWS_SHOWN:
            names.append(f"and {len(files) - ROWS_SHOWN:,} more")
        rows.append([f"{len(files):,}", reason, element("div", names, class_="files")])
    return section("Skipped files", table(["Files", "Reason", "Which"], rows, numeric=(0,)))


def _groups(data: Dataset) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Each category with the indices of its shapes, and of those that are not for training."""
    groups = []
    for category in sorted({entry.category for entry in data.entries}):
        members = np.array([i for i, entry in enumerate(data.entries) if entry.category == category])
        held_out = np.array([i for i in members if data.entries[i].split != "train"], int)
        groups.append((category, members, held_out))
    return groups
