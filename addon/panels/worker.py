"""The worker: its state in the sidebar, and the add-on's preferences."""

import bpy

from .. import catalogue, session
from .generate import Sidebar, draw_error
from .text import draw_wrapped

_ICONS = {"stopped": "RADIOBUT_OFF", "starting": "SORTTIME", "ready": "RADIOBUT_ON", "busy": "SORTTIME"}


class GAN3D_PT_worker(Sidebar, bpy.types.Panel):
    bl_idname = "GAN3D_PT_worker"
    bl_label = "Worker"

    def draw(self, context):
        layout = self.layout
        current = session.get()
        current.want_python()
        draw_status(layout, current)
        draw_setup(layout, context, current)
        row = layout.row(align=True)
        row.operator("gan3d.stop_worker", text="Stop", icon="CANCEL")
        row.operator("gan3d.open_preferences", icon="PREFERENCES")


def status(current):
    """`(text, icon)` of the worker's state."""
    state = current.client.state if current.client else "stopped"
    words = {"stopped": "Stopped: Generate starts it", "starting": "Starting …", "ready": "Ready", "busy": "Busy"}
    text = words[state]
    info = current.client.info if current.client else None
    if info:
        text += f" · {info.device_name or info.device.upper()}"
    return text, _ICONS[state]


def draw_status(layout, current):
    text, icon = status(current)
    layout.label(text=text, icon=icon)


def draw_setup(layout, context, current):
    """Where no Python can run the worker: say so, and offer to install one. Also shows that installation."""
    pythons = current.pythons
    if pythons.setup:
        row = layout.row(align=True)
        row.progress(factor=pythons.fraction, text=f"{pythons.fraction:.0%}")
        row.operator("gan3d.cancel_setup", text="", icon="X")
        draw_wrapped(layout, context, pythons.line or "Setting up the worker …", most=3)
        return
    if pythons.found is None or pythons.found.usable:
        return
    box = layout.box()
    draw_wrapped(box, context, f"The worker has no Python yet. {pythons.found.explain()}", icon="INFO")
    if not bpy.app.online_access:
        draw_wrapped(
            box, context, "To install one, allow Online Access in Blender's preferences (System).", icon="BLANK1"
        )
    box.operator("gan3d.setup_worker", icon="IMPORT")


def draw_preferences(prefs, layout, context):
    """The body of the add-on's preferences."""
    current = session.get()
    current.want_python()
    layout.use_property_split = True
    layout.use_property_decorate = False

    column = layout.column()
    column.label(text="Worker")
    column.prop(prefs, "python", placeholder="found automatically")
    found = current.pythons.found
    if not prefs.python and found and found.usable:
        row = column.row()
        row.alignment = "RIGHT"
        row.label(text=f"Found: {found.python}")
    column.prop(prefs, "device")
    column.prop(prefs, "time_limit")

    row = layout.row()
    row.operator("gan3d.test_worker", icon="PLAY")
    row.operator("gan3d.stop_worker", icon="CANCEL")
    draw_result(layout, context, current)
    draw_setup(layout, context, current)

    column = layout.column()
    column.label(text="Checkpoints")
    row = column.row(align=True)
    row.prop(prefs, "checkpoint_dir", text="More In")
    row.operator("gan3d.refresh", text="", icon="FILE_REFRESH")
    for error in catalogue.broken():
        draw_wrapped(column, context, str(error), icon="ERROR")


def draw_result(layout, context, current):
    """What the test found: versions and device, or the error."""
    info = current.client.info if current.client else None
    if info:
        box = layout.box()
        column = box.column(align=True)
        column.label(text=f"Works: {info.device_name or info.device} ({info.device})", icon="CHECKMARK")
        column.label(text=f"Python {info.python} · PyTorch {info.torch} · GAN3D {info.version}", icon="BLANK1")
        column.label(text=info.executable, icon="BLANK1")
    elif current.client and current.client.state == "starting":
        draw_status(layout, current)
    if current.error:
        draw_error(layout, context, current)


CLASSES = (GAN3D_PT_worker,)
