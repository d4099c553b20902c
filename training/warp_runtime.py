"""warp, silenced, and triangle meshes in it. Kernels run on the CPU here and on CUDA where it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import warp as wp

wp.config.log_level = wp.LOG_ERROR
# Gradients are torch's business here, and kernels without theirs compile in half the time.
wp.config.enable_backward = False
wp.init()


def make_mesh(vertices: np.ndarray, faces: np.ndarray, winding: bool = False) -> wp.Mesh:
    """Build the bounding-volume hierarchy of (V, 3) vertices and (F, 3) faces; `winding` adds its moments."""
    points = wp.array(np.ascontiguousarray(vertices, np.float32), dtype=wp.vec3)
    indices = wp.array(np.ascontiguousarray(faces, np.int32).reshape(-1), dtype=int)
    return wp.Mesh(points, indices, support_winding_number=winding)


def vectors(points: np.ndarray) -> wp.array:
    return wp.array(np.ascontiguousarray(points, np.float32).reshape(-1, 3), dtype=wp.vec3)


def launch(kernel: wp.Kernel, dim: tuple[int, ...], arguments: tuple[Any, ...]) -> None:
    """Launch a kernel on torch tensors, without copies, on their device and after what torch has queued there.

    Tensors must be contiguous and detached; a kernel's vectors and matrices are the tensors' last axes.
    """
    tensors = [value for value in arguments if isinstance(value, torch.Tensor)]
    device = wp.device_from_torch(tensors[0].device)
    types = [argument.type for argument in kernel.adj.args]
    values = [
        wp.from_torch(value, dtype=kind.dtype, requires_grad=False) if isinstance(value, torch.Tensor) else value
        for value, kind in zip(arguments, types, strict=True)
    ]
    stream = wp.stream_from_torch(torch.cuda.current_stream(tensors[0].device)) if device.is_cuda else None
    wp.launch(kernel, dim, inputs=values, device=device, stream=stream, record_tape=False)
