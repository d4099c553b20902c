"""What a folder holds: known datasets' layouts, a manifest of one's own, or simply files.

A layout is a function that takes a folder and returns rows (see `Row`), or None where the folder is not of its kind.
`discover` asks them in turn.
"""

from __future__ import annotations

import collections
import csv
import dataclasses
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gan3d_core.errors import DatasetError

from . import synsets
from .readers import READERS
from .source import SourceFile

Row = dict[str, Any]
"""What is known of one file: `file` (relative path), and optionally `category`, `licence`, `author`, `up`, `front`,
`metres_per_unit`; whatever else there is becomes a label."""
_KNOWN = {"file", "category", "licence", "license", "author", "up", "front", "metres_per_unit"}
MANIFESTS = ("manifest.jsonl", "metadata.jsonl")
BLEND = ".blend"
SUFFIXES = [*READERS, BLEND]

# (up, front, metres per unit) of files of which nothing else is known. The first line holds for all others.
_CONVENTIONS = {
    "": ("+Y", "+Z", 0.01),
    ".glb": ("+Y", "+Z", 1.0),
    ".gltf": ("+Y", "+Z", 1.0),
    ".dae": ("+Y", "+Z", 1.0),
    ".npz": ("+Z", "+X", 1.0),
    ".npy": ("+Z", "-Y", 1.0),
    ".mat": ("+Z", "-Y", 1.0),
    ".binvox": ("+Y", "-Z", 1.0),
    ".blend": ("+Z", "-Y", 1.0),
}


@dataclasses.dataclass
class Found:
    """What `discover` has found."""

    layout: str
    """In words, for the report."""
    files: list[SourceFile]
    notes: list[str] = dataclasses.field(default_factory=list)
    """Sentences about what was left out, and why."""


def discover(
    folder: Path,
    category: str | Sequence[str] | None = None,
    up: str | None = None,
    front: str | None = None,
    metres: float | None = None,
) -> Found:
    """List the shapes of a folder.

    Args:
        folder: where to look. A folder above or inside of a known layout will do.
        category: keep only this one or these; one string may name several, with commas.
        up, front: axes of all files, such as `+Y`; None takes what the manifest says, else what the layout is known
            for, else the convention of the format (glTF's +Y up, +Z front).
        metres: metres per unit of all files; None likewise (glTF: 1, other meshes: 0.01).

    Raises:
        DatasetError: no such folder, a broken manifest, or nothing to read in it; says what is there instead.
    """
    if not folder.is_dir():
        raise DatasetError(f"There is no folder {folder}.", "Name the folder that holds the shapes, or a .blend file.")
    found = next(result for layout in LAYOUTS if (result := layout(folder)) is not None)
    name, rows, notes = found
    wanted = _wanted(category)
    files = [
        _source(folder, row, up, front, metres)
        for row in rows
        if wanted is None or _category(folder, row).lower() in wanted
    ]
    if not files:
        _nothing(folder, rows, category)
    if wanted is not None:
        absent = sorted(wanted - {file.category.lower() for file in files})
        if absent:
            notes.append(f"There are no shapes of category {', '.join(absent)}.")
    return Found(name, files, notes)


def _wanted(category: str | Sequence[str] | None) -> set[str] | None:
    if category is None:
        return None
    words = category.split(",") if isinstance(category, str) else category
    return {word.strip().lower() for word in words if word.strip()}


def _source(folder: Path, row: Row, up: str | None, front: str | None, metres: float | None) -> SourceFile:
    suffix = Path(row["file"]).suffix.lower()
    known = _CONVENTIONS.get(suffix, _CONVENTIONS[""])
    return SourceFile(
        path=str((folder / row["file"]).resolve()),
        name=row["file"],
        category=_category(folder, row),
        licence=str(row.get("licence", row.get("license", "unknown"))),
        author=str(row.get("author", "unknown")),
        up=up or str(row.get("up", known[0])),
        front=front or str(row.get("front", known[1])),
        metres=float(row.get("metres_per_unit", known[2]) if metres is None else metres),
        labels={key: value for key, value in row.items() if key not in _KNOWN},
        root=str(folder.resolve()),
    )


def _category(folder: Path, row: Row) -> str:
    """What the manifest says, else the first folder on the way to the file (a synset by its name)."""
    parts = Path(row["file"]).parts
    first = parts[0] if len(parts) > 1 else folder.resolve().name
    return str(row.get("category") or synsets.NAMES.get(first, first))


def _nothing(folder: Path, rows: list[Row], category: str | Sequence[str] | None) -> None:
    if rows:
        there = collections.Counter(_category(folder, row) for row in rows)
        listed = ", ".join(f"{name} ({count})" for name, count in there.most_common(30))
        raise DatasetError(f"There are no shapes of category {category!r} in {folder}.", f"There are: {listed}.")
    if (folder / "dataset.json").exists():
        raise DatasetError(
            f"{folder} is a prepared dataset, not a source of shapes.", "Name the folder it was made from first."
        )
    kinds = collections.Counter(path.suffix.lower() or "without suffix" for path in _files(folder))
    if not kinds:
        raise DatasetError(f"The folder {folder} is empty: there are no shapes in it.", "Name another folder.")
    listed = ", ".join(f"{count} {name}" for name, count in kinds.most_common(5))
    unpack = " Unpack the archives first." if {".zip", ".7z", ".gz", ".rar", ".tar"} & set(kinds) else ""
    raise DatasetError(
        f"There are no shapes in {folder}, but {listed}.", f"Read are {', '.join(sorted(SUFFIXES))}.{unpack}"
    )


def _files(folder: Path) -> list[Path]:
    """Every file below a folder, without hidden ones and what macOS adds to archives."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith((".", "__MACOSX")) for part in path.relative_to(folder).parts)
    )


# ── layouts ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _with_manifest(folder: Path) -> tuple[str, list[Row], list[str]] | None:
    for name in MANIFESTS:
        manifest = folder / name
        if not manifest.exists():
            continue
        try:
            lines = manifest.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DatasetError(f"{manifest} cannot be read ({error}).") from None
        return f"as listed in {name}", [_row(manifest, *line) for line in enumerate(lines, 1) if line[1].strip()], []
    return None


def _row(manifest: Path, number: int, line: str) -> Row:
    try:
        row = json.loads(line)
        row["file"] = row.pop("path", None) or row["file"]
        path = Path(row["file"])
        float(row.get("metres_per_unit", 1))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DatasetError(f"Line {number} of {manifest} is no JSON object with a `file` or `path`.") from None
    if path.is_absolute() or ".." in path.parts:
        raise DatasetError(f"Line {number} of {manifest} points outside its folder.")
    return row


_SYNSET = re.compile(r"\d{8}$")


def _shapenet(folder: Path) -> tuple[str, list[Row], list[str]] | None:
    """ShapeNetCore version 2: `SYNSET/MODEL/models/model_normalized.obj`.

    +Y up and −Z front as its documentation states; a normalised model has a diagonal of 1, so real sizes are unknown.
    """
    root, synset_folders = folder, [folder] if _SYNSET.match(folder.resolve().name) else []
    for place in (folder, *(child for child in sorted(folder.iterdir()) if child.is_dir())):
        inside = [child for child in sorted(place.iterdir()) if child.is_dir() and _SYNSET.match(child.name)]
        if inside:
            root, synset_folders = place, inside
            break
    models = [model for synset in synset_folders for model in sorted(synset.iterdir()) if (model / "models").is_dir()]
    if not models:
        return None
    names = _taxonomy(root) | _taxonomy(folder.parent)
    splits = _official_splits(root)
    rows: list[Row] = []
    for model in models:
        synset = model.parent.resolve().name
        row: Row = {
            "file": (model / "models" / "model_normalized.obj").relative_to(folder).as_posix(),
            "category": names.get(synset, synsets.NAMES.get(synset, synset)),
            "licence": "ShapeNet terms of use: non-commercial research and education",
            "author": "unknown (ShapeNet)",
            "up": "+Y",
            "front": "-Z",
            "metres_per_unit": 1.0,
            "synset": synset,
            "model": model.name,
        }
        if model.name in splits:
            row["official_split"] = splits[model.name]
        rows.append(row)
    notes = []
    absent = sum(not (folder / row["file"]).exists() for row in rows)
    if absent:
        notes.append(f"{absent} models have no model_normalized.obj; they will be skipped.")
    return "ShapeNetCore version 2", rows, notes


def _taxonomy(folder: Path) -> dict[str, str]:
    """Synset → the first of its names; empty where there is no `taxonomy.json`."""
    try:
        table = json.loads((folder / "taxonomy.json").read_text("utf-8"))
        return {row["synsetId"]: row["name"].split(",")[0].strip().replace(" ", "_") for row in table}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _official_splits(folder: Path) -> dict[str, str]:
    """Model → `train`, `val`, `test` from ShapeNet's `all.csv`; empty where there is none."""
    try:
        with (folder / "all.csv").open(encoding="utf-8", newline="") as stream:
            return {row["modelId"]: row["split"] for row in csv.DictReader(stream)}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _modelnet(folder: Path) -> tuple[str, list[Row], list[str]] | None:
    """ModelNet: `CATEGORY/train|test/*.off`, +Z up; also 3D ShapeNets' volumes, `CATEGORY/30/train|test/*_TURN.mat`."""
    rows: list[Row] = []
    turned = 0
    volumes = False
    for path in sorted([*folder.glob("**/train/*"), *folder.glob("**/test/*")]):
        suffix = path.suffix.lower()
        if suffix not in (".off", ".mat") or path.name.startswith("."):
            continue
        home = path.parent.parent
        volumes |= suffix == ".mat"
        turn = re.search(r"_(\d+)$", path.stem)
        if suffix == ".mat" and home.name.isdigit():
            home = home.parent
            if turn and turn.group(1) != "1":  # each shape is there turned by 0°, 30°, … 330°
                turned += 1
                continue
        rows.append(
            {
                "file": path.relative_to(folder).as_posix(),
                "category": home.resolve().name,
                "licence": "ModelNet terms: academic research; rights stay with the models' authors",
                "author": "unknown (ModelNet)",
                "up": "+Z",
                "front": "-Y",
                "metres_per_unit": 1.0 if suffix == ".mat" else 0.0254,
                "official_split": path.parent.name,
            }
        )
    if not rows:
        return None
    notes = [f"{turned} files are turned copies (_2 to _12) and are left out."] if turned else []
    return "3D ShapeNets volumes" if volumes else "ModelNet", rows, notes


def _loose_files(folder: Path) -> tuple[str, list[Row], list[str]]:
    """Any files that can be read. A shape that lies there in several formats counts once."""
    best: dict[Path, Path] = {}
    extra = 0
    for path in _files(folder):
        suffix = path.suffix.lower()
        if suffix not in SUFFIXES:
            continue
        stem = path.with_suffix("")
        if stem in best:
            extra += 1
        if stem not in best or SUFFIXES.index(suffix) < SUFFIXES.index(best[stem].suffix.lower()):
            best[stem] = path
    rows = [{"file": path.relative_to(folder).as_posix()} for path in sorted(best.values())]
    notes = [f"{extra} files are the same shapes in other formats and are left out."] if extra else []
    return "a folder of files", rows, notes


LAYOUTS: tuple[Callable[[Path], tuple[str, list[Row], list[str]] | None], ...] = (
    _with_manifest,
    _shapenet,
    _modelnet,
    _loose_files,
)
