"""Preferences: the worker's Python, its device, more checkpoints. Also how the rest of the add-on reads them."""

from typing import Any

import bpy
from bpy.props import EnumProperty, IntProperty, StringProperty

from gan3d_core.worker.client import Limits

OVERRIDES: dict[str, Any] = {}
"""Values that hold instead of the preferences', for one run of the command line: python, device, checkpoint_dirs."""

PACKAGE = __package__
"""How Blender names this add-on: `bl_ext.….gan3d` as an extension, `addon` from a checkout."""

DEVICES = [
    ("auto", "Automatic", "CUDA or Apple's GPU where there is one, else the processor"),
    ("cuda", "CUDA", "An NVIDIA GPU, or an AMD one with ROCm"),
    ("mps", "Apple GPU", "Metal, on a Mac"),
    ("cpu", "Processor", "Slower, but it has the most memory"),
]


def _folders_changed(_preferences: "GAN3D_AP_preferences", _context: bpy.types.Context) -> None:
    from . import catalogue

    catalogue.refresh()


def _python_changed(_preferences: "GAN3D_AP_preferences", _context: bpy.types.Context) -> None:
    from . import session

    session.get().pythons.forget()


class GAN3D_AP_preferences(bpy.types.AddonPreferences):
    """Saved with Blender's preferences, for every file."""

    bl_idname = __package__

    python: StringProperty(
        name="Python",
        description="The Python with PyTorch in it that generates the shapes. Empty: the first suitable one is found",
        subtype="FILE_PATH",
        update=_python_changed,
    )
    device: EnumProperty(name="Device", description="Where the worker generates", items=DEVICES, default="auto")
    checkpoint_dir: StringProperty(
        name="Checkpoints",
        description="A folder with further checkpoints, one folder each",
        subtype="DIR_PATH",
        update=_folders_changed,
    )
    time_limit: IntProperty(
        name="Time Limit",
        description="Give up a worker that has shown no progress for this many seconds",
        min=10,
        max=24 * 3600,
        soft_max=3600,
        default=int(Limits().stage),
        subtype="TIME_ABSOLUTE",
    )

    def draw(self, context: bpy.types.Context) -> None:
        from .panels import worker

        worker.draw_preferences(self, self.layout, context)


def get() -> GAN3D_AP_preferences | None:
    """The preferences, or None while the add-on is being switched on or off."""
    addon = bpy.context.preferences.addons.get(__package__)
    return addon.preferences if addon else None


def checkpoint_dirs() -> list[str]:
    """Folders to look for checkpoints in, besides the shipped ones."""
    preferences = get()
    chosen = [bpy.path.abspath(preferences.checkpoint_dir)] if preferences and preferences.checkpoint_dir else []
    return [*OVERRIDES.get("checkpoint_dirs", ()), *chosen]


def python() -> str | None:
    """The worker's Python as chosen, or None to have it found."""
    preferences = get()
    if "python" in OVERRIDES:
        return OVERRIDES["python"]
    # realpath is not applied: the interpreter of a virtual environment is a link and must stay one.
    return bpy.path.abspath(preferences.python) if preferences and preferences.python else None


def worker_settings() -> dict[str, Any]:
    """Keyword arguments of `WorkerClient`."""
    preferences = get()
    return {
        "python": python(),
        "device": OVERRIDES.get("device", preferences.device if preferences else "auto"),
        "checkpoint_dirs": checkpoint_dirs(),
        "limits": Limits(stage=preferences.time_limit) if preferences else Limits(),
    }


def register() -> None:
    bpy.utils.register_class(GAN3D_AP_preferences)


def unregister() -> None:
    bpy.utils.unregister_class(GAN3D_AP_preferences)
