"""Which face each pixel sees, by warp: on the CPU and on CUDA from one kernel. No gradients pass here.

Faces are projected and their pixels tested against homogeneous edge functions (Olano & Greer 1997), so that faces that
reach behind the camera need no clipping. A face reaches a trifle beyond its edges, so that no pixel falls between two.
"""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import torch
import warp as wp

from ..warp_runtime import launch
from .cameras import NEAR, Cameras

NOTHING = (0x7F800000 << 32) | 0xFFFFFFFF
"""A pixel's key with no face: depth infinite, face −1."""
SLACK = 2e-6
"""Of the image's size: some thirty times what float32 loses, and a four-thousandth of a pixel in an image of 128. Faces
that look thinner than half of it are not seen: they could show only what rounding left of them."""
_STRIPES_ON_CUDA = 8
"""Threads that share a face's rows there, so that one large face does not keep the others waiting."""


@wp.kernel
def _cover(
    vertices: wp.array(dtype=wp.vec3),
    faces: wp.array(dtype=wp.vec3i),
    first_face: wp.array(dtype=int),
    mesh: wp.array(dtype=int),
    eye: wp.array(dtype=wp.vec3),
    to_pixels: wp.array(dtype=wp.mat33),
    size: int,
    stripes: int,
    near: float,
    slack: float,
    keys: wp.array(dtype=wp.int64, ndim=3),
):
    camera, local, stripe = wp.tid()
    face = first_face[mesh[camera]] + local
    if face >= first_face[mesh[camera] + 1]:
        return
    corner = faces[face]
    origin, project = eye[camera], to_pixels[camera]
    p0 = project * (vertices[corner[0]] - origin)
    p1 = project * (vertices[corner[1]] - origin)
    p2 = project * (vertices[corner[2]] - origin)
    nearest = wp.min(wp.min(p0[2], p1[2]), p2[2])
    farthest = wp.max(wp.max(p0[2], p1[2]), p2[2])
    if farthest <= near:
        return
    left, right, top, bottom = 0.0, float(size - 1), 0.0, float(size - 1)
    if nearest > near:
        x0, x1, x2 = p0[0] / p0[2], p1[0] / p1[2], p2[0] / p2[2]
        y0, y1, y2 = p0[1] / p0[2], p1[1] / p1[2], p2[1] / p2[2]
        left = wp.max(left, wp.ceil(wp.min(wp.min(x0, x1), x2) - slack))
        right = wp.min(right, wp.floor(wp.max(wp.max(x0, x1), x2) + slack))
        top = wp.max(top, wp.ceil(wp.min(wp.min(y0, y1), y2) - slack))
        bottom = wp.min(bottom, wp.floor(wp.max(wp.max(y0, y1), y2) + slack))
    if left > right or top > bottom:
        return
    # e · (column, row, 1) vanishes on the edge across from a corner, and has the volume's sign within.
    e0 = wp.cross(p1, p2 - p1)
    e1 = wp.cross(p2, p0 - p2)
    e2 = wp.cross(p0, p1 - p0)
    volume = wp.dot(e0, p0)
    if volume == 0.0:
        return
    if volume < 0.0:
        e0, e1, e2, volume = -e0, -e1, -e2, -volume
    reach0 = slack * (wp.abs(e0[0]) + wp.abs(e0[1]))
    reach1 = slack * (wp.abs(e1[0]) + wp.abs(e1[1]))
    reach2 = slack * (wp.abs(e2[0]) + wp.abs(e2[1]))
    if nearest > near and volume < 0.5 * wp.max(wp.max(p0[2] * reach0, p1[2] * reach1), p2[2] * reach2):
        return
    row = int(top) + stripe
    while row <= int(bottom):
        y = float(row)
        f0, f1, f2 = e0[1] * y + e0[2], e1[1] * y + e1[2], e2[1] * y + e2[2]
        for column in range(int(left), int(right) + 1):
            x = float(column)
            w0, w1, w2 = e0[0] * x + f0, e1[0] * x + f1, e2[0] * x + f2
            if w0 >= -reach0 and w1 >= -reach1 and w2 >= -reach2 and w0 + w1 + w2 > 0.0:
                depth = wp.clamp(volume / (w0 + w1 + w2), nearest, farthest)
                if depth > near:
                    # Bits of positive floats are ordered as the floats are: the least key is the nearest face.
                    key = (wp.int64(wp.cast(depth, wp.int32)) << wp.int64(32)) | wp.int64(face)
                    wp.atomic_min(keys, camera, row, column, key)
        row += stripes


def visible(
    vertices: torch.Tensor, faces: torch.Tensor, first_face: torch.Tensor, cameras: Cameras, size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Find the nearest face at every pixel's centre; of faces at one depth, the first. Both sides of a face are seen.

    Args:
        vertices: (V, 3) of all meshes.
        faces: (F, 3) into them.
        first_face: (M + 1,) where each mesh's faces start, and F.

    Returns:
        face (N, S, S) int32, −1 where there is none, and depth (N, S, S) float32 along the view, infinite there.
    """
    count = len(cameras)
    keys = torch.full((count, size, size), NOTHING, dtype=torch.int64, device=vertices.device)
    largest = int((first_face[1:] - first_face[:-1]).max())
    if count and largest:
        stripes = _STRIPES_ON_CUDA if vertices.is_cuda else 1
        shared = (vertices.detach().float().contiguous(), faces.int().contiguous(), first_face.int())
        each = (cameras.mesh.int(), cameras.positions.contiguous(), cameras.to_pixels(size).contiguous())
        launch_by_camera(_cover, (largest, stripes), shared, each, (size, stripes, NEAR, SLACK * size), (keys,))
    words = keys.view(torch.int32).reshape(count, size, size, 2)
    return words[..., 0], words[..., 1].view(torch.float32)


def launch_by_camera(
    kernel: wp.Kernel,
    per_camera: tuple[int, ...],
    shared: tuple[torch.Tensor, ...],
    each: tuple[torch.Tensor, ...],
    settings: tuple[int | float, ...],
    results: tuple[torch.Tensor, ...],
) -> None:
    """Run a kernel over (camera, …); `each` and `results` have cameras as their first axis.

    warp runs a launch on one processor core. Cameras are independent, so on the CPU they are dealt to as many threads
    as torch uses; a launch holds no lock of Python's while it runs.
    """
    count = len(each[0])
    threads = 1 if results[0].is_cuda else max(1, min(torch.get_num_threads(), count))

    def run(part: slice) -> None:
        parts = [value[part] for value in each], [value[part] for value in results]
        launch(kernel, (len(parts[0][0]), *per_camera), (*shared, *parts[0], *settings, *parts[1]))

    bounds = [count * i // threads for i in range(threads + 1)]
    slices = [slice(*pair) for pair in itertools.pairwise(bounds)]
    if threads == 1:
        run(slices[0])
        return
    wp.load_module(kernel.module, device="cpu")  # compiled once, before the threads ask for it
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(run, slices))
