"""Minibatch discrimination: T. Salimans et al.: Improved Techniques for Training GANs, NIPS 2016, section 3.2."""

from __future__ import annotations

import torch
from torch import nn


class MinibatchDiscrimination(nn.Module):
    """Beside the features of each sample, how close the rest of its batch is: what a collapse shows.

    With a learned tensor T: Mᵢ = f(xᵢ) T, a matrix (B, C); c_b(xᵢ, xⱼ) = exp(−‖Mᵢ,b − Mⱼ,b‖₁) and
    o(xᵢ)_b = Σⱼ c_b(xᵢ, xⱼ).

    Args:
        size: A, of the features.
        kernels: B, how many such figures are added.
        dimensions: C, in which each compares.
    """

    def __init__(self, size: int, kernels: int = 16, dimensions: int = 8) -> None:
        super().__init__()
        if min(size, kernels, dimensions) < 1:
            raise ValueError("sizes must be positive")
        self.tensor = nn.Parameter(torch.randn(size, kernels, dimensions) / size**0.5)
        self.out_features = size + kernels

    def closeness(self, features: torch.Tensor) -> torch.Tensor:
        """o: (N, A) to (N, B)."""
        projected = torch.einsum("na,abc->nbc", features, self.tensor)
        distance = (projected[:, None] - projected[None]).abs().sum(-1)  # (N, N, B)
        return torch.exp(-distance).sum(1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(N, A) to (N, A + B)."""
        return torch.cat([features, self.closeness(features)], 1)
