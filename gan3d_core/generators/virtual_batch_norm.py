"""Virtual batch normalisation: batch norm by a fixed reference batch, so that samples of a batch do not mix.

T. Salimans et al.: Improved Techniques for Training GANs, NIPS 2016, section 3.5. For generators only (ibid.): the
reference batch passes through the network at every step.
"""

from __future__ import annotations

import torch
from torch import nn


class VirtualBatchNorm(nn.Module):
    """Normalise each channel by moments over the reference batch and the sample itself, then scale and shift.

    With the reference's moments m₁ = E x, m₂ = E x² over n samples, a sample's are (n m₁ + its own) / (n + 1), likewise
    for m₂. In training the first `reference` samples of what comes in are the reference batch (`VirtualBatch` puts them
    there); outside it their moments of the last training pass are used, which are part of the weights.

    Args:
        channels: C of (N, C, …).
        reference: n, how many samples the reference batch has.
    """

    EPSILON = 1e-5

    def __init__(self, channels: int, reference: int) -> None:
        super().__init__()
        if reference < 1:
            raise ValueError("the reference batch must have a sample")
        self.reference = reference
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.mean: torch.Tensor
        self.square: torch.Tensor
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("square", torch.ones(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, …) to the same; in training the reference batch comes first, and is normalised by itself alone."""
        if not self.training:
            return self._normalise(x, *self._with_own(x, self.mean, self.square))
        reference, rest = x[: self.reference], x[self.reference :]
        over = [0, *range(2, x.dim())]
        mean, square = reference.mean(over), (reference**2).mean(over)  # (C,)
        with torch.no_grad():
            self.mean.copy_(mean)
            self.square.copy_(square)
        parts = [self._normalise(reference, mean[None], square[None])]
        if len(rest):
            parts.append(self._normalise(rest, *self._with_own(rest, mean, square)))
        return torch.cat(parts)

    def _with_own(self, x: torch.Tensor, mean: torch.Tensor, square: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, C) moments of the reference batch with each sample counted in."""
        flat, n = x.reshape(*x.shape[:2], -1), self.reference
        return (n * mean + flat.mean(2)) / (n + 1), (n * square + (flat**2).mean(2)) / (n + 1)

    def _normalise(self, x: torch.Tensor, mean: torch.Tensor, square: torch.Tensor) -> torch.Tensor:
        scale = self.weight * torch.rsqrt((square - mean**2).clamp(min=0) + self.EPSILON)  # (N or 1, C)
        shift = self.bias - mean * scale
        ones = [1] * (x.dim() - 2)
        return x * scale.reshape(*scale.shape, *ones) + shift.reshape(*shift.shape, *ones)


class VirtualBatch(nn.Module):
    """A network whose `VirtualBatchNorm` layers see the reference batch before each batch. For training alone.

    Args:
        network: of one input (N, …) and one output (N, …).
        reference: (n, …), drawn once and kept for the whole run.
    """

    def __init__(self, network: nn.Module, reference: torch.Tensor) -> None:
        super().__init__()
        sizes = {module.reference for module in network.modules() if isinstance(module, VirtualBatchNorm)}
        if sizes != {len(reference)}:
            raise ValueError(f"the network's reference batches have {sorted(sizes)} samples, not {len(reference)}")
        self.network = network
        self.reference: torch.Tensor
        self.register_buffer("reference", reference)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return self.network(x)
        return self.network(torch.cat([self.reference.to(x), x]))[len(self.reference) :]
