"""What comes back from the worker: one textured triangle mesh, as plain arrays."""

from __future__ import annotations

import dataclasses
import os

import numpy as np

from .errors import MeshFileError
from .files import atomic_path


@dataclasses.dataclass(frozen=True)
class Shape:
    """A triangle mesh in metres, +Z up, −Y front, standing on z = 0.

    Faces are counter-clockwise seen from outside. Images have row 0 at the **bottom** (v = 0), as Blender stores them.
    """

    vertices: np.ndarray
    """(V, 3) float32, metres."""
    faces: np.ndarray
    """(F, 3) int32."""
    uvs: np.ndarray
    """(F, 3, 2) float32, one coordinate per face corner, in [0, 1]."""
    base_color: np.ndarray
    """(H, W, 3) uint8, sRGB."""
    roughness: np.ndarray
    """(H, W) uint8, linear, 255 = 1.0."""
    metallic: np.ndarray
    """(H, W) uint8, linear, 255 = 1.0."""

    _DTYPES = {
        "vertices": np.float32,
        "faces": np.int32,
        "uvs": np.float32,
        "base_color": np.uint8,
        "roughness": np.uint8,
        "metallic": np.uint8,
    }

    def __post_init__(self) -> None:
        for name, dtype in self._DTYPES.items():
            array = getattr(self, name)
            if not isinstance(array, np.ndarray) or array.dtype != dtype:
                raise MeshFileError(f"The shape's {name} must be a {np.dtype(dtype).name} array.")
        count = len(self.faces)
        if self.vertices.shape[1:] != (3,) or self.faces.shape[1:] != (3,) or self.uvs.shape != (count, 3, 2):
            raise MeshFileError("The shape's vertices, faces and uvs must be (V, 3), (F, 3) and (F, 3, 2).")
        if not count or not np.isfinite(self.vertices).all() or not np.isfinite(self.uvs).all():
            raise MeshFileError("The shape has no faces, or coordinates that are not finite.")
        if self.faces.min() < 0 or self.faces.max() >= len(self.vertices):
            raise MeshFileError("The shape's faces name vertices that do not exist.")
        if self.base_color.ndim != 3 or self.base_color.shape[2] != 3 or not self.base_color.size:
            raise MeshFileError("The shape's base colour must be (H, W, 3), of at least one pixel.")
        if self.roughness.shape != self.base_color.shape[:2] or self.metallic.shape != self.base_color.shape[:2]:
            raise MeshFileError("The shape's images must be of one size.")

    def arrays(self) -> dict[str, np.ndarray]:
        """Every array by name, in a fixed order."""
        return {name: getattr(self, name) for name in self._DTYPES}

    @property
    def size(self) -> np.ndarray:
        """(3,) extent along x, y, z in metres."""
        return self.vertices.max(axis=0) - self.vertices.min(axis=0)

    def volume(self) -> float:
        """Signed enclosed volume in m³ (divergence theorem); positive when the faces look outward."""
        a, b, c = (self.vertices[self.faces[:, i]].astype(np.float64) for i in range(3))
        return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6.0)

    def write_npz(self, path: str | os.PathLike[str]) -> None:
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, **self.arrays())

    @staticmethod
    def read_npz(path: str | os.PathLike[str]) -> Shape:
        try:
            with np.load(path, allow_pickle=False) as data:
                return Shape(**{name: data[name] for name in Shape._DTYPES})
        except MeshFileError:
            raise
        except Exception as error:  # a damaged archive makes numpy, zipfile and zlib raise a dozen kinds
            raise MeshFileError(f"{os.fspath(path)} is not a GAN3D shape ({error}).") from None

    def write_glb(self, path: str | os.PathLike[str]) -> None:
        """Write a binary glTF 2.0 with one metallic-roughness material. Needs trimesh and Pillow (worker side)."""
        import trimesh
        from PIL import Image

        corners = self.faces.reshape(-1)
        # Vertices are shared again wherever position and texture coordinate agree, so the file stays small.
        keys = np.concatenate([corners[:, None].astype(np.float64), self.uvs.reshape(-1, 2)], axis=1)
        unique, inverse = np.unique(keys, axis=0, return_inverse=True)
        positions = self.vertices[unique[:, 0].astype(np.int64)]
        # glTF is +Y up, and its front is +Z: (x, y, z) → (x, z, −y).
        positions = positions[:, [0, 2, 1]] * np.array([1, 1, -1], np.float32)
        # glTF packs roughness in green and metallic in blue; its images start at the top.
        packed = np.stack([np.full_like(self.roughness, 255), self.roughness, self.metallic], axis=-1)[::-1]
        material = trimesh.visual.material.PBRMaterial(
            name="GAN3D",
            baseColorTexture=Image.fromarray(np.ascontiguousarray(self.base_color[::-1])),
            metallicRoughnessTexture=Image.fromarray(np.ascontiguousarray(packed)),
            metallicFactor=1.0,
            roughnessFactor=1.0,
        )
        mesh = trimesh.Trimesh(
            positions,
            inverse.reshape(-1, 3),
            visual=trimesh.visual.TextureVisuals(uv=unique[:, 1:], material=material),
            process=False,
        )
        scene = trimesh.Scene()
        scene.add_geometry(mesh, node_name="shape", geom_name="shape")
        data = scene.export(file_type="glb")
        with atomic_path(path) as temporary:
            temporary.write_bytes(data)
