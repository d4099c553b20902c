"""What materials emit, baked at the vertices of a mesh.

Runs in Infinigen's own Python; it sees Blender and numpy, and nothing of GAN3D.
"""

from __future__ import annotations

import bpy
import numpy as np
from refinement import Refined

_BAKED = "gan3d_bake"
_WIDTHS = {"FLOAT": ("value", 1), "FLOAT2": ("vector", 2), "FLOAT_VECTOR": ("vector", 3), "FLOAT_COLOR": ("color", 4)}
"""How the values of an attribute are called in Blender, and how many numbers each is."""
_KINDS = {width: kind for kind, (_, width) in _WIDTHS.items()}
_ATTEMPTS = 50
_FLAT = 1e-9
"""Twice the area of a triangle, square metres."""


class Samples:
    """Every vertex of a refined mesh once for each material around it, as a mesh of its own to bake.

    Blender bakes corners, and a vertex has six. The triangles between the samples mean nothing; each corner has the
    place, the normal and the attributes of its vertex.

    Args:
        target: the object with the coarse mesh, triangles only.
        refined: the mesh that gets the colours.
    """

    def __init__(self, target: bpy.types.Object, refined: Refined) -> None:
        mesh = target.data
        self._corner_vertex, self._count = refined.faces.ravel(), len(refined.vertices)
        face_material = _array(mesh.polygons, "material_index", np.int32).clip(0, len(target.material_slots) - 1)
        material = np.repeat(face_material[refined.parent], 3)
        key = material.astype(np.int64) * self._count + self._corner_vertex
        _, first, self._sample = np.unique(key, return_index=True, return_inverse=True)
        places = refined.vertices[self._corner_vertex[first]]
        groups = [np.flatnonzero(material[first] == index) for index in np.unique(material)]
        rows = np.concatenate([own[_triples(places[own])] for own in groups])
        self._back = np.empty(len(first), np.int64)
        self._back[rows] = np.arange(len(rows))
        corner = first[rows]
        self.object = self._build(
            target,
            refined.vertices[self._corner_vertex[corner]],
            refined.parent[corner // 3],
            refined.weights.reshape(-1, 3)[corner],
            material[corner],
        )

    def _build(
        self,
        target: bpy.types.Object,
        position: np.ndarray,
        face: np.ndarray,
        weights: np.ndarray,
        material: np.ndarray,
    ) -> bpy.types.Object:
        """A mesh of samples; `face` (N,) and `weights` (N, 3) say where on the coarse mesh each of them lies."""
        source = target.data
        corners = _array(source.loops, "vertex_index", np.int32).reshape(-1, 3)

        def between(values: np.ndarray) -> np.ndarray:
            """Of (F, 3, K) values at the coarse corners, those at the samples, (N, K)."""
            return np.einsum("nc,nck->nk", weights, values[face])

        normal = between(_array(source.corner_normals, "vector", np.float32, 3).reshape(-1, 3, 3))
        triangles = np.arange(len(position)).reshape(-1, 3)
        # The side that a triangle shows should be that of its samples: some shaders ask.
        a, b, c = position[triangles].transpose(1, 0, 2)
        inward = np.einsum("nk,nk->n", np.cross(b - a, c - a), normal[triangles].sum(1)) < 0
        triangles[inward] = triangles[inward][:, ::-1]
        mesh = bpy.data.meshes.new("samples")
        mesh.from_pydata(position, [], triangles.tolist(), shade_flat=False)
        for slot in target.material_slots:
            mesh.materials.append(slot.material)
        mesh.polygons.foreach_set("material_index", material[::3].astype(np.int32))
        for attribute in source.attributes:
            own = attribute.name.startswith((".", "sharp_")) or attribute.name in mesh.attributes
            if own or attribute.data_type not in _WIDTHS or attribute.domain not in ("POINT", "CORNER", "FACE"):
                continue
            name, width = _WIDTHS[attribute.data_type]
            values = _array(attribute.data, name, np.float32, width).reshape(-1, width)
            by_corner = attribute.domain == "CORNER"
            if attribute.domain == "FACE":
                values = values[face]
            else:
                values = between(values.reshape(-1, 3, width) if by_corner else values[corners])
            # Texture coordinates must stay what they are to Blender, an attribute of corners.
            uv = by_corner and attribute.data_type == "FLOAT2"
            copy = mesh.attributes.new(attribute.name, "FLOAT2" if uv else _KINDS[width], "CORNER" if uv else "POINT")
            values = values[triangles.ravel()] if uv else values
            copy.data.foreach_set(name, np.ascontiguousarray(values, np.float32).ravel())
        mesh.normals_split_custom_set_from_vertices(normal.tolist())
        mesh.color_attributes.new(_BAKED, "FLOAT_COLOR", "POINT")
        mesh.color_attributes.active_color = mesh.color_attributes[_BAKED]
        made = bpy.data.objects.new("samples", mesh)
        bpy.context.scene.collection.objects.link(made)
        return made

    def bake(self) -> np.ndarray:
        """Bake what the materials emit.

        Returns:
            (V, 3) float32, linear, for every vertex of the mesh: the mean over its corners.
        """
        bpy.ops.object.select_all(action="DESELECT")
        self.object.select_set(True)
        bpy.context.view_layer.objects.active = self.object
        scene = bpy.context.scene
        scene.render.engine = "CYCLES"
        scene.cycles.device = "CPU"
        scene.cycles.samples = 1
        scene.cycles.use_denoising = False
        bpy.ops.object.bake(type="EMIT", target="VERTEX_COLORS", use_clear=True)
        baked = _array(self.object.data.color_attributes[_BAKED].data, "color", np.float32, 4)[:, :3]
        corners = baked[self._back[self._sample]]
        total = np.stack([np.bincount(self._corner_vertex, corners[:, i], self._count) for i in range(3)], -1)
        count = np.bincount(self._corner_vertex, minlength=self._count)
        return (total / np.maximum(count, 1)[:, None]).astype(np.float32)


def _triples(places: np.ndarray) -> np.ndarray:
    """Group points by three so that no triangle of them is flat, for Blender bakes nothing there.

    Args:
        places: (N, 3), at least three of them not on one line.

    Returns:
        indices of the points, each at least once, every three a triangle.
    """
    generator = np.random.default_rng(0)
    order = generator.permutation(len(places))
    triples = np.concatenate([order, order[: -len(order) % 3]]).reshape(-1, 3)
    for _ in range(_ATTEMPTS):
        a, b, c = places[triples].transpose(1, 0, 2)
        flat = np.linalg.norm(np.cross(b - a, c - a), axis=1) < _FLAT
        if not flat.any():
            break
        # Two other points for those; the old ones are mixed in again, so that none is lost.
        mixed = np.concatenate([np.flatnonzero(flat), generator.choice(len(triples), min(len(triples), 64))])
        mixed = np.unique(mixed)
        triples[mixed] = generator.permutation(triples[mixed].ravel()).reshape(-1, 3)
    return triples.ravel()


def _array(collection: bpy.types.bpy_prop_collection, name: str, kind: type, width: int = 1) -> np.ndarray:
    values = np.empty(len(collection) * width, kind)
    collection.foreach_get(name, values)
    return values.reshape(-1, width) if width > 1 else values
