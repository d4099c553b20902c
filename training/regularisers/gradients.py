"""The gradient of a critic with respect to what it judges, itself differentiable."""

from __future__ import annotations

from collections.abc import Callable

import torch

Critic = Callable[[torch.Tensor], torch.Tensor]
"""(N, …) to (N,)."""


def input_gradients(critic: Critic, samples: torch.Tensor) -> torch.Tensor:
    """∇D(x) of each sample, (N, everything else). A critic must not mix samples (batch norm): the gradient of the sum
    is then each sample's own."""
    at = samples.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(at).sum(), at, create_graph=True)
    return gradient.flatten(1)
