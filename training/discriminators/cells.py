"""The critic of cells: a volumetric network with one verdict on the whole shape and one on every part of it.

Verdicts on overlapping parts: P. Isola et al.: Image-to-Image Translation with Conditional Adversarial Networks, CVPR
2017, section 3.2.2 (PatchGAN). A part is judged where it is: a bar is right between two legs and wrong above a seat, so
the critic is told its place (R. Liu et al.: An Intriguing Failing of Convolutional Neural Networks and the CoordConv
Solution, NeurIPS 2018, section 3).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from gan3d_core.generators.convolution import Convolution3d

from . import minibatch


class Verdicts(NamedTuple):
    whole: torch.Tensor
    """(N,), large for real."""
    parts: torch.Tensor
    """(N, P)."""


class CellDiscriminator(nn.Module):
    """Cells → verdicts.

    Args:
        in_channels: of a cell.
        shape: cells along x, y, z: multiples of 2^(len(channels) − 1).
        channels: widths, each half as fine as the one before.
        parts_after: after so many halvings parts are judged; with two, a part is 12 cells wide.
        width: of the last, dense layer.
    """

    def __init__(
        self,
        in_channels: int,
        shape: Sequence[int] = (16, 32, 32),
        channels: Sequence[int] = (32, 64, 128, 192),
        parts_after: int = 2,
        width: int = 128,
    ) -> None:
        super().__init__()
        halvings = len(channels) - 1
        if not 0 < parts_after <= halvings or any(size % 2**halvings for size in shape):
            raise ValueError("the shape must be a multiple of 2 for every halving, and parts_after one of them")
        self.parts_after = parts_after
        axes = [(torch.arange(size) + 0.5) / size * 2 - 1 for size in shape]
        self.place: torch.Tensor
        self.register_buffer("place", torch.stack(torch.meshgrid(*axes, indexing="ij"))[None], persistent=False)
        self.stem = Convolution3d(in_channels + 3, channels[0], 3, padding=1)
        self.down = nn.ModuleList(
            Convolution3d(before, after, 4, stride=2, padding=1) for before, after in itertools.pairwise(channels)
        )
        self.parts = Convolution3d(channels[parts_after], 1, 1)
        cells = 1
        for size in shape:
            cells *= size // 2**halvings
        self.dense = nn.Linear((channels[-1] + 1) * cells, width)
        self.whole = nn.Linear(width, 1)
        self.slope = nn.LeakyReLU(0.2)
        for module in self.modules():
            if isinstance(module, nn.Conv3d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, a=0.2)  # as the image discriminator, and for its reason
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, cells: torch.Tensor) -> Verdicts:
        """(N, in_channels, X, Y, Z), of size about one, to verdicts."""
        place = self.place.to(cells).expand(len(cells), -1, -1, -1, -1)
        features = self.slope(self.stem(torch.cat([cells, place], 1)))
        parts = None
        for index, down in enumerate(self.down, 1):
            features = self.slope(down(features))
            if index == self.parts_after:
                parts = self.parts(features).flatten(1)
        assert parts is not None
        features = torch.cat([features, minibatch.standard_deviation(features)], 1)
        whole = self.whole(self.slope(self.dense(features.flatten(1))))[:, 0]
        return Verdicts(whole.float(), parts.float())
