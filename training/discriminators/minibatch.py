"""What a critic is told of its batch as a whole."""

from __future__ import annotations

import torch

GROUP = 4


def standard_deviation(features: torch.Tensor) -> torch.Tensor:
    """Mean standard deviation within groups of `GROUP` samples (the whole batch where it is no multiple of that): a
    batch of equal samples, as collapse makes them, has none. T. Karras et al.: Progressive Growing of GANs, ICLR 2018,
    section 3.

    Args:
        features: (N, C, …).

    Returns:
        (N, 1, …), one figure for each group everywhere.
    """
    size = GROUP if len(features) % GROUP == 0 else len(features)
    groups = features.unflatten(0, (size, -1))
    spread = (groups.var(0, unbiased=False) + 1e-8).sqrt().flatten(1).mean(1)
    return spread.repeat(size).reshape(-1, *[1] * (features.dim() - 1)).expand(-1, 1, *features.shape[2:])
