"""R1: L. Mescheder et al.: Which Training Methods for GANs do actually Converge?, ICML 2018, equation 9.

Lazily: every k-th step only, with k times the weight (T. Karras et al.: Analyzing and Improving the Image Quality of
StyleGAN, CVPR 2020, section 3.1).
"""

from __future__ import annotations

import torch

from .gradients import Critic, input_gradients


def r1_penalty(critic: Critic, real: torch.Tensor) -> torch.Tensor:
    """½ E ‖∇D(x)‖² on real samples (N, …), without γ."""
    return 0.5 * (input_gradients(critic, real) ** 2).sum(1).mean()
