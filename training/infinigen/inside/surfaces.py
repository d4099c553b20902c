"""One Blender object of one mesh: what a factory made, joined, and thinned where it is too dense.

Runs in Infinigen's own Python; it sees Blender and numpy, and nothing of GAN3D.
"""

from __future__ import annotations

import bmesh
import bpy
import numpy as np

DENSE = 40_000
"""Vertices that a shape needs at most for its form; more are thinned out."""
LATTICE_M = 0.012
"""Between the colours on a flat face: below two voxels of 128³ for a chair, so that grain and weave survive as far as a
network of that resolution could show them."""
_CELLS = 10_000
_UV = "UVMap"
_LEAST = 300
_TOLERANCE = 0.02
_NO_AREA = 1e-12


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


def triangulate(target: bpy.types.Object) -> float:
    """Make every face a triangle; faces without area and vertices without faces go.

    A table top is one polygon with hundreds of corners, all of them on its rim: whatever way it is cut into triangles,
    they are needles, and colours at their corners are streaks. So large faces are cut along a lattice first.

    Returns:
        the lattice's step in metres: `LATTICE_M`, or more where the surface is so large that it takes too many faces.
    """
    mesh = target.data
    edit = bmesh.new()
    edit.from_mesh(mesh)
    step = max(LATTICE_M, float(np.sqrt(sum(face.calc_area() for face in edit.faces) / _CELLS)))
    for axis in range(3):
        _cut_along(edit, axis, step)
    bmesh.ops.triangulate(edit, faces=edit.faces[:])
    bmesh.ops.delete(edit, geom=[face for face in edit.faces if face.calc_area() < _NO_AREA], context="FACES_ONLY")
    bmesh.ops.delete(edit, geom=[vertex for vertex in edit.verts if not vertex.link_faces], context="VERTS")
    edit.to_mesh(mesh)
    edit.free()
    mesh.update()
    if len(mesh.polygons) == 0:
        raise ValueError("its faces have no area")
    return step


def _cut_along(edit: bmesh.types.BMesh, axis: int, step: float) -> None:
    """Cut the faces that are longer than the lattice's step along an axis, at each of its planes."""

    def reach(face: bmesh.types.BMFace) -> tuple[float, float]:
        along = [vertex.co[axis] for vertex in face.verts]
        return min(along), max(along)

    large = {face: reach(face) for face in edit.faces}
    large = {face: (low, high) for face, (low, high) in large.items() if high - low > step}
    if not large:
        return
    direction = [float(index == axis) for index in range(3)]
    start, end = min(low for low, _ in large.values()), max(high for _, high in large.values())
    for plane in np.arange(start + step, end, step):
        crossing = [face for face, (low, high) in large.items() if low < plane - 1e-5 and high > plane + 1e-5]
        if not crossing:
            continue
        around = {part for face in crossing for part in (*face.verts, *face.edges, face)}
        for face in crossing:
            del large[face]
        made = bmesh.ops.bisect_plane(
            edit, geom=list(around), dist=1e-6, plane_co=[plane * value for value in direction], plane_no=direction
        )["geom"]
        for part in made:
            if isinstance(part, bmesh.types.BMFace):
                low, high = reach(part)
                if high - low > step:
                    large[part] = (low, high)


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
