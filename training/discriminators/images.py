"""The image discriminator: a residual 2D network that knows the camera (and the class) each picture was made with.

GET3D (Gao et al. 2022, section 3.2) has one for colour and one for the silhouette. Residual blocks as in T. Karras et
al.: Analyzing and Improving the Image Quality of StyleGAN, CVPR 2020, section 4.1. Conditioning by projection:
T. Miyato, M. Koyama: cGANs with Projection Discriminator, ICLR 2018, equation 3.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from gan3d_core.generators.convolution import Convolution2d

from . import minibatch

CAMERA_SIZE = 3


def camera_condition(azimuth: torch.Tensor, elevation: torch.Tensor) -> torch.Tensor:
    """(N,) radians each to (N, 3): the angle around as a point on the circle, which has no seam, and the angle up."""
    return torch.stack([azimuth.sin(), azimuth.cos(), 2 * elevation], 1)


class Block(nn.Module):
    """Two convolutions beside a shortcut, halving the picture."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = Convolution2d(before, before, 3, padding=1)
        self.second = Convolution2d(before, after, 3, padding=1)
        self.shortcut = Convolution2d(before, after, 1, bias=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        inner = F.leaky_relu(self.first(images), 0.2)
        inner = F.leaky_relu(self.second(F.avg_pool2d(inner, 2)), 0.2)
        return (inner + self.shortcut(F.avg_pool2d(images, 2))) / math.sqrt(2)


class ImageDiscriminator(nn.Module):
    """Pictures and their cameras → one number each, large for real.

    Args:
        image_channels: of the pictures.
        channels: widths from fine to coarse; pictures have 4 · 2^(len(channels) − 1) pixels along each side.
        width: of the last, dense layers.
        condition_size: length of what is known of each picture; 0 if nothing is.
    """

    def __init__(
        self,
        image_channels: int,
        channels: Sequence[int] = (32, 64, 96, 128, 128),
        width: int = 128,
        condition_size: int = CAMERA_SIZE,
    ) -> None:
        super().__init__()
        if min(image_channels, width, *channels) < 1 or len(channels) < 2 or condition_size < 0:
            raise ValueError("sizes must be positive, and there must be two or more widths")
        self.size = 4 * 2 ** (len(channels) - 1)
        self.stem = Convolution2d(image_channels, channels[0], 1)
        self.blocks = nn.Sequential(*(Block(before, after) for before, after in itertools.pairwise(channels)))
        self.last = Convolution2d(channels[-1] + 1, channels[-1], 3, padding=1)
        self.dense = nn.Linear(channels[-1] * 16, width)
        self.out = nn.Linear(width, 1)
        self.condition = (
            nn.Sequential(nn.Linear(condition_size, width), nn.LeakyReLU(0.2), nn.Linear(width, width))
            if condition_size
            else None
        )

        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                # He et al. 2015, equation 15. PyTorch's own start loses the signal over so many layers: the critic
                # would be blind for its first hundreds of steps.
                nn.init.kaiming_normal_(module.weight, a=0.2)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """(N, C, S, S) in [−1, 1] and (N, condition_size) to (N,)."""
        features = self.blocks(F.leaky_relu(self.stem(images), 0.2))
        features = F.leaky_relu(self.last(torch.cat([features, minibatch.standard_deviation(features)], 1)), 0.2)
        features = F.leaky_relu(self.dense(features.flatten(1)), 0.2)
        score = self.out(features)[:, 0]
        if self.condition is not None and condition is not None:
            score = score + (features * self.condition(condition)).sum(1) / math.sqrt(features.shape[1])
        return score
