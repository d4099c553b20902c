"""A shape as it comes from somebody's file: triangles, materials, and where it is from."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gan3d_core.errors import MeshFileError

if TYPE_CHECKING:
    from .augmentation import Variation

MAX_FACES = 5_000_000


@dataclasses.dataclass
class SurfaceMaterial:
    """What one run of faces is made of: a constant, or an image looked up by texture coordinate."""

    base_color: np.ndarray
    """(3,) float32 sRGB in [0, 1]; multiplies the image where there is one."""
    image: np.ndarray | None = None
    """(H, W, 3) float32 sRGB in [0, 1], row 0 at v = 1 (as image files store it)."""
    roughness: float = 0.6
    metallic: float = 0.0
    roughness_image: np.ndarray | None = None
    """(H, W) float32 in [0, 1]; multiplies `roughness`."""
    metallic_image: np.ndarray | None = None
    """(H, W) float32 in [0, 1]; multiplies `metallic`."""


@dataclasses.dataclass
class SourceMesh:
    """Triangles with materials, in the file's own axes and units.

    Either `face_material` indexes `materials`, or `vertex_color` and its companions are given.
    """

    vertices: np.ndarray
    """(V, 3) float64."""
    faces: np.ndarray
    """(F, 3) int64."""
    materials: list[SurfaceMaterial] = dataclasses.field(default_factory=list)
    face_material: np.ndarray | None = None
    """(F,) int64."""
    face_uvs: np.ndarray | None = None
    """(F, 3, 2) float32."""
    vertex_color: np.ndarray | None = None
    """(V, 3) float32 sRGB in [0, 1]."""
    vertex_roughness: np.ndarray | None = None
    """(V,) float32."""
    vertex_metallic: np.ndarray | None = None
    """(V,) float32."""
    corner_color: np.ndarray | None = None
    """(F, 3, 3) float32 sRGB in [0, 1]; multiplies the base colour of the materials."""
    missing_textures: list[str] = dataclasses.field(default_factory=list)
    """Image files that the materials name and that are not there: such a shape has no trustworthy colour."""
    colorless: bool = False
    """Whether the file says nothing about colour, as STL files and voxels do."""

    @property
    def colored(self) -> bool:
        """Whether its colours can be learned from."""
        return not self.colorless and not self.missing_textures

    def check(self) -> None:
        """Raise `MeshFileError` when this is nothing that a dataset can hold."""
        if len(self.vertices) == 0:
            raise MeshFileError("The file holds no vertices.")
        if len(self.faces) == 0:
            raise MeshFileError("The file holds points but no faces; a point cloud has no inside.")
        if len(self.faces) > MAX_FACES:
            raise MeshFileError(
                f"The mesh has {len(self.faces):,} faces; at most {MAX_FACES:,} are read.", "Decimate it first."
            )
        if not np.isfinite(self.vertices).all():
            raise MeshFileError("The mesh has coordinates that are not finite.")
        if self.faces.min() < 0 or self.faces.max() >= len(self.vertices):
            raise MeshFileError("The mesh's faces name vertices that do not exist.")
        size = np.ptp(self.vertices[self.faces.reshape(-1)], axis=0)
        if not size.max() > 0:
            raise MeshFileError("The mesh has no extent.")
        if np.sort(size)[1] <= 1e-9 * size.max():
            raise MeshFileError("The mesh is a line, not a surface.")

    def materials_at(self, face: np.ndarray, barycentric: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Look up the material at points of the surface.

        Args:
            face: (N,) index of the face each point lies on.
            barycentric: (N, 3) weights of its corners.

        Returns:
            base colour (N, 3) sRGB, roughness (N,), metallic (N,): float32 in [0, 1].
        """
        if self.vertex_color is not None:
            corners = self.faces[face]
            weights = barycentric.astype(np.float32)
            color = np.einsum("nc,nck->nk", weights, self.vertex_color[corners])
            rough = self.vertex_roughness if self.vertex_roughness is not None else np.full(len(self.vertices), 0.6)
            metal = self.vertex_metallic if self.vertex_metallic is not None else np.zeros(len(self.vertices))
            return (
                color.astype(np.float32),
                np.einsum("nc,nc->n", weights, rough[corners]).astype(np.float32),
                np.einsum("nc,nc->n", weights, metal[corners]).astype(np.float32),
            )
        count = len(face)
        color = np.full((count, 3), 0.8, np.float32)
        roughness = np.full(count, 0.6, np.float32)
        metallic = np.zeros(count, np.float32)
        if self.face_material is not None:
            which = self.face_material[face]
            for index, material in enumerate(self.materials):
                at = which == index
                if not at.any():
                    continue
                uv = None
                if self.face_uvs is not None:
                    uv = np.einsum("nc,nck->nk", barycentric[at], self.face_uvs[face[at]])
                color[at] = material.base_color * _lookup(material.image, uv)
                roughness[at] = material.roughness * _lookup(material.roughness_image, uv)
                metallic[at] = material.metallic * _lookup(material.metallic_image, uv)
        if self.corner_color is not None:
            tint = np.einsum("nc,nck->nk", barycentric.astype(np.float32), self.corner_color[face])
            color = tint if self.face_material is None else color * tint
        return np.clip(color, 0, 1), np.clip(roughness, 0, 1), np.clip(metallic, 0, 1)


def linear_to_srgb(color: np.ndarray) -> np.ndarray:
    """Linear colours in [0, 1] to sRGB (IEC 61966-2-1), float32."""
    color = np.clip(np.asarray(color, np.float32), 0, 1)
    return np.where(color <= 0.0031308, 12.92 * color, 1.055 * color ** (1 / 2.4) - 0.055).astype(np.float32)


def _lookup(image: np.ndarray | None, uv: np.ndarray | None) -> np.ndarray | float:
    """Nearest texels of a repeating image; one where there is no image."""
    if image is None or uv is None:
        return 1.0
    height, width = image.shape[:2]
    uv = np.nan_to_num(uv)
    column = np.floor((uv[:, 0] % 1.0) * width).astype(np.int64).clip(0, width - 1)
    row = np.floor(((1.0 - uv[:, 1]) % 1.0) * height).astype(np.int64).clip(0, height - 1)
    return image[row, column]


@dataclasses.dataclass(frozen=True)
class SourceFile:
    """One file to prepare and what is known about it before it is opened."""

    path: str
    """Absolute path."""
    name: str
    """Path relative to the folder that was given: the shape's name in reports."""
    category: str
    licence: str
    author: str
    up: str
    """Axis of the file that points up: one of +X −X +Y −Y +Z −Z, written with ASCII signs."""
    front: str
    """Axis of the file in which the shape looks."""
    metres: float
    """Metres per unit of the file."""
    labels: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Whatever the folder's own manifest says of it."""
    variation: Variation | None = None
    """What is done to the shape before it is measured; None leaves it as the file has it."""
    root: str = ""
    """Absolute path of the folder that was given; of shapes in a .blend file, that of its folder. Empty where `path`
    ends in `name` and so says it."""

    @property
    def parent(self) -> str:
        """The name of the file, whatever is done to it: what decides the split."""
        return self.name if self.variation is None else self.variation.parent

    @property
    def source(self) -> str:
        """The name of the folder that was given."""
        above = self._above().parts
        return above[-1].rstrip("/\\:") if above else ""

    @property
    def origin(self) -> str:
        """12 hex digits that tell folders of one name apart: a hash of its path, which itself is nobody's business."""
        return hashlib.sha256(self._above().as_posix().encode()).hexdigest()[:12]

    def _above(self) -> Path:
        if self.root:
            return Path(self.root)
        return Path(*Path(self.path).parts[: -len(Path(self.name).parts)])
