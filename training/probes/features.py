"""A critic's features of shapes, short enough for a linear classifier."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from ..techniques.features import feature_layers, tapped

CELLS = 2
"""Along each axis after pooling: Wu et al. pool their layers by 8, 4 and 2, to 2³ each."""


@torch.no_grad()
def critic_features(critic: nn.Module, samples: torch.Tensor, given: torch.Tensor | None = None) -> torch.Tensor:
    """The last three feature layers, max-pooled and put behind one another (ibid., section 4.2).

    Args:
        critic: in evaluation mode.
        samples, given: what it is shown of N shapes.

    Returns:
        (N, D). Layers with several rows for a shape (its pictures, one after another) give their maximum over them.
    """
    with tapped(feature_layers(critic)[-3:]) as layers:
        critic(samples, given)
    return torch.cat([_pooled(layer.float(), len(samples)) for layer in layers], 1)


def _pooled(layer: torch.Tensor, count: int) -> torch.Tensor:
    """(N · V, C, …) to (N, C · cells)."""
    pool = {3: F.adaptive_max_pool1d, 4: F.adaptive_max_pool2d, 5: F.adaptive_max_pool3d}.get(layer.dim())
    flat = (pool(layer, CELLS) if pool else layer).flatten(1)
    return flat.unflatten(0, (count, -1)).amax(1)
