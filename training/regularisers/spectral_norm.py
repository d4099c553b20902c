"""Spectral normalisation: T. Miyato et al.: Spectral Normalization for Generative Adversarial Networks, ICLR 2018."""

from __future__ import annotations

from torch import nn
from torch.nn.utils import parametrizations, parametrize

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def spectral_norm(network: nn.Module) -> nn.Module:
    """W ← W / σ(W) in every dense and convolutional layer (equation 8), σ the largest singular value of the weight as
    a matrix (out, everything else), by one step of power iteration at each forward pass (algorithm 1).

    In place; layers that have it already are left as they are. Returns the network.
    """
    for module in list(network.modules()):
        if isinstance(module, LAYERS) and not parametrize.is_parametrized(module, "weight"):
            parametrizations.spectral_norm(module)
    return network
