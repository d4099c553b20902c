"""The worker and its Python: test, stop, set up; and what to do with its errors."""

import bpy

from gan3d_core.errors import Gan3DError

from .. import catalogue, preferences, session, windows
from .generate import report


class GAN3D_OT_test_worker(bpy.types.Operator):
    """Start the worker with these preferences and show its versions, or what is wrong"""

    bl_idname = "gan3d.test_worker"
    bl_label = "Test Worker"

    @classmethod
    def poll(cls, _context):
        return not session.get().busy

    def execute(self, _context):
        try:
            session.get().start_worker()
        except Gan3DError as error:
            report(self, error)
            return {"CANCELLED"}
        return {"FINISHED"}


class GAN3D_OT_stop_worker(bpy.types.Operator):
    """End the worker and free its memory. The next Generate starts it again"""

    bl_idname = "gan3d.stop_worker"
    bl_label = "Stop Worker"

    @classmethod
    def poll(cls, _context):
        client = session.get().client
        return client is not None and client.state != "stopped"

    def execute(self, _context):
        session.get().stop()
        windows.redraw()
        return {"FINISHED"}


class GAN3D_OT_setup_worker(bpy.types.Operator):
    """Install PyTorch and what else the worker needs into an environment of its own. Nothing else is changed"""

    bl_idname = "gan3d.setup_worker"
    bl_label = "Set Up Worker"

    @classmethod
    def poll(cls, _context):
        if not bpy.app.online_access:
            cls.poll_message_set("Allow Online Access in Blender's preferences (System) first")
            return False
        return session.get().pythons.setup is None

    def execute(self, _context):
        try:
            session.get().set_up()
        except Gan3DError as error:
            report(self, error)
            return {"CANCELLED"}
        return {"FINISHED"}


class GAN3D_OT_cancel_setup(bpy.types.Operator):
    """End the installation. What it has made so far is removed"""

    bl_idname = "gan3d.cancel_setup"
    bl_label = "Cancel"

    @classmethod
    def poll(cls, _context):
        return session.get().pythons.setup is not None

    def execute(self, _context):
        session.get().pythons.cancel_setup()
        windows.redraw()
        return {"FINISHED"}


class GAN3D_OT_refresh(bpy.types.Operator):
    """Look for checkpoints again"""

    bl_idname = "gan3d.refresh"
    bl_label = "Refresh"

    def execute(self, _context):
        catalogue.refresh()
        session.get().pythons.forget()
        broken = catalogue.broken()
        if broken:
            report(self, broken[0])
            return {"CANCELLED"}
        windows.redraw()
        return {"FINISHED"}


class GAN3D_OT_copy_error(bpy.types.Operator):
    """Copy the error, and the last lines the worker wrote, to the clipboard"""

    bl_idname = "gan3d.copy_error"
    bl_label = "Copy"

    @classmethod
    def poll(cls, _context):
        return session.get().error is not None

    def execute(self, context):
        context.window_manager.clipboard = session.get().error_report()
        self.report({"INFO"}, "The error is in the clipboard")
        return {"FINISHED"}


class GAN3D_OT_dismiss_error(bpy.types.Operator):
    """Hide the error"""

    bl_idname = "gan3d.dismiss_error"
    bl_label = "Dismiss"

    def execute(self, _context):
        session.get().error = None
        windows.redraw()
        return {"FINISHED"}


class GAN3D_OT_open_preferences(bpy.types.Operator):
    """Open the preferences of GAN3D: the worker's Python, its device, more checkpoints"""

    bl_idname = "gan3d.open_preferences"
    bl_label = "Preferences"

    def execute(self, _context):
        return bpy.ops.preferences.addon_show(module=preferences.PACKAGE)


CLASSES = (
    GAN3D_OT_test_worker,
    GAN3D_OT_stop_worker,
    GAN3D_OT_setup_worker,
    GAN3D_OT_cancel_setup,
    GAN3D_OT_refresh,
    GAN3D_OT_copy_error,
    GAN3D_OT_dismiss_error,
    GAN3D_OT_open_preferences,
)
