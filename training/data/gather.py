"""From what the user names to what is prepared: .blend files unpacked, files found, checked and reported."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from gan3d_core.errors import DatasetError

from . import blend
from .checks import TURNED, Checked, check, counted
from .layouts import BLEND, Found, discover


@contextlib.contextmanager
def gathered(
    source: Path,
    category: str | Sequence[str] | None = None,
    up: str | None = None,
    front: str | None = None,
    metres: float | None = None,
    limit: int | None = None,
    processes: int = 1,
    turned: str = "keep",
    strict: bool = False,
) -> Iterator[Checked]:
    """Find the shapes of a source and check them; the report goes to stderr.

    Args:
        source: a folder, a mesh or voxel file, or a .blend file.
        category, up, front, metres: see `layouts.discover`.
        limit: only the first so many files.
        processes, turned, strict: see `checks.check`.

    Yields:
        what can be prepared. Shapes of .blend files lie in a temporary folder, which is there as long as this lasts.

    Raises:
        DatasetError: nothing to read, axes that are none, a .blend file without a Blender; with `strict`, files that
            cannot be used.
    """
    if turned not in TURNED:
        raise DatasetError(f"{turned!r} is nothing to do with turned shapes.", f"Choose one of {', '.join(TURNED)}.")
    with contextlib.ExitStack() as stack:
        found = _find(source, stack, category, up, front, metres)
        files = found.files[:limit]
        counts = collections.Counter(file.category for file in files)
        listed = ", ".join(f"{count} {name}" for name, count in counts.most_common())
        sys.stderr.write(f"{counted(len(files), 'file', 'files')}, {found.layout}: {listed}\n")
        for note in found.notes:
            sys.stderr.write(f"{note}\n")
        yield check(files, processes, turned, strict)


def _find(
    source: Path,
    stack: contextlib.ExitStack,
    category: str | Sequence[str] | None,
    up: str | None,
    front: str | None,
    metres: float | None,
) -> Found:
    options = (category, up, front, metres)
    if source.is_file() and source.suffix.lower() == BLEND:
        return _unpacked(source, source.name, stack, *options)
    if source.is_file():
        found = discover(source.parent, None, up, front, metres)
        found.files = [file for file in found.files if Path(file.path) == source.resolve()]
        if not found.files:
            raise DatasetError(f"{source} is no file of shapes.", "Name a folder, a .blend file or a mesh.")
        return found
    found = discover(source, *options)
    files = []
    for file in found.files:
        if Path(file.path).suffix.lower() != BLEND:
            files.append(file)
            continue
        # Its own categories are in it; that of its folder does not count.
        inner = _unpacked(Path(file.path), file.name, stack, None, up, front, metres)
        files += inner.files
        found.notes += inner.notes
    return Found(found.layout, files, found.notes)


def _unpacked(
    path: Path,
    name: str,
    stack: contextlib.ExitStack,
    category: str | Sequence[str] | None,
    up: str | None,
    front: str | None,
    metres: float | None,
) -> Found:
    """The shapes of a .blend file, named after it."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gan3d-blend-")))
    sys.stderr.write(f"Blender reads {path.name} …\n")
    said = blend.export(path, folder)
    manifest = folder / "manifest.jsonl"
    rows = [json.loads(line) | {"blend": path.name} for line in manifest.read_text("utf-8").splitlines()]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    found = discover(folder, category, up, front, metres)
    found.layout = "from Blender"
    above = path.resolve().parents[len(Path(name).parts) - 1]
    found.files = [dataclasses.replace(file, name=f"{name}/{file.name}", root=str(above)) for file in found.files]
    found.notes += [line for line in said.splitlines() if line.startswith("  ")]
    return found
