"""One source file made into one record: grids of signed distance, samples of it, and surface points with materials."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from gan3d_core.errors import DatasetError, MeshFileError

from .distance import FINEST, SignedDistance, is_watertight, sample_surface
from .normalise import rotation, to_cube, to_source
from .orientation import turn_outward
from .readers import read
from .source import SourceFile, SourceMesh
from .store import Entry, split_of
from .thin import THIN_VOXELS
from .views import PICTURES, render_views

__all__ = ["PICTURES", "RecordSettings", "identity", "make_record", "normalised"]

REVISION = 6
"""Raised when the same settings and sources give other records."""
_GRIDS = (8, 256)


@dataclasses.dataclass(frozen=True)
class RecordSettings:
    """What a record holds. Part of every record's identity, and the same for all of a dataset."""

    grids: tuple[int, ...] = (32, 64)
    """Resolutions of the signed-distance grids; 8 to 256. 128³ costs 4 MB a shape and is left out unless asked for."""
    surface_points: int = 16384
    near_samples: int = 24576
    volume_samples: int = 8192
    views: int = 12
    """Pictures of each shape; 0 for none."""
    image_size: int = 128
    """Pixels along the side of a picture."""

    def __post_init__(self) -> None:
        if not self.grids or not all(_GRIDS[0] <= grid <= _GRIDS[1] for grid in self.grids):
            raise DatasetError(
                f"Grids of {', '.join(map(str, self.grids)) or 'no'} cells cannot be made.",
                f"Choose one or more resolutions from {_GRIDS[0]} to {_GRIDS[1]}.",
            )
        if not 0 <= self.views <= 1000:
            raise DatasetError(f"There cannot be {self.views} views.", "Choose from 0 to 1000.")
        if not 16 <= self.image_size <= 2048:
            raise DatasetError(f"Pictures of {self.image_size} pixels cannot be made.", "Choose from 16 to 2048.")

    def to_json(self) -> dict[str, Any]:
        fields = {**dataclasses.asdict(self), "grids": sorted(set(self.grids))}
        if not self.views:
            del fields["image_size"]
        return {**fields, "thin_voxels": THIN_VOXELS, "revision": REVISION}


DEFAULT = RecordSettings()


def identity(file: SourceFile, settings: RecordSettings = DEFAULT) -> str:
    """20 hex digits: the hash of the file's bytes (and of an OBJ's materials), axes, units, variation and settings.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256(_content(Path(file.path)))
    what: list[Any] = [file.category, file.up, file.front, file.metres, settings.to_json()]
    if file.variation is not None:
        what += [file.variation.parent, file.variation.to_json()]
    digest.update(json.dumps(what, sort_keys=True).encode())
    return digest.hexdigest()[:20]


def _content(path: Path) -> bytes:
    """The bytes that make a shape what it is: shapes of one form in other colours differ in their materials alone."""
    libraries = sorted(path.parent.glob("*.mtl")) if path.suffix.lower() == ".obj" else []
    return b"".join(part.read_bytes() for part in (path, *libraries))


def normalised(file: SourceFile) -> tuple[SourceMesh, float, np.ndarray]:
    """Read a file, bring it into the cube, faces turned outward, and vary it if that is asked for.

    Returns:
        the mesh, its longest side in metres, and the (4, 4) matrix from the cube to the file's axes and units (a
        variation's own maps are not in it).

    Raises:
        MeshFileError: nothing that a dataset can hold.
    """
    mesh = read(file)
    turn = rotation(file.up, file.front)
    mesh.vertices, longest, centre = to_cube(mesh.vertices, mesh.faces, turn)
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
    size_m, to_file = longest * file.metres, to_source(turn, longest, centre)
    if file.variation is not None:
        mesh, back = file.variation.apply(mesh)
        size_m, to_file = size_m * float(back[0, 0]), to_file @ back
    return mesh, size_m, to_file


def make_record(file: SourceFile, name: str, settings: RecordSettings = DEFAULT) -> tuple[Entry, dict[str, np.ndarray]]:
    """Everything a dataset keeps of one file, in units of the cube.

    Arrays: `sdf32`, `sdf64` … (R, R, R) float16 at cell centres; `near` (N, 4) and `volume` (M, 4) float16 points with
    their signed distance; `surface` (P, 6) float16 points and normals; `material` (P, 5) uint8: sRGB base colour,
    roughness, metallic; and the pictures of `render_views`.

    Raises:
        MeshFileError: the file cannot be used.
    """
    mesh, size_m, to_file = normalised(file)
    distance = SignedDistance(mesh.vertices, mesh.faces)
    arrays = {f"sdf{r}": distance.grid(r).astype(np.float16) for r in sorted(set(settings.grids), reverse=True)}
    if not (distance.grid(FINEST) < 0).any():
        raise MeshFileError(f"{file.name} is too thin or too small to fill one cell of a {FINEST}³ grid.")
    arrays |= _surface(mesh, distance, settings.surface_points)
    arrays |= _samples(distance, arrays["surface"], settings)
    if settings.views:
        arrays |= render_views(mesh, settings.views, settings.image_size, seed=int(name[:8], 16))
    entry = Entry(
        id=name,
        name=file.name,
        category=file.category,
        split=split_of(f"{file.category}/{file.parent}"),
        licence=file.licence,
        author=file.author,
        size_m=size_m,
        faces=len(mesh.faces),
        watertight=is_watertight(mesh.vertices, mesh.faces),
        thin_share=round(distance.thin_share, 4),
        colored=mesh.colored,
        labels=file.labels,
        source=file.source,
        origin=file.origin,
        sha256=hashlib.sha256(Path(file.path).read_bytes()).hexdigest(),
        up=file.up,
        front=file.front,
        metres=file.metres,
        to_source=to_file.tolist(),
        parent="" if file.variation is None else file.variation.parent,
        variation={} if file.variation is None else file.variation.to_json(),
        written=round(time.time(), 3),
    )
    return entry, arrays


def _surface(mesh: SourceMesh, distance: SignedDistance, count: int) -> dict[str, np.ndarray]:
    """Points of the outer surface with their normals and materials."""
    outer = distance.outer
    points, piece, weights, normals = sample_surface(outer.vertices, outer.faces, count=count, seed=1)
    in_parent = np.einsum("nc,nck->nk", weights, outer.corners[piece])
    color, rough, metal = mesh.materials_at(outer.parent[piece], in_parent)
    material = np.rint(np.concatenate([color, rough[:, None], metal[:, None]], axis=1) * 255)
    return {
        "surface": np.concatenate([points, normals], axis=1).astype(np.float16),
        "material": material.astype(np.uint8),
    }


def _samples(distance: SignedDistance, surface: np.ndarray, settings: RecordSettings) -> dict[str, np.ndarray]:
    """Signed distances near the surface and anywhere. Half the near ones lie within about a voxel of it, half within
    four (as DeepSDF's two variances)."""
    generator = np.random.default_rng(2)
    count = settings.near_samples
    around = surface[generator.integers(len(surface), size=count), :3].astype(np.float32)
    spread = np.where(np.arange(count) % 2, 0.02, 0.08)[:, None]
    near = np.clip(around + generator.normal(size=around.shape) * spread, -1, 1)
    volume = generator.uniform(-1, 1, (settings.volume_samples, 3))
    samples = {}
    for key, where in (("near", near), ("volume", volume)):
        stored = where.astype(np.float16).astype(np.float32)  # the distance belongs to the stored point
        samples[key] = np.concatenate([stored, distance(stored)[:, None]], axis=1).astype(np.float16)
    return samples
