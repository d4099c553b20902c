"""The installed checkpoints as menus. Disks are read by `refresh` only, never while the interface draws."""

from __future__ import annotations

import zlib

from gan3d_core import checkpoints
from gan3d_core.checkpoints import Checkpoint
from gan3d_core.errors import CheckpointError
from gan3d_core.recipe import Recipe

from . import preferences

DEFAULT = "DEFAULT"
FIRST_CATEGORY = "chair"

Item = tuple[str, str, str, str, int]

_found: list[Checkpoint] = []
_broken: list[CheckpointError] = []
# Blender keeps no reference to the strings of a dynamic menu, so they live here.
_categories: list[Item] = []
_menus: dict[str, list[Item]] = {}


def refresh() -> None:
    """Read the checkpoint folders again and rebuild the menus."""
    found, broken = checkpoints.installed(preferences.checkpoint_dirs())
    _found[:], _broken[:] = found, broken
    names = sorted({checkpoint.config.category for checkpoint in found} | {FIRST_CATEGORY})
    names.sort(key=lambda name: name != FIRST_CATEGORY)
    _categories[:] = [
        (name, title(name), f"Generate a {name}", "NONE", _number(name) if name != FIRST_CATEGORY else 0)
        for name in names
    ]
    _menus.clear()
    for name in names:
        of_category = [checkpoint for checkpoint in found if checkpoint.config.category == name]
        best = of_category[0].config.label if of_category else "none is installed"
        items: list[Item] = [(DEFAULT, f"Best ({best})", f"The best installed checkpoint for {name}s", "NONE", 0)]
        for checkpoint in of_category:
            tip = f"{checkpoint.path} · {checkpoint.config.architecture}"
            items.append((checkpoint.id, checkpoint.config.label, tip, "NONE", _number(checkpoint.id)))
        _menus[name] = items


def _number(name: str) -> int:
    """The number a .blend stores for an entry; it must not change when others come and go. 0 is the first's."""
    return (zlib.crc32(name.encode()) & 0x7FFFFFFF) or 1


def title(category: str) -> str:
    """`office_chair` → `Office Chair`, for menus and object names."""
    return category.replace("_", " ").replace("-", " ").title()


def categories() -> list[Item]:
    return _categories


def menu(category: str) -> list[Item]:
    return _menus.get(category) or _menus.get(FIRST_CATEGORY) or [(DEFAULT, "Best", "", "NONE", 0)]


def broken() -> list[CheckpointError]:
    """Why each folder that looks like a checkpoint is not in the menus."""
    return _broken


def by_id(identity: str) -> Checkpoint | None:
    return next((checkpoint for checkpoint in _found if checkpoint.id == identity), None)


def title_of(recipe: Recipe) -> str:
    """What an object of this recipe is called: its checkpoint's category, if that is installed."""
    checkpoint = by_id(recipe.checkpoint)
    return title(checkpoint.config.category if checkpoint else "shape")


def chosen(category: str, identity: str) -> Checkpoint | None:
    """The cached checkpoint behind the panel's choice, or None where nothing suits. No disk work."""
    if identity in ("", DEFAULT):
        return next((checkpoint for checkpoint in _found if checkpoint.config.category == category), None)
    return by_id(identity)


def register() -> None:
    refresh()


def unregister() -> None:
    _found.clear()
    _broken.clear()
    # The menus stay: properties that are still registered may ask for them.
