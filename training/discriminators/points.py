"""The discriminator of points: PointNet.

C. R. Qi, H. Su, K. Mo, L. J. Guibas: PointNet, CVPR 2017, section 4.2: one perceptron for every point, and a maximum
over them, which does not know their order. As a critic without batch norm: P. Achlioptas et al.: Learning
Representations and Generative Models for 3D Point Clouds, ICML 2018; of (point, distance) pairs: Kleineberg et al.
2020, section 3.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import nn

from . import minibatch


class PointDiscriminator(nn.Module):
    """Points → one number.

    Args:
        sees: what a point is: `surface` (its place), `oriented` (and normal) or `pairs` (and the distance there); see
            `bridges.points.SEES`.
        channels: widths of the perceptron of points.
        dense: widths after the maximum.
        minibatch_std: tell the last layers how much the batch varies (Karras et al. 2018, section 3).
    """

    consumes = "points"
    SIZES = {"surface": 3, "oriented": 6, "pairs": 4}

    def __init__(
        self,
        sees: str = "surface",
        channels: Sequence[int] = (64, 128, 256, 512),
        dense: Sequence[int] = (128, 64),
        minibatch_std: bool = False,
    ) -> None:
        super().__init__()
        if sees not in self.SIZES:
            raise ValueError(f"sees must be one of {', '.join(self.SIZES)}")
        if not channels or min(*channels, *dense, 1) < 1:
            raise ValueError("widths must be positive")
        self.sees, self.minibatch_std = sees, minibatch_std
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise([self.SIZES[sees], *channels]):
            layers += [nn.Linear(before, after), nn.LeakyReLU(0.2)]
        self.point_layers = nn.Sequential(*layers)
        layers = []
        for before, after in itertools.pairwise([channels[-1] + minibatch_std, *dense]):
            layers += [nn.Linear(before, after), nn.LeakyReLU(0.2)]
        self.dense_layers = nn.Sequential(*layers)
        self.last = nn.Linear([channels[-1] + minibatch_std, *dense][-1], 1)

    @property
    def feature_layers(self) -> list[nn.Module]:
        """The layers after the maximum: those before it know no order, and compare with nothing."""
        return [layer for layer in self.dense_layers if isinstance(layer, nn.LeakyReLU)]

    def forward(self, points: torch.Tensor, given: torch.Tensor | None = None) -> torch.Tensor:
        """(N, P, C) to (N,)."""
        features = self.point_layers(points).max(1).values
        if self.minibatch_std:
            features = torch.cat([features, minibatch.standard_deviation(features)], 1)
        return self.last(self.dense_layers(features))[:, 0]
