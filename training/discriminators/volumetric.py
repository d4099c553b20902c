"""The volumetric discriminator of 3D-GAN (Wu et al. 2016, section 3.1): the generator mirrored."""

from __future__ import annotations

import torch
from torch import nn

from gan3d_core.generators.attention import SelfAttention
from gan3d_core.generators.columns import HalvingConv3d
from gan3d_core.generators.convolution import Convolution3d

from ..techniques.minibatch_discrimination import MinibatchDiscrimination
from . import minibatch

NORMALISATIONS = ("batch", "none", "spectral")


class VolumetricDiscriminator(nn.Module):
    """Strided convolutions (kernel 4, stride 2, leaky ReLU 0.2) from a volume to one number.

    Args:
        channels: widths from fine to coarse; (64, 128, 256, 512) in the paper. The input has 4 · 2^len(channels) cells
            along each axis.
        normalisation: `batch` as published (after every convolution but the first and the last), `spectral` (Miyato et
            al. 2018), or `none`, which gradient penalties need.
        minibatch_std: tell the last layer how much the batch varies (Karras et al. 2018, section 3), against collapse.
        discrimination: tell it of each sample how close the others are, by so many figures (Salimans et al. 2016,
            section 3.2), against collapse too.
        attention: cells along each axis of the volume to which self-attention is added, such as 8; 0 for none.
    """

    consumes = "volume"

    def __init__(
        self,
        channels: tuple[int, ...] | list[int] = (64, 128, 256, 512),
        normalisation: str = "batch",
        minibatch_std: bool = False,
        discrimination: int = 0,
        attention: int = 0,
    ) -> None:
        super().__init__()
        if normalisation not in NORMALISATIONS:
            raise ValueError(f"normalisation must be one of {', '.join(NORMALISATIONS)}")
        self.resolution = 4 * 2 ** len(channels)
        sizes = [self.resolution >> index for index in range(1, len(channels) + 1)]
        if attention and attention not in sizes:
            raise ValueError(f"attention must be at one of {', '.join(map(str, sizes))} cells")

        def wrap(layer: nn.Module) -> nn.Module:
            return nn.utils.parametrizations.spectral_norm(layer) if normalisation == "spectral" else layer

        layers: list[nn.Module] = []
        before = 1
        for index, width in enumerate(channels):
            layers.append(wrap(Convolution3d(before, width, 4, stride=2, padding=1) if index else HalvingConv3d(width)))
            if normalisation == "batch" and index > 0:
                layers.append(nn.BatchNorm3d(width))
            layers.append(nn.LeakyReLU(0.2))
            if sizes[index] == attention:
                layers.append(SelfAttention(width))
            before = width
        self.features = nn.Sequential(*layers)
        self.minibatch_std = minibatch_std
        self.closeness = (
            MinibatchDiscrimination((before + minibatch_std) * 4**3, discrimination) if discrimination else None
        )
        self.last = wrap(Convolution3d(before + minibatch_std + discrimination, 1, 4))

    @property
    def feature_layers(self) -> list[nn.Module]:
        """The layers whose outputs are its features, from fine to coarse."""
        return [layer for layer in self.features if isinstance(layer, nn.LeakyReLU)]

    def forward(self, volumes: torch.Tensor, given: torch.Tensor | None = None) -> torch.Tensor:
        """(N, 1, R, R, R) occupancies in [0, 1], or distances in [−1, 1], to (N,) outputs, large for real."""
        features = self.features(volumes)
        if self.minibatch_std:
            features = torch.cat([features, minibatch.standard_deviation(features)], 1)
        if self.closeness is not None:
            close = self.closeness.closeness(features.flatten(1))[:, :, None, None, None]
            features = torch.cat([features, close.expand(-1, -1, *features.shape[2:])], 1)
        return self.last(features).flatten()
