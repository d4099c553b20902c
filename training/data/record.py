"""One source file made into one record: grids of signed distance, samples of it, and surface points with materials."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from gan3d_core.errors import MeshFileError

from .distance import THIN_VOXELS, SignedDistance, is_watertight, sample_surface
from .normalise import rotation, to_cube
from .orientation import turn_outward
from .readers import read
from .source import SourceFile, SourceMesh
from .store import Entry, split_of

GRIDS = (32, 64)
SURFACE_POINTS = 16384
NEAR_SAMPLES = 24576
VOLUME_SAMPLES = 8192
SETTINGS: dict[str, Any] = {
    "grids": list(GRIDS),
    "surface_points": SURFACE_POINTS,
    "near_samples": NEAR_SAMPLES,
    "volume_samples": VOLUME_SAMPLES,
    "thin_voxels": THIN_VOXELS,
    "revision": 2,
}
"""What a dataset's records depend on besides their sources; part of every record's identity."""


def identity(file: SourceFile) -> str:
    """20 hex digits: the hash of the file's bytes, its axes and the settings."""
    digest = hashlib.sha256(Path(file.path).read_bytes())
    digest.update(json.dumps([file.up, file.front, SETTINGS], sort_keys=True).encode())
    return digest.hexdigest()[:20]


def normalised(file: SourceFile) -> tuple[SourceMesh, float]:
    """Read a file and bring it into the cube, faces turned outward.

    Returns:
        the mesh, and its longest side in metres.

    Raises:
        MeshFileError: nothing that a dataset can hold.
    """
    mesh = read(file)
    mesh.vertices, longest, _ = to_cube(mesh.vertices, mesh.faces, rotation(file.up, file.front))
    faces, kept = turn_outward(mesh.vertices, mesh.faces)
    if len(faces) == 0:
        raise MeshFileError(f"{file.name} has only collapsed faces.")
    flipped = (faces != mesh.faces[kept]).any(axis=1)
    if mesh.face_uvs is not None:
        mesh.face_uvs = mesh.face_uvs[kept]
        mesh.face_uvs[flipped] = mesh.face_uvs[flipped][:, ::-1]
    if mesh.face_material is not None:
        mesh.face_material = mesh.face_material[kept]
    if mesh.corner_color is not None:
        mesh.corner_color = mesh.corner_color[kept]
        mesh.corner_color[flipped] = mesh.corner_color[flipped][:, ::-1]
    mesh.faces = faces
    return mesh, longest * file.metres


def make_record(file: SourceFile, name: str) -> tuple[Entry, dict[str, np.ndarray]]:
    """Everything a dataset keeps of one file.

    Arrays: `sdf32`, `sdf64` (R, R, R) float16 at cell centres; `near` (N, 4) and `volume` (M, 4) float16 points with
    their signed distance; `surface` (P, 6) float16 points and normals; `material` (P, 5) uint8: sRGB base colour,
    roughness, metallic. All in units of the cube.

    Raises:
        MeshFileError: the file cannot be used.
    """
    mesh, size_m = normalised(file)
    distance = SignedDistance(mesh.vertices, mesh.faces)
    arrays: dict[str, np.ndarray] = {f"sdf{r}": distance.grid(r).astype(np.float16) for r in GRIDS}
    if not (arrays["sdf64"] < 0).any():
        raise MeshFileError(f"{file.name} is too thin or too small to fill one cell of a 64³ grid.")

    outer = distance.outer
    points, piece, weights, normals = sample_surface(outer.vertices, outer.faces, count=SURFACE_POINTS, seed=1)
    arrays["surface"] = np.concatenate([points, normals], axis=1).astype(np.float16)
    in_parent = np.einsum("nc,nck->nk", weights, outer.corners[piece])
    color, rough, metal = mesh.materials_at(outer.parent[piece], in_parent)
    arrays["material"] = np.rint(np.concatenate([color, rough[:, None], metal[:, None]], 1) * 255).astype(np.uint8)

    # Half the near samples within about a voxel of the surface, half within four (as DeepSDF's two variances).
    generator = np.random.default_rng(2)
    around = points[generator.integers(len(points), size=NEAR_SAMPLES)]
    spread = np.where(np.arange(NEAR_SAMPLES) % 2, 0.02, 0.08)[:, None]
    near = np.clip(around + generator.normal(size=around.shape) * spread, -1, 1).astype(np.float32)
    volume = generator.uniform(-1, 1, (VOLUME_SAMPLES, 3)).astype(np.float32)
    for key, where in (("near", near), ("volume", volume)):
        where = where.astype(np.float16).astype(np.float32)  # the distance belongs to the stored point
        arrays[key] = np.concatenate([where, distance(where)[:, None]], axis=1).astype(np.float16)

    entry = Entry(
        id=name,
        name=file.name,
        category=file.category,
        split=split_of(f"{file.category}/{file.name}"),
        licence=file.licence,
        author=file.author,
        size_m=size_m,
        faces=len(mesh.faces),
        watertight=is_watertight(mesh.vertices, mesh.faces),
        thin_share=round(distance.thin_share, 4),
        colored=mesh.colored,
        labels=file.labels,
    )
    return entry, arrays
