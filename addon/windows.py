"""What the session needs of Blender's windows: redrawing, undo steps, and whether the scene may change just now."""

from __future__ import annotations

import bpy


def redraw() -> None:
    """Ask for a redraw of what shows our state: sidebars of 3D views, and the preferences."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                for region in area.regions:
                    if region.type == "UI":
                        region.tag_redraw()
            elif area.type == "PREFERENCES":
                area.tag_redraw()


def may_change_scene() -> bool:
    """Whether objects may appear now.

    Not in Edit, Sculpt or Paint Mode: an undo step pushed there does not contain new objects, so Ctrl+Z would lose
    them, or lose edits. And not while something is being dragged.
    """
    for window in bpy.context.window_manager.windows:
        active = window.view_layer.objects.active
        if active is not None and active.mode != "OBJECT":
            return False
        if any(operator.bl_idname.startswith("TRANSFORM_OT_") for operator in window.modal_operators):
            return False
    return True


def push_undo(message: str) -> None:
    """End an undo step. A timer has no window in its context, which the undo system needs."""
    windows = bpy.context.window_manager.windows
    window = bpy.context.window or (windows[0] if len(windows) else None)
    if window is None:
        return
    with bpy.context.temp_override(window=window):
        if bpy.ops.ed.undo_push.poll():  # type: ignore[call-arg]
            bpy.ops.ed.undo_push(message=message)
