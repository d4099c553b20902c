"""COLLADA (`.dae`) 1.4 and 1.5: geometry, instances and Phong materials, with the standard library's XML parser.

Unlike most formats it states its axis and unit, so meshes come out in metres with +Y up and +Z in front, whatever was
in the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from gan3d_core.errors import MeshFileError

from ..source import SourceFile, SourceMesh, SurfaceMaterial
from .collada_materials import Materials

# From the file's axes to +Y up, +Z front, for each value of <up_axis>.
_UPRIGHT = {
    "X_UP": np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], float),
    "Y_UP": np.eye(3),
    "Z_UP": np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], float),
}
MAX_DEPTH = 64


def read(path: Path, file: SourceFile, images: bool) -> SourceMesh:
    """Read a COLLADA file.

    Raises:
        MeshFileError: no COLLADA, or no triangles in it.
    """
    try:
        document = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise MeshFileError(f"{file.name} is no well-formed XML ({error}).") from None
    for element in document.iter():
        if isinstance(element.tag, str):
            element.tag = element.tag.rpartition("}")[2]
    if document.tag != "COLLADA":
        raise MeshFileError(f"{file.name} is no COLLADA document.")
    reading = _Reading(document, path.parent, images)
    for root, transform in reading.scene():
        reading.visit(root, transform, 0)
    if not reading.faces:
        raise MeshFileError("The file holds no mesh.")
    unit = document.find("asset/unit")
    scale = float(unit.get("meter", "1")) if unit is not None else 1.0
    upright = _UPRIGHT.get((document.findtext("asset/up_axis") or "Y_UP").strip(), np.eye(3))
    return SourceMesh(
        vertices=np.concatenate(reading.vertices) @ upright.T * scale,
        faces=np.concatenate(reading.faces),
        materials=reading.materials.made or [SurfaceMaterial(np.full(3, 0.8, np.float32))],
        face_material=np.concatenate(reading.index),
        face_uvs=np.concatenate(reading.uvs),
        missing_textures=reading.materials.missing,
        colorless=reading.materials.colorless,
    )


class _Reading:
    """What has been gathered while the nodes of a document are visited."""

    def __init__(self, document: ElementTree.Element, folder: Path, images: bool) -> None:
        self.document = document
        self.by_id = {element.get("id"): element for element in document.iter() if element.get("id")}
        self.materials = Materials(self.by_id, folder, images)
        self.vertices: list[np.ndarray] = []
        self.faces: list[np.ndarray] = []
        self.uvs: list[np.ndarray] = []
        self.index: list[np.ndarray] = []
        self.offset = 0

    def target(self, element: ElementTree.Element, attribute: str = "url") -> ElementTree.Element | None:
        return self.by_id.get(element.get(attribute, "").lstrip("#"))

    def scene(self) -> Iterator[tuple[ElementTree.Element, np.ndarray]]:
        """Root nodes of the scene that the document shows; without one, every node of its libraries."""
        instance = self.document.find("scene/instance_visual_scene")
        shown = None if instance is None else self.target(instance)
        scenes = [shown] if shown is not None else self.document.findall("library_visual_scenes/visual_scene")
        for scene in scenes:
            for node in scene.findall("node"):
                yield node, np.eye(4)

    def visit(self, node: ElementTree.Element, transform: np.ndarray, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise MeshFileError("The file's nodes are nested without end.")
        transform = transform @ _local(node)
        for child in node:
            if child.tag == "node":
                self.visit(child, transform, depth + 1)
            elif child.tag == "instance_node":
                target = self.target(child)
                if target is not None:
                    self.visit(target, transform, depth + 1)
            elif child.tag in ("instance_geometry", "instance_controller"):
                self.add_instance(child, transform)

    def add_instance(self, instance: ElementTree.Element, transform: np.ndarray) -> None:
        geometry = self.target(instance)
        skin = None if geometry is None else geometry.find("skin")
        if skin is not None:  # an armature's mesh, in its rest pose
            geometry = self.target(skin, "source")
        mesh = None if geometry is None else geometry.find("mesh")
        if mesh is None:
            return
        bound = {
            each.get("symbol", ""): each.get("target", "").lstrip("#") for each in instance.iter("instance_material")
        }
        flipped = np.linalg.det(transform[:3, :3]) < 0
        for primitive in mesh:
            if primitive.tag not in ("triangles", "polylist", "polygons", "trifans", "tristrips"):
                continue
            vertices, faces, uvs = self.triangles(mesh, primitive)
            if not len(faces):
                continue
            order = slice(None, None, -1) if flipped else slice(None)
            self.vertices.append(vertices @ transform[:3, :3].T + transform[:3, 3])
            self.faces.append(faces[:, order] + self.offset)
            self.offset += len(vertices)
            self.uvs.append(uvs[:, order])
            symbol = primitive.get("material", "")
            self.index.append(np.full(len(faces), self.materials.of(bound.get(symbol, symbol))))

    def triangles(
        self, mesh: ElementTree.Element, primitive: ElementTree.Element
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Vertices (V, 3), faces (F, 3) and texture coordinates (F, 3, 2) of one primitive; polygons become fans."""
        inputs = primitive.findall("input")
        stride = 1 + max((int(each.get("offset", 0)) for each in inputs), default=0)
        positions, position_at, uvs, uv_at = np.zeros((0, 3)), 0, None, 0
        for each in inputs:
            semantic, target = each.get("semantic"), self.target(each, "source")
            if semantic == "VERTEX" and target is not None:
                for inner in target.findall("input"):
                    if inner.get("semantic") == "POSITION":
                        positions = self.source(self.target(inner, "source"))[:, :3]
                position_at = int(each.get("offset", 0))
            elif semantic == "TEXCOORD" and uvs is None and target is not None:
                uvs, uv_at = self.source(target)[:, :2], int(each.get("offset", 0))
        corners = [_numbers(p.text, np.int64).reshape(-1, stride) for p in primitive.findall("p")]
        polygons = _polygons(primitive, corners)
        if not len(polygons):
            return positions, np.zeros((0, 3), np.int64), np.zeros((0, 3, 2), np.float32)
        table = np.concatenate(corners)[polygons]  # (F, 3, stride)
        faces = table[..., position_at]
        corner_uvs = np.zeros((len(faces), 3, 2), np.float32)
        if uvs is not None and len(uvs):
            corner_uvs = uvs[table[..., uv_at]].astype(np.float32)
        return positions, faces, corner_uvs

    def source(self, element: ElementTree.Element | None) -> np.ndarray:
        """The numbers of a <source> as rows (N, stride)."""
        if element is None:
            raise MeshFileError("The file's mesh refers to numbers that are not in it.")
        array = element.find("float_array")
        accessor = element.find("technique_common/accessor")
        stride = int(accessor.get("stride", 1)) if accessor is not None else 3
        values = _numbers(None if array is None else array.text, np.float64)
        return values[: len(values) // stride * stride].reshape(-1, stride)


def _polygons(primitive: ElementTree.Element, corners: list[np.ndarray]) -> np.ndarray:
    """(F, 3) positions in the concatenated list of corners."""
    if not corners:
        return np.zeros((0, 3), np.int64)
    lengths = [len(part) for part in corners]
    if primitive.tag == "triangles":
        return np.arange(sum(lengths) // 3 * 3).reshape(-1, 3)
    if primitive.tag == "polylist":
        lengths = _numbers(primitive.findtext("vcount"), np.int64).tolist()
    triangles, start = [], 0
    for length in lengths:
        if length >= 3:
            k = np.arange(length - 2)
            if primitive.tag == "tristrips":  # every second triangle of a strip is turned
                triangles.append(start + np.stack([k + k % 2, k + 1 - k % 2, k + 2], axis=1))
            else:
                triangles.append(start + np.stack([np.zeros_like(k), k + 1, k + 2], axis=1))
        start += length
    return np.concatenate(triangles) if triangles else np.zeros((0, 3), np.int64)


def _local(node: ElementTree.Element) -> np.ndarray:
    """(4, 4) transform of a node, its elements multiplied in their order."""
    out = np.eye(4)
    for child in node:
        if child.tag not in ("matrix", "translate", "rotate", "scale"):
            continue
        values = _numbers(child.text, np.float64)
        step = np.eye(4)
        if child.tag == "matrix":
            step = values.reshape(4, 4)
        elif child.tag == "translate":
            step[:3, 3] = values[:3]
        elif child.tag == "scale":
            step[:3, :3] = np.diag(values[:3])
        else:
            axis, angle = values[:3] / max(np.linalg.norm(values[:3]), 1e-12), np.radians(values[3])
            cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
            step[:3, :3] = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
        out = out @ step
    return out


def _numbers(text: str | None, kind: type) -> np.ndarray:
    return np.array((text or "").split(), dtype=kind)
