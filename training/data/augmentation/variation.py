"""A shape made of another: which maps and which palette, applied to a mesh in the cube before it is measured."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from gan3d_core.errors import DatasetError
from gan3d_core.field import EXTENT

from ..normalise import to_cube
from ..source import SourceFile, SourceMesh
from ..store import split_of
from .maps import Map
from .palette import PaletteShift
from .recipe import AugmentationRecipe
from .refine import split_long_edges

NEUTRAL = AugmentationRecipe(mirror=0, stretch=1, warp=1, taper=0, hue=0, lightness=0, chroma=0)
REVISION = 2
"""Raised when the same variation gives another shape."""
EDGE = 0.2
"""Longest edge of a mesh to be bent, in units of the cube: the usual bends are met to a fifth of a voxel of 64³."""


@dataclasses.dataclass(frozen=True)
class Variation:
    """What is done to a shape. Equal variations of equal files are the same record."""

    parent: str
    """Name of the source file that it is made of."""
    maps: tuple[Map, ...] = ()
    palette: PaletteShift = dataclasses.field(default_factory=PaletteShift)

    def to_json(self) -> dict[str, Any]:
        """What the manifest says of it."""
        data: dict[str, Any] = {"revision": REVISION}
        for one in self.maps:
            fields = {name: value for name, value in vars(one).items() if name != "axis"}
            axis = "xyz"[one.axis] if hasattr(one, "axis") else ""
            name = type(one).__name__.lower() + (f"_{axis}" if axis else "")
            data[name] = next(iter(fields.values())) if fields else True
        return {**data, "palette": dataclasses.asdict(self.palette)}

    def apply(self, mesh: SourceMesh) -> tuple[SourceMesh, np.ndarray]:
        """The varied mesh, centred in the cube again with its longest side at 2 · EXTENT.

        Args:
            mesh: in the cube, +Z up, −Y front, faces outward.

        Returns:
            a new mesh, and the (4, 4) matrix from its cube to the old one, but for the maps themselves; the upper left
            corner is by how much it was shrunk to fit: metres per unit grow by that factor.
        """
        if not all(one.linear for one in self.maps):
            mesh = split_long_edges(mesh, EDGE)
        vertices = mesh.vertices
        for one in self.maps:
            vertices = one(vertices)
        scaled, longest, centre = to_cube(vertices, mesh.faces, np.eye(3))
        back = np.eye(4)
        back[:3, :3] *= longest / (2 * EXTENT)
        back[:3, 3] = centre
        mesh = recoloured(dataclasses.replace(mesh, vertices=scaled), self.palette)
        return (_turned_over(mesh) if sum(one.reverses for one in self.maps) % 2 else mesh), back


def recoloured(mesh: SourceMesh, palette: PaletteShift) -> SourceMesh:
    """The mesh in other colours: each colour as it is seen is shifted, so images with their material's tint in them.

    Only where corner colours lie over an image, the image alone is shifted.
    """
    if palette == PaletteShift():
        return mesh
    materials = []
    for material in mesh.materials:
        if material.image is None:
            base_color = palette(material.base_color) if mesh.corner_color is None else np.ones(3, np.float32)
            materials.append(dataclasses.replace(material, base_color=base_color))
        else:
            image = palette(np.clip(material.image * material.base_color, 0, 1))
            materials.append(dataclasses.replace(material, image=image, base_color=np.ones(3, np.float32)))
    corner_color = mesh.corner_color
    if corner_color is not None:
        plain = np.ones(len(mesh.faces), bool)
        if mesh.face_material is not None:
            tints = np.stack([m.base_color for m in mesh.materials])
            plain = np.array([m.image is None for m in mesh.materials])[mesh.face_material]
            corner_color = corner_color * np.where(plain[:, None], tints[mesh.face_material], 1.0)[:, None]
        corner_color = np.where(plain[:, None, None], palette(np.clip(corner_color, 0, 1)), corner_color)
    return dataclasses.replace(
        mesh,
        materials=materials,
        vertex_color=None if mesh.vertex_color is None else palette(mesh.vertex_color),
        corner_color=None if corner_color is None else corner_color.astype(np.float32),
    )


def _turned_over(mesh: SourceMesh) -> SourceMesh:
    """Every face with its corners in the opposite order."""

    def reverse(values: np.ndarray | None) -> np.ndarray | None:
        return None if values is None else values[:, ::-1]

    return dataclasses.replace(
        mesh, faces=mesh.faces[:, ::-1], face_uvs=reverse(mesh.face_uvs), corner_color=reverse(mesh.corner_color)
    )


def variations(files: Iterable[SourceFile], count: int, recipe: AugmentationRecipe) -> list[SourceFile]:
    """`count` variations of each file that is for training.

    Held-out shapes get none: figures are about real shapes. A variation's split goes by its parent's name, so it is its
    parent's. What is drawn depends on that name, the variation's number and the recipe alone.

    Raises:
        DatasetError: the recipe varies nothing.
    """
    if count and recipe == NEUTRAL:
        raise DatasetError("The augmentation's limits let nothing vary.", "Raise one of them.")
    out = []
    for file in files:
        if split_of(f"{file.category}/{file.parent}") != "train":
            continue
        for number in range(1, count + 1):
            seed = hashlib.sha256(f"{file.category}/{file.name}#{number}".encode()).digest()
            generator = np.random.default_rng(int.from_bytes(seed[:8], "little"))
            variation = Variation(file.name, recipe.draw_maps(generator), recipe.draw_palette(generator))
            out.append(dataclasses.replace(file, name=f"{file.name}#{number}", variation=variation))
    return out
