"""The report: sheets, a film, and one HTML page that holds them all and needs nothing else."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gan3d_core.files import write_text

from ..rendering.preview import contact_sheet
from .film import write_film
from .judge import Judged, interpolations, other_surfaces
from .painted import from_record
from .references import References
from .renders import portrait
from .table import rows

SHOWN = 32
PAIRS = 16
WALKS, STEPS = 4, 16

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1, h2 { font-weight: 600; } h2 { margin-top: 2.5rem; }
table { border-collapse: collapse; } th, td { padding: .25rem .9rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; }
thead th { border-bottom: 2px solid #888; } tbody th { padding-top: 1rem; text-align: left; }
td.floor, td.good { color: #777; } img { max-width: 100%; } p.note { color: #555; max-width: 52rem; }
"""

NOTES = (
    "A floor is what real shapes get: training shapes in the samples' place, as many and against the same "
    "held-out shapes; for memorising, held-out shapes in the samples' place. Each figure is a mean ± standard "
    "deviation over sets.",
    "The Fréchet distance is biased upwards at small counts, about as one over the count: below some ten "
    "thousand renders read it beside its floor and at equal counts only. The kernel distance is "
    "unbiased, and about 0 for equal sets.",
    "Figures of different protocols cannot be compared.",
)


def write_report(judged: Judged, references: References, out: Path) -> None:
    """Write `samples.png`, `references.png`, `nearest.png`, `interpolation.png`, `film.webp` and `report.html`; and
    `surfaces.png` of a checkpoint whose shapes can take others' surfaces."""
    contact_sheet([portrait(mesh) for mesh in judged.samples.meshes[:SHOWN]], out / "samples.png")
    contact_sheet([portrait(mesh) for mesh in references.meshes[:SHOWN]], out / "references.png")
    pairs, captions = [], []
    for mesh, row, distance in zip(judged.samples.solid[:PAIRS], judged.nearest, judged.nearest_distance, strict=False):
        index = int(references.compared[row])
        pairs += [portrait(mesh), portrait(from_record(references.training, index))]
        captions += [f"{1000 * distance:.2f}e-3", references.training.entries[index].name]
    contact_sheet(pairs, out / "nearest.png", captions=captions)
    walks = [[portrait(mesh) for mesh in one] for one in interpolations(judged, WALKS, STEPS)]
    chosen = [round(i * (STEPS - 1) / 7) for i in range(8)]
    contact_sheet([one[i] for one in walks for i in chosen], out / "interpolation.png")
    write_film(walks, out / "film.webp")
    dressed = other_surfaces(judged, WALKS, 8)
    if dressed:
        contact_sheet([portrait(mesh) for row in dressed for mesh in row], out / "surfaces.png")
    figures = judged.figures
    pictures = [
        ("samples.png", "Samples", "In a row of seeds, nothing left out."),
        ("references.png", "Held-out shapes", "What the samples are compared with."),
        (
            "nearest.png",
            "Nearest training shapes",
            "Each sample with the training shape nearest to it, and their squared Chamfer distance between surfaces.",
        ),
        ("film.webp", "Interpolation", "Walks between samples, there and back."),
        ("interpolation.png", "Interpolation, step by step", "One walk in each row."),
    ]
    if dressed:
        pictures.append(("surfaces.png", "Surfaces", "One shape in each row: its own surface, then those of others."))
    body = [
        f"<h1>{html.escape(judged.checkpoint.config.label)}</h1>",
        f"<p>Checkpoint <code>{html.escape(judged.checkpoint.id)}</code>, weights {figures['hash']}, truncation "
        f"{judged.truncation:g}; {figures['sets']} sets of {figures['samples_in_a_set']} samples, "
        f"{figures['empty_samples']} of all without a surface.</p>",
        table([figures]),
        *(f'<p class="note">{html.escape(note)}</p>' for note in NOTES),
    ]
    for name, title, caption in pictures:
        body.append(f"<h2>{title}</h2><p>{caption}</p>{picture(out / name, title)}")
    body.append(protocols(figures))
    write_text(out / "report.html", page(f"{judged.checkpoint.config.label}: evaluation", body))


def write_comparison(all_judged: Sequence[Judged], folders: Sequence[Path], out: Path) -> None:
    """Write `comparison.html` beside the folders of the single reports: one table, and the samples of each."""
    figures = [judged.figures for judged in all_judged]
    body = ["<h1>Comparison</h1>", table(figures), *(f'<p class="note">{html.escape(note)}</p>' for note in NOTES)]
    for judged, folder in zip(all_judged, folders, strict=True):
        link = html.escape(f"{folder.relative_to(out).as_posix()}/report.html", quote=True)
        label = html.escape(judged.checkpoint.config.label)
        body.append(f'<h2><a href="{link}">{label}</a></h2>{picture(folder / "samples.png", label)}')
        body.append(picture(folder / "film.webp", label))
    body.append(protocols(figures[0]))
    write_text(out / "comparison.html", page("Comparison", body))


def table(figures: Sequence[Mapping[str, Any]]) -> str:
    """HTML of the figures, a column for each checkpoint."""
    columns = [str(one["checkpoint"]) for one in figures]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ("", *columns, "floor", "good is"))
    out = [f"<table><thead><tr>{head}</tr></thead><tbody>"]
    for title, lines in rows(figures):
        out.append(f'<tr><th colspan="{len(columns) + 3}">{html.escape(title)}</th></tr>')
        for *cells, floor, good in lines:
            out.append("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells))
            out.append(f'<td class="floor">{html.escape(floor)}</td><td class="good">{html.escape(good)}</td></tr>')
    return "".join([*out, "</tbody></table>"])


def protocols(figures: Mapping[str, Any]) -> str:
    """HTML of what was measured how."""
    named = {
        "Geometry": figures["protocol"],
        "Renders": figures["renders"]["protocol"],
        "Memorising": figures["memorising"]["protocol"],
        "Walks": figures["path_length"]["protocol"],
        "Between": figures["between"]["protocol"],
    }
    items = "".join(f"<dt>{name}</dt><dd>{html.escape(text)}</dd>" for name, text in named.items())
    return f"<h2>Protocols</h2><dl>{items}</dl>"


def picture(path: Path, title: str) -> str:
    """An `img` with the file's bytes in it."""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{html.escape(title, quote=True)}" src="data:image/{path.suffix[1:]};base64,{data}">'


def page(title: str, body: Sequence[str]) -> str:
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style></head>\n<body>\n" + "\n".join(body) + "\n</body></html>\n"
    )
