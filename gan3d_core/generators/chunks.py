"""Asking a network about many points without holding all it thinks of them in memory at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch


@torch.inference_mode()
def in_chunks(
    function: Callable[[torch.Tensor], torch.Tensor],
    points: np.ndarray,
    device: torch.device | str,
    chunk: int = 1 << 16,
) -> np.ndarray:
    """`function` of (1, P, 3) points, which gives (1, P, …), at (N, 3): (N, …) float32."""
    found = [
        function(torch.as_tensor(points[None, i : i + chunk], device=device))[0].float().cpu()
        for i in range(0, len(points), chunk)
    ]
    return torch.cat(found).numpy() if found else np.zeros(0, np.float32)
