"""Self-attention over the cells of a picture or a volume, for generators and critics.

H. Zhang et al.: Self-Attention Generative Adversarial Networks, ICML 2019, section 3.
"""

from __future__ import annotations

import torch
from torch import nn

SHRINK = 8
"""Channels of queries and keys are this many times fewer (ibid.)."""


class SelfAttention(nn.Module):
    """y = γ o + x: what every cell sees of all others is added to it. γ is learned and starts at 0 (equation 3).

    s_ij = f(xᵢ)ᵀ g(xⱼ), β_ji = softmaxᵢ(s_ij), oⱼ = v(Σᵢ β_ji h(xᵢ)) with 1 × 1 convolutions f, g, h, v (equations 1
    and 2). The table β has (cells)² entries: in volumes use it at 16³ at most.

    Args:
        channels: of what comes in and goes out.
        dimensions: 2 for pictures, 3 for volumes.
    """

    def __init__(self, channels: int, dimensions: int = 3) -> None:
        super().__init__()
        if dimensions not in (2, 3):
            raise ValueError("dimensions must be 2 or 3")
        convolution = nn.Conv2d if dimensions == 2 else nn.Conv3d
        inner = max(channels // SHRINK, 1)
        self.key = convolution(channels, inner, 1, bias=False)
        self.query = convolution(channels, inner, 1, bias=False)
        self.value = convolution(channels, inner, 1, bias=False)
        self.out = convolution(inner, channels, 1, bias=False)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, …) to the same."""
        key, query, value = self.key(x).flatten(2), self.query(x).flatten(2), self.value(x).flatten(2)  # (N, K, cells)
        # Not torch's fused attention: it has no second derivative, which gradient penalties need.
        share = torch.softmax(key.transpose(1, 2) @ query, dim=1)  # (N, cells i, cells j)
        seen = (value @ share).unflatten(2, x.shape[2:])  # (N, K, …)
        return self.gain * self.out(seen) + x
