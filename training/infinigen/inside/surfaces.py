"""One Blender object of one mesh: what a factory made, joined, and thinned where it is too dense.

Runs in Infinigen's own Python; it sees Blender and numpy, and nothing of GAN3D.
"""

from __future__ import annotations

import bpy
import numpy as np

DENSE = 40_000
"""Vertices that a shape needs at most for its form; more are thinned out."""
_UV = "UVMap"
_LEAST = 300
_TOLERANCE = 0.02


def join(asset: bpy.types.Object) -> bpy.types.Object:
    """The asset and its children, modifiers applied, as one object with one mesh in world coordinates.

    Returns:
        a new object in the scene; lamps' lights and empties are left out.
    """
    bpy.context.view_layer.update()
    graph = bpy.context.evaluated_depsgraph_get()
    parts = []
    for source in (asset, *asset.children_recursive):
        if source.type not in ("MESH", "CURVE", "SURFACE", "META"):
            continue
        mesh = bpy.data.meshes.new_from_object(
            source.evaluated_get(graph), preserve_all_data_layers=True, depsgraph=graph
        )
        if len(mesh.polygons) == 0:
            bpy.data.meshes.remove(mesh)
            continue
        mesh.transform(source.matrix_world)
        parts.append(bpy.data.objects.new("part", mesh))
        bpy.context.scene.collection.objects.link(parts[-1])
    if not parts:
        raise ValueError("the factory made no surface")
    return _joined(parts)


def thin(target: bpy.types.Object, most: int = DENSE) -> bpy.types.Object:
    """Collapse edges where there are more than `most` vertices.

    Each loose part gives its share by itself: over the whole mesh, the quadric metric would rather remove a thin leg
    than straighten a large seat. A part whose area or extent would suffer stays as it is.

    Returns:
        the object that holds the result; `target` is no longer valid.
    """
    if len(target.data.vertices) <= most:
        return target
    _select([target])
    bpy.ops.mesh.separate(type="LOOSE")
    parts = list(bpy.context.selected_objects)
    sizes = np.array([len(part.data.vertices) for part in parts])
    floor = np.minimum(sizes, _LEAST)
    share = max(most - int(floor.sum()), 0) / max(int((sizes - floor).sum()), 1)
    for part, size, least in zip(parts, sizes, floor, strict=True):
        ratio = (least + (size - least) * share) / size
        if ratio < 0.9:
            _collapse(part, ratio)
    return _joined(parts)


def _collapse(part: bpy.types.Object, ratio: float) -> None:
    modifier = part.modifiers.new("thin", "DECIMATE")
    modifier.ratio = ratio
    graph = bpy.context.evaluated_depsgraph_get()
    mesh = bpy.data.meshes.new_from_object(part.evaluated_get(graph), preserve_all_data_layers=True, depsgraph=graph)
    part.modifiers.remove(modifier)
    before, after = _measures(part.data), _measures(mesh)
    # Curved surfaces lose a little area as chords replace arcs.
    if (np.abs(after - before) <= _TOLERANCE * before.max()).all():
        part.data = mesh
    else:
        bpy.data.meshes.remove(mesh)


def _measures(mesh: bpy.types.Mesh) -> np.ndarray:
    """The extent along three axes and the square root of the area, metres."""
    position = np.empty(len(mesh.vertices) * 3, np.float32)
    mesh.vertices.foreach_get("co", position)
    area = np.empty(len(mesh.polygons), np.float32)
    mesh.polygons.foreach_get("area", area)
    extent = np.ptp(position.reshape(-1, 3), axis=0) if len(position) else np.zeros(3)
    return np.array([*extent, np.sqrt(area.sum())], np.float64)


def _select(objects: list[bpy.types.Object]) -> None:
    bpy.ops.object.select_all(action="DESELECT")
    for entry in objects:
        entry.select_set(True)
    bpy.context.view_layer.objects.active = objects[0]


def _joined(parts: list[bpy.types.Object]) -> bpy.types.Object:
    _select(parts)
    if len(parts) > 1:
        bpy.ops.object.join()
    return parts[0]


def give_texture_coordinates(target: bpy.types.Object) -> None:
    """Box-projected texture coordinates in metres where the factory made none.

    Some fabrics read the attribute `UVMap` and are one black point of their pattern without it.
    """
    mesh = target.data
    if _UV in mesh.attributes:
        return
    vertices, faces = arrays(target)
    a, b, c = vertices[faces].transpose(1, 0, 2)
    across = np.abs(np.cross(b - a, c - a)).argmax(axis=1)
    flat = np.array([[1, 2], [0, 2], [0, 1]])[across]
    coordinates = np.take_along_axis(vertices[faces], flat[:, None, :].repeat(3, axis=1), axis=2)
    layer = mesh.attributes.new(_UV, "FLOAT2", "CORNER")
    layer.data.foreach_set("vector", coordinates.astype(np.float32).ravel())


def arrays(target: bpy.types.Object) -> tuple[np.ndarray, np.ndarray]:
    """The triangles of a triangulated object: (V, 3) float64 metres, (F, 3) int64."""
    mesh = target.data
    position = np.empty(len(mesh.vertices) * 3, np.float32)
    mesh.vertices.foreach_get("co", position)
    corner = np.empty(len(mesh.loops), np.int32)
    mesh.loops.foreach_get("vertex_index", corner)
    if not np.isfinite(position).all():
        raise ValueError("its coordinates are not finite")
    return position.reshape(-1, 3).astype(np.float64), corner.reshape(-1, 3).astype(np.int64)


def vertex_areas(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """A third of the area of the triangles around each vertex, (V,) square metres."""
    a, b, c = vertices[faces].transpose(1, 0, 2)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 6
    return np.bincount(faces.ravel(), np.repeat(area, 3), len(vertices))


def empty_scene() -> None:
    """Nothing left of the shape before, node trees included: factories look their trees up by name."""
    for entry in list(bpy.data.objects):
        bpy.data.objects.remove(entry)
    bpy.data.orphans_purge(do_recursive=True)


def leave_only(kept: bpy.types.Object) -> None:
    """Remove every other object: baking prepares the whole scene."""
    for entry in list(bpy.data.objects):
        if entry != kept:
            bpy.data.objects.remove(entry)
