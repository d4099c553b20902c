"""A folder of shapes for `python -m training.prepare`: one .npz for each, and a manifest that says what they are.

A shape that is written again replaces itself; whatever else is in the folder stays.
"""

from __future__ import annotations

import dataclasses
import io
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from gan3d_core import files
from gan3d_core.errors import MeshFileError, OutputError

from . import materials
from .assets import Asset
from .geometry import Surface, surface_of

MANIFEST = "manifest.jsonl"


@dataclasses.dataclass
class Written:
    """What `write` has done."""

    shapes: int = 0
    without_color: list[str] = dataclasses.field(default_factory=list)
    """`shape (reason)` for each whose colours cannot be read."""
    empty: list[str] = dataclasses.field(default_factory=list)
    """Names of those without a surface."""


def write(
    found: Iterable[Asset],
    depsgraph: bpy.types.Depsgraph,
    folder: Path,
    metres: float,
    licence: str = "",
    author: str = "",
) -> Written:
    """Write shapes into a folder and add them to its manifest.

    Args:
        found: what to write.
        depsgraph: evaluated, with all their objects in it.
        folder: made if need be.
        metres: metres per Blender unit (the scene's unit scale).
        licence, author: of those that say nothing themselves.

    Raises:
        OutputError: the folder cannot be written, or its manifest is another program's.
        MeshFileError: none of the objects has a surface.
    """
    done = Written()
    rows = _read_manifest(folder / MANIFEST)
    taken: set[str] = set()
    for asset in found:
        surface = surface_of(asset, depsgraph)
        if surface is None:
            done.empty.append(asset.name)
            continue
        name = _free(f"{_safe(asset.category)}/{_safe(asset.name)}", taken)
        _write_bytes(folder / name, _archive(surface))
        rows[name] = {
            "file": name,
            "category": asset.category,
            "licence": asset.licence or licence or "unknown",
            "author": asset.author or author or "unknown",
            "up": "+Z",
            "front": "-Y",
            "metres_per_unit": metres,
            "object": asset.name,
        }
        problems = [problem for each in surface.materials for problem in each.missing]
        if problems:
            done.without_color.append(f"{asset.name} ({problems[0]})")
        done.shapes += 1
    if not done.shapes:
        raise MeshFileError(
            "None of the objects has a surface.", "Choose meshes, curves or texts that show in renders."
        )
    text = "".join(json.dumps(row) + "\n" for _, row in sorted(rows.items()))
    _write_bytes(folder / MANIFEST, text.encode())
    return done


def _read_manifest(path: Path) -> dict[str, dict[str, Any]]:
    if not path.exists():
        return {}
    try:
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
        return {str(row["file"]): row for row in rows}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{path} is no manifest of shapes ({error}).", "Choose another folder.") from None


def _write_bytes(path: Path, data: bytes) -> None:
    try:
        files.write_bytes(path, data)
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error}).") from None


def _safe(name: str) -> str:
    """A name as every file system takes it."""
    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "unnamed"


def _free(stem: str, taken: set[str]) -> str:
    """`stem.npz`, or with a number where two names became equal. The same objects get the same names again."""
    name, number = f"{stem}.npz", 2
    while name.lower() in taken:
        name, number = f"{stem}_{number}.npz", number + 1
    taken.add(name.lower())
    return name


def _archive(surface: Surface) -> bytes:
    """The bytes of the .npz; the same surface gives the same bytes."""
    arrays: dict[str, np.ndarray] = {
        "position": surface.position,
        "face": surface.face,
        "material": surface.material,
        "uv": surface.uv,
    }
    if surface.corner_rgb is not None:
        arrays["corner_rgb"] = surface.corner_rgb
    images: dict[tuple[str, int | None, bool], str] = {}

    def stored(channel: materials.Channel, is_color: bool) -> str | None:
        if channel.image is None:
            return None
        key = (channel.image.name_full, channel.component, is_color)
        if key not in images:
            images[key] = f"image{len(images)}"
            arrays[images[key]] = materials.pixels(channel.image, channel.component, is_color)
        return images[key]

    rows = []
    for each in surface.materials:
        row: dict[str, Any] = {"name": each.name, "missing": each.missing}
        color = np.zeros(3) + np.asarray(each.color.value)
        row["base_color"] = materials.linear_to_srgb(color).tolist()
        row["roughness"] = float(np.mean(each.roughness.value))
        row["metallic"] = float(np.mean(each.metallic.value))
        if not each.missing:
            row["base_color_image"] = stored(each.color, True)
            row["roughness_image"] = stored(each.roughness, False)
            row["metallic_image"] = stored(each.metallic, False)
        rows.append(row)
    arrays["materials"] = np.frombuffer(json.dumps(rows).encode(), np.uint8)
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()
