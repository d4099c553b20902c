"""Which objects make one shape, and of which category it is.

- In a file with assets (marked in the Asset Browser): every object or collection that is one, its category the
  catalogue it lies in.
- In a file without: every collection directly below the scene is a category. In it each collection is one shape, with
  all its objects; of the other objects, each that has no parent is one shape, with all that hangs from it.
- Of a selection: as without assets, and only what is selected; objects are grouped by their topmost selected parent.

What is hidden in renders is left out, and so is what has no surface.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import bpy

SOLID = {"MESH", "CURVE", "SURFACE", "FONT", "META"}
INSTANCER = {"EMPTY"}


@dataclasses.dataclass
class Asset:
    """One shape to be written. It holds Blender's objects, so it must not outlive the call that made it."""

    name: str
    category: str
    objects: list[bpy.types.Object]
    licence: str = ""
    author: str = ""


def of_scene(scene: bpy.types.Scene, fallback: str) -> list[Asset]:
    """The shapes of a scene without assets.

    Args:
        fallback: category of objects that lie in no collection.
    """
    found = _of_collection(scene.collection, fallback, deep=False)
    for category in scene.collection.children:
        if not category.hide_render:
            found += _of_collection(category, category.name, deep=True)
    return found


def _of_collection(collection: bpy.types.Collection, category: str, deep: bool) -> list[Asset]:
    members = {each for each in collection.objects if _counts(each)}
    found = [Asset(root.name, category, family) for root, family in _families(members).items() if _has_surface(family)]
    for inner in collection.children if deep else ():
        family = [each for each in inner.all_objects if _counts(each)]
        if not inner.hide_render and _has_surface(family):
            found.append(Asset(inner.name, category, family))
    return found


def of_selection(context: bpy.types.Context, category: str = "") -> list[Asset]:
    """The shapes among the selected objects.

    Args:
        category: of all of them; empty takes the name of the collection that each lies in.
    """
    selected = {each for each in context.selected_objects if _counts(each)}
    return [
        Asset(root.name, category or _category_of(root, context.scene), family)
        for root, family in _families(selected).items()
        if _has_surface(family)
    ]


def of_library() -> list[Asset]:
    """The objects and collections of the file that are marked as assets; empty where none is."""
    found = []
    for collection in bpy.data.collections:
        if collection.asset_data and not collection.library:
            family = [each for each in collection.all_objects if _counts(each)]
            found.append(_marked(collection, collection.name, family))
    for thing in bpy.data.objects:
        if thing.asset_data and not thing.library and _counts(thing):
            found.append(_marked(thing, thing.name, [thing, *thing.children_recursive]))
    return [asset for asset in found if _has_surface(asset.objects)]


def _marked(owner: bpy.types.ID, name: str, family: list[bpy.types.Object]) -> Asset:
    data = owner.asset_data
    # The catalogue's simple name is its path with dashes: `Furniture-Chairs`.
    category = data.catalog_simple_name.rpartition("-")[2].strip() or "asset"
    return Asset(name, category, family, data.license, data.author)


def _families(members: set[bpy.types.Object]) -> dict[bpy.types.Object, list[bpy.types.Object]]:
    """Topmost parent among the members → it and all members below it, in the order of their names."""
    families: dict[bpy.types.Object, list[bpy.types.Object]] = {}
    for member in sorted(members, key=lambda each: each.name):
        root, above = member, member.parent
        while above is not None:
            if above in members:
                root = above
            above = above.parent
        families.setdefault(root, []).append(member)
    return families


def _counts(thing: bpy.types.Object) -> bool:
    return thing.type in SOLID | INSTANCER and not thing.hide_render


def _has_surface(family: Iterable[bpy.types.Object]) -> bool:
    return any(each.type in SOLID or each.instance_type != "NONE" for each in family)


def _category_of(thing: bpy.types.Object, scene: bpy.types.Scene | None) -> str:
    """The collection directly below the scene that leads to the object, else that which holds it."""
    if scene is not None:
        for collection in scene.collection.children:
            if thing.name in collection.all_objects:
                return collection.name
    return "shape"
