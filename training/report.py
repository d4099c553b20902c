"""`python -m training.report RUN`: one HTML page about a training run, that needs nothing else.

It holds what the monitor found, the curves of all metrics, sample sheets, and the resolved recipe. Training writes it
into the run folder as `report.html` whenever it draws a sheet and when something goes wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gan3d_core.docstrings import field_docs
from gan3d_core.errors import Gan3DError, OutputError, TrainingError
from gan3d_core.files import write_text

from .inspection.charts import curve, number
from .inspection.document import document, section
from .inspection.markup import Markup, data_uri, element, table
from .monitor import Finding
from .progress import clock

SHEETS = 6
"""Earlier sheets beside the last one, evenly chosen."""
GRAVE = ("not a number", "divergence", "mode collapse")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.report", description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a training run")
    parser.add_argument("--output", type=Path, help="where to write the page (default: report.html in the run)")
    options = parser.parse_args(arguments)
    try:
        path = write_page(options.run, options.output)
    except Gan3DError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stderr.write(f"{path}: open it in a browser.\n")
    return 0


def write_page(run: Path, output: Path | None = None) -> Path:
    """Write the page of a run.

    Raises:
        TrainingError: no run.
        OutputError: the page cannot be written.
    """
    try:
        recipe = json.loads((run / "recipe.json").read_text("utf-8"))
        rows, found = read_metrics(run)
    except (OSError, ValueError) as error:
        raise TrainingError(f"{run} holds no run ({error}).", "Name a run folder.") from None
    seconds = rows[-1]["time"] if rows else 0.0
    facts = [
        (f"steps of {recipe.get('steps', 0):,}", f"{rows[-1]['step']:,}" if rows else "0"),
        ("time", clock(seconds)),
        ("steps a second", number(_speed(rows))),
        ("findings", str(len(found))),
    ]
    parts = [_findings(found), _curves(rows, found), _sheets(run), _recipe(recipe)]
    output = output or run / "report.html"
    try:
        write_text(output, document(f"Run {run.resolve().name}", facts, parts, "python -m training.report"))
    except OSError as error:
        raise OutputError(f"{output} cannot be written ({error.strerror}).") from None
    return output


def read_metrics(run: Path) -> tuple[list[dict[str, Any]], list[Finding]]:
    """The figures of each logged step and the findings, oldest first, `time` in seconds over all sittings.

    A run that went on from a snapshot has logged some steps twice; the later ones count. Lines that a crash has cut off
    are left out.
    """
    rows: list[dict[str, Any]] = []
    found: list[Finding] = []
    before = last = 0.0
    for line in (run / "metrics.jsonl").read_text("utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if row["time"] < last:
            before += last
            rows = [old for old in rows if old["step"] < row["step"]]
            found = [old for old in found if old.step < row["step"]]
        last = row["time"]
        if "finding" in row:
            found.append(Finding.of_row(row))
        else:
            rows.append({**row, "time": before + row["time"]})
    return rows, found


def _speed(rows: list[dict[str, Any]]) -> float:
    if len(rows) < 2 or rows[-1]["time"] <= rows[0]["time"]:
        return 0.0
    return (rows[-1]["step"] - rows[0]["step"]) / (rows[-1]["time"] - rows[0]["time"])


def _findings(found: list[Finding]) -> Markup:
    lead = "What the monitor saw while the run trained; each also stands in metrics.jsonl."
    if not found:
        return section("Findings", element("p", "Nothing: no divergence, oscillation or mode collapse."), lead=lead)
    items = []
    for one in found:
        what = element("p", element("strong", f"{one.kind.capitalize()} "), f"from step {one.step:,}. {one.text}")
        items.append(element("li", what, class_="bad" if one.kind in GRAVE else "warn"))
    return section("Findings", element("ul", items, class_="findings"), lead=lead)


def _curves(rows: list[dict[str, Any]], found: list[Finding]) -> Markup:
    marks = [(float(one.step), one.kind) for one in found]
    charts = []
    for key in sorted({key for row in rows for key in row} - {"step", "time"}):
        of_it = [row for row in rows if key in row]
        steps, values = [row["step"] for row in of_it], [row[key] for row in of_it]
        chart = curve(steps, values, marks, label=f"{key} over the steps")
        title = element("h4", f"{key} ", element("span", number(values[-1]), class_="quiet"))
        charts.append(element("div", title, chart, class_="chart-box"))
    lead = "Running means over some twenty steps. Dashed lines are findings. The figure beside a name is the last one."
    return section("Curves", element("div", charts, class_="charts"), lead=lead)


def _sheets(run: Path) -> Markup:
    by_kind: dict[str, list[Path]] = {}
    for path in sorted(run.glob("*-[0-9]*.png")):
        by_kind.setdefault(path.stem.rpartition("-")[0], []).append(path)
    if not by_kind:
        return section("Sheets", element("p", "None drawn yet."))
    parts = []
    for kind, paths in sorted(by_kind.items()):
        earlier = np.unique(np.linspace(0, len(paths) - 1, min(SHEETS + 1, len(paths))).round().astype(int))[:-1]
        parts.append(element("h3", kind))
        parts.append(element("div", _picture(paths[-1]), class_="large"))
        if len(earlier):
            parts.append(element("div", [_picture(paths[i]) for i in earlier], class_="pairs"))
    return section("Sheets", parts, lead="The same codes each time, by the averaged weights; the last sheet is large.")


def _picture(path: Path) -> Markup:
    with Image.open(path) as image:
        address = data_uri(np.asarray(image.convert("RGB")))
    step = int(path.stem.rpartition("-")[2])
    picture = element("img", src=address, alt=f"Samples at step {step}")
    return element("figure", picture, element("figcaption", f"step {step:,}"))


def _recipe(recipe: dict[str, Any]) -> Markup:
    # The trainers write pages and pages read the recipes of the trainers: the latter only when it comes to it.
    from .train import KINDS

    kind = KINDS.get(str(recipe.get("kind")))
    docs = field_docs(kind[0]) if kind else {}
    rows: list[list[object]] = [
        [element("code", key, class_="name"), element("code", json.dumps(value)), docs.get(key, "").replace("`", "")]
        for key, value in recipe.items()
    ]
    return section("Recipe", table(["Field", "Value", "What it is"], rows), lead="As resolved when the run began.")


if __name__ == "__main__":
    sys.exit(main())
