"""Sub-panels: how results are made into meshes, and what the active object was made from."""

import functools

import bpy

from gan3d_core.errors import RecipeError
from gan3d_core.recipe import Recipe

from .. import catalogue, scene, session
from .generate import Sidebar
from .text import draw_wrapped


class GAN3D_PT_output(Sidebar, bpy.types.Panel):
    bl_idname = "GAN3D_PT_output"
    bl_label = "Mesh & Textures"
    bl_parent_id = "GAN3D_PT_generate"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context):
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        settings = context.scene.gan3d
        column = layout.column()
        column.prop(settings, "resolution")
        column.prop(settings, "smoothing")
        column.prop(settings, "flattening")
        column.prop(settings, "target_faces")
        column.prop(settings, "texture_size")
        column = layout.column()
        column.prop(settings, "components")
        row = column.row()
        row.active = settings.components == "floaters"
        row.prop(settings, "min_component", slider=True)


class GAN3D_PT_object(Sidebar, bpy.types.Panel):
    bl_idname = "GAN3D_PT_object"
    bl_label = "Selected Object"

    @classmethod
    def poll(cls, context):
        return scene.is_ours(context.active_object)

    def draw(self, context):
        layout = self.layout
        thing = context.active_object
        try:
            recipe = _parse(str(thing[scene.RECIPE_KEY]))
        except RecipeError as error:
            draw_wrapped(layout.box(), context, str(error), icon="ERROR")
            return
        column = layout.column(align=True)
        column.label(text=thing.name, icon="OBJECT_DATA")
        checkpoint = catalogue.by_id(recipe.checkpoint)
        column.label(text=checkpoint.config.label if checkpoint else recipe.checkpoint, icon="FILE")
        texture = f" · texture {recipe.texture_seed}" if recipe.texture_seed >= 0 else ""
        column.label(text=f"Seed {recipe.seed}{texture} · truncation {recipe.truncation:.2f}", icon="MOD_NOISE")
        faces = len(thing.data.polygons)
        column.label(text=f"{faces:,} faces · resolution {recipe.resolution}", icon="MESH_DATA")
        column = layout.column(align=True)
        column.enabled = not session.get().busy
        row = column.row(align=True)
        row.operator("gan3d.regenerate", icon="FILE_REFRESH")
        row.operator("gan3d.vary", icon="DUPLICATE")
        if checkpoint is not None and checkpoint.config.texture_latent:
            column.operator("gan3d.retexture", icon="TEXTURE")
        column.operator("gan3d.take_settings", icon="EYEDROPPER")


@functools.lru_cache(maxsize=256)
def _parse(text: str) -> Recipe:
    """Recipes are parsed once, not at every redraw."""
    return Recipe.from_json(text)


CLASSES = (GAN3D_PT_output, GAN3D_PT_object)
