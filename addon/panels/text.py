"""Text that fits its region: labels of Blender do not wrap."""

from __future__ import annotations

from collections.abc import Callable

import blf
import bpy


def wrap(text: str, width: float, measure: Callable[[str], float]) -> list[str]:
    """Break text into lines no wider than `width`; a word that is wider by itself (a path) is broken inside."""
    lines: list[str] = []
    for paragraph in text.splitlines() or [""]:
        line = ""
        for word in paragraph.split():
            candidate = f"{line} {word}" if line else word
            if measure(candidate) <= width:
                line = candidate
                continue
            if line:
                lines.append(line)
            while measure(word) > width and len(word) > 1:
                length = next(n for n in range(len(word) - 1, 0, -1) if n == 1 or measure(word[:n]) <= width)
                lines.append(word[:length])
                word = word[length:]
            line = word
        lines.append(line)
    return lines


def draw_wrapped(
    layout: bpy.types.UILayout, context: bpy.types.Context, text: str, icon: str = "NONE", most: int = 12
) -> None:
    """Labels for `text`, wrapped to the width of the region that is being drawn; at most `most` lines."""
    scale = context.preferences.system.ui_scale
    blf.size(0, context.preferences.ui_styles[0].widget.points * scale)
    # What is left of the region after the tabs, the panel's and the box's margins, and the icon.
    available = max(context.region.width - (95 if icon != "NONE" else 75) * scale, 60 * scale)
    lines = wrap(text, available, lambda part: blf.dimensions(0, part)[0])
    column = layout.column(align=True)
    column.scale_y = 0.8
    for index, line in enumerate(lines[:most]):
        last = index == most - 1 and len(lines) > most
        shown = line + " …" if last else line
        if icon == "NONE":
            column.label(text=shown)
        else:
            column.label(text=shown, icon=icon if index == 0 else "BLANK1")  # type: ignore[arg-type]


def duration(seconds: float) -> str:
    """`7 s`, `1 min 20 s`, `1 h 5 min`."""
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
