"""OBJ+MTL, GLB/glTF, PLY and STL, parsed by trimesh; their materials as a dataset understands them."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import trimesh
from trimesh.resolvers import FilePathResolver

from gan3d_core.errors import MeshFileError

from ..source import SourceFile, SourceMesh, SurfaceMaterial, linear_to_srgb
from . import images as image_files

logging.getLogger("trimesh").setLevel(logging.CRITICAL)  # what matters of its warnings is said in our own words
IMAGE_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tga", ".tif", ".tiff", ".webp"}


class Neighbours(FilePathResolver):
    """The files beside a mesh, found in spite of a wrong case or folder; keeps a list of what is not there."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.folder = path.parent
        self.missing: list[str] = []

    def get(self, key: str) -> bytes:
        found = image_files.find(self.folder, str(key))
        data = found.read_bytes() if found is not None else b""
        is_image = found is not None and found.suffix.lower() in IMAGE_SUFFIXES
        if found is None or (is_image and not image_files.is_image(data)):
            self.missing.append(str(key))
            raise FileNotFoundError(key)
        return data


def read(path: Path, file: SourceFile, images: bool) -> SourceMesh:
    """Read a mesh file: every instance of every mesh of its scene, in world space.

    Raises:
        MeshFileError: no mesh in it.
    """
    neighbours = Neighbours(path)
    scene = trimesh.load_scene(path, resolver=neighbours, process=False)
    gltf = path.suffix.lower() in (".glb", ".gltf")
    collected = _Collected()
    points = 0
    for node in scene.graph.nodes_geometry:
        transform, key = scene.graph[node]
        part = scene.geometry[key]
        if isinstance(part, trimesh.Trimesh) and len(part.faces):
            collected.add(part, transform, gltf, images)
        else:
            points += len(getattr(part, "vertices", ()))
    if not collected.vertices:
        if points:
            raise MeshFileError("The file holds points but no faces; a point cloud has no inside.")
        raise MeshFileError("The file holds no mesh.")
    return collected.mesh(neighbours.missing)


class _Collected:
    """Parts of a scene, gathered into one mesh."""

    def __init__(self) -> None:
        self.vertices: list[np.ndarray] = []
        self.faces: list[np.ndarray] = []
        self.uvs: list[np.ndarray] = []
        self.colors: list[np.ndarray] = []
        self.index: list[np.ndarray] = []
        self.materials: list[SurfaceMaterial] = []
        self.offset = 0
        self.colorless = True
        self.any_corner_color = False

    def add(self, part: trimesh.Trimesh, transform: np.ndarray, gltf: bool, images: bool) -> None:
        self.vertices.append(trimesh.transform_points(part.vertices, transform))
        flipped = np.linalg.det(transform[:3, :3]) < 0
        faces = np.asarray(part.faces, np.int64)
        order = slice(None, None, -1) if flipped else slice(None)
        self.faces.append(faces[:, order] + self.offset)
        self.offset += len(part.vertices)
        uv = getattr(part.visual, "uv", None)
        has_uv = uv is not None and len(uv) == len(part.vertices)
        corner_uv = np.asarray(uv, np.float32)[faces] if has_uv else np.zeros((len(faces), 3, 2), np.float32)
        self.uvs.append(corner_uv[:, order])
        color = _corner_color(part, faces, gltf)
        self.any_corner_color |= color is not None
        self.colors.append(np.ones((len(faces), 3, 3), np.float32) if color is None else color[:, order])
        self.index.append(np.full(len(faces), len(self.materials)))
        material = getattr(part.visual, "material", None)
        # A mesh without a material gets trimesh's default one, which says nothing.
        said = material is not None and not _is_default(material)
        self.colorless &= not said and color is None
        if said:
            self.materials.append(_material(material, has_uv, images))
        else:
            self.materials.append(SurfaceMaterial(np.full(3, 0.8 if color is None else 1.0, np.float32)))

    def mesh(self, missing: list[str]) -> SourceMesh:
        return SourceMesh(
            vertices=np.concatenate(self.vertices),
            faces=np.concatenate(self.faces),
            materials=self.materials,
            face_material=np.concatenate(self.index),
            face_uvs=np.concatenate(self.uvs),
            corner_color=np.concatenate(self.colors) if self.any_corner_color else None,
            missing_textures=list(dict.fromkeys(missing)),
            colorless=self.colorless,
        )


def _is_default(material: object) -> bool:
    if isinstance(material, trimesh.visual.material.SimpleMaterial):
        return material.image is None and "kd" not in material.kwargs
    return False


def _corner_color(part: trimesh.Trimesh, faces: np.ndarray, gltf: bool) -> np.ndarray | None:
    """(F, 3, 3) sRGB colours of vertices or faces; None where the file gives none. glTF's are linear."""
    visual = part.visual
    kind: str | None = "vertex"
    color = None
    if isinstance(visual, trimesh.visual.TextureVisuals):
        color = visual.vertex_attributes.get("color")
        color = None if color is None or len(color) != len(part.vertices) else np.asarray(color)
    elif visual is not None:
        kind = visual.kind
        color = {"vertex": visual.vertex_colors, "face": visual.face_colors}.get(kind or "")
    if color is None or kind is None:
        return None
    unit = np.asarray(color, np.float32)[:, :3] / (255 if np.asarray(color).dtype.kind in "ui" else 1)
    unit = linear_to_srgb(unit) if gltf else unit
    return unit[faces] if kind == "vertex" else np.repeat(unit[:, None], 3, axis=1)


def _material(material: object, has_uv: bool, images: bool) -> SurfaceMaterial:
    if isinstance(material, trimesh.visual.material.PBRMaterial):
        return _principled(material, has_uv and images)
    # Phong's exponent as a roughness: α = √(2 / (Ns + 2)), Walter et al. 2007, section 5.1.
    shininess = _shininess(material.kwargs.get("ns"))  # type: ignore[attr-defined]
    roughness = float(np.clip(np.sqrt(2.0 / (shininess + 2.0)), 0.05, 1.0))
    image = material.image  # type: ignore[attr-defined]
    if image is None or not has_uv:
        color = np.asarray(material.main_color, np.float32)[:3] / 255  # type: ignore[attr-defined]
        return SurfaceMaterial(color, None, roughness)
    # With an image, exporters leave anything in Kd; every importer takes the image alone.
    return SurfaceMaterial(np.ones(3, np.float32), image_files.pixels(image) if images else None, roughness)


def _principled(material: trimesh.visual.material.PBRMaterial, with_images: bool) -> SurfaceMaterial:
    """glTF's metallic-roughness model: factors are linear, and multiply the images (glTF 2.0, section 3.9.2)."""
    factor = material.baseColorFactor
    color = np.ones(3, np.float32) if factor is None else np.asarray(factor, np.float32)[:3] / 255
    out = SurfaceMaterial(
        linear_to_srgb(color),
        None,
        1.0 if material.roughnessFactor is None else float(material.roughnessFactor),
        1.0 if material.metallicFactor is None else float(material.metallicFactor),
    )
    if with_images and material.baseColorTexture is not None:
        out.image = image_files.pixels(material.baseColorTexture)
    if with_images and material.metallicRoughnessTexture is not None:
        both = image_files.pixels(material.metallicRoughnessTexture)
        out.roughness_image, out.metallic_image = both[..., 1], both[..., 2]
    return out


def _shininess(value: object) -> float:
    """An MTL file's `Ns`, which the parser gives as a number, a list or not at all."""
    try:
        number = float(np.ravel(np.asarray(value, dtype=np.float64))[0])
    except (TypeError, ValueError, IndexError):
        return 30.0
    return number if np.isfinite(number) and number >= 0 else 30.0
