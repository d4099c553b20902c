"""Historical averaging: T. Salimans et al.: Improved Techniques for Training GANs, NIPS 2016, section 3.3."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class HistoricalAverage:
    """‖θ − (1/t) Σᵢ θ[i]‖²: the distance of a player's weights from the mean of all they have been.

    The mean starts with the weights of the network as it is given, θ[1]. Costs one more copy of the weights.
    """

    def __init__(self, network: nn.Module) -> None:
        self._parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self._mean = [parameter.detach().clone() for parameter in self._parameters]
        self._count = 1

    def penalty(self) -> torch.Tensor:
        """The squared distance, summed over all weights; differentiable."""
        pairs = zip(self._parameters, self._mean, strict=True)
        return torch.stack([((parameter - mean) ** 2).sum() for parameter, mean in pairs]).sum()

    @torch.no_grad()
    def update(self) -> None:
        """Count the present weights in, after a step."""
        self._count += 1
        for parameter, mean in zip(self._parameters, self._mean, strict=True):
            mean.lerp_(parameter, 1 / self._count)

    def state_dict(self) -> dict[str, Any]:
        return {"mean": self._mean, "count": self._count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._count = state["count"]
        for mean, value in zip(self._mean, state["mean"], strict=True):
            mean.copy_(value)
