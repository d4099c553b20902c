"""Weight clipping of WGAN: M. Arjovsky et al.: Wasserstein Generative Adversarial Networks, ICML 2017, algorithm 1."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def clip_weights(network: nn.Module, bound: float) -> None:
    """w ← min(max(w, −c), c) for every weight, after each step of the critic; c = 0.01 in the paper."""
    for parameter in network.parameters():
        parameter.clamp_(-bound, bound)
