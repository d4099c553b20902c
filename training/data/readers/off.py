"""OFF files, with ModelNet's broken headers.

The format: a keyword `OFF` (`COFF` with vertex colours, `NOFF` with normals, …), the counts of vertices, faces and
edges, the vertices, and faces as `n i₁ … iₙ [r g b [a]]`. In many files of ModelNet the counts follow the keyword
without a line's end (`OFF1568 1024 0`), which most readers refuse.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from gan3d_core.errors import MeshFileError

from ..source import SourceFile, SourceMesh

_HEADER = re.compile(r"\s*(ST)?(C)?(N)?(4)?(n)?OFF", re.IGNORECASE)


def read(path: Path, file: SourceFile, images: bool) -> SourceMesh:
    """Read an OFF file; polygons become fans of triangles.

    Raises:
        MeshFileError: no OFF, binary, four-dimensional, or shorter than its header says.
    """
    text = path.read_text("latin-1")
    header = _HEADER.match(text)
    if header is None:
        raise MeshFileError(f"{file.name} does not begin with OFF.")
    _, coloured, with_normals, four, many = (group is not None for group in header.groups())
    rest = text[header.end() :]
    if four or many or rest.lstrip().upper().startswith("BINARY"):
        raise MeshFileError(f"{file.name} is a binary or higher-dimensional OFF file, which is not read.")
    lines = [line for line in (each.split("#", 1)[0].strip() for each in rest.splitlines()) if line]
    if not lines or len(lines[0].split()) < 2:
        raise MeshFileError(f"{file.name} does not say how many vertices and faces it has.")
    vertex_count, face_count = (int(word) for word in lines[0].split()[:2])
    if vertex_count < 0 or face_count < 0 or len(lines) < 1 + vertex_count + face_count:
        raise MeshFileError(
            f"{file.name} breaks off: {vertex_count} vertices and {face_count} faces are announced, "
            f"{len(lines) - 1} lines follow."
        )
    table = np.array([line.split() for line in lines[1 : 1 + vertex_count]], np.float64).reshape(vertex_count, -1)
    mesh = SourceMesh(table[:, :3], np.zeros((0, 3), np.int64), colorless=True)
    if coloured and table.shape[1] >= 6:
        first = 3 + 3 * with_normals
        mesh.vertex_color = _unit(table[:, first : first + 3])
        mesh.colorless = False
    faces, colors = _faces([line.split() for line in lines[1 + vertex_count : 1 + vertex_count + face_count]])
    mesh.faces = faces
    if colors is not None and not coloured:
        mesh.corner_color = np.repeat(colors[:, None], 3, axis=1)
        mesh.colorless = False
    return mesh


def _faces(rows: list[list[str]]) -> tuple[np.ndarray, np.ndarray | None]:
    """Triangles (F, 3) and, where every face has one, their colours (F, 3)."""
    sizes = np.array([int(row[0]) for row in rows], np.int64)
    if any(len(row) <= size for row, size in zip(rows, sizes, strict=True)):
        raise MeshFileError("A face of the file has fewer corners than it says.")
    triangles, colors = [], []
    for size in np.unique(sizes[sizes >= 3]):
        same = [row for row, each in zip(rows, sizes, strict=True) if each == size]
        corners = np.array([row[1 : 1 + size] for row in same], np.int64)
        fan = np.stack([np.stack([corners[:, 0], corners[:, k], corners[:, k + 1]], 1) for k in range(1, size - 1)], 1)
        triangles.append(fan.reshape(-1, 3))
        if all(len(row) >= size + 4 for row in same):
            color = np.array([row[1 + size : 4 + size] for row in same], np.float64)
            colors.append(np.repeat(color, size - 2, axis=0))
    if not triangles:
        return np.zeros((0, 3), np.int64), None
    faces = np.concatenate(triangles)
    complete = sum(len(color) for color in colors) == len(faces)
    return faces, _unit(np.concatenate(colors)) if complete else None


def _unit(color: np.ndarray) -> np.ndarray:
    """Colours are whole numbers up to 255 or fractions up to 1; a file uses one of the two."""
    return np.clip(color / (255.0 if color.size and color.max() > 1.0 else 1.0), 0, 1).astype(np.float32)
