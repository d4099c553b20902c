"""Asking a network about many points without holding all it thinks of them in memory at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable

CACHED = 1 << 13
"""Points of which one thread keeps in its cache what a point network thinks: an eighth to a quarter faster."""
AT_ONCE = 1 << 16
"""Points that keep several threads busy, or another device. In small portions threads wait for each other after every
layer: little is gained, and beside other work twice the time is lost."""


@torch.inference_mode()
def in_chunks(
    function: Callable[[torch.Tensor], torch.Tensor],
    points: np.ndarray,
    device: torch.device | str,
    chunk: int = 0,
) -> np.ndarray:
    """`function` of (1, P, 3) points, which gives (1, P, …), at (N, 3): (N, …) float32.

    Args:
        chunk: points at a time; 0 for what suits the device.
    """
    alone = torch.device(device).type == "cpu" and torch.get_num_threads() == 1
    chunk = chunk or (CACHED if alone else AT_ONCE)
    found = [
        function(torch.as_tensor(points[None, i : i + chunk], device=device))[0].float().cpu()
        for i in range(0, len(points), chunk)
    ]
    return torch.cat(found).numpy() if found else np.zeros(0, np.float32)


def piecewise(
    function: Callable[..., torch.Tensor], chunk: int, points: torch.Tensor, *inputs: torch.Tensor
) -> torch.Tensor:
    """`function` of points and everything else that it depends on, so many points at a time, differentiable once.

    Nothing is remembered of a part but its result. For gradients each part is computed again (T. Chen et al.: Training
    Deep Nets with Sublinear Memory Cost, 2016, section 3), so a pass with its gradients costs four passes in place of
    three, all of them in the processor's cache.

    Args:
        function: of (1 or N, P, 3) points and the inputs to (N, P); each value depends on its own point only.
        chunk: points of each shape in a part.
        points: (N, P, 3), or (1, P, 3) for all.
        inputs: codes and weights: all tensors whose gradients may be wanted, besides the points.
    """
    return _Piecewise.apply(function, chunk, points, *inputs)  # type: ignore[no-any-return]


class _Piecewise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: Callable[..., torch.Tensor], chunk: int, *inputs: torch.Tensor) -> torch.Tensor:
        ctx.function, ctx.chunk = function, chunk
        ctx.save_for_backward(*inputs)
        points, *rest = inputs
        return torch.cat([function(part, *rest) for part in points.split(chunk, 1)], 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # type: ignore[override]
        needed = ctx.needs_input_grad[2:]
        points, *rest = (
            value.detach().requires_grad_(needs) for value, needs in zip(ctx.saved_tensors, needed, strict=True)
        )
        wanted = [value for value in rest if value.requires_grad]
        sums = [torch.zeros_like(value) for value in wanted]
        of_points: list[torch.Tensor] = []
        for part, slope in zip(points.split(ctx.chunk, 1), gradient.split(ctx.chunk, 1), strict=True):
            at = part.detach().requires_grad_(needed[0])
            with torch.enable_grad():
                out = ctx.function(at, *rest)
            found = list(torch.autograd.grad(out, [at, *wanted] if needed[0] else wanted, slope))
            if needed[0]:
                of_points.append(found.pop(0))
            for total, one in zip(sums, found, strict=True):
                total += one
        given = iter(sums)
        return (
            None,
            None,
            torch.cat(of_points, 1) if needed[0] else None,
            *(next(given) if value.requires_grad else None for value in rest),
        )
