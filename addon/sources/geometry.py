"""The evaluated surface of objects as arrays: modifiers applied, instances real, in world space."""

from __future__ import annotations

import dataclasses

import bpy
import numpy as np

from . import materials
from .assets import SOLID, Asset


@dataclasses.dataclass
class Surface:
    """Triangles of one shape, with the materials they use."""

    position: np.ndarray
    """(V, 3) float32, world space, Blender units."""
    face: np.ndarray
    """(F, 3) int32."""
    material: np.ndarray
    """(F,) int32 into `materials`."""
    uv: np.ndarray
    """(F, 3, 2) float32, the material's Mapping node applied."""
    corner_rgb: np.ndarray | None
    """(F, 3, 3) uint8 sRGB of colour attributes; None where no material uses one."""
    materials: list[materials.Material]


def surface_of(asset: Asset, depsgraph: bpy.types.Depsgraph) -> Surface | None:
    """Gather all that the asset's objects show; None if that is nothing.

    Args:
        depsgraph: evaluated, of a view layer that has the objects in it.
    """
    wanted = set(asset.objects)
    gathered = _Gathered()
    for instance in depsgraph.object_instances:
        owner = instance.parent if instance.is_instance else instance.object
        shown = instance.object
        if owner is None or shown is None or owner.original not in wanted or shown.type not in SOLID:
            continue
        if instance.is_instance or instance.show_self:
            gathered.add(shown, np.array(instance.matrix_world))
    return gathered.surface()


class _Gathered:
    def __init__(self) -> None:
        self.parts: list[tuple[np.ndarray, ...]] = []
        self.materials: list[materials.Material] = []
        self.index: dict[str, int] = {}
        self.vertices = 0
        self.tinted = False

    def add(self, thing: bpy.types.Object, matrix: np.ndarray) -> None:
        mesh = thing.to_mesh()
        if mesh is None:
            return
        try:
            mesh.calc_loop_triangles()
            count = len(mesh.loop_triangles)
            if count:
                self._take(thing, mesh, matrix, count)
        finally:
            thing.to_mesh_clear()

    def _take(self, thing: bpy.types.Object, mesh: bpy.types.Mesh, matrix: np.ndarray, count: int) -> None:
        position = np.empty((len(mesh.vertices), 3), np.float32)
        mesh.vertices.foreach_get("co", position.ravel())
        face, loops = np.empty((count, 3), np.int32), np.empty((count, 3), np.int32)
        slot = np.empty(count, np.int32)
        mesh.loop_triangles.foreach_get("vertices", face.ravel())
        mesh.loop_triangles.foreach_get("loops", loops.ravel())
        mesh.loop_triangles.foreach_get("material_index", slot)
        position = (position @ matrix[:3, :3].T + matrix[:3, 3]).astype(np.float32)
        uv = np.zeros((count, 3, 2), np.float32)
        rgb = np.full((count, 3, 3), 255, np.uint8)
        material = np.zeros(count, np.int32)
        slots = [each.material for each in thing.material_slots] or [None]
        for number in np.unique(slot):
            at = slot == number
            read = self._material(slots[min(int(number), len(slots) - 1)])
            material[at] = read
            self._dress(mesh, self.materials[read], loops[at], face[at], at, uv, rgb)
        if np.linalg.det(matrix[:3, :3]) < 0:  # mirrored by its scale: turned inside out
            face, uv, rgb = face[:, ::-1], uv[:, ::-1], rgb[:, ::-1]
        self.parts.append((position, face + self.vertices, material, uv, rgb))
        self.vertices += len(position)

    def _material(self, material: bpy.types.Material | None) -> int:
        name = "" if material is None else material.name_full
        if name not in self.index:
            self.index[name] = len(self.materials)
            self.materials.append(materials.read(material))
        return self.index[name]

    def _dress(
        self,
        mesh: bpy.types.Mesh,
        material: materials.Material,
        loops: np.ndarray,
        face: np.ndarray,
        at: np.ndarray,
        uv: np.ndarray,
        rgb: np.ndarray,
    ) -> None:
        """Fill in the texture coordinates and colours that a material asks for on the faces `at`."""
        mapped = next((each for each in (material.color, material.roughness, material.metallic) if each.image), None)
        if mapped is not None:
            layer = mesh.uv_layers.get(mapped.uv_map) if mapped.uv_map else _render_layer(mesh)
            if layer is None:
                _note(material, f"{material.name}: {mesh.name} has no UVs")
            else:
                all_uv = np.empty((len(mesh.loops), 2), np.float32)
                layer.uv.foreach_get("vector", all_uv.ravel())
                uv[at] = materials.place(all_uv[loops].reshape(-1, 2), mapped).reshape(-1, 3, 2)
        name = material.color.attribute
        if name is None:
            return
        colors = mesh.color_attributes.get(name) if name else mesh.color_attributes.active_color
        if colors is None:
            _note(material, f"{material.name}: {mesh.name} has no colour attribute {name}")
            return
        linear = np.empty((len(colors.data), 4), np.float32)
        colors.data.foreach_get("color", linear.ravel())
        corners = loops if colors.domain == "CORNER" else face
        rgb[at] = np.rint(materials.linear_to_srgb(linear[corners][..., :3]) * 255).astype(np.uint8)
        self.tinted = True

    def surface(self) -> Surface | None:
        if not self.parts:
            return None
        position, face, material, uv, rgb = (
            np.ascontiguousarray(np.concatenate(arrays)) for arrays in zip(*self.parts, strict=True)
        )
        return Surface(position, face, material, uv, rgb if self.tinted else None, self.materials)


def _render_layer(mesh: bpy.types.Mesh) -> bpy.types.MeshUVLoopLayer | None:
    return next((each for each in mesh.uv_layers if each.active_render), mesh.uv_layers.active)


def _note(material: materials.Material, problem: str) -> None:
    if problem not in material.missing:
        material.missing.append(problem)
