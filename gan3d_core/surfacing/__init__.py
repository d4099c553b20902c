"""Field → mesh: from the function a generator yields to a textured `Shape`.

extract → clean (components, smoothing) → decimate (and flatten) → unwrap → bake; each stage is a module here. Every
stage is deterministic: the same field and recipe give the same arrays, bit for bit.
"""

from __future__ import annotations

import numpy as np

from ..field import EXTENT, Field
from ..progress import Progress, no_progress
from ..recipe import Recipe
from ..shape import Shape
from .atlas import unwrap
from .bake import bake
from .components import keep_components
from .extract import extract
from .flatten import flatten
from .simplify import simplify
from .smooth import smooth

__all__ = ["surface"]


def surface(field: Field, recipe: Recipe, progress: Progress = no_progress) -> Shape:
    """Make the mesh of a field as a recipe asks for.

    Args:
        field: see `field.Field`.
        recipe: `resolution`, `components`, `min_component`, `smoothing`, `flattening`, `target_faces` and
            `texture_size` are used. A field without materials gets small plain images whatever the texture size.
        progress: called as (stage, fraction) at the start and end of each stage and within the long ones, at least
            every half second; what it raises (`CancelledError`) passes through.

    Raises:
        EmptyShapeError: the field has no surface.
        InternalError: its values are not finite.
    """
    progress("extract", 0.0)
    values = field.values(recipe.resolution)
    progress("extract", 0.5)
    vertices, faces = extract(values)
    progress("extract", 1.0)

    progress("clean", 0.0)
    vertices, faces = keep_components(vertices, faces, recipe.components, recipe.min_component)
    vertices = smooth(vertices, faces, recipe.smoothing, lambda f: progress("clean", 0.5 + 0.5 * f))
    progress("clean", 1.0)

    progress("decimate", 0.0)
    vertices, faces = simplify(vertices, faces, recipe.target_faces, lambda f: progress("decimate", 0.9 * f))
    # Few faces are large ones: a neighbour's neighbour is as far away as a dent is wide.
    vertices = flatten(vertices, faces, recipe.flattening, lambda f: progress("decimate", 0.9 + 0.1 * f))
    progress("decimate", 1.0)

    progress("unwrap", 0.0)
    atlas = unwrap(vertices, faces, lambda f: progress("unwrap", f))
    progress("unwrap", 1.0)

    progress("bake", 0.0)
    images = bake(field, vertices, faces, atlas.uvs, recipe.texture_size, lambda f: progress("bake", f))
    placed = place(vertices, field.size_m)
    progress("bake", 1.0)
    return Shape(
        placed,
        faces.astype(np.int32),
        atlas.uvs.astype(np.float32).clip(0.0, 1.0),
        images.base_color,
        images.roughness,
        images.metallic,
    )


def place(vertices: np.ndarray, size_m: float) -> np.ndarray:
    """Units of the cube → metres, standing on the floor, its bounding box centred over the origin.

    The scale is that of the training shapes, whose longest side spans 2 · `EXTENT` units and `size_m` metres; a result
    is not stretched to that size, so a small chair among large ones stays small.
    """
    metres = vertices * (size_m / (2.0 * EXTENT))
    low, high = metres.min(axis=0), metres.max(axis=0)
    middle = (low + high) / 2.0
    placed = (metres - [middle[0], middle[1], low[2]]).astype(np.float32)
    placed[:, 2] = np.maximum(placed[:, 2], 0.0)
    return placed
