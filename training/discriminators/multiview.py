"""The multi-view discriminator: one image critic for all pictures of a shape, and the mean of what it says.

H. Su, S. Maji, E. Kalogerakis, E. Learned-Miller: Multi-view Convolutional Neural Networks for 3D Shape Recognition,
ICCV 2015, share weights between views likewise; they gather features, here verdicts are gathered, since each picture
comes with its camera.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ..bridges.images import CHANNELS
from .images import ImageDiscriminator


class MultiViewDiscriminator(nn.Module):
    """Pictures of one shape and their cameras → one number.

    Args:
        channels, width: see `images.ImageDiscriminator`; pictures have 4 · 2^(len(channels) − 1) pixels along each
        side.
    """

    consumes = "images"

    def __init__(self, channels: Sequence[int] = (24, 48, 96, 128, 128), width: int = 128) -> None:
        super().__init__()
        self.images = ImageDiscriminator(CHANNELS, channels, width)
        self.image_size = self.images.size

    @property
    def feature_layers(self) -> list[nn.Module]:
        """The blocks of the image critic, from fine to coarse; their outputs have the shapes' pictures one after
        another."""
        return list(self.images.blocks)

    def forward(self, images: torch.Tensor, given: torch.Tensor | None = None) -> torch.Tensor:
        """(N, V, 5, S, S) in [−1, 1] and camera conditions (N, V, 3) to (N,)."""
        known = None if given is None else given.flatten(0, 1)
        return self.images(images.flatten(0, 1), known).reshape(images.shape[:2]).mean(1)
