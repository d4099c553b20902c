"""Shapes in the scene: objects in the GAN3D collection, each with its recipe.

Nothing here keeps a reference to Blender data between calls: undo and file loading replace it. What must be found
again is remembered by `session_uid`.
"""

from __future__ import annotations

import bpy

from gan3d_core.errors import RecipeError
from gan3d_core.recipe import Recipe
from gan3d_core.shape import Shape

from . import meshes, placing

COLLECTION = "GAN3D"
RECIPE_KEY = "gan3d_recipe"
"""Custom property of objects: the recipe's JSON."""
COLLECTION_KEY = "gan3d"


def object_name(category_title: str, recipe: Recipe) -> str:
    """`Chair 0042`."""
    return f"{category_title} {recipe.seed:04d}"


def scene_by_uid(uid: int) -> bpy.types.Scene:
    """The scene of that identity; if it has been deleted, the one that is being looked at."""
    found = next((scene for scene in bpy.data.scenes if scene.session_uid == uid), None)
    return found or bpy.context.scene or bpy.data.scenes[0]


def object_by_uid(uid: int) -> bpy.types.Object | None:
    return next((thing for thing in bpy.data.objects if thing.session_uid == uid), None)


def view_layer_of(scene: bpy.types.Scene) -> bpy.types.ViewLayer:
    """The view layer in which a window shows the scene, else its first."""
    for window in bpy.context.window_manager.windows:
        if window.scene == scene:
            return window.view_layer
    return scene.view_layers[0]


def collection_of(scene: bpy.types.Scene) -> bpy.types.Collection:
    """The scene's GAN3D collection, made when it is missing. A renamed one is recognised."""
    for collection in scene.collection.children_recursive:
        if collection.get(COLLECTION_KEY) and collection.is_editable:
            return collection
    collection = bpy.data.collections.new(COLLECTION)
    collection[COLLECTION_KEY] = True
    scene.collection.children.link(collection)
    return collection


def add_shape(
    scene: bpy.types.Scene, shape: Shape, recipe: Recipe, name: str, select: bool = False
) -> bpy.types.Object:
    """Make an object of a shape and stand it in the first free place from the 3D cursor on.

    Args:
        select: make it active and add it to the selection.
    """
    layer = view_layer_of(scene)
    layer.update()
    taken = placing.obstacles(scene.objects)
    thing = bpy.data.objects.new(name, meshes.make_mesh(shape, name))
    thing[RECIPE_KEY] = recipe.to_json()
    collection_of(scene).objects.link(thing)
    x, y, z = placing.free_place(shape.size, scene.cursor.location[:], taken)
    centre = (shape.vertices.min(axis=0) + shape.vertices.max(axis=0)) / 2
    thing.location = (x - float(centre[0]), y - float(centre[1]), z)
    layer.update()
    if select and thing.name in layer.objects:
        thing.select_set(True, view_layer=layer)
        layer.objects.active = thing
    return thing


def replace_shape(thing: bpy.types.Object, shape: Shape, recipe: Recipe) -> None:
    """Give an object another shape: transform, modifiers, parent and name stay as they are."""
    old = thing.data
    thing.data = meshes.make_mesh(shape, thing.name)
    thing[RECIPE_KEY] = recipe.to_json()
    if isinstance(old, bpy.types.Mesh):
        meshes.remove_mesh(old)


def is_ours(thing: bpy.types.Object | None) -> bool:
    """Whether the object carries a recipe and may be changed. Cheap: for `poll` and `draw`."""
    return thing is not None and thing.type == "MESH" and thing.get(RECIPE_KEY) is not None and thing.is_editable


def recipe_of(thing: bpy.types.Object) -> Recipe:
    """The recipe stored on an object.

    Raises:
        RecipeError: there is none, or it cannot be read.
    """
    text = thing.get(RECIPE_KEY)
    if not isinstance(text, str):
        raise RecipeError(f"{thing.name} carries no GAN3D recipe.", "Select an object that GAN3D has made.")
    return Recipe.from_json(text)


def selection(scene: bpy.types.Scene) -> tuple[frozenset[int], int]:
    """What is selected and active, by identity: to see whether the artist has turned to something else."""
    layer = view_layer_of(scene)
    active = layer.objects.active
    chosen = frozenset(thing.session_uid for thing in layer.objects if thing.select_get(view_layer=layer))
    return chosen, active.session_uid if active else 0


def deselect_all(scene: bpy.types.Scene) -> None:
    layer = view_layer_of(scene)
    for thing in layer.objects:
        if thing.select_get(view_layer=layer):
            thing.select_set(False, view_layer=layer)
