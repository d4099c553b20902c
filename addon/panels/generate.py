"""The tab's main panel: what to make, Generate, progress, the last error."""

import bpy

from .. import catalogue, session
from .text import draw_wrapped, duration

CATEGORY = "GAN3D"

STAGES = {
    "start": "Starting the worker",
    "load": "Loading the checkpoint",
    "generate": "Generating",
    "extract": "Extracting the surface",
    "clean": "Removing stray parts",
    "decimate": "Reducing faces",
    "unwrap": "Unwrapping",
    "bake": "Baking textures",
}


class Sidebar:
    """What every panel of the tab shares."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = CATEGORY


class GAN3D_PT_generate(Sidebar, bpy.types.Panel):
    bl_idname = "GAN3D_PT_generate"
    bl_label = "Generate"

    def draw(self, context):
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        settings = context.scene.gan3d
        current = session.get()

        column = layout.column()
        row = column.row(align=True)
        row.prop(settings, "category")
        row.operator("gan3d.refresh", text="", icon="FILE_REFRESH")
        if catalogue.chosen(settings.category, settings.checkpoint) is None:
            draw_wrapped(column.box(), context, _missing(settings), icon="INFO")
        else:
            column.prop(settings, "checkpoint")

        column = layout.column()
        row = column.row(align=True)
        number = row.row(align=True)
        # With random seeds the field only shows the one that was used.
        number.active = not settings.random_seed
        number.prop(settings, "seed")
        row.prop(settings, "random_seed", text="", icon="MOD_NOISE", toggle=True)
        chosen = catalogue.chosen(settings.category, settings.checkpoint)
        if chosen is not None and chosen.config.texture_latent:
            row = column.row(align=True)
            number = row.row(align=True)
            number.active = settings.own_texture
            number.prop(settings, "texture_seed")
            row.prop(settings, "own_texture", text="", icon="TEXTURE", toggle=True)
        column.prop(settings, "count")
        column.prop(settings, "truncation", slider=True)

        # The button stays as it is while a request runs (a click is then refused in words): the mouse rests on it, and
        # Blender keeps a button under the mouse greyed, or passes its pressed look to what takes its place.
        row = layout.row()
        row.scale_y = 1.6
        row.operator("gan3d.generate", text=_button(settings), icon="PLAY")
        if current.busy:
            draw_progress(layout, current)
        if current.waiting and not current.busy:
            count = len(current.waiting)
            what = "One shape waits" if count == 1 else f"{count} shapes wait"
            draw_wrapped(layout.box(), context, f"{what} for Object Mode to be placed.", icon="TIME")
        if current.error:
            draw_error(layout, context, current)
        elif current.summary and not current.busy:
            layout.label(text=current.summary, icon="CHECKMARK")


def _button(settings):
    name = catalogue.title(settings.category or catalogue.FIRST_CATEGORY)
    return f"Generate {name}" if settings.count == 1 else f"Generate {settings.count} {name}s"


def _missing(settings):
    if catalogue.broken():
        return str(catalogue.broken()[0])
    if settings.checkpoint:
        return "No checkpoint is installed for this category. Name a folder with some in the preferences."
    return "The checkpoint that this file names is not installed. Choose another category, or add its folder."


def draw_progress(layout, current):
    """The running request: stage, which shape, time left, Cancel."""
    job = current.job
    starting = current.client is not None and current.client.state == "starting"
    stage = STAGES.get(job.stage, job.stage.capitalize())
    if job.count > 1:
        stage = f"{job.index + 1} of {job.count}: {stage}"
    if starting:
        stage = STAGES["start"]
    column = layout.column(align=True)
    row = column.row(align=True)
    row.scale_y = 1.2
    text = "Cancelling …" if job.cancelling else f"{job.fraction:.0%}"
    if not job.cancelling and job.eta_s is not None:
        text += f" · {duration(job.eta_s)} left"
    row.progress(factor=job.fraction, text=text)
    cancel = row.row(align=True)
    cancel.enabled = not job.cancelling
    cancel.operator("gan3d.cancel", text="", icon="X")
    column.label(text=stage)


def draw_error(layout, context, current):
    """What went wrong and what to do about it."""
    error = current.error
    box = layout.box()
    draw_wrapped(box, context, error.message, icon="ERROR")
    if error.hint:
        draw_wrapped(box, context, error.hint, icon="BLANK1")
    row = box.row(align=True)
    row.operator("gan3d.copy_error", icon="COPYDOWN")
    row.operator("gan3d.dismiss_error", icon="X")


CLASSES = (GAN3D_PT_generate,)
