"""Reading one shape from one file, whatever its format: `read`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gan3d_core.errors import MeshFileError

from ..source import SourceFile, SourceMesh
from . import collada, meshes, off, packed, voxels

MAX_BYTES = 1 << 30

READERS: dict[str, Callable[[Path, SourceFile, bool], SourceMesh]] = {
    ".glb": meshes.read,
    ".gltf": meshes.read,
    ".obj": meshes.read,
    ".dae": collada.read,
    ".ply": meshes.read,
    ".off": off.read,
    ".stl": meshes.read,
    ".npz": packed.read,
    ".npy": voxels.read_npy,
    ".binvox": voxels.read_binvox,
    ".mat": voxels.read_mat,
}
"""Suffix → reader; where one shape lies there in several formats, the first of these is taken."""


def read(file: SourceFile, images: bool = True) -> SourceMesh:
    """Read one file.

    Args:
        file: what to read.
        images: decode textures too. Without them colours are those of the materials alone, and it is faster;
            `missing_textures` is right either way.

    Raises:
        MeshFileError: it is missing, too large, unreadable, empty, not finite, or holds no faces.
    """
    path = Path(file.path)
    if not path.is_file():
        raise MeshFileError(f"There is no file {file.name}.", "Correct the manifest, or copy the file there.")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise MeshFileError(f"{file.name} is of no format that is read.", f"Read are {', '.join(sorted(READERS))}.")
    size = path.stat().st_size
    if size == 0:
        raise MeshFileError(f"{file.name} is empty.")
    if size > MAX_BYTES:
        raise MeshFileError(f"{file.name} has {size >> 20} MiB; at most {MAX_BYTES >> 20} are read.")
    try:
        mesh = reader(path, file, images)
    except MeshFileError:
        raise
    except MemoryError:
        raise MeshFileError(f"There is not enough memory to read {file.name}.") from None
    except Exception as error:  # parsers raise whatever they like on a broken file
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise MeshFileError(f"{file.name} cannot be read as a shape ({reason}).") from error
    mesh.check()
    return mesh
