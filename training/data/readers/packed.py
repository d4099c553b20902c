"""Meshes as `.npz` archives: the furniture format (quantised positions, one colour per vertex) and what the Blender
exporter writes (positions in metres, materials with images). Any other archive is taken for voxels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from gan3d_core.errors import MeshFileError

from ..source import SourceFile, SourceMesh, SurfaceMaterial
from . import voxels


def read(path: Path, file: SourceFile, images: bool) -> SourceMesh:
    """Read an archive.

    Arrays: `position` (V, 3) uint16, metres = (q − 32767) / 65534 · size_m + center with the manifest's `size_m` and
    `center`, or a float type in the manifest's unit; `face` (F, 3). Then either per vertex `rgb` (V, 3), `roughness`
    and `metallic` (V,) uint8; or `material` (F,) indices, `uv` (F, 3, 2), `materials` (the bytes of a JSON list of
    `{"base_color", "roughness", "metallic", "base_color_image", …}`), and the images it names, (H, W, 3) uint8.

    Raises:
        MeshFileError: neither a mesh nor voxels.
    """
    with np.load(path, allow_pickle=False) as data:
        names = set(data.files)
        if "position" not in names and "face" not in names:
            return voxels.read_npz(data, file)
        if not {"position", "face"} <= names:
            raise MeshFileError(f"{file.name} has no `position` and `face` arrays.")
        position = data["position"]
        vertices = position.astype(np.float64)
        if position.dtype == np.uint16:
            scale, centre = float(file.labels.get("size_m", 1.0)), np.asarray(file.labels.get("center", [0, 0, 0]))
            vertices = (vertices - 32767) / 65534 * scale + centre
        mesh = SourceMesh(vertices=vertices, faces=data["face"].astype(np.int64), colorless=True)
        if "rgb" in names:
            mesh.colorless = False
            mesh.vertex_color = data["rgb"].astype(np.float32) / 255
            for name in ("roughness", "metallic"):
                if name in names:
                    setattr(mesh, f"vertex_{name}", data[name].astype(np.float32) / 255)
            for each in (mesh.vertex_color, mesh.vertex_roughness, mesh.vertex_metallic):
                if each is not None and len(each) != len(vertices):
                    raise MeshFileError(f"{file.name} has {len(vertices)} vertices, but {len(each)} colours.")
        elif "materials" in names:
            _add_materials(mesh, data, images)
        return mesh


def _add_materials(mesh: SourceMesh, data: np.lib.npyio.NpzFile, images: bool) -> None:
    mesh.colorless = False
    mesh.face_material = data["material"].astype(np.int64)
    mesh.face_uvs = data["uv"].astype(np.float32)
    if "corner_rgb" in data.files:
        mesh.corner_color = data["corner_rgb"].astype(np.float32) / 255
    for row in json.loads(data["materials"].tobytes().decode()):
        material = SurfaceMaterial(
            np.asarray(row["base_color"], np.float32), None, float(row["roughness"]), float(row["metallic"])
        )
        mesh.missing_textures += row.get("missing", [])
        if images:
            for key, name in (
                ("image", "base_color"),
                ("roughness_image", "roughness"),
                ("metallic_image", "metallic"),
            ):
                array = row.get(f"{name}_image")
                if array is not None:
                    setattr(material, key, data[array].astype(np.float32) / 255)
        mesh.materials.append(material)
    if mesh.face_uvs.shape != (len(mesh.faces), 3, 2):
        raise MeshFileError("The archive's texture coordinates do not fit its faces.")
    if len(mesh.face_material) != len(mesh.faces) or (
        len(mesh.faces) and not 0 <= mesh.face_material.min() <= mesh.face_material.max() < len(mesh.materials)
    ):
        raise MeshFileError("The archive's faces name materials that do not exist.")
