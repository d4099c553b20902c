"""Infinigen's factories: the object of a seed, and the numbers it was made from.

A stand-in with the same two functions can take this module's place; the tests do so.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import random
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import bpy
import infinigen.core.init
import numpy as np

# Two modules for water and terrain, imported along with the furniture, would fetch add-ons from the network.
infinigen.core.init.require_blender_addon = lambda *_, **__: False

from infinigen.assets.objects.seating.chairs import chair as chair_module  # noqa: E402  (the line above comes first)
from infinigen.core.util import blender as butil  # noqa: E402
from lighter import lighter  # noqa: E402

BEVEL_SEGMENTS = 2
"""Infinigen asks for 8: 16 times the faces, on edges of a few millimetres."""
DENSE = 8_000
"""From so many vertices on a part is smooth enough; Infinigen would make four times as many of them."""
_modify_mesh = butil.modify_mesh


def _modify_mesh_modestly(obj: bpy.types.Object, type: str, *arguments: Any, **settings: Any) -> Any:
    if type == "BEVEL":
        settings["segments"] = min(settings.get("segments", 1), BEVEL_SEGMENTS)
    if type == "SUBSURF" and len(obj.data.vertices) > DENSE and not settings.get("return_mod"):
        return obj
    return _modify_mesh(obj, type, *arguments, **settings)


butil.modify_mesh = _modify_mesh_modestly

AROUND = 12
"""Corners around a chair's round limb, 5 cm thick; Infinigen asks for 32, in rings 5 mm apart."""
_geo_radius = chair_module.geo_radius


def _geo_radius_modestly(nodes: Any, radius: Any, resolution: int = 6, *arguments: Any, **settings: Any) -> Any:
    return _geo_radius(nodes, radius, min(resolution, AROUND), *arguments, **settings)


chair_module.geo_radius = _geo_radius_modestly


def spawn(factory: str, seed: int, light: bool = False) -> tuple[bpy.types.Object, dict[str, Any]]:
    """Make one asset in the scene.

    Args:
        factory: `module:Class` below `infinigen.assets.objects`.
        seed: everything about the asset follows from it, and from `light`.
        light: draw no black materials.

    Returns:
        the object (lights and bulbs may be its children), and the factory's numbers, switches, choices and materials
        by name.
    """
    module, _, name = factory.partition(":")
    maker = getattr(importlib.import_module(f"infinigen.assets.objects.{module}"), name)
    # Some factories also draw outside their own fixed seed.
    random.seed(seed)
    np.random.seed(seed % (1 << 32))  # noqa: NPY002  (the state that Infinigen draws from)
    with lighter() if light else contextlib.nullcontext():
        made = maker(seed)
        asset = made.spawn_asset(0)
    return asset, labels(vars(made))


def labels(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """What of an object's attributes a label can be: numbers, switches and words, and of materials their kind; vectors
    and dictionaries by part."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, (bool, np.bool_)):
            found[name] = bool(value)
        elif isinstance(value, (int, np.integer)):
            found[name] = int(value)
        elif isinstance(value, (float, np.floating)):
            if np.isfinite(value):
                found[name] = round(float(value), 5)
        elif isinstance(value, str):
            found[name] = str(value)
        elif isinstance(value, bpy.types.Material):
            found[name] = value.name.split(".")[0].removeprefix("shader_")
        elif isinstance(value, dict):
            found.update(labels(value, f"{name}." if prefix else ""))
        elif isinstance(value, (tuple, list, np.ndarray)) and 0 < len(value) <= 8:
            found.update(labels({str(i): part for i, part in enumerate(value)}, f"{name}."))
    found.pop("factory_seed", None)
    found.pop("coarse", None)
    return found
