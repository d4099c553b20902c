"""Analytic solids with meshes of known distance, and ways to break a mesh."""

from __future__ import annotations

import numpy as np
import trimesh


def sphere(radius: float = 0.7) -> tuple[np.ndarray, np.ndarray]:
    mesh = trimesh.creation.icosphere(subdivisions=5, radius=radius)
    return np.asarray(mesh.vertices, np.float32), np.asarray(mesh.faces)


def torus(major: float = 0.6, minor: float = 0.22) -> tuple[np.ndarray, np.ndarray]:
    mesh = trimesh.creation.torus(major, minor, major_sections=128, minor_sections=64)
    return np.asarray(mesh.vertices, np.float32), np.asarray(mesh.faces)


def box(low: tuple[float, ...], high: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    mesh = trimesh.creation.box(bounds=[low, high])
    return np.asarray(mesh.vertices, np.float32), np.asarray(mesh.faces)


def finely(mesh: tuple[np.ndarray, np.ndarray], longest: float = 0.09) -> tuple[np.ndarray, np.ndarray]:
    """The same surface in faces with no edge longer than that, so that there are many to break."""
    mesh = trimesh.Trimesh(*trimesh.remesh.subdivide_to_size(mesh[0].astype(np.float64), mesh[1], longest))
    return np.asarray(mesh.vertices, np.float32), np.asarray(mesh.faces)


BOX = ((-0.6, -0.5, -0.4), (0.6, 0.5, 0.4))


def walled_box() -> tuple[np.ndarray, np.ndarray]:
    """`BOX` with two crossed walls inside, which change nothing about its distance."""
    walls = box((-0.55, -0.02, -0.35), (0.55, 0.02, 0.35)), box((-0.02, -0.45, -0.35), (0.02, 0.45, 0.35))
    return join(*(finely(part) for part in (box(*BOX), *walls)))


def plate_bounds(thickness: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Of a thin sheet, no side of which lies on the cells of a grid."""
    return (-0.7, -0.6, 0.003 - thickness / 2), (0.7, 0.6, 0.003 + thickness / 2)


def join(*parts: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    vertices, faces, offset = [], [], 0
    for part_vertices, part_faces in parts:
        vertices.append(part_vertices)
        faces.append(part_faces + offset)
        offset += len(part_vertices)
    return np.concatenate(vertices), np.concatenate(faces)


def sphere_distance(points: np.ndarray, radius: float = 0.7) -> np.ndarray:
    return np.linalg.norm(points, axis=-1) - radius


def torus_distance(points: np.ndarray, major: float = 0.6, minor: float = 0.22) -> np.ndarray:
    ring = np.linalg.norm(points[..., :2], axis=-1) - major
    return np.hypot(ring, points[..., 2]) - minor


def box_distance(points: np.ndarray, low: tuple[float, ...], high: tuple[float, ...]) -> np.ndarray:
    centre, half = (np.array(low) + np.array(high)) / 2, (np.array(high) - np.array(low)) / 2
    away = np.abs(points - centre) - half
    return np.linalg.norm(np.maximum(away, 0), axis=-1) + np.minimum(away.max(axis=-1), 0)


def broken(vertices: np.ndarray, faces: np.ndarray, how: str, share: float, seed: int) -> np.ndarray:
    """Faces with a share of them deleted, flipped, or duplicated with the opposite orientation."""
    chosen = np.random.default_rng(seed).random(len(faces)) < share
    if how == "deleted":
        return faces[~chosen]
    if how == "flipped":
        out = faces.copy()
        out[chosen] = out[chosen][:, ::-1]
        return out
    return np.concatenate([faces, faces[chosen][:, ::-1]])
