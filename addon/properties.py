"""The settings of the panel. They belong to the scene and are saved with it; nothing about a running worker is."""

from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, PointerProperty

from gan3d_core.docstrings import field_docs
from gan3d_core.errors import Gan3DError
from gan3d_core.recipe import COMPONENT_RULES, LIMITS, Recipe
from gan3d_core.request import MAX_COUNT, recipes_for

from . import catalogue, preferences

RANDOM_SEEDS = 1_000_000
"""Random seeds are drawn below this, so that they stay short enough to read and note down."""


def _first_recipe() -> Recipe:
    """What a scene starts with: the recommendations of the shipped checkpoint that its first click will use."""
    try:
        return recipes_for(category=catalogue.FIRST_CATEGORY)[0]
    except Gan3DError:
        return Recipe(checkpoint="-")


_DOCS = field_docs(Recipe)
_DEFAULT = _first_recipe()
_COMPONENTS = {
    "largest": ("Largest", "Keep the largest connected part only"),
    "floaters": ("No floaters", "Drop the parts that are smaller than the limit below"),
    "all": ("All", "Keep every part, stray ones too"),
}


def _tip(name: str) -> str:
    return _DOCS[name].replace("`", "").rstrip(".")


def _limits(name: str, kind: type) -> dict[str, Any]:
    """Keyword arguments of a Blender property: the limits and the explanation are the recipe's own."""
    low, high = LIMITS[name]
    return {"min": kind(low), "max": kind(high), "default": getattr(_DEFAULT, name), "description": _tip(name)}


def _take_defaults(settings: "GAN3D_PG_settings", _context: bpy.types.Context) -> None:
    """Another checkpoint has been chosen: take over the values its author recommends."""
    checkpoint = catalogue.chosen(settings.category, settings.checkpoint)
    if checkpoint is not None:
        settings.truncation = checkpoint.config.truncation
        settings.resolution = checkpoint.config.resolution


def _category_changed(settings: "GAN3D_PG_settings", context: bpy.types.Context) -> None:
    settings.checkpoint = catalogue.DEFAULT
    _take_defaults(settings, context)


class GAN3D_PG_settings(bpy.types.PropertyGroup):
    """Settings of the next request; `recipes` turns them into what the worker understands."""

    category: EnumProperty(
        name="Category",
        description="What to generate",
        items=lambda _self, _context: catalogue.categories(),
        update=_category_changed,
    )
    checkpoint: EnumProperty(
        name="Checkpoint",
        description="The trained generator to use",
        items=lambda self, _context: catalogue.menu(self.category),
        update=_take_defaults,
    )
    seed: IntProperty(name="Seed", **_limits("seed", int))
    random_seed: BoolProperty(
        name="Random Seed", description="Draw a new seed at every click on Generate", default=True
    )
    own_texture: BoolProperty(
        name="Separate Texture",
        description="Take the surface of another seed, and leave the shape as it is",
        default=False,
    )
    texture_seed: IntProperty(name="Texture Seed", **{**_limits("texture_seed", int), "min": 0, "default": 0})
    count: IntProperty(
        name="Count",
        description="How many shapes to generate; their seeds follow one another",
        min=1,
        max=MAX_COUNT,
        soft_max=16,
        default=1,
    )
    truncation: FloatProperty(name="Truncation", subtype="FACTOR", **_limits("truncation", float))
    resolution: IntProperty(name="Resolution", **_limits("resolution", int))
    components: EnumProperty(
        name="Parts",
        description=_tip("components"),
        items=[(rule, *_COMPONENTS[rule]) for rule in COMPONENT_RULES],
        default=_DEFAULT.components,
    )
    min_component: FloatProperty(name="Smallest Part", subtype="FACTOR", **_limits("min_component", float))
    smoothing: IntProperty(name="Smoothing", **_limits("smoothing", int))
    flattening: IntProperty(name="Flattening", **_limits("flattening", int))
    target_faces: IntProperty(name="Target Faces", soft_max=50_000, step=100, **_limits("target_faces", int))
    texture_size: IntProperty(name="Texture Size", subtype="PIXEL", **_limits("texture_size", int))

    def recipes(self) -> list[Recipe]:
        """The recipes of `count` shapes with following seeds, by the settings as they are.

        Raises:
            CheckpointError: the chosen checkpoint is not there, or cannot be used.
        """
        found = catalogue.chosen(self.category, self.checkpoint)
        separate = self.own_texture and found is not None and found.config.texture_latent > 0
        named = "" if self.checkpoint in ("", catalogue.DEFAULT) else self.checkpoint
        return recipes_for(
            # An entry that is gone reads as an empty string.
            category=self.category or catalogue.FIRST_CATEGORY,
            checkpoint=named,
            count=self.count,
            seed=self.seed,
            texture_seed=self.texture_seed if separate else -1,
            checkpoint_dirs=preferences.checkpoint_dirs(),
            # Blender's floats are single precision; the recipe should say 0.8 where the panel says 0.8.
            truncation=round(self.truncation, 6),
            resolution=self.resolution,
            components=self.components,
            min_component=round(self.min_component, 6),
            smoothing=self.smoothing,
            flattening=self.flattening,
            target_faces=self.target_faces,
            texture_size=self.texture_size,
        )

    def take(self, recipe: Recipe) -> None:
        """Set the panel to a recipe's values; a checkpoint that is not installed leaves the menus as they are."""
        checkpoint = catalogue.by_id(recipe.checkpoint)
        if checkpoint is not None:
            self.category = checkpoint.config.category
            self.checkpoint = checkpoint.id
        self.random_seed = False
        self.own_texture = recipe.texture_seed >= 0
        if self.own_texture:
            self.texture_seed = recipe.texture_seed
        for name in ("seed", "truncation", "resolution", "components", "min_component"):
            setattr(self, name, getattr(recipe, name))
        for name in ("smoothing", "flattening", "target_faces", "texture_size"):
            setattr(self, name, getattr(recipe, name))


def register() -> None:
    bpy.utils.register_class(GAN3D_PG_settings)
    bpy.types.Scene.gan3d = PointerProperty(type=GAN3D_PG_settings)


def unregister() -> None:
    del bpy.types.Scene.gan3d
    bpy.utils.unregister_class(GAN3D_PG_settings)
