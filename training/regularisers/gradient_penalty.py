"""WGAN-GP's gradient penalty: I. Gulrajani et al.: Improved Training of Wasserstein GANs, NIPS 2017, equation 3."""

from __future__ import annotations

import torch

from .gradients import Critic, input_gradients


def gradient_penalty(
    critic: Critic, real: torch.Tensor, fake: torch.Tensor, mix: torch.Tensor, norm: float = 1.0
) -> torch.Tensor:
    """E (‖∇D(x̂)‖₂ / γ − 1)² on straight lines between real and generated samples, without λ (10 in the paper).

    Args:
        real, fake: (N, …).
        mix: (N,) in [0, 1]: the share of the real sample in each x̂.
        norm: γ, 1 in the paper; Karras et al. 2018 (Progressive Growing of GANs) have it too.
    """
    share = mix.reshape(-1, *[1] * (real.dim() - 1))
    return ((input_gradients(critic, share * real + (1 - share) * fake).norm(dim=1) / norm - 1) ** 2).mean()
