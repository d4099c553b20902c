"""Infinigen's materials without black: for sets in which a dark leg is as rare as any other.

Of the legs of chairs and lamps, 6 in 13 are a metal or a wood of one fixed black, and metals, plastics and woods draw
their lightness down to a hundredth. Here the two black ones are left out, and what is drawn too dark is drawn again.

Runs in Infinigen's own Python; it sees Blender and numpy, and nothing of GAN3D.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from infinigen.assets import colors
from infinigen.assets.composition import material_assignments
from infinigen.assets.materials import metal, wood
from infinigen.assets.materials.plastic import plastic as plastic_module
from infinigen.assets.materials.plastic import plastic_rough
from infinigen.assets.materials.wood import tiled_wood
from infinigen.assets.materials.wood import wood as wood_module
from infinigen.core.util.random import log_uniform

LEAST = 0.1
"""The brightest channel of a metal or a plastic, linear: a mid-grey of 89 in sRGB's 255."""
LEAST_WOOD = 0.2
"""The same of wood, whose grain goes down to a fifth of it."""
BLACK = (metal.BrushedBlackMetal, metal.BlackGlass, wood.BlackPlywood)
_ATTEMPTS = 100


@contextlib.contextmanager
def lighter() -> Iterator[None]:
    """While it lasts, factories draw no black materials."""
    with contextlib.ExitStack() as stack:
        for name, entries in vars(material_assignments).items():
            if _is_list(entries) and any(entry[0] in BLACK for entry in entries):
                left = [entry for entry in entries if entry[0] not in BLACK]
                stack.enter_context(_replaced(material_assignments, name, left))
        stack.enter_context(_replaced(colors, "metal_hsv", _again(colors.metal_hsv, lambda hsv: hsv[2] >= LEAST)))
        color = _again(wood_module.get_color, lambda rgba: max(rgba[:3]) >= LEAST_WOOD)
        for module in (wood_module, tiled_wood):
            stack.enter_context(_replaced(module, "get_color", color))
        for module in (plastic_rough, plastic_module):
            stack.enter_context(_replaced(module, "shader_rough_plastic", _plastic(plastic_rough.shader_rough_plastic)))
        yield


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, tuple) and len(entry) == 2 for entry in value)


@contextlib.contextmanager
def _replaced(module: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


def _again(draw: Callable[..., Any], is_light: Callable[[Any], bool]) -> Callable[..., Any]:
    """The same draw, repeated until it is light enough: the factory's own distribution, on that condition."""

    @functools.wraps(draw)
    def drawn(*arguments: Any, **settings: Any) -> Any:
        for _ in range(_ATTEMPTS):
            found = draw(*arguments, **settings)
            if is_light(found):
                break
        return found

    return drawn


def _plastic(shader: Callable[..., Any]) -> Callable[..., Any]:
    """The shader of rough plastic with a colour in Infinigen's range, from `LEAST` on."""

    @functools.wraps(shader)
    def shaded(nodes: Any, *arguments: Any, base_color: Any = None, **settings: Any) -> Any:
        if base_color is None:
            draw = np.random.uniform
            base_color = colors.hsv2rgba(draw(0, 1), draw(0.5, 0.8), log_uniform(LEAST, 0.5))
        return shader(nodes, *arguments, base_color=base_color, **settings)

    return shaded
