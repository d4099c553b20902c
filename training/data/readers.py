"""Reading mesh files: OBJ, GLB/glTF, PLY, STL, OFF, DAE through trimesh, and the quantised furniture `.npz`."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import numpy as np
import trimesh

from gan3d_core.errors import DatasetError, MeshFileError

from .source import SourceFile, SourceMesh, SurfaceMaterial

SUFFIXES = {".obj", ".glb", ".gltf", ".ply", ".stl", ".off", ".dae", ".npz"}
MAX_BYTES = 1 << 30
MANIFESTS = ("manifest.jsonl", "metadata.jsonl")

logging.getLogger("trimesh").setLevel(logging.ERROR)


def discover(folder: Path, category: str | None, up: str | None, front: str | None) -> list[SourceFile]:
    """List the mesh files of a folder.

    A `manifest.jsonl` or `metadata.jsonl` there (one JSON object per line, with `file` or `path`, and optionally
    `category`, `licence`, `author` and anything else) decides which files count and what is known of them; without one
    every mesh file below the folder counts, and the first folder on the way to it is its category.

    Args:
        folder: where to look.
        category: keep only this one; None keeps all.
        up, front: axes of the files, such as `+Y`; None takes the convention of the format (glTF's +Y up, +Z front,
            or that of the furniture `.npz`, +Z up, +X front).

    Raises:
        DatasetError: no such folder, a broken manifest, or nothing to read in it.
    """
    if not folder.is_dir():
        raise DatasetError(f"There is no folder {folder}.", "Name the folder that holds the meshes.")
    rows = _rows(folder)
    files = []
    for row in rows:
        path = folder / row["file"]
        suffix = path.suffix.lower()
        found = _category(folder, row)
        if category is not None and found != category:
            continue
        quantised = suffix == ".npz"
        files.append(
            SourceFile(
                path=str(path.resolve()),
                name=row["file"],
                category=found,
                licence=str(row.get("licence", row.get("license", "unknown"))),
                author=str(row.get("author", "unknown")),
                up=up or ("+Z" if quantised else "+Y"),
                front=front or ("+X" if quantised else "+Z"),
                metres=float(row.get("metres_per_unit", 1.0 if quantised or suffix in (".glb", ".gltf") else 0.01)),
                labels={k: v for k, v in row.items() if k not in ("file", "category", "licence", "author")},
            )
        )
    if not files:
        wanted = f" of category {category!r}" if category else ""
        present = sorted({_category(folder, row) for row in rows})
        raise DatasetError(
            f"There are no mesh files{wanted} in {folder}.",
            f"Read are {', '.join(sorted(SUFFIXES))}; categories there: {', '.join(present) or 'none'}.",
        )
    return files


def _category(folder: Path, row: dict) -> str:
    """What the manifest says, else the first folder on the way to the file."""
    parts = Path(row["file"]).parts
    return str(row.get("category", parts[0] if len(parts) > 1 else folder.name))


def _rows(folder: Path) -> list[dict]:
    for name in MANIFESTS:
        manifest = folder / name
        if not manifest.exists():
            continue
        rows = []
        for number, line in enumerate(manifest.read_text("utf-8").splitlines(), 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                row["file"] = row.pop("path", None) or row["file"]
            except (ValueError, KeyError, TypeError, AttributeError):
                raise DatasetError(f"Line {number} of {manifest} is no JSON object with a `file` or `path`.") from None
            if Path(row["file"]).is_absolute() or ".." in Path(row["file"]).parts:
                raise DatasetError(f"Line {number} of {manifest} points outside its folder.")
            rows.append(row)
        return rows
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    return [{"file": path.relative_to(folder).as_posix()} for path in paths]


def read(file: SourceFile) -> SourceMesh:
    """Read one file.

    Raises:
        MeshFileError: it is missing, too large, unreadable, empty, not finite, or holds no faces.
    """
    path = Path(file.path)
    if not path.is_file():
        raise MeshFileError(f"There is no file {file.name}.", "Correct the manifest.")
    size = path.stat().st_size
    if size == 0:
        raise MeshFileError(f"{file.name} is empty.")
    if size > MAX_BYTES:
        raise MeshFileError(f"{file.name} has {size >> 20} MiB; at most {MAX_BYTES >> 20} are read.")
    try:
        mesh = _read_quantised(path, file) if path.suffix.lower() == ".npz" else _read_trimesh(path)
    except MeshFileError:
        raise
    except Exception as error:  # parsers raise whatever they like on a broken file
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise MeshFileError(f"{file.name} cannot be read as a mesh ({reason}).") from error
    mesh.check()
    return mesh


def _read_quantised(path: Path, file: SourceFile) -> SourceMesh:
    with np.load(path, allow_pickle=False) as data:
        if not {"position", "face"} <= set(data.files):
            raise MeshFileError(f"{file.name} has no `position` and `face` arrays.")
        position = data["position"]
        vertices = position.astype(np.float64)
        if position.dtype == np.uint16:
            scale, centre = float(file.labels.get("size_m", 1.0)), np.asarray(file.labels.get("center", [0, 0, 0]))
            vertices = (vertices - 32767) / 65534 * scale + centre
        mesh = SourceMesh(vertices=vertices, faces=data["face"].astype(np.int64))
        if "rgb" in data.files:
            mesh.vertex_color = data["rgb"].astype(np.float32) / 255
            for name in ("roughness", "metallic"):
                if name in data.files:
                    setattr(mesh, f"vertex_{name}", data[name].astype(np.float32) / 255)
        return mesh


def _read_trimesh(path: Path) -> SourceMesh:
    scene = trimesh.load_scene(path, process=False)
    vertices, faces, uvs, index = [], [], [], []
    materials: list[SurfaceMaterial] = []
    offset = 0
    points = 0
    for name in scene.graph.nodes_geometry:
        transform, key = scene.graph[name]
        part = scene.geometry[key]
        if not isinstance(part, trimesh.Trimesh):
            points += len(getattr(part, "vertices", ()))
            continue
        if len(part.faces) == 0:
            points += len(part.vertices)
            continue
        vertices.append(trimesh.transform_points(part.vertices, transform))
        flipped = np.linalg.det(transform[:3, :3]) < 0
        part_faces = np.asarray(part.faces, np.int64)
        faces.append((part_faces[:, ::-1] if flipped else part_faces) + offset)
        offset += len(part.vertices)
        uv = getattr(part.visual, "uv", None)
        good = uv is not None and len(uv) == len(part.vertices)
        part_uvs = np.asarray(uv, np.float32)[part_faces] if good else np.zeros((len(part_faces), 3, 2), np.float32)
        uvs.append(part_uvs[:, ::-1] if flipped else part_uvs)
        index.append(np.full(len(part_faces), len(materials)))
        materials.append(_material(part.visual, good))
    if not vertices:
        if points:
            raise MeshFileError("The file holds points but no faces; a point cloud has no inside.")
        raise MeshFileError("The file holds no mesh.")
    return SourceMesh(
        vertices=np.concatenate(vertices),
        faces=np.concatenate(faces),
        materials=materials,
        face_material=np.concatenate(index),
        face_uvs=np.concatenate(uvs),
        missing_textures=_missing_textures(path),
    )


def _material(visual: object, has_uvs: bool) -> SurfaceMaterial:
    material = getattr(visual, "material", None)
    if material is None:
        colour = np.asarray(getattr(visual, "main_color", [204, 204, 204, 255]), np.float32)[:3] / 255
        return SurfaceMaterial(colour)
    roughness, metallic = 0.6, 0.0
    if isinstance(material, trimesh.visual.material.PBRMaterial):
        roughness = 1.0 if material.roughnessFactor is None else float(material.roughnessFactor)
        metallic = 1.0 if material.metallicFactor is None else float(material.metallicFactor)
        image = material.baseColorTexture
    else:
        # Phong's exponent as a roughness: α = √(2 / (Ns + 2)), Walter et al. 2007, section 5.1.
        shininess = _shininess(material.kwargs.get("ns"))
        roughness = float(np.clip(np.sqrt(2.0 / (shininess + 2.0)), 0.05, 1.0))
        image = material.image
    colour = np.asarray(material.main_color, np.float32)[:3] / 255
    if image is None or not has_uvs:
        return SurfaceMaterial(colour, None, roughness, metallic)
    image.thumbnail((1024, 1024))
    pixels = np.asarray(image.convert("RGB"), np.float32) / 255
    return SurfaceMaterial(np.ones(3, np.float32), pixels, roughness, metallic)


def _missing_textures(path: Path) -> list[str]:
    """Images that an OBJ's material library names and that are not there."""
    if path.suffix.lower() != ".obj":
        return []
    missing = []
    text = path.read_text("utf-8", errors="replace")
    for library in re.findall(r"^\s*mtllib\s+(.+?)\s*$", text, re.MULTILINE):
        file = path.parent / library
        if not file.is_file():
            missing.append(library)
            continue
        for image in re.findall(r"^\s*map_Kd\s+(.+?)\s*$", file.read_text("utf-8", errors="replace"), re.MULTILINE):
            candidates = (image, image.split()[-1])  # options such as -s may stand before the name
            if not any((path.parent / name.replace("\\", "/")).is_file() for name in candidates):
                missing.append(image)
    return missing


def _shininess(value: object) -> float:
    """An MTL file's `Ns`, which the parser gives as a number, a list or not at all."""
    try:
        number = float(np.ravel(np.asarray(value, dtype=np.float64))[0])
    except (TypeError, ValueError, IndexError):
        return 30.0
    return number if np.isfinite(number) and number >= 0 else 30.0
