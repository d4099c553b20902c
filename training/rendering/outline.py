"""Where a mesh's outlines pass between pixel centres: edges, silhouettes, and crossings found by warp.

An edge is on the outline when all its faces lie on one side of it as the camera sees it: where a surface turns away,
and where it ends. Outlines are walked edge by edge rather than looked for in the faces that pixels see, since the face
that carries an outline is often smaller than a pixel and seen by none.
"""

from __future__ import annotations

import dataclasses

import torch
import warp as wp

from .cameras import NEAR, Cameras
from .visibility import launch_by_camera


@dataclasses.dataclass(frozen=True)
class Edges:
    """The E edges of packed meshes, and the faces at each. Fixed by the faces alone, so that they can be kept."""

    ends: torch.Tensor
    """(E, 2) int32 vertices."""
    opposite: torch.Tensor
    """(3F,) int32: across each edge's faces, the vertex that is not on the edge."""
    first_opposite: torch.Tensor
    """(E + 1,) int32: edge e has opposite[first_opposite[e]] to opposite[first_opposite[e + 1]]."""
    first_edge: torch.Tensor
    """(M + 1,) int32: mesh m has the edges first_edge[m] to first_edge[m + 1]."""

    @classmethod
    def of(cls, faces: torch.Tensor, first_face: torch.Tensor | None = None) -> Edges:
        """Find the edges of (F, 3) faces, of one mesh or of packed ones."""
        if first_face is None:
            first_face = torch.tensor([0, len(faces)], device=faces.device)
        start, end = faces, faces.roll(-1, dims=1)
        low, high = torch.minimum(start, end), torch.maximum(start, end)  # (F, 3)
        count = int(faces.max()) + 1 if len(faces) else 1
        mesh = torch.searchsorted(first_face, torch.arange(len(faces), device=faces.device), right=True) - 1
        keys, order = torch.sort(((mesh[:, None] * count + low) * count + high).reshape(-1))
        keys, sizes = torch.unique_consecutive(keys, return_counts=True)
        ends = torch.stack([keys // count % count, keys % count], dim=1)
        first_opposite = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
        first_edge = torch.searchsorted(keys, torch.arange(len(first_face), device=faces.device) * count**2)
        opposite = faces.roll(-2, dims=1).reshape(-1)[order]
        return cls(ends.int(), opposite.int(), first_opposite.int(), first_edge.int())


def welded(vertices: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    """The faces of a mesh whose corners at one place share one vertex, as (F, 3) indices into the same vertices.

    Files split vertices where textures or normals have seams; their edges are then no outlines, though each side has
    one face only. `Edges.of(welded(vertices, faces))` knows.
    """
    _, same = torch.unique(vertices.detach(), dim=0, return_inverse=True)
    first = torch.full((int(same.max()) + 1 if len(same) else 0,), len(vertices), device=faces.device)
    first = first.scatter_reduce(0, same, torch.arange(len(vertices), device=faces.device), "amin")
    return first[same][faces]


@wp.kernel
def _cross(
    vertices: wp.array(dtype=wp.vec3),
    ends: wp.array(dtype=wp.vec2i),
    opposite: wp.array(dtype=int),
    first_opposite: wp.array(dtype=int),
    first_edge: wp.array(dtype=int),
    mesh: wp.array(dtype=int),
    eye: wp.array(dtype=wp.vec3),
    to_pixels: wp.array(dtype=wp.mat33),
    face: wp.array(dtype=int, ndim=3),
    depth: wp.array(dtype=float, ndim=3),
    size: int,
    near: float,
    keys: wp.array(dtype=wp.int64, ndim=4),
):
    camera, local = wp.tid()
    edge = first_edge[mesh[camera]] + local
    if edge >= first_edge[mesh[camera] + 1]:
        return
    origin, project = eye[camera], to_pixels[camera]
    a = project * (vertices[ends[edge][0]] - origin)
    b = project * (vertices[ends[edge][1]] - origin)
    if wp.max(a[2], b[2]) <= near:
        return
    line = wp.cross(a, b - a)  # vanishes on the edge: line · (column, row, 1) = 0
    side = wp.float32(0.0)
    for i in range(first_opposite[edge], first_opposite[edge + 1]):
        at = wp.dot(line, project * (vertices[opposite[i]] - origin))
        if at * side < 0.0:
            return
        if at != 0.0:
            side = wp.sign(at)
    if side == 0.0:
        return
    if a[2] < near:
        a = a + (near - a[2]) / (b[2] - a[2]) * (b - a)
    if b[2] < near:
        b = b + (near - b[2]) / (a[2] - b[2]) * (a - b)
    # A steep edge is crossed by rows of pixels, a flat one by columns; `along` counts those, `across` goes on them.
    flat = wp.abs(a[1] / a[2] - b[1] / b[2]) < wp.abs(a[0] / a[2] - b[0] / b[2])
    along = wp.where(flat, 0, 1)
    across = 1 - along
    from_a, from_b = a[along] / a[2], b[along] / b[2]
    # Half-open, so that of two edges that meet on a row's centre one is crossed.
    start = wp.max(wp.ceil(wp.min(from_a, from_b)), 0.0)
    stop = wp.min(wp.ceil(wp.max(from_a, from_b)), float(size))
    if start >= stop:
        return
    inner_first = side * line[across] < 0.0
    for position in range(int(start), int(stop)):
        p = float(position)
        crossing = -(line[along] * p + line[2]) / line[across]
        if not (crossing >= 0.0 and crossing < float(size - 1)):
            continue
        least = int(crossing)
        row, column = wp.where(flat, least, position), wp.where(flat, position, least)
        next_row, next_column = row + across, column + along
        if face[camera, row, column] == face[camera, next_row, next_column]:
            continue
        depth_here, depth_there = depth[camera, row, column], depth[camera, next_row, next_column]
        inner_depth = wp.where(inner_first, depth_here, depth_there)
        outer_depth = wp.where(inner_first, depth_there, depth_here)
        share = wp.where(inner_first, crossing - float(least), float(least + 1) - crossing)
        # The edge's own depth there: the point of a + u (b − a) whose image has this coordinate.
        slope = (b[along] - a[along]) - p * (b[2] - a[2])
        u = wp.clamp((p * a[2] - a[along]) / slope, 0.0, 1.0)
        own = a[2] + u * (b[2] - a[2])
        if inner_depth < outer_depth and own < outer_depth:
            # Of several outlines between two pixels the outermost ends what is seen from the inner one.
            code = wp.int64(2 * edge + wp.where(inner_first, 1, 2))
            key = (wp.int64(wp.cast(share, wp.int32)) << wp.int64(32)) | code
            wp.atomic_max(keys, camera, row, column, across, key)


@dataclasses.dataclass(frozen=True)
class Crossings:
    """K pairs of neighbouring pixels between whose centres an outline passes."""

    edge: torch.Tensor
    """(K,) int64."""
    inner: torch.Tensor
    """(K,) the pixel on the side of the edge's faces, in the flattened (N, S, S)."""
    outer: torch.Tensor
    """(K,) its neighbour, which sees something farther away or nothing."""
    down: torch.Tensor
    """(K,) bool: the two are in one column and not in one row."""


def find_crossings(
    vertices: torch.Tensor,
    edges: Edges,
    face: torch.Tensor,
    depth: torch.Tensor,
    cameras: Cameras,
) -> Crossings:
    """Find the outlines that N cameras see. No gradients pass here.

    Args:
        vertices: (V, 3) of all meshes.
        face: (N, S, S) int32 and `depth` (N, S, S) float32, infinite where nothing is seen (`visibility.visible`).
    """
    count, size = face.shape[:2]
    keys = torch.zeros((count, size, size, 2), dtype=torch.int64, device=face.device)
    most = int((edges.first_edge[1:] - edges.first_edge[:-1]).max())
    if count and most:
        shared = (vertices.detach().float().contiguous(), edges.ends, edges.opposite, edges.first_opposite)
        each = (cameras.mesh.int(), cameras.positions.contiguous(), cameras.to_pixels(size).contiguous())
        images = (face.contiguous(), depth.contiguous())
        launch_by_camera(_cross, (most,), (*shared, edges.first_edge), (*each, *images), (size, NEAR), (keys,))
    flat = keys.reshape(-1)
    found = flat.nonzero()[:, 0]
    code = (flat[found] & 0xFFFFFFFF) - 1
    first, down = found // 2, found % 2 == 1
    second = first + torch.where(down, size, 1)
    swapped = code % 2 == 1
    return Crossings(code // 2, torch.where(swapped, second, first), torch.where(swapped, first, second), down)
