"""What keeps a critic smooth."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

Critic = Callable[[torch.Tensor], torch.Tensor]


def gradient_penalty(critic: Critic, real: torch.Tensor, fake: torch.Tensor, mix: torch.Tensor) -> torch.Tensor:
    """E (‖∇D(x̂)‖₂ − 1)² on straight lines between real and generated samples.

    Gulrajani et al. 2017, equation 3 without λ. The critic must not use batch norm: the norm is per sample.

    Args:
        real, fake: (N, …).
        mix: (N,) in [0, 1]: the share of the real sample in each x̂.
    """
    share = mix.reshape(-1, *[1] * (real.dim() - 1))
    between = (share * real + (1 - share) * fake).detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return ((gradient.flatten(1).norm(dim=1) - 1) ** 2).mean()


def r1_penalty(critic: Critic, real: torch.Tensor) -> torch.Tensor:
    """½ E ‖∇D(x)‖² on real samples: Mescheder et al. 2018, equation 9 without γ."""
    at = real.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(at).sum(), at, create_graph=True)
    return 0.5 * (gradient.flatten(1) ** 2).sum(1).mean()


@torch.no_grad()
def clip_weights(network: nn.Module, bound: float) -> None:
    """Clamp every weight to [−bound, bound]: Arjovsky et al. 2017, algorithm 1."""
    for parameter in network.parameters():
        parameter.clamp_(-bound, bound)
