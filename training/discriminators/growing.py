"""The volumetric discriminator that grows with the resolution, and fades each new level in.

M. Kleineberg, M. Fey, F. Weichert: Adversarial Generation of Continuous Implicit Shape Representations, Eurographics
2020 (short papers), section 3; after T. Karras et al.: Progressive Growing of GANs, ICLR 2018, section 2 and figure 2.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from gan3d_core.generators.convolution import Convolution3d

from . import minibatch

COARSEST = 8


class GrowingDiscriminator(nn.Module):
    """A volume of 8³, 16³, … cells → one number.

    Args:
        channels: widths at the finest resolution, at half of it, … down to 8³, and last that at 4³. The finest
            resolution is 4 · 2^(len(channels) − 1).
        minibatch_std: tell the last layer how much the batch varies (Karras et al. 2018, section 3).
    """

    consumes = "volume"

    def __init__(self, channels: Sequence[int] = (16, 32, 64, 128, 128), minibatch_std: bool = False) -> None:
        super().__init__()
        if len(channels) < 2 or min(channels) < 1:
            raise ValueError("there must be two or more positive widths")
        self.finest = 4 * 2 ** (len(channels) - 1)
        self.minibatch_std = minibatch_std
        self.entries = nn.ModuleList(Convolution3d(1, width, 1) for width in channels[:-1])
        self.downs = nn.ModuleList(
            nn.Sequential(Convolution3d(before, after, 4, stride=2, padding=1), nn.LeakyReLU(0.2))
            for before, after in itertools.pairwise(channels)
        )
        self.last = Convolution3d(channels[-1] + minibatch_std, 1, 4)
        self.fade = 1.0
        """Share of the finest level in use, beside a shortcut round it. Set by whoever trains it."""

    @property
    def feature_layers(self) -> list[nn.Module]:
        """The activations of every level, from fine to coarse; those of levels not grown yet are never called."""
        return [layer for down in self.downs for layer in down.children() if isinstance(layer, nn.LeakyReLU)]

    def forward(self, volumes: torch.Tensor, given: torch.Tensor | None = None) -> torch.Tensor:
        """(N, 1, R, R, R), R = 8, 16, … the finest, to (N,)."""
        start = self._level(volumes.shape[-1])
        features = self.downs[start](F.leaky_relu(self.entries[start](volumes), 0.2))
        if self.fade < 1 and start + 1 < len(self.entries):
            coarser = F.leaky_relu(self.entries[start + 1](F.avg_pool3d(volumes, 2)), 0.2)
            features = torch.lerp(coarser, features, self.fade)
        for down in self.downs[start + 1 :]:
            features = down(features)
        if self.minibatch_std:
            features = torch.cat([features, minibatch.standard_deviation(features)], 1)
        return self.last(features).flatten()

    def _level(self, resolution: int) -> int:
        for level in range(len(self.entries)):
            if self.finest >> level == resolution:
                return level
        sizes = ", ".join(str(self.finest >> level) for level in reversed(range(len(self.entries))))
        raise ValueError(f"a volume of {resolution}³ does not fit; it must have {sizes} cells along each axis")
