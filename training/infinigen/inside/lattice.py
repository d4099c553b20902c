"""Large faces cut along a lattice, and all of them into triangles, so that there are vertices for colours.

Runs in Infinigen's own Python; it sees Blender and numpy, and nothing of GAN3D.
"""

from __future__ import annotations

import bmesh
import bpy
import numpy as np

LATTICE_M = 0.012
"""Between the colours on a flat face: below two voxels of 128³ for a chair, so that grain and weave survive as far as a
network of that resolution could show them."""
_CELLS = 10_000
"""So many of the lattice's cells may cover a surface; it is coarser on a larger one."""
_NO_AREA = 1e-12
_ON_PLANE = 1e-6
"""Metres within which a vertex lies on a plane of the lattice."""


def triangulate(mesh: bpy.types.Mesh) -> float:
    """Make every face a triangle; faces without area and vertices without faces go.

    A table top is one polygon with hundreds of corners, all of them on its rim: whatever way it is cut into triangles,
    they are needles, and colours at their corners are streaks. So large faces are cut along a lattice first.

    Returns:
        the lattice's step in metres: `LATTICE_M`, or more where the surface is so large that it takes too many faces.
    """
    edit = bmesh.new()
    edit.from_mesh(mesh)
    edit.faces.ensure_lookup_table()
    step = max(LATTICE_M, float(np.sqrt(sum(face.calc_area() for face in edit.faces) / _CELLS)))
    # Most faces are smaller than the lattice: Blender's own numbers tell, and Python need not ask each of them.
    faces = dict.fromkeys(edit.faces[index] for index in np.flatnonzero((_extents(mesh) > 0.999 * step).any(axis=1)))
    for axis in range(3):
        _cut_along(edit, axis, step, faces)
    bmesh.ops.triangulate(edit, faces=edit.faces[:])
    bmesh.ops.delete(edit, geom=[face for face in edit.faces if face.calc_area() < _NO_AREA], context="FACES_ONLY")
    bmesh.ops.delete(edit, geom=[vertex for vertex in edit.verts if not vertex.link_faces], context="VERTS")
    edit.to_mesh(mesh)
    edit.free()
    mesh.update()
    if len(mesh.polygons) == 0:
        raise ValueError("its faces have no area")
    return step


def _extents(mesh: bpy.types.Mesh) -> np.ndarray:
    """(F, 3) metres: how far each face reaches along the axes."""
    position, corner = np.empty(len(mesh.vertices) * 3, np.float32), np.empty(len(mesh.loops), np.int32)
    start = np.empty(len(mesh.polygons), np.int32)
    mesh.vertices.foreach_get("co", position)
    mesh.loops.foreach_get("vertex_index", corner)
    mesh.polygons.foreach_get("loop_start", start)
    corners = position.reshape(-1, 3)[corner]
    return np.maximum.reduceat(corners, start) - np.minimum.reduceat(corners, start)


def _cut_along(edit: bmesh.types.BMesh, axis: int, step: float, faces: dict[bmesh.types.BMFace, None]) -> None:
    """Cut the faces that are longer than the lattice's step along an axis, at each of its planes.

    Args:
        faces: those that may be longer, a set in a fixed order; their pieces are added.
    """

    def reach(face: bmesh.types.BMFace) -> tuple[float, float]:
        along = [vertex.co[axis] for vertex in face.verts]
        return min(along), max(along)

    large = {face: reach(face) for face in faces}
    large = {face: (low, high) for face, (low, high) in large.items() if high - low > step}
    if not large:
        return
    start, end = min(low for low, _ in large.values()), max(high for _, high in large.values())
    for plane in np.arange(start + step, end, step):
        crossing = [face for face, (low, high) in large.items() if low < plane - 1e-5 and high > plane + 1e-5]
        for face in crossing:
            del large[face]
        for part in _cut(edit, crossing, axis, plane):
            faces[part] = None
            low, high = reach(part)
            if high - low > step:
                large[part] = (low, high)


def _cut(
    edit: bmesh.types.BMesh, crossing: list[bmesh.types.BMFace], axis: int, plane: float
) -> list[bmesh.types.BMFace]:
    """Cut faces at a plane across an axis, and say what pieces there are.

    One by one: Blender's operator for this brings the whole mesh up to date each time. It is left to faces that the
    plane does not simply cut in two.
    """
    for face in crossing:
        for edge in list(face.edges):
            start, end = edge.verts
            before, after = start.co[axis] - plane, end.co[axis] - plane
            if min(before, after) < -_ON_PLANE and max(before, after) > _ON_PLANE:
                _, vertex = bmesh.utils.edge_split(edge, start, before / (before - after))
                vertex.co[axis] = plane
    pieces, others = [], []
    for face in crossing:
        met = [vertex for vertex in face.verts if abs(vertex.co[axis] - plane) <= _ON_PLANE]
        new = _split(face, met)
        if new is None:
            others.append(face)
        else:
            pieces += [face, new]
    if others:
        around = {part for face in others for part in (*face.verts, *face.edges, face)}
        direction = [float(index == axis) for index in range(3)]
        place = [plane * value for value in direction]
        made = bmesh.ops.bisect_plane(edit, geom=list(around), dist=_ON_PLANE, plane_co=place, plane_no=direction)
        pieces += [part for part in made["geom"] if isinstance(part, bmesh.types.BMFace)]
    return pieces


def _split(face: bmesh.types.BMFace, met: list[bmesh.types.BMVert]) -> bmesh.types.BMFace | None:
    """Cut a face from one vertex to another: the new piece, or None where they are not two, or are neighbours."""
    if len(met) != 2:
        return None
    try:
        return bmesh.utils.face_split(face, met[0], met[1])[0]
    except ValueError:
        return None
