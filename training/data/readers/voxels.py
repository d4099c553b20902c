"""Voxel files: `.binvox`, the `.mat` files of 3D ShapeNets, and dense or bit-packed `.npy` / `.npz`.

All become the smooth closed surface of their set voxels (`surface_nets`), so everything that follows is as for meshes.
They say nothing about colour.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.io

from gan3d_core.errors import MeshFileError

from ..source import SourceFile, SourceMesh
from ..surface_nets import surface_nets

MOST = 512
"""Voxels along a side beyond which a file is refused."""


def read_binvox(path: Path, file: SourceFile, images: bool) -> SourceMesh:
    """P. Min's binvox: a text header, then pairs of bytes (value, count); y runs fastest, then z, then x.

    Vertices are in the units of the mesh that was voxelised: position = translate + scale · (index + ½) / dim.

    Raises:
        MeshFileError: no binvox, or another number of voxels than announced.
    """
    data = path.read_bytes()
    head, mark, body = data.partition(b"\ndata\n")
    if not head.startswith(b"#binvox") or not mark:
        raise MeshFileError(f"{file.name} is no binvox file.")
    fields = {words[0]: words[1:] for words in (line.split() for line in head.decode("ascii").splitlines()) if words}
    size = tuple(int(word) for word in fields["dim"])
    _check_size(size, file)
    pairs = np.frombuffer(body[: len(body) // 2 * 2], np.uint8).reshape(-1, 2)
    if len(size) != 3 or int(pairs[:, 1].sum()) != np.prod(size):
        raise MeshFileError(f"{file.name} breaks off, or announces another size than it has.")
    values = np.repeat(pairs[:, 0] > 0, pairs[:, 1]).reshape(size).transpose(0, 2, 1)
    mesh = _mesh(values, file)
    scale = float(fields.get("scale", ["1"])[0]) / max(size)
    mesh.vertices = mesh.vertices * scale + np.array(fields.get("translate", ["0", "0", "0"]), float)
    return mesh


def read_mat(path: Path, file: SourceFile, images: bool) -> SourceMesh:
    """MATLAB files with a volume: `instance` (30³ in 3D ShapeNets), or the only three-dimensional array there is.

    Raises:
        MeshFileError: no such array.
    """
    try:
        content = scipy.io.loadmat(path)
    except NotImplementedError:
        raise MeshFileError(
            f"{file.name} is a MATLAB file of version 7.3 (HDF5).", "Save it with `save -v7` or as .npy."
        ) from None
    arrays = {name: value for name, value in content.items() if isinstance(value, np.ndarray)}
    if "instance" in arrays:
        arrays = {"instance": arrays["instance"]}
    return _mesh_in_unit(_only(arrays, file), file)


def read_npy(path: Path, file: SourceFile, images: bool) -> SourceMesh:
    """One array: dense occupancy, or bits as `np.packbits` packs them."""
    return _mesh_in_unit(np.load(path, allow_pickle=False), file)


def read_npz(data: np.lib.npyio.NpzFile, file: SourceFile) -> SourceMesh:
    """The archive's only volume, or the one called `voxels`, `occupancy` or `instance`; `shape` unpacks bits.

    Raises:
        MeshFileError: no volume, or several.
    """
    arrays = {name: data[name] for name in data.files if name != "shape"}
    for name in ("voxels", "occupancy", "instance", "packed"):
        if name in arrays:
            arrays = {name: arrays[name]}
    values = _only(arrays, file, "no mesh (`position` and `face`) and no volume of voxels")
    if "shape" in data.files and values.dtype == np.uint8 and values.ndim == 1:
        shape = tuple(int(side) for side in data["shape"])
        _check_size(shape, file)
        values = np.unpackbits(values, count=int(np.prod(shape))).reshape(shape)
    return _mesh_in_unit(values, file)


def _only(arrays: dict[str, np.ndarray], file: SourceFile, neither: str = "no volume of voxels") -> np.ndarray:
    volumes = [value for value in arrays.values() if value.ndim >= 3 or (value.ndim == 1 and value.dtype == np.uint8)]
    if not volumes:
        raise MeshFileError(f"{file.name} holds {neither}, but {', '.join(sorted(arrays)) or 'nothing'}.")
    if len(volumes) > 1:
        raise MeshFileError(
            f"{file.name} holds {len(volumes)} volumes; one is wanted.",
            "It must hold a mesh (`position`, `face`) or one volume, called `voxels` if there are other arrays.",
        )
    return volumes[0]


def dense(values: np.ndarray, file: SourceFile) -> np.ndarray:
    """(X, Y, Z) bool of whatever form a volume has.

    Whole numbers count as set where they are not zero, fractions from ½ on. Eight voxels in a byte are recognised by
    the shape: one axis of R³/8 bytes, or three of which the last has an eighth of the others.

    Raises:
        MeshFileError: not three-dimensional, several volumes, signed distances, or too large.
    """
    if values.dtype.kind not in "biuf":
        raise MeshFileError(f"{file.name} holds no numbers.")
    if values.ndim == 1 and values.dtype == np.uint8:
        side = round((8 * values.size) ** (1 / 3))
        if side**3 != 8 * values.size:
            raise MeshFileError(f"{file.name} holds {8 * values.size} bits, which fill no cube.")
        values = np.unpackbits(values).reshape(side, side, side)
    if values.ndim > 3:
        values = values.reshape([side for side in values.shape if side > 1])
    if values.ndim != 3:
        raise MeshFileError(
            f"{file.name} holds an array of shape {values.shape}; (X, Y, Z) is wanted.",
            "Save each shape of a batch as a file of its own.",
        )
    if values.dtype == np.uint8 and values.shape[0] == values.shape[1] == 8 * values.shape[2]:
        values = np.unpackbits(values, axis=2)
    _check_size(values.shape, file)
    if values.dtype.kind != "f":
        return values != 0
    if not np.isfinite(values).all():
        raise MeshFileError(f"{file.name} has values that are not finite.")
    if values.min() < 0:
        raise MeshFileError(
            f"{file.name} has negative values, as distances do; occupancy from 0 to 1 is wanted.",
            "Save `sdf < 0` instead.",
        )
    return values >= 0.5


def _check_size(shape: tuple[int, ...], file: SourceFile) -> None:
    if len(shape) != 3 or min(shape) < 1 or max(shape) > MOST:
        raise MeshFileError(f"{file.name} has a volume of {' × '.join(map(str, shape))} voxels; up to {MOST}³ is read.")


def _mesh_in_unit(values: np.ndarray, file: SourceFile) -> SourceMesh:
    """The surface, the grid's longest side being one unit."""
    filled = dense(values, file)
    mesh = _mesh(filled, file)
    mesh.vertices = mesh.vertices / max(filled.shape)
    return mesh


def _mesh(filled: np.ndarray, file: SourceFile) -> SourceMesh:
    vertices, faces = surface_nets(filled)
    if not len(faces):
        raise MeshFileError(f"No voxel of {file.name} is set.")
    return SourceMesh(vertices, faces, colorless=True)
