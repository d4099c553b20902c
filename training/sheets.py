"""Contact sheets of generated fields."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gan3d_core.field import Field

from .rendering.grid_mesh import grid_mesh
from .rendering.preview import BACKGROUND, CAMERA, Camera, contact_sheet, render


def draw_field(field: Field, resolution: int = 64, size: int = 128, camera: Camera = CAMERA) -> np.ndarray:
    """(size, size, 3) uint8 picture of a field's zero surface, in its own colours if it has them."""
    vertices, faces = grid_mesh(field.values(resolution))
    if not len(faces):
        return np.full((size, size, 3), (BACKGROUND * 255).astype(np.uint8))

    def colouring(face: np.ndarray, weights: np.ndarray) -> np.ndarray:
        materials = field.materials(np.einsum("nc,nck->nk", weights, vertices[faces[face]]).astype(np.float32))
        assert materials is not None
        return materials.base_color

    textured = field.materials(vertices[:1]) is not None
    return render(vertices, faces, colouring if textured else None, camera, size)


def field_sheet(fields: Sequence[Field], path: Path, columns: int = 8, resolution: int = 64, size: int = 128) -> None:
    """Write a contact sheet of fields."""
    contact_sheet([draw_field(field, resolution, size) for field in fields], path, columns)
