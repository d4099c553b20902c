"""Generate and Cancel."""

import random
from typing import Any

import bpy
from bpy.props import BoolProperty

from gan3d_core.errors import Gan3DError, RecipeError, WorkerBusyError

from .. import catalogue, properties, session, windows


def report(operator: bpy.types.Operator, error: Gan3DError) -> None:
    """Show an error in the panel and in Blender's own way; a script gets it as RuntimeError."""
    if not isinstance(error, WorkerBusyError):  # which is no failure of the request that runs
        session.get().error = error
    windows.redraw()
    operator.report({"ERROR"}, str(error))


def must_wait(operator: bpy.types.Operator) -> bool:
    """Whether `execute` is to return only when all is done: as the caller said; unsaid, in the background only, where
    Blender has nothing else to do (and turns INVOKE_DEFAULT into an execution, too)."""
    return operator.wait if operator.properties.is_property_set("wait") else bpy.app.background


def check_free() -> None:
    job = session.get().job
    if session.get().pending or (job and not job.cancelling):
        raise WorkerBusyError("GAN3D is still generating.")


def run(operator: bpy.types.Operator, context: bpy.types.Context, **request: Any) -> set[str]:
    """Send a request from an operator; in `execute`, wait for it where that is wanted."""
    try:
        if operator.waiting and not windows.may_change_scene():
            raise RecipeError("Shapes can be placed in Object Mode only.", "Leave Edit Mode first.")
        assert context.scene is not None  # Blender always has one
        session.get().generate(target_scene=context.scene, **request)
        if operator.waiting:
            session.get().finish()
    except Gan3DError as error:
        report(operator, error)
        return {"CANCELLED"}
    return {"FINISHED"}


class Requesting:
    """What the operators that send requests share: called from the interface they return at once."""

    wait: BoolProperty(
        name="Wait",
        description="Return when everything is done. For scripts: unset, a Blender without windows waits",
        default=False,
        options={"SKIP_SAVE", "HIDDEN"},
    )
    waiting = False

    def invoke(self, context, _event):
        return self.request(context)

    def execute(self, context):
        self.waiting = must_wait(self)
        return self.request(context)


class GAN3D_OT_generate(Requesting, bpy.types.Operator):
    """Generate shapes with the settings above. They appear in the GAN3D collection as they are finished"""

    bl_idname = "gan3d.generate"
    bl_label = "Generate"

    def request(self, context):
        settings = context.scene.gan3d
        try:
            check_free()
            if settings.random_seed:
                settings.seed = random.randrange(properties.RANDOM_SEEDS)
            recipes = settings.recipes()
        except Gan3DError as error:
            report(self, error)
            return {"CANCELLED"}
        return run(self, context, recipes=recipes, title=catalogue.title(settings.category or catalogue.FIRST_CATEGORY))


class GAN3D_OT_cancel(bpy.types.Operator):
    """End the running request. Shapes that are finished stay"""

    bl_idname = "gan3d.cancel"
    bl_label = "Cancel"

    @classmethod
    def poll(cls, _context):
        return session.get().busy

    def execute(self, _context):
        session.get().cancel()
        windows.redraw()
        return {"FINISHED"}


CLASSES = (GAN3D_OT_generate, GAN3D_OT_cancel)
