"""What can be done with an object that GAN3D has made: its recipe is on it."""

import random

import bpy

from gan3d_core.errors import Gan3DError

from .. import catalogue, properties, scene
from .generate import Requesting, check_free, report, run


def chosen(context):
    """The selected objects that carry a recipe."""
    return [thing for thing in context.selected_objects if scene.is_ours(thing)]


class OfSelection(Requesting):
    """Requests that start from the selected objects' recipes."""

    @classmethod
    def poll(cls, context):
        if chosen(context):
            return True
        cls.poll_message_set("Select an object that GAN3D has made")
        return False

    def request(self, context):
        try:
            check_free()
            things = chosen(context)
            recipes = [scene.recipe_of(thing) for thing in things]
        except Gan3DError as error:
            report(self, error)
            return {"CANCELLED"}
        return self.send(context, things, recipes)


class GAN3D_OT_regenerate(OfSelection, bpy.types.Operator):
    """Make the selected objects' meshes again from their recipes. Their places and modifiers stay"""

    bl_idname = "gan3d.regenerate"
    bl_label = "Regenerate"

    def send(self, context, things, recipes):
        return run(self, context, recipes=recipes, title="", targets=things)


class GAN3D_OT_vary(OfSelection, bpy.types.Operator):
    """Generate a new shape beside each selected one: the same settings, another seed"""

    bl_idname = "gan3d.vary"
    bl_label = "Vary"

    def send(self, context, things, recipes):
        varied = [
            recipe.of_seed(random.randrange(properties.RANDOM_SEEDS)).replace(checkpoint_hash="") for recipe in recipes
        ]
        return run(self, context, recipes=varied, title=catalogue.title_of(recipes[0]))


class GAN3D_OT_retexture(OfSelection, bpy.types.Operator):
    """Give the selected objects the surface of another seed. Their shapes, places and modifiers stay"""

    bl_idname = "gan3d.retexture"
    bl_label = "New Texture"

    def send(self, context, things, recipes):
        other = [recipe.replace(texture_seed=random.randrange(properties.RANDOM_SEEDS)) for recipe in recipes]
        return run(self, context, recipes=other, title="", targets=things)


class GAN3D_OT_take_settings(bpy.types.Operator):
    """Set the panel to the active object's recipe"""

    bl_idname = "gan3d.take_settings"
    bl_label = "Use Its Settings"
    bl_options = {"UNDO"}

    @classmethod
    def poll(cls, context):
        return scene.is_ours(context.active_object)

    def execute(self, context):
        try:
            context.scene.gan3d.take(scene.recipe_of(context.active_object))
        except Gan3DError as error:
            report(self, error)
            return {"CANCELLED"}
        return {"FINISHED"}


CLASSES = (GAN3D_OT_regenerate, GAN3D_OT_vary, GAN3D_OT_retexture, GAN3D_OT_take_settings)
