"""Questions to triangle meshes, many points at a time: how far, on which side, what lies in front.

All of them use what is known already: a grid of signed distances. No surface lies nearer to a grid point than its
distance says. So a grid point bounds how far from any place a search must go; and a place within that distance of a
grid point is on the same side as it. A winding number costs ten searches, so few are left to ask for.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import warp as wp

from ..warp_runtime import vectors

FAR = 1.0e6


@wp.kernel
def _nearest(mesh: wp.uint64, points: wp.array(dtype=wp.vec3), limit: wp.array(dtype=float),
             distance: wp.array(dtype=float), face: wp.array(dtype=int)):  # fmt: skip
    i = wp.tid()
    distance[i] = limit[i]
    face[i] = -1
    query = wp.mesh_query_point_no_sign(mesh, points[i], limit[i])
    if query.result:
        face[i] = query.face
        distance[i] = wp.length(wp.mesh_eval_position(mesh, query.face, query.u, query.v) - points[i])


@wp.kernel
def _nearest_and_side(mesh: wp.uint64, points: wp.array(dtype=wp.vec3), known: wp.array3d(dtype=float),
                      exact: float, distance: wp.array(dtype=float), side: wp.array(dtype=float),
                      face: wp.array(dtype=int)):  # fmt: skip
    i = wp.tid()
    p = points[i]
    resolution = known.shape[0]
    voxel = 2.0 / float(resolution)
    c = (p + wp.vec3(1.0, 1.0, 1.0)) / voxel - wp.vec3(0.5, 0.5, 0.5)
    base_x = int(wp.floor(c[0]))
    base_y = int(wp.floor(c[1]))
    base_z = int(wp.floor(c[2]))
    limit = float(FAR)
    for k in range(8):
        x = wp.clamp(base_x + (k & 1), 0, resolution - 1)
        y = wp.clamp(base_y + ((k >> 1) & 1), 0, resolution - 1)
        z = wp.clamp(base_z + ((k >> 2) & 1), 0, resolution - 1)
        value = wp.abs(known[x, y, z])
        if value < exact:
            apart = wp.length(c - wp.vec3(float(x), float(y), float(z))) * voxel
            limit = wp.min(limit, value + apart)
    query = wp.mesh_query_point_no_sign(mesh, p, limit * 1.001 + 1.0e-5)
    if not query.result:
        query = wp.mesh_query_point_no_sign(mesh, p, FAR)
    d = wp.length(wp.mesh_eval_position(mesh, query.face, query.u, query.v) - p)
    distance[i] = d
    face[i] = query.face
    side[i] = 0.0
    for k in range(8):
        x = wp.clamp(base_x + (k & 1), 0, resolution - 1)
        y = wp.clamp(base_y + ((k >> 1) & 1), 0, resolution - 1)
        z = wp.clamp(base_z + ((k >> 2) & 1), 0, resolution - 1)
        value = known[x, y, z]
        apart = wp.length(c - wp.vec3(float(x), float(y), float(z))) * voxel
        if wp.abs(value) + d > 1.0001 * apart + 1.0e-6:
            side[i] = wp.sign(value)


@wp.kernel
def _side_in_front(mesh: wp.uint64, points: wp.array(dtype=wp.vec3), normals: wp.array(dtype=wp.vec3), reach: float,
                   known: wp.array3d(dtype=float), side: wp.array(dtype=float)):  # fmt: skip
    i = wp.tid()
    p = points[i]
    n = normals[i]
    resolution = known.shape[0]
    voxel = 2.0 / float(resolution)
    free = float(reach)
    hit = wp.mesh_query_ray(mesh, p, n, reach)
    if hit.result:
        free = 0.5 * hit.t
    found = float(0.0)  # noqa: UP018 (warp: a literal would be a constant)
    for step in range(2):
        c = (p + n * (free / float(1 + step)) + wp.vec3(1.0, 1.0, 1.0)) / voxel - wp.vec3(0.5, 0.5, 0.5)
        base_x = int(wp.floor(c[0]))
        base_y = int(wp.floor(c[1]))
        base_z = int(wp.floor(c[2]))
        for k in range(8):
            x = wp.clamp(base_x + (k & 1), 0, resolution - 1)
            y = wp.clamp(base_y + ((k >> 1) & 1), 0, resolution - 1)
            z = wp.clamp(base_z + ((k >> 2) & 1), 0, resolution - 1)
            value = known[x, y, z]
            apart = wp.length(c - wp.vec3(float(x), float(y), float(z))) * voxel
            if wp.abs(value) > 1.0001 * apart + 1.0e-6:
                found = wp.sign(value)
    side[i] = found


@wp.kernel
def _winding_side(mesh: wp.uint64, points: wp.array(dtype=wp.vec3), limit: wp.array(dtype=float), accuracy: float,
                  side: wp.array(dtype=float)):  # fmt: skip
    i = wp.tid()
    query = wp.mesh_query_point_sign_winding_number(mesh, points[i], limit[i] * 1.001 + 1.0e-5, accuracy, 0.5)
    if not query.result:
        query = wp.mesh_query_point_sign_winding_number(mesh, points[i], FAR, accuracy, 0.5)
    side[i] = query.sign


@wp.kernel
def _first_hit(mesh: wp.uint64, points: wp.array(dtype=wp.vec3), directions: wp.array(dtype=wp.vec3), reach: float,
               distance: wp.array(dtype=float)):  # fmt: skip
    i = wp.tid()
    hit = wp.mesh_query_ray(mesh, points[i], directions[i], reach)
    distance[i] = reach
    if hit.result:
        distance[i] = hit.t


@dataclasses.dataclass(frozen=True)
class Found:
    """The surface as seen from N points."""

    distance: np.ndarray
    """(N,) float32."""
    side: np.ndarray
    """(N,) float32: −1 inside, 1 outside, 0 where the grid could not tell."""
    face: np.ndarray
    """(N,) int32: the nearest one."""


def nearest(mesh: wp.Mesh, points: np.ndarray, limit: np.ndarray | None = None) -> np.ndarray:
    """(N,) float32 distances at (N, 3) points; `limit` (N,) where there is nothing nearer."""
    return nearest_face(mesh, points, limit)[0]


def nearest_face(mesh: wp.Mesh, points: np.ndarray, limit: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """As `nearest`, and (N,) int32 which face that is; −1 where there is nothing nearer than the limit."""
    out, face = wp.empty(len(points), dtype=float), wp.empty(len(points), dtype=int)
    limits = np.full(len(points), FAR, np.float32) if limit is None else limit.astype(np.float32)
    wp.launch(_nearest, len(points), inputs=[mesh.id, vectors(points), wp.array(limits, dtype=float), out, face])
    return out.numpy().copy(), face.numpy().copy()


def nearest_and_side(mesh: wp.Mesh, points: np.ndarray, known: np.ndarray, exact: float) -> Found:
    """Distances at (N, 3) points, and sides as far as a grid knows them.

    Args:
        known: (R, R, R) float32 signed distances to this mesh at cell centres.
        exact: those smaller than this bound the search; 0 for none, if the mesh has lost faces since.
    """
    count = len(points)
    distance, side, face = wp.empty(count, dtype=float), wp.empty(count, dtype=float), wp.empty(count, dtype=int)
    grid = wp.array(np.ascontiguousarray(known, np.float32), dtype=float)
    wp.launch(_nearest_and_side, count, inputs=[mesh.id, vectors(points), grid, exact, distance, side, face])
    return Found(distance.numpy().copy(), side.numpy().copy(), face.numpy().copy())


def side_in_front(
    mesh: wp.Mesh, points: np.ndarray, normals: np.ndarray, reach: float, known: np.ndarray
) -> np.ndarray:
    """(N,) float32: on which side (N, 3) points lie that are too near to a face for the grid to tell: −1 inside, 1
    outside, 0 unknown. From a point along its normal, as far as `reach`, until a face is met, nothing changes sides."""
    side = wp.empty(len(points), dtype=float)
    grid = wp.array(np.ascontiguousarray(known, np.float32), dtype=float)
    inputs = [mesh.id, vectors(points), vectors(normals), reach, grid, side]
    wp.launch(_side_in_front, len(points), inputs=inputs)
    return side.numpy().copy()


def first_hit(mesh: wp.Mesh, points: np.ndarray, directions: np.ndarray, reach: float) -> np.ndarray:
    """(N,) float32: how far rays from (N, 3) points along (N, 3) unit vectors go until a face; `reach` if none stops
    them."""
    out = wp.empty(len(points), dtype=float)
    wp.launch(_first_hit, len(points), inputs=[mesh.id, vectors(points), vectors(directions), reach, out])
    return out.numpy().copy()


def winding_side(
    mesh: wp.Mesh, points: np.ndarray, distance: np.ndarray | None = None, accuracy: float = 2.0
) -> np.ndarray:
    """(N,) float32: −1 where the generalised winding number exceeds one half, else 1.

    Args:
        mesh: with winding moments.
        points: (N, 3).
        distance: (N,) from the surface, if it is known: warp looks for the nearest face, too, each time it is asked.
        accuracy: the moments of faces stand for them from so many times their radius on.
    """
    count = len(points)
    side = wp.empty(count, dtype=float)
    limit = np.full(count, FAR, np.float32) if distance is None else distance.astype(np.float32)
    inputs = [mesh.id, vectors(points), wp.array(limit, dtype=float), accuracy, side]
    wp.launch(_winding_side, count, inputs=inputs)
    return side.numpy().copy()
