"""The exponential moving average of a network's weights: what is shown, evaluated and shipped."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def update(average: nn.Module, live: nn.Module, step: int, time_constant: float) -> None:
    """Move `average` towards `live`: w̄ ← w̄ + (1 − k)(w − w̄), k = min(1 − 1/τ, t/(t + 10)).

    Early on k is small, so that the random start is forgotten at once. Buffers (batch-norm statistics) are averages
    already, or constants, and are copied.

    Args:
        step: t, steps done, from 1.
        time_constant: τ, in steps.
    """
    keep = min(1 - 1 / time_constant, step / (step + 10))
    for a, b in zip(average.parameters(), live.parameters(), strict=True):
        a.lerp_(b, 1 - keep)
    for mean, value in zip(average.buffers(), live.buffers(), strict=True):
        mean.copy_(value)
